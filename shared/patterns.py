"""Regular expressions from configuration: RE2 only, so no pattern can make a request slow.

RE2 has Go's syntax, which is what the configuration was written for, and runs in linear time. Subjects are
``str`` with undecodable bytes as surrogate escapes (see ``shared.paths``). RE2 finds no character in such a
byte, Go's package reads it as U+FFFD; so RE2 is given U+FFFD in its place, one character for one, and what is
taken out of a match comes from the subject itself.

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
_UNDECODABLE = re.compile("[\udc80-\udcff]")
_SINGLE_BYTE = re.compile(r"(?>\\Q.*?(?:\\E|\Z)|\\[^QC]|[^\\])*+\\C", re.DOTALL)
"""RE2 has it, Go has not; a match could end within a character."""
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
        return self._compiled.search(readable(subject)) is not None

    def leftmost(self, subject: str) -> tuple[int, str] | None:
        """The leftmost match as (offset in characters, matched text), or None."""
        data = readable(subject)
        match = self._compiled.search(data)
        return None if match is None else (len(_to_text(data[: match.start()])), _part(subject, data, match))

    def replace_all(self, subject: str, template: str) -> str:
        """Replace every match, expanding ``$1`` and ``${name}`` as Go's ``ReplaceAllString`` does.

        A reference takes the longest run of letters, digits and underscores (``$1x`` is the group named
        ``1x``); a group that does not exist is empty. An empty match right behind another match does not
        count: ``.*`` is replaced once, not once more at the end.
        """
        data = readable(subject)
        parts: list[str] = []
        end = 0
        for match in self._compiled.finditer(data):
            if match.start() == match.end() and _is_no_place(data, match.end(), after=end):
                continue
            parts += (_between(subject, data, end, match.start()), _expand(subject, data, match, template))
            end = match.end()
        parts.append(_between(subject, data, end, len(data)))
        return "".join(parts)


@functools.lru_cache(maxsize=65_536)
def compile_pattern(text: str) -> Pattern:
    """Compile an expression from configuration.

    Raises:
        ConfigError: it is not RE2 syntax or is too long; the path is empty, for the caller to fill in.
    """
    if len(text) > MAX_PATTERN_CHARS:
        raise ConfigError("", f"regular expression is longer than {MAX_PATTERN_CHARS} characters")
    if _SINGLE_BYTE.match(text):
        raise ConfigError(
            "", f"bad regular expression {text!r}: Go's syntax does not have \\C, a single byte"
        )
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


def readable(subject: str) -> bytes:
    """A subject as RE2 reads it: bytes that are not UTF-8 are U+FFFD, one each."""
    if subject.isascii():
        return subject.encode("ascii")
    return _UNDECODABLE.sub("\ufffd", subject).encode("utf-8", "surrogatepass")


def _expand(subject: str, data: bytes, match: Any, template: str) -> str:  # noqa: ANN401  # re2 has no types
    def value(reference: re.Match[str]) -> str:
        if reference.group() == "$$":
            return "$"
        return _group(subject, data, match, reference.group(1) or reference.group(2))

    return _TEMPLATE_REFERENCE.sub(value, template)


def _group(subject: str, data: bytes, match: Any, name: str) -> str:  # noqa: ANN401  # re2 has no types
    """The text of a group; empty if there is none of that name or number, or if it took no part."""
    group = int(name) if name.isdecimal() else match.re.groupindex.get(name)
    if group is None or group > match.re.groups or not match.group(group):
        return ""
    return _part(subject, data, match, group)


def _part(subject: str, data: bytes, match: Any, group: int = 0) -> str:  # noqa: ANN401  # re2 has no types
    return _between(subject, data, match.start(group), match.end(group))


def _between(subject: str, data: bytes, start: int, end: int) -> str:
    """What stands in the subject at these bytes of what RE2 read."""
    if len(data) == len(subject):
        return subject[start:end]
    first = len(_to_text(data[:start]))
    return subject[first : first + len(_to_text(data[start:end]))]


def _to_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
