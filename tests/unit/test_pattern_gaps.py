"""Messages about expressions that other languages have and RE2 has not."""

from __future__ import annotations

import pytest

from shared.errors import ConfigError
from shared.pattern_gaps import missing_construct
from shared.patterns import compile_pattern


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a(?=b)", "a look-ahead, (?= at character 2"),
        ("a(?!b)", "a negative look-ahead, (?! at character 2"),
        ("(?<=a)b", "a look-behind, (?<= at character 1"),
        ("(?<!a)b", "a negative look-behind, (?<! at character 1"),
        (r"(a)\1", r"a back-reference, \1 at character 4"),
        (r"(?P<n>a)\k<n>", r"a back-reference, \k<n> at character 9"),
        ("(?P<n>a)(?P=n)", "a back-reference, (?P=n) at character 9"),
        ("(?>a)", "an atomic group, (?> at character 1"),
        ("a++", "a possessive repetition, ++ at character 2"),
        ("a{1,2}+", "a possessive repetition, {1,2}+ at character 2"),
        ("(?(1)a|b)", "a conditional group, (?(1) at character 1"),
        ("(?#note)a", "a comment, (?# at character 1"),
        ("a(?R)", "a recursive group, (?R) at character 2"),
        (r"a\Z", r"this escape, \Z at character 2"),
    ],
)
def test_the_construct_is_named_with_its_place(text, named):
    with pytest.raises(ConfigError) as caught:
        compile_pattern(text)
    assert caught.value.reason == (
        f"bad regular expression {text!r}: RE2, whose syntax is Go's, does not have {named}"
    )


@pytest.mark.parametrize(
    "text", ["[(?=]", r"\(?=", r"\\\(?=", r"\Q(?=\E", "[]a(?=]", r"[\](?=]", "(?:a)", "a+?"]
)
def test_what_only_looks_like_one_is_none(text):
    compile_pattern(text)
    assert missing_construct(text) is None


def test_other_mistakes_keep_the_words_of_re2():
    with pytest.raises(ConfigError, match="missing \\)"):
        compile_pattern("[(?=](")
