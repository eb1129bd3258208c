"""Access records of exchanges in the plain lane: what the general lane would write."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from shared.errors import ClientGone, ExchangeError
from worker.access_log import AccessLog, Record

if TYPE_CHECKING:
    from worker.plain.answer import Answer
    from worker.plain.client import PlainClient
    from worker.plain.plan import Plan
    from worker.server import Server


def note(
    log: AccessLog,
    client: PlainClient,
    plan: Plan,
    server: Server,
    answer: Answer,
    number: int,
    duration_s: float,
) -> None:
    """Write the record of an exchange that went through."""
    started_at = time.time() - duration_s
    if log.has_line_pattern:
        pattern = plan.line_for(server)
        log.put(pattern.fill(started_at, duration_s, answer.status, answer.body_length, number))
        return
    record = blank_record(plan, server.url, number, started_at, duration_s)
    log.put(
        msgspec.structs.replace(
            record,
            status=answer.status,
            size_bytes=answer.body_length,
            upstream_status=answer.status,
            first_byte_s=client.first_byte_s,
        )
    )


def note_failure(
    log: AccessLog,
    plan: Plan,
    server: Server,
    answer: Answer | None,
    error: ExchangeError,
    number: int,
    duration_s: float,
) -> None:
    """Write the record of an exchange that was cut; ``answer`` if a part of one was sent."""
    record = blank_record(plan, server.url, number, time.time() - duration_s, duration_s)
    status = answer.status if answer is not None else 0
    if isinstance(error, ClientGone):
        status = ClientGone.status
    log.put(msgspec.structs.replace(record, status=status, error=f"{type(error).__name__}: {error}"))


def blank_record(
    plan: Plan, server_url: str, number: int = 0, started_at: float = 0.0, duration_s: float = 0.0
) -> Record:
    """The record of an exchange of which nothing is known yet but the request."""
    exchange, request = plan.exchange, plan.exchange.request
    route = exchange.route
    assert route is not None, "a plan has a route"
    return Record(
        started_at=started_at,
        duration_s=duration_s,
        client_host=plan.client_host,
        username=exchange.username or "",
        method=request.method,
        target=request.received_target,
        protocol=f"HTTP/{request.version}",
        status=0,
        size_bytes=0,
        referer=request.headers.get(b"referer") or b"",
        user_agent=request.headers.get(b"user-agent") or b"",
        number=number,
        router=route.name,
        server_url=server_url,
        entrypoint=exchange.entrypoint_name,
        service=route.service_name,
        host=request.host_header,
        upstream_connect_s=0.0,
        attempts=1,
        session=exchange.session,
    )
