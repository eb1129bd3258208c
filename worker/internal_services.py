"""Services that the worker answers itself, by name (spec v2 sections 1.7 and 9).

A gateway to the master's API will join them here.
"""

from __future__ import annotations

from shared.config.static import StaticConfig
from worker import replies
from worker.exchange import Exchange
from worker.messages import BytesBody, Response
from worker.pipeline import Handler
from worker.state import Lifetime

NOOP = "noop@internal"
PING = "ping@internal"
_TEAPOT = 418


async def answer_noop(exchange: Exchange) -> Response:
    """Nothing is behind this; a middleware before it answers."""
    return replies.empty(_TEAPOT)


def make_ping(static: StaticConfig, lifetime: Lifetime) -> Handler:
    """The health endpoint: fine while serving, the configured status once the worker is told to stop."""
    terminating_status = static.ping.terminating_status_code if static.ping is not None else 503

    async def answer_ping(exchange: Exchange) -> Response:
        if lifetime.is_terminating:
            return replies.plain(terminating_status)
        return Response(200, body=BytesBody(b"OK"))

    return answer_ping
