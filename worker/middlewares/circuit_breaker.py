"""circuitBreaker: answers itself while the service behind it fails (spec v2 section 4.5).

What a response's latency is and when it counts: from the request to the last byte of the response, at that
moment. Failures that are the client's own do not count.
"""

from __future__ import annotations

import functools

from shared.config.middlewares import CircuitBreaker
from shared.errors import BreakerOpen, DownstreamError, ExchangeError
from shared.identities import breaker_question
from worker import replies
from worker.breaker import LATENCY_BUCKETS, LATENCY_WIDTH_S, RATIO_BUCKETS, RATIO_WIDTH_S, Breaker, State
from worker.exchange import Exchange
from worker.messages import Response
from worker.middlewares.state import StepState
from worker.pipeline import Gate, Handler
from worker.window import Window


class CircuitBreakerStep:
    """Asks the breaker before, tells it after."""

    __slots__ = ("_breaker", "_clock", "_status")

    def __init__(self, options: CircuitBreaker, state: StepState) -> None:
        self._breaker = make_breaker(options, state)
        self._clock = state.clock
        self._status = options.response_code

    async def __call__(self, exchange: Exchange, call_next: Handler) -> Response:
        """Go on, or answer that nobody is asked at the moment."""
        begun = exchange.resumption
        if begun is None and not self._breaker.admit():
            exchange.error = BreakerOpen("the circuit breaker is open")
            return replies.plain(self._status)
        started = self._clock() - (begun.elapsed_s if begun is not None else 0.0)
        try:
            response = await call_next(exchange)
        except DownstreamError:
            raise
        except ExchangeError as error:
            self._record(error.status, started)
            raise
        if not isinstance(exchange.error, DownstreamError):
            exchange.endings.append(functools.partial(self._record, response.status, started))
        return response

    def gate(self, exchange: Exchange) -> Gate:
        """Pass while the breaker is closed: see ``GatedStep``."""
        return _ClosedBreakerGate(self._breaker)

    def _record(self, status: int, started: float) -> None:
        self._breaker.record(status, self._clock() - started)


class _ClosedBreakerGate(Gate):
    """Open as long as the breaker is closed, and tells it what came of those who entered."""

    __slots__ = ("_breaker",)

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    def enter(self) -> bool:
        """See ``Gate``."""
        return self._breaker.state is State.STANDBY

    def leave(self, status: int, duration_s: float) -> None:
        """See ``Gate``."""
        if status:
            self._breaker.record(status, duration_s)


def make_breaker(options: CircuitBreaker, state: StepState) -> Breaker:
    """The breaker that checked options mean."""
    question = breaker_question(options.expression)
    windows = tuple(
        Window(state.window(number), LATENCY_BUCKETS, LATENCY_WIDTH_S)
        if counter.is_latency
        else Window(state.window(number), RATIO_BUCKETS, RATIO_WIDTH_S)
        for number, counter in enumerate(question.counters)
    )
    return Breaker(state.name, options, question, state.block(), windows, state.clock)
