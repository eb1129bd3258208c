"""inFlightReq: so many requests at a time, per source, over all workers (spec v2 section 4.4).

A worker counts its request first and looks at the sum then: two that come at once may both be refused when
one place is left, but there are never too many. What a worker had in flight when it died is not counted any
more once the master has cleared its cells.
"""

from __future__ import annotations

import functools
import math

from shared.cells import InFlightCell, LimitCell
from shared.config.middlewares import InFlightReq
from worker import replies
from worker.exchange import Exchange
from worker.messages import Response
from worker.middlewares.source import BY_HOST, make_source
from worker.middlewares.state import StepState
from worker.pipeline import Gate, SyncStep

STATUS = 429


class InFlightReqStep(SyncStep):
    """Counts requests until they end, and refuses those over the amount."""

    __slots__ = ("_amount", "_block", "_clock", "_keyed", "_refusal", "_source")

    def __init__(self, options: InFlightReq, state: StepState) -> None:
        self._amount = options.amount
        self._source = make_source(options.source_criterion, BY_HOST)
        self._keyed = state.keyed()
        self._block = state.block()
        self._clock = state.clock
        self._refusal = f"max connections reached: {options.amount}"

    def on_request(self, exchange: Exchange) -> Response | None:
        """Take a place until the exchange ends, or refuse."""
        key = self._source(exchange)
        if exchange.resumption is None and not self.enter(key):
            self._block.add(LimitCell.REFUSED)
            return replies.plain(STATUS, self._refusal)
        exchange.endings.append(functools.partial(self.release, key))
        return None

    def gate(self, exchange: Exchange) -> Gate:
        """Pass while there are places: see ``GatedStep``."""
        return _PlaceGate(self, self._source(exchange))

    def enter(self, key: bytes) -> bool:
        """Take a place for a request of this source; False if there is none."""
        cells = self._keyed.own(key)
        cells.add(InFlightCell.GAUGE)
        cells.keep_until(math.inf)
        own = cells.get(InFlightCell.GAUGE)
        if own + sum(each.get(InFlightCell.GAUGE) for each in self._keyed.others(key)) > self._amount:
            self.release(key)
            return False
        self._block.add(LimitCell.PASSED)
        return True

    def release(self, key: bytes) -> None:
        """Give a place back."""
        cells = self._keyed.own(key)
        left = max(0, cells.get(InFlightCell.GAUGE) - 1)  # 0 already if a flood of keys displaced it
        cells.set(InFlightCell.GAUGE, left)
        if not left:
            cells.keep_until(self._clock())


class _PlaceGate(Gate):
    """A place for each that is inside."""

    __slots__ = ("_key", "_step")

    def __init__(self, step: InFlightReqStep, key: bytes) -> None:
        self._step = step
        self._key = key

    def enter(self) -> bool:
        """See ``Gate``."""
        return self._step.enter(self._key)

    def leave(self, status: int, duration_s: float) -> None:
        """See ``Gate``."""
        self._step.release(self._key)
