"""Replacement by expression, as Go's ReplaceAllString does it."""

from __future__ import annotations

import pytest

from shared.errors import ConfigError
from shared.patterns import compile_pattern


@pytest.mark.parametrize(
    ("pattern", "subject", "template", "result"),
    [
        (".*", "abc", "X", "X"),
        (".*", "", "X", "X"),
        ("(.*)", "/a", "${1}/b", "/a/b"),
        ("x*", "aéb", "-", "-a-é-b-"),
        ("", "ab", "-", "-a-b-"),
        ("b*", "abbc", "-", "-a-c-"),
        ("a|b*", "ab", "-", "--"),
        ("$", "a", "!", "a!"),
        ("(?P<n>a)", "a", "$n$1x$$", "a$"),
        ("(.)b", "ü\udce9bc", "<$1>", "ü<\udce9>c"),
        ("[^/]", "/\udce2\udc82é", "-", "/---"),
    ],
)
def test_every_match_is_replaced_once(pattern, subject, template, result):
    assert compile_pattern(pattern).replace_all(subject, template) == result


def test_a_byte_that_is_not_utf_8_is_one_character_as_in_go():
    """Go's ``regexp.MatchString("^/.$", "/\\xe9")`` is true, and so is it for ``\\x{FFFD}``."""
    for text in ("^/.$", "^/[^a]$", r"\x{FFFD}", "^/\ufffd$"):
        assert compile_pattern(text).found_in("/\udce9")
    assert not compile_pattern("^/.$").found_in("/\udce2\udc82")
    assert not compile_pattern("\u00e9").found_in("/\udce9")


def test_the_leftmost_match_is_what_the_subject_holds_there():
    assert compile_pattern("[^/a-z]+").leftmost("/ü\udce9/") == (1, "ü\udce9")
    assert compile_pattern("x").leftmost("ü\udce9x") == (2, "x")


def test_no_expression_reads_half_a_character():
    assert compile_pattern(r"\\C\Q\C\E").found_in(r"\C\C")
    with pytest.raises(ConfigError):
        compile_pattern(r"\C")
