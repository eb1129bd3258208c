"""retry: try again, with another server if there is one (spec v2 section 4.5).

What may be tried again:

=========================  =====================================  ==========================================
what went wrong            network errors (the default)           ``status``
=========================  =====================================  ==========================================
no connection was made     every method, whatever the body        -
the server answered or     never: it may have acted               if our answer has a listed status, the
may have read the request                                         method is idempotent (or that does not
                                                                  matter), and the body can be sent again
=========================  =====================================  ==========================================

``attempts`` are tries in all; the last answer goes to the client. The service chooses the server of each try
and avoids the one of the try before. Every try sees the request as it came to this step.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from shared.config.middlewares import Retry
from shared.errors import ConnectFailed, ConnectTimeout, DownstreamError, ExchangeError
from shared.headers import Headers
from shared.status_ranges import StatusRanges
from worker.exchange import Exchange
from worker.messages import Body, Request, Response
from worker.pipeline import OPEN_GATE, Gate, Handler
from worker.replay import ContinuedBody, give_up, read_up_to

SWITCHING_PROTOCOLS = 101
_NOT_IDEMPOTENT = frozenset({"POST", "PATCH", "LOCK"})
_JITTER = 0.5


class RetryStep:
    """An ``AsyncStep`` around everything behind it."""

    __slots__ = ("_options", "_random", "_statuses")

    def __init__(self, options: Retry, random_number: Callable[[], float] = random.random) -> None:
        self._options = options
        self._statuses = StatusRanges(options.status)
        self._random = random_number

    async def __call__(self, exchange: Exchange, call_next: Handler) -> Response:
        """The first answer that stands, or the last one."""
        body = exchange.request.body
        try:
            return await self._try(exchange, call_next)
        finally:
            exchange.request.body = body  # the connection asks it how much was read

    def gate(self, exchange: Exchange) -> Gate:
        """Pass always; what may have to be tried again is no final answer: see ``GatedStep``."""
        return _FinalAnswers(self._statuses) if self._options.status else OPEN_GATE

    async def _try(self, exchange: Exchange, call_next: Handler) -> Response:
        began = trio.current_time()
        make_body = await self._body_maker(exchange.request)
        untouched = _Picture(exchange.request)
        kept_endings = len(exchange.endings)
        for number in range(1, self._options.attempts):
            response, error = await self._once(exchange, call_next)
            if not self._may_try_again(exchange.request, response, error, make_body is not None):
                return _result(response, error)
            pause_s = self._pause_s(number)
            if self._options.timeout and trio.current_time() + pause_s - began > self._options.timeout:
                return _result(response, error)
            if response is not None:
                await give_up(response.body)
            exchange.end(kept_endings)
            exchange.resumption = None  # the next try begins at the beginning
            exchange.upstream_status = None
            await trio.sleep(pause_s)
            untouched.restore(exchange.request)
            if make_body is not None:
                exchange.request.body = make_body()
        return await call_next(exchange)

    async def _once(
        self, exchange: Exchange, call_next: Handler
    ) -> tuple[Response | None, ExchangeError | None]:
        try:
            response = await call_next(exchange)
        except DownstreamError:
            raise
        except ExchangeError as error:
            return None, error
        return response, exchange.error

    def _may_try_again(
        self,
        request: Request,
        response: Response | None,
        error: ExchangeError | None,
        is_replayable: bool,
    ) -> bool:
        if isinstance(error, DownstreamError):
            return False
        if (
            isinstance(error, ConnectFailed | ConnectTimeout)
            and not self._options.disable_retry_on_network_error
        ):
            return True
        status = response.status if response is not None else error.status if error is not None else 0
        return is_replayable and status in self._statuses and status != SWITCHING_PROTOCOLS

    async def _body_maker(self, request: Request) -> Callable[[], Body] | None:
        """What makes the body anew for each try; None if it may be sent once only.

        A body is read ahead only if an answer can make us send it again: without a connection, none of it
        was read.
        """
        options = self._options
        if not options.status or (
            request.method in _NOT_IDEMPOTENT and not options.retry_non_idempotent_method
        ):
            return None
        if request.body.length == 0:
            body = request.body
            return lambda: body
        content, is_whole = await read_up_to(request.body, options.max_request_body_bytes)
        if not is_whole:
            request.body = ContinuedBody(content, request.body)
            return None
        request.body = KeptBody(content)
        return lambda: KeptBody(content)

    def _pause_s(self, number: int) -> float:
        """After try ``number``: grows to twice the initial interval, and varies by half."""
        first_s = self._options.initial_interval
        if first_s <= 0:
            return 0.0
        growth = 2 ** (1 / (self._options.attempts - 1))
        return first_s * growth ** (number - 1) * (1 - _JITTER + 2 * _JITTER * self._random())


class _FinalAnswers(Gate):
    """Everyone may enter, but not every answer leaves."""

    __slots__ = ("_statuses",)

    def __init__(self, statuses: StatusRanges) -> None:
        self._statuses = statuses

    def is_final(self, status: int) -> bool:
        """See ``Gate``."""
        return status not in self._statuses


class KeptBody:
    """A body that is here and can be made again. Unlike ``BytesBody`` it is sent while the answer comes."""

    __slots__ = ("_rest", "length")
    trailers: Headers | None = None

    def __init__(self, content: bytes) -> None:
        self._rest = content
        self.length: int | None = len(content)

    async def receive(self) -> bytes:
        """All of it at once, then the end."""
        content, self._rest = self._rest, b""
        return content

    async def aclose(self) -> None:
        """Nothing to release."""
        self._rest = b""


class _Picture:
    """What steps behind us may change in a request."""

    def __init__(self, request: Request) -> None:
        self._path = request.path
        self._query = request.query
        self._host_header = request.host_header
        self._headers = request.headers.copy()

    def restore(self, request: Request) -> None:
        """Undo what they changed."""
        request.path = self._path
        request.query = self._query
        request.host_header = self._host_header
        request.headers = self._headers.copy()


def _result(response: Response | None, error: ExchangeError | None) -> Response:
    if response is not None:
        return response
    assert error is not None, "a try has an answer or an error"
    raise error
