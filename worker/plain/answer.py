"""What becomes of a server's response head: worked out by the general lane's functions, remembered. Pure.

A server answers with the same head for as long as its Date stands still.
"""

from __future__ import annotations

from typing import Any

from shared.errors import ExchangeError
from shared.headers import Headers
from worker.exchange import Exchange
from worker.forwarded import without_hop_fields
from worker.messages import Response
from worker.pipeline import SyncStep
from worker.response_head import decide_framing, encode_response_head
from worker.upstream import UpstreamHead, parse_head

MAX_ANSWERS = 32
"""Response heads remembered per plan; a server's Date makes a new one every second."""
MAX_SHARED_ANSWERS = 1_024
"""Response heads remembered per kind of request, for all routes without steps."""
MAX_ANSWER_HEAD_BYTES = 8_192
"""Longer heads are not remembered: they are rare, and memory is for the many."""


class Answer:
    """What becomes of a response head.

    Attributes:
        head: the bytes for the client.
        body_length: bytes of body that follow.
        is_reusable: whether the server's connection stays open.
        is_lasting: whether the same head will mean the same later; not where we add the Date.
    """

    __slots__ = ("body_length", "head", "is_lasting", "is_reusable", "status")

    def __init__(
        self, head: bytes, status: int, body_length: int, *, is_reusable: bool, is_lasting: bool
    ) -> None:
        self.head = head
        self.status = status
        self.body_length = body_length
        self.is_reusable = is_reusable
        self.is_lasting = is_lasting


class Answers:
    """The answers that one kind of request gets, by their heads as the server sent them.

    Args:
        limit: most that are remembered.
    """

    __slots__ = ("_known", "_limit")

    def __init__(self, limit: int = MAX_ANSWERS) -> None:
        self._known: dict[bytes, Answer] = {}
        self._limit = limit

    def get(self, raw_head: bytes, exchange: Exchange, *, keep_alive: bool) -> Answer | None:
        """What becomes of a head; None if the answer is not plain."""
        known = self._known.get(raw_head)
        if known is not None:
            return known
        made = make_answer(exchange, raw_head, keep_alive=keep_alive)
        if made is not None and made.is_lasting and len(raw_head) <= MAX_ANSWER_HEAD_BYTES:
            if len(self._known) >= self._limit:
                self._known.clear()
            self._known[raw_head] = made
        return made


class _Announced:
    """Stands for a body of which only the length matters."""

    trailers: Headers | None = None

    def __init__(self, length: int | None) -> None:
        self.length = length

    async def receive(self) -> bytes:
        """Never called: the lane moves the bytes itself."""
        raise AssertionError("the plain lane reads bodies from the socket")

    async def aclose(self) -> None:
        """Nothing to release."""


def make_answer(exchange: Exchange, raw_head: bytes, *, keep_alive: bool) -> Answer | None:
    """What becomes of a head in this exchange; None if the answer is not plain."""
    try:
        head = parse_head(raw_head)
    except ExchangeError:
        return None
    body_length = _body_length(exchange, head)
    if body_length is None or not raw_head.startswith(b"HTTP/1.1 "):
        return None
    body: Any = _Announced(head.announced_length)
    response = Response(
        head.status, without_hop_fields(head.headers), body, reason=head.reason, from_upstream=True
    )
    assert exchange.route is not None, "a plan has a route"
    for step in reversed(exchange.route.steps):
        if isinstance(step, SyncStep):
            step.on_response(exchange, response)
    framing = decide_framing(exchange.request, response)
    raw = encode_response_head(exchange.request, response, framing, keep_alive=keep_alive)
    return Answer(
        raw,
        response.status,
        body_length,
        is_reusable=b"close" not in head.headers.tokens(b"connection"),
        is_lasting=b"date" in response.headers,
    )


def _body_length(exchange: Exchange, head: UpstreamHead) -> int | None:
    """Bytes behind the head; None if that is not known beforehand, or the answer is not a final one."""
    if head.status < 200 or b"transfer-encoding" in head.headers:
        return None
    if exchange.request.method == "HEAD" or head.status in (204, 304):
        return 0
    return head.announced_length
