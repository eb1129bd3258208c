"""Texts as parsed documents that know where each setting stands.

A document is what one file (or one label set, one key tree) says, before anyone decides what it means. It
keeps its text to find positions, but looks for them only when a diagnostic asks (``positions``).

The dialect follows from the root keys: ``frontends`` or ``backends`` make it v1. A document may hold the
roots of both dialects, and static settings beside them (v1's ``[file]`` inside ``traefik.toml``): its tree
is whole, and each reader takes the roots it knows.

Nothing in here trusts the text: size, nesting and what YAML aliases add up to are bounded.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any, Literal

import tomli

from shared.config.diagnostics import Diagnostic, Path, Position, Severity
from shared.config.positions import PositionIndex, index_toml
from shared.config.yaml_reader import MAX_NESTING, SyntaxProblem, read_yaml
from shared.errors import ConfigError

Dialect = Literal["v1", "v2"]
Format = Literal["toml", "yaml", "json"]

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
"""A larger file is refused; 100,000 routers take about 15 MB."""
FORMATS: dict[str, Format] = {
    ".toml": "toml",
    ".tml": "toml",  # the original's documentation names a rules.tml
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
}
"""What the end of a file's name says about its text."""
V1_ROOTS = frozenset({"frontends", "backends"})
"""The root keys of v1's dynamic settings, folded."""
V2_ROOTS = frozenset({"http", "tcp", "udp", "tls"})
"""The root keys of v2's dynamic settings, folded."""

TEMPLATE_NOTE = (
    'the text holds "{{", and templates are not executed: it is read as it stands; '
    "write out what the template would produce"
)


class DocumentError(ConfigError):
    """A document that cannot be read at all; ``diagnostic`` says why and where."""

    def __init__(self, reason: str, position: Position) -> None:
        self.diagnostic = Diagnostic(Severity.ERROR, (), reason, position=position)
        super().__init__("", str(self.diagnostic))


class Document:
    """A parsed text.

    Args:
        tree: the root mapping; nobody changes it.
        origin: what to call it in messages: a file's path, or a name such as ``docker``.
        dialect: which dialect its dynamic settings are in; found from the root keys if not given.
        make_index: finds the positions of all settings; called at most once.
        notes: what is to be said about the text as such.
    """

    __slots__ = ("_index", "_make_index", "dialect", "notes", "origin", "tree")

    def __init__(
        self,
        tree: dict[str, Any],
        origin: str,
        dialect: Dialect | None = None,
        make_index: Callable[[], PositionIndex] | None = None,
        notes: tuple[Diagnostic, ...] = (),
    ) -> None:
        self.tree = tree
        self.origin = origin
        self.dialect: Dialect = dialect or _dialect_of(tree)
        self.notes = notes
        self._make_index = make_index
        self._index: PositionIndex | None = None

    def locate(self, path: Path) -> Position | None:
        """Where a setting, or its nearest ancestor that is written down, stands."""
        if self._index is None and self._make_index is not None:
            self._index = self._make_index()
        place = self._index.nearest(path) if self._index is not None else None
        return Position(self.origin, *place) if place is not None else Position(self.origin)


def read_document(
    path: str | os.PathLike[str], origin: str | None = None, text_format: Format | None = None
) -> Document:
    """Read and parse a file. Blocks: callers in a trio program use a thread.

    Args:
        path: the file.
        origin: what to call it in messages; its path if not given.
        text_format: how it is written; follows from the name's end if not given.

    Raises:
        DocumentError: it cannot be read, is too large, has an unknown ending or is malformed.
    """
    origin = os.fspath(path) if origin is None else origin
    text_format = text_format or FORMATS.get(FilePath(path).suffix.lower())
    if text_format is None:
        known = ", ".join(FORMATS)
        raise DocumentError(
            f"unsupported file extension: {FilePath(path).suffix or 'none'} (known: {known})",
            Position(origin),
        )
    return parse_document(read_text(path, origin), origin, text_format)


def read_text(path: str | os.PathLike[str], origin: str) -> str:
    """Read a file whole. Blocks.

    Raises:
        DocumentError: it cannot be read, is too large or is not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"cannot be read: {error.strerror or error}", Position(origin)) from error
    if len(data) > MAX_DOCUMENT_BYTES:
        raise DocumentError(f"larger than {MAX_DOCUMENT_BYTES} bytes", Position(origin))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError("not UTF-8 text", Position(origin, line)) from error


def parse_document(text: str, origin: str, text_format: Format) -> Document:
    """Parse a text.

    Raises:
        DocumentError: malformed, with line and column.
    """
    try:
        if len(text) > MAX_DOCUMENT_BYTES:
            raise SyntaxProblem(f"larger than {MAX_DOCUMENT_BYTES} bytes")
        tree = _PARSERS[text_format](text)
        if tree is None:
            tree = {}
        if not isinstance(tree, dict):
            raise SyntaxProblem("expected a table at the top", 1, 1)
    except SyntaxProblem as problem:
        reason = f"{problem.reason} ({TEMPLATE_NOTE})" if "{{" in text else problem.reason
        raise DocumentError(reason, Position(origin, problem.line, problem.column)) from problem
    notes = _template_notes(text, origin)
    return Document(tree, origin, make_index=lambda: _index(text, text_format), notes=notes)


def _dialect_of(tree: dict[str, Any]) -> Dialect:
    return "v1" if any(str(key).casefold() in V1_ROOTS for key in tree) else "v2"


def _template_notes(text: str, origin: str) -> tuple[Diagnostic, ...]:
    at = text.find("{{")
    if at < 0:
        return ()
    line = text.count("\n", 0, at) + 1
    position = Position(origin, line, at - text.rfind("\n", 0, at))
    return (Diagnostic(Severity.WARNING, (), TEMPLATE_NOTE, position=position),)


def _index(text: str, text_format: Format) -> PositionIndex:
    if text_format == "toml":
        return index_toml(text)
    index = PositionIndex()
    with contextlib.suppress(
        SyntaxProblem
    ):  # JSON that YAML cannot read: surrogate escapes; half is good too
        read_yaml(text, index)
    return index


def _parse_toml(text: str) -> object:
    try:
        return _tidy(tomli.loads(text))
    except tomli.TOMLDecodeError as error:
        raise SyntaxProblem(error.msg, error.lineno, error.colno) from error
    except RecursionError as error:
        raise SyntaxProblem(f"nested more than {MAX_NESTING} levels deep") from error


def _parse_json(text: str) -> object:
    try:
        return _tidy(json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant))
    except json.JSONDecodeError as error:
        raise SyntaxProblem(error.msg, error.lineno, error.colno) from error
    except RecursionError as error:
        raise SyntaxProblem(f"nested more than {MAX_NESTING} levels deep") from error
    except ValueError as error:  # an integer of thousands of digits
        raise SyntaxProblem(str(error)) from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise SyntaxProblem(f'the key "{key}" is written twice')
            seen.add(key)
    return mapping


def _refuse_constant(name: str) -> object:
    raise SyntaxProblem(f"{name} is not a number that a setting can have")


def _tidy(value: object, depth: int = 0) -> object:
    """Check the nesting and leave out nulls, in place."""
    if depth > MAX_NESTING:
        raise SyntaxProblem(f"nested more than {MAX_NESTING} levels deep")
    if isinstance(value, dict):
        for key in [key for key, each in value.items() if each is None]:
            del value[key]
    elif not isinstance(value, list):
        return value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            _tidy(each, depth + 1)
    return value


_PARSERS: dict[Format, Callable[[str], object]] = {
    "toml": _parse_toml,
    "yaml": read_yaml,
    "json": _parse_json,
}
