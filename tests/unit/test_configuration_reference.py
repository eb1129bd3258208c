"""The generator of the configuration reference, over structs made for it."""

import importlib.util
from pathlib import Path
from typing import Annotated

import pytest

from shared.config.kinds import Duration, EmptySection, Internal, Section

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "configuration_reference.py"


class Leaf(EmptySection, frozen=True):
    """Something small (spec v2 section 1.2). A second sentence."""


class Item(Section, frozen=True):
    """One of many.

    Attributes:
        size: how big, in
            ``bytes``.
    """

    size: int = 7
    wait: Duration = 1.5
    """How long.

    Not shown apart."""
    hidden: Annotated[bool, Internal] = False


class Root(Section, frozen=True):
    """Everything."""

    items: tuple[Item, ...] = ()
    named: dict[str, Item] = {}  # noqa: RUF012  # msgspec copies it
    leaf: Leaf | None = None


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("configuration_reference", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_struct_is_described_where_it_is_met_first(reference):
    text = reference.render_root("Title", Root)
    assert "| `items` | list of section, see `items[]` |  |\n" in text
    assert "| `named` | by name: section, see `items[]` |  |\n" in text
    assert text.count("### `items[]`") == 1


def test_defaults_are_shown_as_written_and_sentences_stand_beside_them(reference):
    text = reference.render_root("Title", Root)
    assert "| `size` | number | `7` | how big, in `bytes`. |\n" in text
    assert "| `wait` | duration | `1.5s` | How long. Not shown apart. |\n" in text


def test_internal_settings_sources_and_second_sentences_are_left_out(reference):
    text = reference.render_root("Title", Root)
    assert "hidden" not in text
    assert "### `leaf`\n\nSomething small.\n" in text


def test_check_mode_notices_a_page_that_is_out_of_date(reference, tmp_path, monkeypatch, capsys):
    page = tmp_path / "docs" / "configuration.md"
    page.parent.mkdir()
    page.write_text(f"By hand.\n\n{reference.MARK}\nold\n")
    monkeypatch.setattr(reference, "PAGE", page)
    assert reference.main(["--check"]) == 1
    assert "out of date" in capsys.readouterr().err
    assert reference.main([]) == 0
    assert page.read_text().startswith("By hand.\n")
    assert reference.main(["--check"]) == 0
