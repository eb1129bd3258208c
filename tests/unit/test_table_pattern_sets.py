from __future__ import annotations

import pytest

from shared.table import pattern_sets
from shared.table.pattern_sets import PatternSets


def test_finds_exactly_the_expressions_that_match(monkeypatch):
    monkeypatch.setattr(pattern_sets, "PATTERNS_PER_SET", 4)
    sets = PatternSets([f"svc{number}x" for number in range(10)])
    assert [sets.found_in(f"/svc{number}x") for number in range(10)] == [[number] for number in range(10)]
    assert sets.found_in("/nothing") == []


def test_thousand_expressions_are_told_apart_within_the_memory_budget():
    sets = PatternSets([rf"svc{number}-[a-z]+/v[0-9]" for number in range(1_000)])
    assert sets.found_in("/x/svc77-abc/v3") == [77]
    assert sets.found_in("/x/svc999-abc/v3") == [999]


@pytest.mark.parametrize("setting", [("SET_BYTES", 1_000), ("MAX_SETS", 0)])
def test_answers_all_when_a_set_cannot_be_built(monkeypatch, setting):
    monkeypatch.setattr(pattern_sets, *setting)
    assert PatternSets(["a", "b"]).found_in("a") == [0, 1]


def test_answers_all_when_a_pattern_is_not_re2():
    assert PatternSets(["a", "(?=b)"]).found_in("x") == [0, 1]


def test_answers_all_when_a_set_gives_up_while_matching(monkeypatch):
    class Exhausted:
        def Match(self, subject):
            return []  # what RE2 says when its state cache is full

    monkeypatch.setattr(pattern_sets, "_compiled", lambda patterns: Exhausted())
    assert PatternSets(["a", "b"]).found_in("a") == [0, 1]


def test_a_byte_that_is_not_utf_8_is_one_character():
    assert PatternSets(["^..$", "^.$", r"\x{FFFD}", "ü"]).found_in("\udcff") == [1, 2]
