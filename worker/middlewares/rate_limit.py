"""rateLimit: so many requests in a time, per source, over all workers (spec v2 section 4.4).

A request whose token comes soon is held until then; one that would wait longer is refused and told when to
come again.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from shared.arena_block import Block
from shared.cells import LimitCell
from shared.config.middlewares import RateLimit
from shared.units import format_duration
from worker import replies
from worker.exchange import Exchange
from worker.messages import Response
from worker.middlewares.source import BY_CLIENT, make_source
from worker.middlewares.state import StepState
from worker.pipeline import OPEN_GATE, Gate, Handler
from worker.token_bucket import TokenBuckets, make_rate

STATUS = 429


class RateLimitStep:
    """Takes a token for every request: an ``AsyncStep``, as requests may be held."""

    __slots__ = ("_block", "_buckets", "_clock", "_source")

    def __init__(self, options: RateLimit, state: StepState) -> None:
        self._source = make_source(options.source_criterion, BY_CLIENT)
        self._clock = state.clock
        self._block = state.block()
        self._buckets: TokenBuckets | None = None
        if options.average > 0:  # 0 is no limit
            rate = make_rate(options.average, options.period, options.burst)
            self._buckets = TokenBuckets(rate, state.keyed())

    async def __call__(self, exchange: Exchange, call_next: Handler) -> Response:
        """Go on, at once or in a moment, or refuse."""
        if self._buckets is None or exchange.resumption is not None:
            return await call_next(exchange)
        is_taken, delay_s = self._buckets.take(self._source(exchange), self._clock())
        if not is_taken:
            self._block.add(LimitCell.REFUSED)
            return _refusal(delay_s)
        self._block.add(LimitCell.PASSED)
        if delay_s:
            await trio.sleep(delay_s)
        return await call_next(exchange)

    def gate(self, exchange: Exchange) -> Gate:
        """Pass while there are tokens: see ``GatedStep``."""
        if self._buckets is None:
            return OPEN_GATE
        return _TokenGate(self._buckets, self._source(exchange), self._clock, self._block)


class _TokenGate(Gate):
    """A token for each that enters, if there is one at once."""

    __slots__ = ("_block", "_buckets", "_clock", "_source")
    is_lossless = False

    def __init__(
        self, buckets: TokenBuckets, source: bytes, clock: Callable[[], float], block: Block
    ) -> None:
        self._buckets = buckets
        self._source = source
        self._clock = clock
        self._block = block

    def enter(self) -> bool:
        """See ``Gate``."""
        is_taken, _ = self._buckets.take(self._source, self._clock(), may_wait=False)
        if is_taken:
            self._block.add(LimitCell.PASSED)
        return is_taken


def _refusal(delay_s: float) -> Response:
    response = replies.plain(STATUS)
    # Rounded first: 10 s, less what the clock lost in the last digit, must not become 11.
    response.headers.add(b"Retry-After", b"%d" % math.ceil(round(delay_s, 9)))
    response.headers.add(b"X-Retry-In", format_duration(delay_s).encode("utf-8"))
    return response
