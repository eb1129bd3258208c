"""What every exchange of the general lane has in common, whatever version of HTTP its client speaks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import trio

from shared.errors import ClientGone, ExchangeError
from worker.access_log import AccessLog, Record
from worker.departures import Departures
from worker.exchange import Exchange
from worker.failures import Failures
from worker.handling import handle
from worker.messages import Response
from worker.state import Counts, Entrance, Generations, Lifetime


@dataclass(frozen=True, slots=True)
class Context:
    """What all connections of a worker share."""

    generations: Generations
    lifetime: Lifetime
    counts: Counts
    departures: Departures
    access_log: AccessLog | None
    failures: Failures = field(default_factory=Failures)


async def respond(exchange: Exchange, context: Context, entrance: Entrance) -> Response:
    """The response of the chain, or ours for what went wrong.

    Raises:
        ClientGone: nobody is there to get one.
    """
    resumption = exchange.resumption
    routes = context.generations.routes if resumption is None else resumption.routes
    try:
        response = await handle(exchange, entrance, routes)
        if exchange.error is not None:
            context.failures.note(exchange.error, exchange, response)
        return response
    except ClientGone:
        raise
    except ExchangeError as error:
        return context.failures.answer(error, exchange, entrance, routes)
    except Exception as error:
        return context.failures.answer_defect(error, exchange)


def record(exchange: Exchange, context: Context, client_host: bytes, number: int) -> None:
    """Write the access record of an exchange that is over, if one is wanted."""
    log = context.access_log
    route = exchange.route
    if log is None or (route is not None and route.is_internal):
        return
    request = exchange.request
    duration_s = trio.current_time() - exchange.started_at
    gone = isinstance(exchange.error, ClientGone)
    log.put(
        Record(
            started_at=time.time() - duration_s,
            duration_s=duration_s,
            client_host=client_host,
            username=exchange.username or "",
            method=request.method,
            target=request.received_target,
            protocol=f"HTTP/{request.version}",
            status=ClientGone.status if gone else exchange.status,
            size_bytes=exchange.bytes_out,
            referer=request.headers.get(b"referer") or b"",
            user_agent=request.headers.get(b"user-agent") or b"",
            number=number,
            router=route.name if route is not None else "",
            server_url=exchange.server_url or "",
            entrypoint=exchange.entrypoint_name,
            service=route.service_name if route is not None else "",
            host=request.host_header,
            upstream_status=exchange.upstream_status,
            upstream_connect_s=exchange.upstream_connect_s,
            first_byte_s=exchange.first_byte_s,
            attempts=exchange.attempts,
            bytes_in=exchange.bytes_in,
            error=f"{type(exchange.error).__name__}: {exchange.error}" if exchange.error else "",
            error_id=exchange.error_id,
            cause=exchange.cause,
            session=exchange.session,
        )
    )
