"""Where each setting of a text stands: an index from paths to lines and columns.

Building one costs about as much as parsing the text again, so documents do it only when a diagnostic asks.
Names are matched in any case, because settings are. A path that is not written down (a default, the inside
of something quoted) is answered with its nearest ancestor.

TOML parsers keep no positions, so ``index_toml`` scans the text once more. It runs only over text that was
parsed before: it looks for tables, keys and the ends of values, checks nothing, and stops where it is lost.
"""

from __future__ import annotations

import bisect
import re

import tomli

from shared.config.diagnostics import Path

Place = tuple[int, int]
"""Line and column, from 1."""


class PositionIndex:
    """Places by path; the first place of a path counts."""

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: dict[Path, Place] = {}

    def add(self, path: Path, line: int, column: int) -> None:
        """Remember where ``path`` stands."""
        self._places.setdefault(_folded(path), (line, column))

    def nearest(self, path: Path) -> Place | None:
        """The place of ``path`` or of its nearest ancestor; None when not even the root key is written."""
        folded = _folded(path)
        while folded:
            if folded in self._places:
                return self._places[folded]
            folded = folded[:-1]
        return None


def index_toml(text: str) -> PositionIndex:
    """Find every table, key and array item of a TOML text.

    Args:
        text: what the TOML parser accepted.

    Source: https://toml.io/en/v1.0.0
    """
    scanner = _TomlScanner(text)
    scanner.scan()
    return scanner.index


def _folded(path: Path) -> Path:
    return tuple(part.casefold() if isinstance(part, str) else part for part in path)


_BLANKS = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY_PART = re.compile(r"\"((?:[^\"\\\n]|\\.)*)\"|'([^'\n]*)'|([A-Za-z0-9_-]+)")
_STRING = re.compile(
    r"\"\"\"(?:[^\\]|\\.)*?\"{3,5}|'''.*?'{3,5}|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}\n#]+")


class _Lost(Exception):
    """The text is not what a TOML parser would have accepted."""


class _TomlScanner:
    """Walks a text from statement to statement; ``_at`` is the offset of the next character."""

    def __init__(self, text: str) -> None:
        self.index = PositionIndex()
        self._text = text
        self._at = 0
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._last_items: dict[Path, int] = {}

    def scan(self) -> None:
        table: Path = ()
        try:
            while not self._ended():
                if self._text.startswith("[", self._at):
                    table = self._header()
                else:
                    self._assignment(table)
        except _Lost:
            return

    def _ended(self) -> bool:
        self._skip(_GAP)
        return self._at >= len(self._text)

    def _header(self) -> Path:
        opening = "[[" if self._text.startswith("[[", self._at) else "["
        self._at += len(opening)
        keys = self._keys()
        path: Path = ()
        for key, place in keys[:-1]:
            path = self._last_item((*path, key))
            self.index.add(path, *place)
        key, place = keys[-1]
        path = (*path, key)
        self.index.add(path, *place)
        if opening == "[[":
            self._last_items[path] = self._last_items.get(path, -1) + 1
            path = self._last_item(path)
            self.index.add(path, *place)
        self._expect("]" * len(opening))
        return path

    def _last_item(self, path: Path) -> Path:
        return (*path, self._last_items[path]) if path in self._last_items else path

    def _assignment(self, table: Path) -> None:
        path = table
        for key, place in self._keys():
            path = (*path, key)
            self.index.add(path, *place)
        self._expect("=")
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip(_BLANKS)
        first = self._text[self._at : self._at + 1]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._skip(_STRING if first in ("'", '"') else _SCALAR, needed=True)

    def _array(self, path: Path) -> None:
        self._at += 1
        number = 0
        while not self._closes("]"):
            item = (*path, number)
            self.index.add(item, *self._place())
            self._value(item)
            number += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while not self._closes("}"):
            self._assignment(path)

    def _closes(self, bracket: str) -> bool:
        """Step over gaps and a comma; whether the bracket follows (and is stepped over)."""
        self._skip(_GAP)
        if self._text.startswith(",", self._at):
            self._at += 1
            self._skip(_GAP)
        if self._at >= len(self._text):
            raise _Lost
        if not self._text.startswith(bracket, self._at):
            return False
        self._at += 1
        return True

    def _keys(self) -> list[tuple[str, Place]]:
        """A dotted key: its parts and where they stand."""
        found: list[tuple[str, Place]] = []
        while True:
            self._skip(_BLANKS)
            place = self._place()
            match = _KEY_PART.match(self._text, self._at)
            if match is None:
                raise _Lost
            self._at = match.end()
            found.append((_key_text(match), place))
            self._skip(_BLANKS)
            if not self._text.startswith(".", self._at):
                return found
            self._at += 1

    def _expect(self, literal: str) -> None:
        if not self._text.startswith(literal, self._at):
            raise _Lost
        self._at += len(literal)

    def _skip(self, pattern: re.Pattern[str], needed: bool = False) -> None:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        elif needed:
            raise _Lost

    def _place(self) -> Place:
        line = bisect.bisect_right(self._line_starts, self._at)
        return line, self._at - self._line_starts[line - 1] + 1


def _key_text(match: re.Match[str]) -> str:
    basic, literal, bare = match.groups()
    if basic is None:
        return str(literal if bare is None else bare)
    return str(tomli.loads(f'key = "{basic}"')["key"]) if "\\" in basic else str(basic)
