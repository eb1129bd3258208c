"""Every error Penstock raises on purpose, in one tree.

Foreign errors (h11, trio, ssl, OSError) are mapped where they arise, with ``raise ... from``; above that
line only these travel. A client is told the status and a short id, never the text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

Side = Literal["downstream", "upstream", "internal"]
Retry = Literal["never", "always", "if-reused"]


class ProxyError(Exception):
    """Root of all errors that Penstock raises on purpose."""


class ConfigError(ProxyError):
    """A setting that cannot be honoured.

    Args:
        path: where it stands, dotted (``http.routers.web.rule``); empty for the whole document.
        reason: what is wrong, in words for the operator.
        hint: the nearest valid name, if there is one.
    """

    def __init__(self, path: str, reason: str, hint: str | None = None) -> None:
        self.path = path
        self.reason = reason
        self.hint = hint
        suffix = f'; did you mean "{hint}"?' if hint else ""
        super().__init__(f"{path}: {reason}{suffix}" if path else f"{reason}{suffix}")


class UsageError(ProxyError):
    """The command line asks for something that does not exist (exit code 2)."""


class TableError(ProxyError):
    """The bytes of a routing table are not what this program can read."""


class ArenaError(ProxyError):
    """The arena is full, or is not what this program can use."""


class ControlError(ProxyError):
    """The control channel between master and worker said something unexpected."""


class WorkerBootError(ProxyError):
    """A worker could not start serving (exit code 3)."""


class PortInUseError(ProxyError):
    """An entrypoint's address is taken (exit code 4)."""


class AlreadyRunningError(ProxyError):
    """Another master owns the runtime directory (exit code 5)."""


class ProviderError(ProxyError):
    """A provider could not deliver; its last snapshot stays live."""

    def __init__(self, provider: str, reason: str, retry_after_s: float | None = None) -> None:
        self.provider = provider
        self.reason = reason
        self.retry_after_s = retry_after_s
        super().__init__(f"provider {provider}: {reason}")


class ExchangeError(ProxyError):
    """One exchange failed. The class says who is to blame, what the client gets and what may be retried.

    Attributes:
        on_reply: what the steps that the error passed on its way out do to the answer, innermost first.
    """

    side: ClassVar[Side] = "internal"
    status: ClassVar[int] = 500
    retry: ClassVar[Retry] = "never"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.on_reply: list[Callable[[Any], None]] = []


class DownstreamError(ExchangeError):
    """The client did something that ends the exchange."""

    side = "downstream"
    status = 400


class BadRequest(DownstreamError):
    """The message is malformed or ambiguous (RFC 9112 section 6.3: refused, not repaired)."""


class RequestTimeout(DownstreamError):
    """The head or the body did not arrive in time (RFC 9110 section 15.5.9)."""

    status = 408


class ContentTooLarge(DownstreamError):
    """The body is over a configured limit (RFC 9110 section 15.5.14)."""

    status = 413


class UriTooLong(DownstreamError):
    """The request target is over the limit (RFC 9110 section 15.5.15)."""

    status = 414


class HeadersTooLarge(DownstreamError):
    """The head is over the limit in bytes or in number of fields (RFC 6585 section 5)."""

    status = 431


class MethodNotImplemented(DownstreamError):
    """CONNECT over HTTP/1.1, or a transfer coding we do not speak (RFC 9110 section 15.6.2)."""

    status = 501


class VersionNotSupported(DownstreamError):
    """Not HTTP/1.0 or HTTP/1.1 (RFC 9110 section 15.6.6)."""

    status = 505


class ClientGone(DownstreamError):
    """The client went away; 499 appears in the log only."""

    status = 499


class RoutingError(ExchangeError):
    """The request has nowhere to go."""


class NoRoute(RoutingError):
    """No router matches."""

    status = 404


class Misdirected(RoutingError):
    """The request came over a connection that was made under other TLS options than its router's."""

    status = 421


class NoServerAvailable(RoutingError):
    """The service has no usable server.

    Attributes:
        is_v1: whether the client is told in v1's words.
    """

    status = 503
    is_v1 = False


class ServersDown(NoServerAvailable):
    """Every server of the service is down."""


class BreakerOpen(RoutingError):
    """A circuit breaker lets nothing through at the moment; what the client gets is configured."""

    status = 503


class TooManyInFlight(RoutingError):
    """A limit on concurrent exchanges is reached."""

    status = 503


class UpstreamError(ExchangeError):
    """The server failed us."""

    side = "upstream"
    status = 502


class ConnectFailed(UpstreamError):
    """No connection could be made; nothing was sent."""

    retry = "always"


class ConnectTimeout(UpstreamError):
    """The connection was not made within the dial timeout; nothing was sent."""

    status = 504
    retry = "always"


class PoolTimeout(UpstreamError):
    """No connection became free in time."""

    status = 503


class UpstreamUntrusted(UpstreamError):
    """The server's certificate was refused."""

    status = 500


class UpstreamProtocolError(UpstreamError):
    """The server's answer is not HTTP that may be passed on."""


class ResponseTimeout(UpstreamError):
    """The response head did not arrive in time."""

    status = 504


class UpstreamGone(UpstreamError):
    """The connection ended before a response head arrived."""

    retry = "if-reused"
