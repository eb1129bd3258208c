"""The page of known differences says what the differential run knows."""

from __future__ import annotations

from pathlib import Path

from tests.differential.behaviours import SCENARIOS
from tests.differential.known_differences import BEHAVIOURS, KNOWN, render

PAGE = Path(__file__).parents[2] / "docs" / "differences.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == render(), "run: python -m tests.differential.known_differences"


def test_names_are_unique():
    names = [each.name for each in (*KNOWN, *BEHAVIOURS)]
    assert len(names) == len(set(names))


def test_scenarios_show_the_differences_in_behaviour_and_name_no_others():
    assert {each.name for each in BEHAVIOURS} == {each.difference for each in SCENARIOS if each.difference}
