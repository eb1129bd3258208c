"""One request and its response: the single object that travels through the chain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from shared.cells import ServerCell
from shared.errors import ExchangeError
from shared.headers import Headers
from worker.messages import Request

if TYPE_CHECKING:
    import trio

    from shared.arena_block import Block
    from shared.config.static import EntryPoint
    from worker.resumption import Resumption
    from worker.routes import Route
    from worker.tls.stream import TlsSession

OnInterim = Callable[[int, bytes, Headers], Awaitable[None]]


class Exchange:
    """What is known about one exchange while it runs; the access record is written from it.

    Attributes:
        request: the request; middlewares change it.
        entrypoint_name, entrypoint: where it came in.
        route: the route that won, None until matched or when none did.
        username: who authenticated, for the access log.
        server_url: the server that answered, or the last one tried.
        error: why there is no proper answer, if so.
        cause: the word for it (see ``worker.causes``); empty if nothing.
        error_id: what the client was told about it; empty if nothing.
        attempts: how many servers were tried.
        cookies: values of Set-Cookie that services add to the answer.
        append_forwarded_for: False once a middleware removed X-Forwarded-For on purpose.
        upstream_connect_s, first_byte_s: durations, None until they happened.
        uploads: where request bodies are sent from while the response comes; None when there is no body.
        endings: what to do when the exchange is over, whatever became of it; latest first.
        resumption: what the plain lane did of it already, if it began there.
        session: of its connection, if that is TLS.
        on_interim: passes 1xx responses (status, reason, fields) to the client, if it understands them.
    """

    __slots__ = (
        "append_forwarded_for",
        "attempts",
        "bytes_in",
        "bytes_out",
        "cause",
        "cookies",
        "endings",
        "entrypoint",
        "entrypoint_name",
        "error",
        "error_id",
        "first_byte_s",
        "generation",
        "occupied",
        "on_interim",
        "request",
        "resumption",
        "route",
        "server_url",
        "session",
        "started_at",
        "status",
        "tls",
        "uploads",
        "upstream_connect_s",
        "upstream_status",
        "username",
    )

    def __init__(
        self, request: Request, entrypoint_name: str, entrypoint: EntryPoint, *, tls: bool = False
    ) -> None:
        self.request = request
        self.entrypoint_name = entrypoint_name
        self.entrypoint = entrypoint
        self.tls = tls
        self.generation = 0
        self.route: Route | None = None
        self.username: str | None = None
        self.server_url: str | None = None
        self.error: ExchangeError | None = None
        self.error_id = ""
        self.cause = ""
        self.attempts = 0
        self.cookies: list[bytes] = []
        self.occupied: Block | None = None
        self.append_forwarded_for = True
        self.bytes_in = 0
        self.bytes_out = 0
        self.status = 0
        self.upstream_status: int | None = None
        self.started_at = 0.0
        self.upstream_connect_s: float | None = None
        self.first_byte_s: float | None = None
        self.uploads: trio.Nursery | None = None
        self.on_interim: OnInterim | None = None
        self.resumption: Resumption | None = None
        self.session: TlsSession | None = None
        self.endings: list[Callable[[], None]] = []

    def occupy(self, block: Block) -> None:
        """The exchange is at this server from now on, and at no other."""
        self.leave_server()
        self.occupied = block
        block.add(ServerCell.IN_FLIGHT)

    def leave_server(self) -> None:
        """The exchange is at no server any more. Safe to call twice; its maker calls it last."""
        if self.occupied is not None:
            self.occupied.add(ServerCell.IN_FLIGHT, -1)
            self.occupied = None

    def end(self, keep: int = 0) -> None:
        """Do what was left for the end, except for the first ``keep``: those belong to who goes on."""
        while len(self.endings) > keep:
            self.endings.pop()()
