"""Why an exchange got no proper answer, as one short word that does not change from release to release.

The word goes into the log line of a failure and into the access record, to filter by and to raise alarms on.

    connect-refused, connect-timeout,    no connection to the server; nothing was sent
    name-not-found, connect-failed
    no-free-connection                   too many connections to the server are in use
    certificate-refused                  TLS with the server failed
    reset-before-headers                 the server ended the connection instead of answering
    reset-after-headers                  the server ended the connection inside its answer
    bad-response                         the server's answer is not proper HTTP
    response-timeout                     the server did not begin to answer in time
    all-servers-down                     health checks or failed exchanges put every server out
    no-server                            the service has no server, or none takes new sessions
    breaker-open                         a circuit breaker is open
    too-many-in-flight                   a limit on concurrent exchanges
    no-route, misdirected, bad-request,  not the server's doing
    client-gone
    internal                             ours
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from shared.errors import (
    BreakerOpen,
    ClientGone,
    ConnectFailed,
    ConnectTimeout,
    DownstreamError,
    ExchangeError,
    Misdirected,
    NoRoute,
    NoServerAvailable,
    PoolTimeout,
    ResponseTimeout,
    ServersDown,
    TooManyInFlight,
    UpstreamGone,
    UpstreamProtocolError,
    UpstreamUntrusted,
)

INTERNAL = "internal"
RESET_BEFORE, RESET_AFTER = "reset-before-headers", "reset-after-headers"

_WORDS: tuple[tuple[type[ExchangeError], str], ...] = (
    (ConnectTimeout, "connect-timeout"),
    (PoolTimeout, "no-free-connection"),
    (UpstreamUntrusted, "certificate-refused"),
    (UpstreamProtocolError, "bad-response"),
    (ResponseTimeout, "response-timeout"),
    (ServersDown, "all-servers-down"),
    (NoServerAvailable, "no-server"),
    (BreakerOpen, "breaker-open"),
    (TooManyInFlight, "too-many-in-flight"),
    (NoRoute, "no-route"),
    (Misdirected, "misdirected"),
    (ClientGone, "client-gone"),
    (DownstreamError, "bad-request"),
)
"""Subclasses before their bases."""
_MAX_CAUSES = 8
"""Links of a chain of exceptions that are looked at."""


def cause_of(error: ExchangeError, *, after_headers: bool = False) -> str:
    """The word for an error.

    Args:
        error: that ended an exchange.
        after_headers: whether the head of the server's answer was passed on already.
    """
    if isinstance(error, UpstreamGone):
        return RESET_AFTER if after_headers else RESET_BEFORE
    if isinstance(error, ConnectFailed):
        return _connect_word(error)
    return next((word for kind, word in _WORDS if isinstance(error, kind)), INTERNAL)


def _connect_word(error: ConnectFailed) -> str:
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return "name-not-found"
        if isinstance(cause, OSError) and cause.errno == errno.ECONNREFUSED:
            return "connect-refused"
    return "connect-failed"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What is behind an error. Of several addresses that were tried, the first one's failure counts."""
    inner: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if inner is None:
            return
        yield inner
        inner = inner.exceptions[0] if isinstance(inner, BaseExceptionGroup) else inner.__cause__
