"""The page of known differences says what the differential run knows."""

from __future__ import annotations

from pathlib import Path

from tests.differential.known_differences import KNOWN, render

PAGE = Path(__file__).parents[2] / "docs" / "differences.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == render(), "run: python -m tests.differential.known_differences"


def test_names_are_unique():
    names = [each.name for each in KNOWN]
    assert len(names) == len(set(names))
