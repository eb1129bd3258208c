"""The two messages of an exchange as the chain sees them, and the bodies they carry."""

from __future__ import annotations

from http import HTTPStatus
from typing import Protocol

from shared.headers import Headers


class Body(Protocol):
    """A stream of bytes that is read once. Not an async generator: clean-up must run when we say so."""

    @property
    def length(self) -> int | None:
        """Bytes in all if that was announced, None for a body that ends when it ends."""

    @property
    def trailers(self) -> Headers | None:
        """Trailer fields, known once ``receive`` has returned the end."""

    async def receive(self) -> bytes:
        """The next chunk; empty at the end. Reads from the wire only when called."""

    async def aclose(self) -> None:
        """Give up the rest. Safe to call twice and after the end."""


class BytesBody:
    """A body that is already here."""

    __slots__ = ("_rest", "length")
    trailers: Headers | None = None

    def __init__(self, content: bytes = b"") -> None:
        self._rest = content
        self.length: int | None = len(content)

    async def receive(self) -> bytes:
        """All of it at once, then the end."""
        content, self._rest = self._rest, b""
        return content

    async def aclose(self) -> None:
        """Nothing to release."""
        self._rest = b""


class Request:
    """One request after strict parsing and normalisation: what is matched is what is forwarded.

    Attributes:
        method: as sent; methods are case-sensitive.
        received_target: the request target as it came, for logs and redirects.
        path: the escaped path that will be sent on, starting with ``/`` (or ``*`` for OPTIONS); empty, and
            sent as ``/``, when a middleware has cut all of it. Middlewares change it. Routing uses the copies
            below, which they cannot change.
        query: the raw query without ``?``, or None when there was none.
        redirect_query: the same before ``;`` became ``&``: what clients are sent back to.
        headers: all fields but Host.
        host_header: the Host field as sent, with its port; middlewares may change it. Empty when absent.
        version: ``1.0`` or ``1.1``.
        client_ip, client_port: the peer.
        scheme: ``http`` or ``https``, by the connection (not by header).
        host, routing_path, decoded_path: see ``shared.rules.conditions.Matchable``.
    """

    __slots__ = (
        "body",
        "client_ip",
        "client_port",
        "decoded_path",
        "headers",
        "host",
        "host_header",
        "method",
        "path",
        "query",
        "received_target",
        "redirect_query",
        "routing_path",
        "routing_query",
        "scheme",
        "version",
    )

    def __init__(
        self,
        *,
        method: str,
        received_target: str,
        path: str,
        query: str | None,
        headers: Headers,
        host_header: str,
        host: str,
        routing_path: str,
        decoded_path: str,
        client_ip: str,
        client_port: int = 0,
        scheme: str = "http",
        version: str = "1.1",
        body: Body | None = None,
        redirect_query: str | None = None,
    ) -> None:
        self.method = method
        self.received_target = received_target
        self.path = path
        self.query = query
        self.headers = headers
        self.host_header = host_header
        self.host = host
        self.routing_path = routing_path
        self.decoded_path = decoded_path
        self.routing_query = query
        self.redirect_query = query if redirect_query is None else redirect_query
        self.client_ip = client_ip
        self.client_port = client_port
        self.scheme = scheme
        self.version = version
        self.body: Body = body if body is not None else BytesBody()

    def header_values(self, name: str) -> list[str]:
        """The values of a field as text, for rules (see ``Matchable``)."""
        values = self.headers.get_all(name.encode("utf-8", "surrogateescape"))
        return [value.decode("utf-8", "surrogateescape") for value in values]

    def query_values(self, key: str) -> list[str]:
        """The decoded values of a parameter, for rules (see ``Matchable``)."""
        from shared.paths import query_values

        return query_values(self.routing_query, key)

    @property
    def target(self) -> str:
        """The origin-form target that is sent on."""
        path = self.path or "/"
        return path if self.query is None else f"{path}?{self.query}"

    @property
    def redirect_target(self) -> str:
        """The target as a redirect names it: the path as it stands, the query as the client spelled it."""
        path = self.path or "/"
        return path if self.redirect_query is None else f"{path}?{self.redirect_query}"


class Response:
    """One response on its way to the client.

    Attributes:
        status: the final status code.
        headers: all fields but the framing ones (Content-Length and Transfer-Encoding follow from the body)
            and the connection-specific ones.
        body: what is streamed to the client.
        reason: the reason phrase; the standard one for the status by default.
        from_upstream: False for answers of our own.
    """

    __slots__ = ("body", "from_upstream", "headers", "reason", "status")

    def __init__(
        self,
        status: int,
        headers: Headers | None = None,
        body: Body | None = None,
        *,
        reason: bytes | None = None,
        from_upstream: bool = False,
    ) -> None:
        self.status = status
        self.headers = headers if headers is not None else Headers()
        self.body: Body = body if body is not None else BytesBody()
        self.reason = reason if reason is not None else reason_phrase(status)
        self.from_upstream = from_upstream


def reason_phrase(status: int) -> bytes:
    """The standard phrase of a status, or empty (RFC 9110 section 15; 499 as the field knows it)."""
    if status == 499:
        return b"Client Closed Request"
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""
