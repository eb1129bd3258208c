"""Access records of exchanges in the plain lane: what the general lane would write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shared.errors import ExchangeError
from worker.access_log import Record

if TYPE_CHECKING:
    from worker.plain.answer import Answer
    from worker.plain.plan import Plan


def make_record(
    plan: Plan,
    server_url: str,
    answer: Answer,
    *,
    number: int,
    started_at: float,
    duration_s: float,
    first_byte_s: float,
) -> Record:
    """The access record of an exchange that went through; what the general lane would write."""
    record = blank_record(plan, server_url, number, started_at, duration_s)
    return msgspec.structs.replace(
        record,
        status=answer.status,
        size_bytes=answer.body_length,
        upstream_status=answer.status,
        first_byte_s=first_byte_s,
    )


def make_failed_record(
    plan: Plan,
    server_url: str,
    error: ExchangeError,
    *,
    number: int,
    started_at: float,
    duration_s: float,
    status: int,
) -> Record:
    """The access record of an exchange that was cut."""
    record = blank_record(plan, server_url, number, started_at, duration_s)
    return msgspec.structs.replace(record, status=status, error=f"{type(error).__name__}: {error}")


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
