"""One token bucket for a source, filled by the clock and emptied by all workers.

A bucket is one number: the moment at which it is full again. A request moves that moment on by the time in
which one token comes; it has to wait when the moment is further away than a full bucket lasts.

Every worker says, in its own cells of a source, how many it admitted in all, the moment as it knew it last,
and how many all workers together had admitted then. Who decides reads all of them, takes the furthest moment
(it has seen most) and moves it on for every admission that its teller had not seen; what comes out it says in
turn, also when it refuses. So what is admitted is exact but for decisions of the same microseconds. What a
worker said is said on by the master when it is gone, so a bucket is as empty as before.

How cells are written and read: ``shared.rate_cells``.

Source: spec v2 section 4.4; golang.org/x/time/rate says when a reservation has to wait.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from shared.arena_keyed import KeyedCells
from shared.rate_cells import Told, is_whole, others_words, own_words, say

MAX_LOOKS: Final = 8
"""Looks at cells that are being written; what is not whole then is left out but for its number."""
_SLOW_MAX_DELAY_S: Final = 0.5
NO_WAIT_S: Final = 1e-6
"""Waits shorter than this are the rounding of floats."""


class Rate(NamedTuple):
    """A configured limit.

    Attributes:
        interval_s: in which one token comes.
        burst: tokens that a bucket holds.
        max_delay_s: requests wait so long at most.
        forget_s: a source that says nothing for so long starts with a full bucket.
    """

    interval_s: float
    burst: int
    max_delay_s: float
    forget_s: float


def make_rate(average: int, period_s: float, burst: int) -> Rate:
    """The limit of ``average`` requests in ``period_s``; both above 0."""
    per_second = average / period_s
    whole = math.floor(per_second)
    return Rate(
        interval_s=period_s / average,
        burst=max(burst, 1),
        max_delay_s=1 / (2 * whole) if whole else _SLOW_MAX_DELAY_S,
        forget_s=1 + (1 if whole else math.floor(period_s / average)),
    )


def decide(rate: Rate, full_at: float, now: float) -> tuple[float, float]:
    """The moment after one more admission, and how long the request would have to wait for its token."""
    after = max(full_at, now) + rate.interval_s
    delay_s = after - now - rate.burst * rate.interval_s
    return after, delay_s if delay_s > NO_WAIT_S else 0.0


_NOTHING: Final = Told(0.0, 0, 0, is_fresh=True)


class TokenBuckets:
    """The buckets of all sources of one limit, as one worker sees them.

    Args:
        rate: the limit.
        keyed: cells of the sources.
    """

    def __init__(self, rate: Rate, keyed: KeyedCells) -> None:
        self._rate = rate
        self._keyed = keyed

    def take(self, key: bytes, now: float, *, may_wait: bool = True) -> tuple[bool, float]:
        """Take a token for a request, if it comes soon enough.

        Args:
            key: of the source.
            now: by the shared clock.
            may_wait: whether the request can wait for its token; else only one that is there is taken.

        Returns:
            Whether it was taken, and how long until it is there.
        """
        rate = self._rate
        cells = self._keyed.own(key)
        own = own_words(cells, now)
        total, latest, unseen = self._look(key, own, now)
        full_at = latest.full_at + unseen * rate.interval_s
        after, delay_s = decide(rate, full_at, now)
        is_taken = delay_s <= rate.max_delay_s if may_wait else not delay_s
        if is_taken:
            say(cells, Told(after, total + 1, own.admitted + 1, is_fresh=True))
        elif latest is not own or unseen:
            say(cells, Told(full_at, total, own.admitted, is_fresh=True))
        cells.keep_until(now + rate.forget_s)
        return is_taken, delay_s

    def _look(self, key: bytes, own: Told, now: float) -> tuple[int, Told, int]:
        """How many were admitted in all, the latest saying, and how many its teller had not seen.

        What is being written is looked at again, and so is a total that is smaller than what somebody has
        seen: one of the others admitted while we looked. It stays smaller when a worker is gone.
        """
        total, latest, unseen = 0, _NOTHING, 0
        for _ in range(MAX_LOOKS):
            views = list(self._keyed.others(key))
            everybody = [own, *(others_words(each, now) for each in views)]
            total = sum(each.admitted for each in everybody)
            latest = max((each for each in everybody if each.is_fresh), key=_moment, default=_NOTHING)
            # Whoever decides after a saying has seen it: only what was in hand then, one in each of the
            # others, can be unseen. More is the loss of a cell.
            unseen = min(max(0, total - latest.seen), len(views)) if latest is not _NOTHING else 0
            if total >= latest.seen and all(map(is_whole, views)):
                break
        return total, latest, unseen


def _moment(told: Told) -> float:
    return told.full_at
