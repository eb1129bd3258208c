"""The chain around an exchange: its steps, and how they are composed into one handler.

A step says by its type whether it can run synchronously. A ``SyncStep`` never waits, so both lanes can run
it; an ``AsyncStep`` may wait and belongs to the general lane. Chains are composed once, when a route is
first used after a table was installed, never per request.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from shared.errors import ExchangeError

if TYPE_CHECKING:
    from worker.exchange import Exchange
    from worker.messages import Response

Handler = Callable[["Exchange"], Awaitable["Response"]]


class SyncStep:
    """A step that only looks at and changes heads; both hooks return at once. Override what is needed."""

    __slots__ = ()
    is_pure = False
    """Whether both hooks depend on nothing but the head, the peer and the step's options: neither on the time
    nor on chance nor on other exchanges. Then their effect may be remembered with the head."""

    def on_request(self, exchange: Exchange) -> Response | None:
        """Change ``exchange.request``, or answer: then nothing behind this step sees the request."""
        return None

    def on_response(self, exchange: Exchange, response: Response) -> None:
        """Change the response head on its way out. Called for every answer from behind this step."""


@runtime_checkable
class AsyncStep(Protocol):
    """A step that may wait: it calls ``call_next`` once to go on, or answers without it."""

    async def __call__(self, exchange: Exchange, call_next: Handler) -> Response:
        """Handle the exchange."""


class Gate:
    """How the plain lane passes a step that counts or chooses; asked for every exchange like one."""

    __slots__ = ()
    is_lossless = True
    """Whether ``leave`` gives back what ``enter`` took, as if nobody had come."""

    def enter(self) -> bool:
        """Whether an exchange may pass now. If not, nothing was taken from anybody."""
        return True

    def is_final(self, status: int) -> bool:
        """Whether an answer of this status goes to the client; else the step itself has to see it."""
        return True

    def leave(self, status: int, duration_s: float) -> None:
        """An exchange that entered is over; ``status`` is 0 if its client did not wait for an answer."""


@runtime_checkable
class GatedStep(Protocol):
    """A step that lets most exchanges pass at once and does not touch their answers' heads.

    So its routes may be in the plain lane. When that lane hands an exchange over (``Exchange.resumption``),
    the exchange has entered; leaving is then for the step to see to.
    """

    def gate(self, exchange: Exchange) -> Gate | None:
        """What is asked for every exchange like this one; None if this one needs the step itself."""


OPEN_GATE = Gate()
"""Lets everyone pass."""


Step = SyncStep | AsyncStep


def compose(steps: Sequence[Step], endpoint: Handler) -> Handler:
    """One handler that runs ``steps`` in order around ``endpoint``."""
    handler = endpoint
    for step in reversed(steps):
        handler = _around_sync(step, handler) if isinstance(step, SyncStep) else _around_async(step, handler)
    return handler


def runs_at_once(steps: Sequence[Step]) -> bool:
    """Whether the chain can do without waiting, and its effect on a head be remembered."""
    return all(isinstance(step, GatedStep) or (isinstance(step, SyncStep) and step.is_pure) for step in steps)


def _around_sync(step: SyncStep, call_next: Handler) -> Handler:
    async def handle(exchange: Exchange) -> Response:
        answer = step.on_request(exchange)
        if answer is not None:
            return answer
        try:
            response = await call_next(exchange)
        except ExchangeError as error:
            # The answer is made where the error ends; the fields of this step belong on it all the same.
            error.on_reply.append(functools.partial(step.on_response, exchange))
            raise
        step.on_response(exchange, response)
        return response

    return handle


def _around_async(step: AsyncStep, call_next: Handler) -> Handler:
    async def handle(exchange: Exchange) -> Response:
        return await step(exchange, call_next)

    return handle
