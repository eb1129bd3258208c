"""What has to be counted to know whether a breaker's condition holds: a few numbers, whatever the traffic.

A condition compares figures with fixed numbers, so no figure need be known as such. The 99th percentile of
latencies is above 100 ms exactly when fewer than 99 % of the responses took 100 ms or less: one counter for
those and one for all decide it, more exactly than any histogram could. So every condition is a question about
a fixed list of counters over the recent past.

Latencies count in whole milliseconds, rounded down; the rank of a quantile is rounded to the nearest
response, as in the original's histograms.
"""

from __future__ import annotations

import functools
import math
import operator as operators
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from shared.breaker_expression import AllOf, AnyOf, Comparison, Condition, Measure, Operator
from shared.errors import ConfigError

MAX_COUNTERS: Final = 16
"""Counters of one condition; each is a block of the arena."""

Verdict = Callable[[Sequence[int]], bool]
"""Whether the condition holds, given the counters' values in order."""


class Counter(NamedTuple):
    """Counts responses whose status and latency lie in ranges; the upper ends are outside.

    Attributes:
        statuses: ranges of status codes; a response is counted if it is in one of them.
        below_ms: only those that took less whole milliseconds than this.
        is_latency: whether it looks back as far as latencies do, or as ratios.
    """

    statuses: tuple[tuple[float, float], ...] = ((0, math.inf),)
    below_ms: float = math.inf
    is_latency: bool = False

    def counts(self, status: int, latency_ms: int) -> bool:
        """Whether a response is one of those counted."""
        return latency_ms < self.below_ms and any(low <= status < high for low, high in self.statuses)


class Question(NamedTuple):
    """A condition as a question about counters."""

    counters: tuple[Counter, ...]
    holds: Verdict


_ANY_RESPONSE = Counter()
_ANY_LATENCY = Counter(is_latency=True)
_NETWORK_ERRORS = Counter(((502, 503), (504, 505)))


@functools.lru_cache(maxsize=1024)
def question_of(condition: Condition) -> Question:
    """Turn a condition into a question.

    Raises:
        ConfigError: it needs too many counters.
    """
    counters: list[Counter] = []
    verdict = _verdict(condition, counters)
    if len(counters) > MAX_COUNTERS:
        raise ConfigError("", f"more than {MAX_COUNTERS} different figures in one expression")
    return Question(tuple(counters), verdict)


def _verdict(condition: Condition, counters: list[Counter]) -> Verdict:
    match condition:
        case AllOf(parts):
            all_of = tuple(_verdict(each, counters) for each in parts)
            return lambda values: all(holds(values) for holds in all_of)
        case AnyOf(parts):
            any_of = tuple(_verdict(each, counters) for each in parts)
            return lambda values: any(holds(values) for holds in any_of)
        case Comparison(measure, operator, number):
            return _comparison(measure, operator, number, counters)


def _comparison(measure: Measure, operator: Operator, number: float, counters: list[Counter]) -> Verdict:
    compare = _COMPARE[operator]
    match measure.function:
        case "NetworkErrorRatio":
            part, whole = _place(_NETWORK_ERRORS, counters), _place(_ANY_RESPONSE, counters)
            return lambda values: compare(_ratio(values[part], values[whole]), number)
        case "ResponseCodeRatio":
            from_part, to_part, from_whole, to_whole = measure.arguments
            part = _place(Counter(((from_part, to_part),)), counters)
            whole = _place(Counter(((from_whole, to_whole),)), counters)
            return lambda values: compare(_ratio(values[part], values[whole]), number)
        case "RequestThreshold":
            whole = _place(_ANY_RESPONSE, counters)
            return lambda values: compare(values[whole], number)
        case "LatencyAtQuantileMS":
            return _latency(measure.arguments[0], operator, number, counters)


def _latency(quantile: float, operator: Operator, number: float, counters: list[Counter]) -> Verdict:
    """The quantile, a whole number, is below x exactly when enough responses are."""
    whole = _place(_ANY_LATENCY, counters)

    def is_below(limit: float) -> Verdict:
        part = _place(Counter(below_ms=limit, is_latency=True), counters)
        return lambda values: (
            limit > 0 if not values[whole] else values[part] >= _rank(quantile, values[whole])
        )

    if operator in ("<", ">="):
        below = is_below(math.ceil(number))
        return below if operator == "<" else lambda values: not below(values)
    if operator in ("<=", ">"):
        up_to = is_below(math.floor(number) + 1)
        return up_to if operator == "<=" else lambda values: not up_to(values)
    under, through = is_below(math.ceil(number)), is_below(math.floor(number) + 1)
    wanted = operator == "=="
    return lambda values: (through(values) and not under(values)) is wanted


def _rank(quantile: float, count: int) -> int:
    """Which of so many responses, from the quickest, is the quantile; 1 is the first."""
    return max(1, min(count, int(quantile / 100 * count + 0.5)))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _place(counter: Counter, counters: list[Counter]) -> int:
    if counter not in counters:
        counters.append(counter)
    return counters.index(counter)


_COMPARE: Final[dict[Operator, Callable[[float, float], bool]]] = {
    "==": operators.eq, "!=": operators.ne, "<": operators.lt,
    "<=": operators.le, ">": operators.gt, ">=": operators.ge,
}  # fmt: skip
