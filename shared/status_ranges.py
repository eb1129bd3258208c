"""Sets of statuses as configuration writes them: ``500-599``, ``404``, several with commas."""

from __future__ import annotations

from collections.abc import Sequence

from shared.errors import ConfigError


class StatusRanges:
    """A set of statuses.

    Args:
        texts: each a status, a range with both ends, or several with commas.

    Raises:
        ConfigError: one is neither.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._ranges = [_parse(part.strip()) for text in texts for part in text.split(",")]

    def __contains__(self, status: int) -> bool:
        return any(status in each for each in self._ranges)


def _parse(text: str) -> range:
    first, dash, last = text.partition("-")
    low, high = _number(first, text), _number(last if dash else first, text)
    if low > high:
        raise ConfigError("", f'"{text}" ends before it begins')
    return range(low, high + 1)


def _number(text: str, whole: str) -> int:
    if len(text) != 3 or not text.isascii() or not text.isdigit() or int(text) < 100:
        raise ConfigError("", f'"{whole}" is neither a status such as 404 nor a range such as 500-599')
    return int(text)
