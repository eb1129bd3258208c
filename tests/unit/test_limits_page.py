"""The table of limits in docs/configuration.md says what the program does."""

import importlib
import re
from pathlib import Path

import pytest

from shared.config.dynamic import ForwardingTimeouts
from shared.config.static import EntryPointHttp, RespondingTimeouts, Transport

PAGE = Path(__file__).parent.parent.parent / "docs" / "configuration.md"
ROW = re.compile(r"\| [^|]+ \| `(?P<name>[A-Za-z_.]+)`[^|]* \| (?P<value>[0-9.]+)[^|]* \| [^|]+ \|")
SECTIONS = {
    "respondingTimeouts": RespondingTimeouts(),
    "forwardingTimeouts": ForwardingTimeouts(),
    "http": EntryPointHttp(),
    "transport": Transport(),
}


def rows():
    text = PAGE.read_text().partition("## Limits")[2].partition("\n## ")[0]
    found = [match.groupdict() for match in ROW.finditer(text)]
    assert len(found) >= 20
    return found


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"])
def test_a_limit_has_the_value_that_is_written(row):
    place, _, name = row["name"].rpartition(".")
    if place in SECTIONS:
        actual = getattr(SECTIONS[place], re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), name))
    else:
        actual = getattr(importlib.import_module(place), name)
    assert float(row["value"]) == actual
