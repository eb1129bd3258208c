"""Many RE2 expressions asked at once: which of these are found in a subject?

Expressions go into combined sets of bounded size and memory. A set that cannot be built, or that runs out of
memory while matching, answers "all of them": the caller decides on each by itself, slower and as right.
RE2 tells running out of memory apart from "nothing found" only in its log, so each set also holds an empty
expression, which is found in every subject; an answer without it is no answer.

Building holds the GIL (20 us per expression, 2026-07), which is why sets are small and why a worker builds
them in a thread before it switches to a table (``Table.warm``).

Source: https://github.com/google/re2/blob/main/re2/set.h
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import re2

from shared.patterns import readable

PATTERNS_PER_SET = 512
"""Longest single stall while a set is built: about 10 ms (2026-07)."""

MAX_SETS = 32
"""Sets per group; expressions beyond are always answered, so memory stays under ``MAX_SETS * SET_BYTES``."""

SET_BYTES = 8 << 20
"""RE2's memory budget for one set, program and state cache together (its own default)."""


class _CombinedSet(Protocol):
    """What is used of ``re2.Set``, which has no types."""

    def Add(self, pattern: str) -> int: ...

    def Compile(self) -> None: ...

    def Match(self, subject: bytes) -> list[int]: ...


class PatternSets:
    """A group of expressions.

    Args:
        patterns: their texts; answers are positions in here.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = patterns
        self._sets: list[_CombinedSet | None] | None = None

    def build(self) -> None:
        """Build the sets now; else the first question does."""
        starts = range(0, len(self._patterns), PATTERNS_PER_SET)
        self._sets = [
            _compiled(self._patterns[start : start + PATTERNS_PER_SET]) if number < MAX_SETS else None
            for number, start in enumerate(starts)
        ]

    def found_in(self, subject: str) -> list[int]:
        """Positions of the expressions that are, or may be, found in ``subject``."""
        if self._sets is None:
            self.build()
            assert self._sets is not None
        data = readable(subject)
        found: list[int] = []
        for number, combined in enumerate(self._sets):
            start = number * PATTERNS_PER_SET
            size = min(PATTERNS_PER_SET, len(self._patterns) - start)
            answer = combined.Match(data) if combined is not None else ()
            if size in answer:
                found.extend(start + position for position in answer if position != size)
            else:
                found.extend(range(start, start + size))
        return found


def _compiled(patterns: Sequence[str]) -> _CombinedSet | None:
    """A set of these and, last, the empty expression; None if RE2 cannot build it."""
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = SET_BYTES
    combined: _CombinedSet = re2.Set.SearchSet(options)
    try:
        for pattern in (*patterns, ""):
            combined.Add(pattern)
        combined.Compile()
    except re2.error:  # never ask such a set: RE2 would read a null pointer (google/re2 pull request 636)
        return None
    return combined
