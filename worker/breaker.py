"""A circuit breaker of the whole proxy: all workers count for it, and it opens once, for all of them.

::

    standby    --condition holds after a response-->  tripped
    tripped    --first request after the fallback-->  recovering
    recovering --condition holds after a response-->  tripped
    recovering --first request after the recovery-->  standby

The state is the latest event that any worker told: its moment in microseconds and its kind, in one cell. The
cell is one word, so it is read whole, and the largest over all columns is the latest. A worker that sees the
condition hold writes that cell; every other worker reads it before its next request. The arena keeps it when
workers go, so an open breaker stays open. Two workers that decide within the same microseconds decide alike.

While it recovers, a share of the requests that grows from nothing to a half is let through, over the proxy.
Nothing happens without requests.

Source: spec v1 section 4.5, spec v2 section 4.5.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from shared.arena_block import Block
from shared.breaker_counters import Question
from shared.cells import BreakerCell
from shared.config.middlewares import CircuitBreaker
from worker.window import MICROSECONDS, Window

logger = logging.getLogger(__name__)

RATIO_BUCKETS: Final = 10
RATIO_WIDTH_S: Final = 1
"""Ratios look back ten seconds."""
LATENCY_BUCKETS: Final = 6
LATENCY_WIDTH_S: Final = 10
"""Latencies look back a minute."""
_KIND_BITS: Final = 2
_MOST_ADMITTED: Final = 0.5


class State(IntEnum):
    """What a breaker does with requests; values are written into the arena."""

    STANDBY = 0
    TRIPPED = 1
    RECOVERING = 2


class Breaker:
    """One breaker, as one worker sees it.

    Args:
        name: for the log.
        options: its periods.
        question: its condition, as a question about ``windows``.
        block: of the breaker.
        windows: one rolling counter per counter of the question.
        clock: seconds, the same for all workers.
    """

    def __init__(
        self,
        name: str,
        options: CircuitBreaker,
        question: Question,
        block: Block,
        windows: tuple[Window, ...],
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._question = question
        self._block = block
        self._windows = windows
        self._clock = clock
        self._check_us = _microseconds(options.check_period)
        self._fallback_us = _microseconds(options.fallback_duration)
        self._recovery_us = _microseconds(options.recovery_duration)
        self._next_check_us = 0

    @property
    def state(self) -> State:
        """What it is in now, for all workers."""
        return self._read()[0]

    def admit(self) -> bool:
        """Whether a request may go on. Counts it if the breaker recovers."""
        state, since_us = self._read()
        if state is State.STANDBY:
            return True
        now_us = self._now_us()
        if state is State.TRIPPED:
            if now_us < since_us + self._fallback_us:
                self._block.add(BreakerCell.REFUSED)
                return False
            self._tell(State.RECOVERING, now_us)
            logger.info("circuit breaker %s begins to recover", self._name)
            since_us = now_us
        elif now_us > since_us + self._recovery_us:
            self._tell(State.STANDBY, now_us)
            logger.info("circuit breaker %s is closed again", self._name)
            return True
        return self._admit_share(now_us, since_us)

    def record(self, status: int, latency_s: float) -> None:
        """Count a response, and open if the condition holds now."""
        state, _ = self._read()
        now_us = self._now_us()
        reset_us = self._block.latest(BreakerCell.TRIPPED_AT)
        latency_ms = int(latency_s * 1000)
        for counter, window in zip(self._question.counters, self._windows, strict=True):
            if counter.counts(status, latency_ms):
                window.add(now_us, reset_us)
        if now_us <= self._next_check_us and self._next_check_us:
            return
        self._next_check_us = now_us + self._check_us
        if state is not State.TRIPPED and self._holds(now_us, reset_us):
            self._trip(now_us)

    def _holds(self, now_us: int, reset_us: int) -> bool:
        return self._question.holds([window.total(now_us, reset_us) for window in self._windows])

    def _trip(self, now_us: int) -> None:
        self._block.set(BreakerCell.TRIPPED_AT, now_us + 1)  # what was counted until now does not count again
        self._tell(State.TRIPPED, now_us)
        self._block.add(BreakerCell.TRIPS)
        logger.warning("circuit breaker %s opens for %g s", self._name, self._fallback_us / MICROSECONDS)

    def _admit_share(self, now_us: int, since_us: int) -> bool:
        """Let through what keeps the share of the admitted below the one that is due by now."""
        block = self._block
        if block.get_own(BreakerCell.SHARE_OF) != since_us:
            block.set(BreakerCell.SHARE_OF, 0)
            block.set(BreakerCell.ALLOWED, 0)
            block.set(BreakerCell.DENIED, 0)
            block.set(BreakerCell.SHARE_OF, since_us)
        allowed, denied = self._share_so_far(since_us)
        due = _MOST_ADMITTED * (now_us - since_us) / self._recovery_us
        is_admitted = (allowed + 1) / (allowed + 1 + denied) < due
        block.add(BreakerCell.ALLOWED if is_admitted else BreakerCell.DENIED)
        if not is_admitted:
            block.add(BreakerCell.REFUSED)
        return is_admitted

    def _share_so_far(self, since_us: int) -> tuple[int, int]:
        marks = self._block.marked_values(BreakerCell.SHARE_OF)
        allowed = self._block.marked_values(BreakerCell.ALLOWED)
        denied = self._block.marked_values(BreakerCell.DENIED)
        ours = [place for place, mark in enumerate(marks) if mark == since_us]
        return sum(allowed[place] for place in ours), sum(denied[place] for place in ours)

    def _read(self) -> tuple[State, int]:
        event = self._block.latest(BreakerCell.EVENT)
        return State(event & ((1 << _KIND_BITS) - 1)), event >> _KIND_BITS

    def _tell(self, state: State, now_us: int) -> None:
        self._block.set(BreakerCell.EVENT, now_us << _KIND_BITS | state)

    def _now_us(self) -> int:
        return int(self._clock() * MICROSECONDS)


def _microseconds(seconds: float) -> int:
    return round(seconds * MICROSECONDS)
