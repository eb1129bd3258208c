"""Regular expressions from configuration: RE2 only, so no pattern can make a request slow.

RE2 has Go's syntax, which is what the configuration was written for, and runs in linear time. Subjects are
``str`` with undecodable bytes as surrogate escapes (see ``shared.paths``); RE2 is given their bytes.

Source: https://github.com/google/re2/wiki/Syntax ; Go package regexp, ``Expand`` for templates.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import re2

from shared.errors import ConfigError
from shared.pattern_gaps import missing_construct

_TEMPLATE_REFERENCE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))", re.ASCII)
MAX_PATTERN_CHARS = 10_000
"""A longer pattern is refused: nobody writes one by hand (not measured)."""


class Pattern:
    """A compiled RE2 expression with the operations that rules and middlewares need."""

    __slots__ = ("_compiled", "text")

    def __init__(self, text: str, compiled: Any) -> None:  # noqa: ANN401  # re2 has no types
        self.text = text
        self._compiled = compiled

    def found_in(self, subject: str) -> bool:
        """Whether the expression matches anywhere in ``subject``."""
        return self._compiled.search(_to_bytes(subject)) is not None

    def leftmost(self, subject: str) -> tuple[int, str] | None:
        """The leftmost match as (byte offset, matched text), or None."""
        match = self._compiled.search(_to_bytes(subject))
        return None if match is None else (match.start(), _to_text(match.group()))

    def replace_all(self, subject: str, template: str) -> str:
        """Replace every match, expanding ``$1`` and ``${name}`` as Go's ``ReplaceAllString`` does.

        A reference takes the longest run of letters, digits and underscores (``$1x`` is the group named
        ``1x``); a group that does not exist is empty. An empty match right behind another match does not
        count: ``.*`` is replaced once, not once more at the end.
        """
        data = _to_bytes(subject)
        parts: list[bytes] = []
        end = 0
        for match in self._compiled.finditer(data):
            if match.start() == match.end() and _is_no_place(data, match.end(), after=end):
                continue
            parts += (data[end : match.start()], _expand(match, template))
            end = match.end()
        parts.append(data[end:])
        return _to_text(b"".join(parts))


@functools.lru_cache(maxsize=65_536)
def compile_pattern(text: str) -> Pattern:
    """Compile an expression from configuration.

    Raises:
        ConfigError: it is not RE2 syntax or is too long; the path is empty, for the caller to fill in.
    """
    if len(text) > MAX_PATTERN_CHARS:
        raise ConfigError("", f"regular expression is longer than {MAX_PATTERN_CHARS} characters")
    options = re2.Options()
    options.log_errors = False
    try:
        return Pattern(text, re2.compile(text, options))
    except re2.error as error:
        detail = error.args[0] if error.args else error
        reason = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
        missing = missing_construct(text)
        if missing is not None:
            reason = f"RE2, whose syntax is Go's, does not have {missing}"
        raise ConfigError("", f"bad regular expression {text!r}: {reason}") from error


def quote(text: str) -> str:
    """``text`` as an expression that matches just itself (Go's ``QuoteMeta``)."""
    return "".join("\\" + char if char in r"\.+*?()|[]{}^$" else char for char in text)


def _is_no_place(data: bytes, position: int, *, after: int) -> bool:
    """Whether an empty match does not count here: right behind another match, or within a character."""
    is_within = position < len(data) and data[position] & 0xC0 == 0x80
    return is_within or position == after > 0


def _expand(match: Any, template: str) -> bytes:  # noqa: ANN401  # re2 has no types
    def value(reference: re.Match[str]) -> str:
        if reference.group() == "$$":
            return "$"
        name = reference.group(1) or reference.group(2)
        return _to_text(_group(match, name) or b"")

    return _to_bytes(_TEMPLATE_REFERENCE.sub(value, template))


def _group(match: Any, name: str) -> bytes | None:  # noqa: ANN401  # re2 has no types
    if name.isdecimal():
        number = int(name)
        found: bytes | None = match.group(number) if number <= match.re.groups else None
        return found
    named: bytes | None = match.groupdict().get(name)
    return named


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _to_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
