"""Splits a v1 rule into its clauses: ``Function:argument,argument;Function:argument``.

There is no quoting. ``;`` and ``,`` inside balanced braces do not split, so that ``{n:[a-z]{1,3}}`` is one
argument; a brace without its partner is an ordinary character. The original split there too and the rule
was dead, so nothing that worked means something else.

Source: spec v1 section 3.2.
"""

from __future__ import annotations

import re

import msgspec

from shared.errors import ConfigError
from shared.rules.grammar import MAX_RULE_CHARS

_COLONS = re.compile(":+")


class Clause(msgspec.Struct, frozen=True):
    """One clause: a function name as written and its trimmed arguments, at least one."""

    function: str
    arguments: tuple[str, ...]


def split_clauses(text: str) -> list[Clause]:
    """The clauses of a one-string rule; blank ones are left out.

    Raises:
        ConfigError: the text is too long, or a clause has no argument; the path is empty.
    """
    if len(text) > MAX_RULE_CHARS:
        raise ConfigError("", f"rule is longer than {MAX_RULE_CHARS} characters")
    return [_read_clause(piece) for piece in split_outside_braces(text, ";") if piece.strip()]


def split_outside_braces(text: str, separator: str) -> list[str]:
    """Split at every ``separator`` that does not stand inside balanced braces."""
    partners = _brace_partners(text)
    pieces: list[str] = []
    start = position = 0
    while position < len(text):
        if text[position] == separator:
            pieces.append(text[start:position])
            start = position + 1
        position = partners.get(position, position) + 1
    pieces.append(text[start:])
    return pieces


def _read_clause(piece: str) -> Clause:
    # Runs of colons count as one, and those at the ends do not count at all.
    function, *rest = [part for part in _COLONS.split(piece) if part] or [""]
    arguments = tuple(item.strip() for item in split_outside_braces(":".join(rest), ",") if item)
    if not any(arguments):
        raise ConfigError("", f"no argument in clause {piece.strip()!r}")
    return Clause(function.strip(), arguments)


def _brace_partners(text: str) -> dict[int, int]:
    """Where the brace that is opened at a position is closed, for those that are closed."""
    partners: dict[int, int] = {}
    opened: list[int] = []
    for position, char in enumerate(text):
        if char == "{":
            opened.append(position)
        elif char == "}" and opened:
            partners[opened.pop()] = position
    return partners
