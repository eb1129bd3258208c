"""What is wrong with a configuration, and where: positions, severities and "did you mean".

A problem is found by code that knows only the path of a setting (``("http", "routers", "web", "rule")``).
A document knows where each path stands in its text. ``Diagnostics`` brings the two together, so that
every message can name file, line and path without the checking code knowing about files.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Protocol

import msgspec

Path = tuple[str | int, ...]
"""Keys and indexes from the root of a document to a setting."""


class Severity(StrEnum):
    """How bad: an error disables the object it stands in, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


class Position(msgspec.Struct, frozen=True):
    """A place in a text; line and column count from 1, 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join([self.file] + [str(number) for number in (self.line, self.column) if number])


class Locator(Protocol):
    """Something that knows where a path stands: a parsed document."""

    def locate(self, path: Path) -> Position | None:
        """The position of the setting, or of its nearest ancestor that is written down."""


class Diagnostic(msgspec.Struct, frozen=True):
    """One problem, ready to be shown."""

    severity: Severity
    path: Path
    reason: str
    hint: str | None = None
    position: Position | None = None

    def __str__(self) -> str:
        where = f"{self.position}: " if self.position else ""
        dotted = dotted_path(self.path)
        what = f"{dotted}: {self.reason}" if dotted else self.reason
        return f'{where}{what}; did you mean "{self.hint}"?' if self.hint else f"{where}{what}"


class Diagnostics:
    """Collects problems; all of a document's problems are reported together.

    Args:
        locator: finds positions; without one, problems carry none.
    """

    def __init__(self, locator: Locator | None = None) -> None:
        self._locator = locator
        self._found: list[Diagnostic] = []

    def error(self, path: Path, reason: str, hint: str | None = None) -> None:
        """Record an error at ``path``."""
        self._add(Severity.ERROR, path, reason, hint)

    def warning(self, path: Path, reason: str, hint: str | None = None) -> None:
        """Record a warning at ``path``."""
        self._add(Severity.WARNING, path, reason, hint)

    def extend(self, found: Iterable[Diagnostic]) -> None:
        """Take over problems that were located elsewhere."""
        self._found.extend(found)

    @property
    def errors(self) -> list[Diagnostic]:
        """The errors so far, in the order they were found."""
        return [each for each in self._found if each.severity is Severity.ERROR]

    def errors_since(self, mark: int) -> bool:
        """Whether an error was recorded after ``mark`` (an earlier ``len``)."""
        return any(each.severity is Severity.ERROR for each in self._found[mark:])

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self._found)

    def _add(self, severity: Severity, path: Path, reason: str, hint: str | None) -> None:
        position = self._locator.locate(path) if self._locator else None
        self._found.append(Diagnostic(severity, path, reason, hint, position))


def dotted_path(path: Path) -> str:
    """``("http", "servers", 0, "url")`` as people write it: ``http.servers[0].url``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` was probably meant to be, or None."""
    by_folded = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None
