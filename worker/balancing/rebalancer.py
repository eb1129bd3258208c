"""The dynamic round robin of Traefik 1: weights of good servers grow while others fail.

Pure: counts of good and bad answers come in, weights come out. A server is bad if its share of bad answers is
more than 1.5 times the median of all shares plus their median deviation. While there are both kinds, the good
ones' weights quadruple, up to 4096; while there is one kind, weights go back by quarters. At most one step in
ten seconds, and none before ten seconds' worth of answers are known.

Workers act as one: each sees the counts of all, and adopts the newest step that any of them made (``state``,
``adopt``); two that step at the same moment make the same step.

Source: spec v1 section 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import gcd
from statistics import median
from typing import NamedTuple

from worker.balancing.rolling_counter import BUCKETS, RollingCounter

GROWTH = 4
MAX_WEIGHT = 4096
BACKOFF_S = 10.0
THRESHOLD = 1.5
BAD_STATUSES = range(500, 505)


class Step(NamedTuple):
    """A change of weights: when, and what they are since."""

    at_s: float
    weights: tuple[int, ...]


class Meter:
    """Good and bad answers of one server."""

    __slots__ = ("_bad", "_good", "_seen_bad", "_seen_good")

    def __init__(self) -> None:
        self._good = RollingCounter()
        self._bad = RollingCounter()
        self._seen_good = 0
        self._seen_bad = 0

    def see(self, good: int, bad: int, now_s: float) -> None:
        """Take note of counts that only grow; what they grew by happened now."""
        if good > self._seen_good:
            self._good.add(good - self._seen_good, now_s)
        if bad > self._seen_bad:
            self._bad.add(bad - self._seen_bad, now_s)
        self._seen_good, self._seen_bad = good, bad

    def begin_at(self, good: int, bad: int) -> None:
        """What was counted before we looked is not news."""
        self._seen_good, self._seen_bad = good, bad

    @property
    def is_ready(self) -> bool:
        """Whether it has seen enough seconds."""
        return self._good.touched + self._bad.touched >= BUCKETS

    def rating(self, now_s: float) -> float:
        """The share of bad answers; 0 without any."""
        bad = self._bad.total(now_s)
        total = bad + self._good.total(now_s)
        return bad / total if total else 0.0


class Rebalancer:
    """Decides on weights.

    Args:
        weights: as configured.
        now_s: the time; a first step may be made at once.
    """

    def __init__(self, weights: Sequence[int], now_s: float) -> None:
        self._original = tuple(weights)
        self.meters = [Meter() for _ in weights]
        self.state = Step(now_s - BACKOFF_S - 1, self._original)

    def adopt(self, step: Step) -> bool:
        """Take over another worker's step if it is newer than ours; whether weights changed."""
        if step.at_s <= self.state.at_s or len(step.weights) != len(self._original):
            return False
        changed = step.weights != self.state.weights
        self.state = step
        return changed

    def adjust(self, now_s: float) -> bool:
        """After an exchange: make a step if one is due; whether weights changed."""
        if len(self._original) < 2 or not all(meter.is_ready for meter in self.meters):
            return False
        if not self.state.at_s + BACKOFF_S < now_s:
            return False
        bad = find_bad([meter.rating(now_s) for meter in self.meters])
        if 0 < len(bad) < len(self._original):
            weights = _favour(self.state.weights, bad)
        else:
            weights = tuple(map(_towards, self._original, self.state.weights))
        if weights == self.state.weights:
            return False
        self.state = Step(now_s, _reduced(weights))
        return True


def find_bad(ratings: Sequence[float]) -> set[int]:
    """Positions of the ratings that stand out: over 1.5 times the sum of median and median deviation."""
    values = [*ratings, 0.0] if len(ratings) % 2 == 0 else list(ratings)
    middle = median(values)
    deviation = median(abs(value - middle) for value in values)
    limit = (middle + deviation) * THRESHOLD
    return {position for position, rating in enumerate(ratings) if rating > limit}


def _favour(weights: Sequence[int], bad: set[int]) -> tuple[int, ...]:
    return tuple(
        weight * GROWTH if position not in bad and weight * GROWTH <= MAX_WEIGHT else weight
        for position, weight in enumerate(weights)
    )


def _towards(original: int, current: int) -> int:
    return current if current == original else max(original, current // GROWTH)


def _reduced(weights: Sequence[int]) -> tuple[int, ...]:
    divisor = reduce(gcd, weights, 0)
    return tuple(weight // divisor for weight in weights) if divisor > 1 else tuple(weights)
