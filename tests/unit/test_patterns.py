"""Replacement by expression, as Go's ReplaceAllString does it."""

from __future__ import annotations

import pytest

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
    ],
)
def test_every_match_is_replaced_once(pattern, subject, template, result):
    assert compile_pattern(pattern).replace_all(subject, template) == result
