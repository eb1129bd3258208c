"""Durations as configuration writes them and as Go prints them.

Inside, a duration is ``float`` seconds. Go counts in whole nanoseconds, so texts are printed from those:
a float cannot hold every nanosecond, an ``int`` can.

Source: Go package time, ``ParseDuration`` and ``Duration.String``; spec v1 section 1.4, v2 section 1.4.
"""

from __future__ import annotations

import re

NANOSECONDS = 1_000_000_000
"""Nanoseconds in a second."""
MAX_NANOSECONDS = 2**63 - 1
"""The longest duration of the original, about 292 years; longer ones are refused."""
MAX_CHARS = 100
"""Room for every unit with all its digits; keeps the arithmetic small (not measured)."""

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, micro sign
    "μs": 1_000,  # U+03BC, the Greek letter; Go takes both
    "ms": 1_000_000,
    "s": NANOSECONDS,
    "m": 60 * NANOSECONDS,
    "h": 3600 * NANOSECONDS,
}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]+)")


def parse_duration(text: str) -> float:
    """A duration in seconds.

    Args:
        text: a Go duration (``1m30s``, ``500ms``, ``-1.5h``) or a bare integer, which counts seconds.

    Raises:
        ValueError: it is neither, or it is longer than 292 years.
    """
    if len(text) > MAX_CHARS:
        raise ValueError(f"a duration has at most {MAX_CHARS} characters")
    nanoseconds = int(text) * NANOSECONDS if _INTEGER.fullmatch(text) else _parse_go_duration(text)
    if abs(nanoseconds) > MAX_NANOSECONDS:
        raise ValueError(f"duration {text!r} is longer than 292 years")
    return nanoseconds / NANOSECONDS


def _parse_go_duration(text: str) -> int:
    rest = text[1:] if text[:1] in ("+", "-") else text
    total = 0
    end = 0
    while end < len(rest):
        part = _PART.match(rest, end)
        if part is None or part[3] not in _UNITS or not (part[1] or part[2]):
            raise ValueError(f"not a duration: {text!r}")
        unit, fraction = _UNITS[part[3]], part[2] or ""
        total += int(part[1] or "0") * unit
        if fraction:
            total += int(fraction) * unit // 10 ** len(fraction)
        end = part.end()
    if not rest:
        raise ValueError("an empty text is not a duration")
    return -total if text[0] == "-" else total


def format_duration(seconds: float) -> str:
    """``seconds`` as Go prints a duration: ``1m30s``, ``1.5s``, ``100ms``, ``0s``."""
    return format_nanoseconds(round(seconds * NANOSECONDS))


def format_nanoseconds(nanoseconds: int) -> str:
    """A whole number of nanoseconds as Go prints a duration.

    Below one second the largest unit that gives a leading digit is used (``864.8016ms``); from there on
    hours and minutes are written out, zeros included (``1h0m0s``).
    """
    sign = "-" if nanoseconds < 0 else ""
    left = abs(nanoseconds)
    if left < NANOSECONDS:
        return sign + _format_below_second(left)
    minutes, left = divmod(left, 60 * NANOSECONDS)
    hours, minutes_left = divmod(minutes, 60)
    text = _with_fraction(left, NANOSECONDS) + "s"
    if minutes:
        text = f"{minutes_left}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return sign + text


def _format_below_second(nanoseconds: int) -> str:
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < 1_000:
        return f"{nanoseconds}ns"
    if nanoseconds < 1_000_000:
        return _with_fraction(nanoseconds, 1_000) + "µs"
    return _with_fraction(nanoseconds, 1_000_000) + "ms"


def _with_fraction(nanoseconds: int, unit: int) -> str:
    whole, part = divmod(nanoseconds, unit)
    digits = str(part).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
