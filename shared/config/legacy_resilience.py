"""What stands before a v1 backend's servers: breaker, retry and connection limit, in that order.

They belong to the backend: all frontends share one breaker and one limit. v1.3 tried again whenever the
answer was 502 or 504, also with requests that a server may have acted on; here those are tried again only if
they may be repeated, as in later releases (spec v1 sections 4.5, 4.6 and 4.8).
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.config.field_checks import check_field_name
from shared.config.legacy_model import V1Backend, V1MaxConn
from shared.config.middlewares import (
    CircuitBreaker,
    InFlightReq,
    IpStrategy,
    Middleware,
    Retry,
    SourceCriterion,
)
from shared.config.resilience_checks import MAX_ATTEMPTS
from shared.config.static_v1 import V1Retry
from shared.errors import ConfigError
from shared.identities import breaker_question

RETRIED_STATUSES = ("502", "504")
_HEADER_PREFIX = "request.header."


def backend_steps(
    backend: V1Backend, server_count: int, retry: V1Retry | None
) -> Iterator[tuple[str, Middleware]]:
    """The middlewares of a backend, from the outside in, with what each is called.

    Args:
        backend: as written.
        server_count: tries, if ``retry`` does not say how many.
        retry: the static ``[retry]``.

    Raises:
        ConfigError: one cannot be honoured; the path is relative to the backend.
    """
    if backend.circuit_breaker is not None:
        expression = backend.circuit_breaker.expression
        try:
            breaker_question(expression)
        except ConfigError as error:
            reason = f"invalid expression {expression!r}: {error.reason}"
            raise ConfigError("circuitBreaker.expression", reason, error.hint) from error
        breaker = CircuitBreaker(expression=expression, is_shared=True)
        yield "breaker", Middleware(circuit_breaker=breaker)
    attempts = 1 if retry is None else min(retry.attempts or server_count, MAX_ATTEMPTS)
    if attempts > 1:
        yield "retry", Middleware(retry=Retry(attempts=attempts, status=RETRIED_STATUSES))
    if backend.max_conn is not None and backend.max_conn.amount != 0:
        yield "max-conn", Middleware(in_flight_req=_limit(backend.max_conn))


def _limit(max_conn: V1MaxConn) -> InFlightReq:
    if max_conn.amount < 0:
        raise ConfigError("maxConn.amount", f"{max_conn.amount} is negative")
    return InFlightReq(
        amount=max_conn.amount, source_criterion=_criterion(max_conn.extractor_func), is_shared=True
    )


def _criterion(extractor: str) -> SourceCriterion:
    """What requests are told apart by.

    Raises:
        ConfigError: v1 knows no such thing.
    """
    path = "maxConn.extractorFunc"
    if extractor == "client.ip":
        return SourceCriterion(ip_strategy=IpStrategy())
    if extractor == "request.host":
        return SourceCriterion(request_host=True)
    if extractor.startswith(_HEADER_PREFIX):
        name = extractor.removeprefix(_HEADER_PREFIX)
        check_field_name(path, name)
        return SourceCriterion(request_header_name=name)
    raise ConfigError(path, f"{extractor!r} is none of client.ip, request.host and request.header.<name>")
