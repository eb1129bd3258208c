"""Services that we answer ourselves, by name (spec v2 sections 1.7 and 9).

Some a worker can answer. The others know the whole proxy and change it: they belong to the master, and the
worker passes them on to it over a Unix socket in the runtime directory, as it would to any server.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from shared.config.static import StaticConfig
from worker import replies
from worker.exchange import Exchange
from worker.forward import forward
from worker.messages import BytesBody, Response
from worker.pipeline import Handler
from worker.pool import Pool, Pools, TransportSettings
from worker.server import Server
from worker.state import Lifetime
from worker.upstream import Origin

NOOP = "noop@internal"
PING = "ping@internal"
REST = "rest@internal"
OF_THE_MASTER = (REST,)
"""Services that workers pass on."""
MASTER_DIAL_S = 5.0
MASTER_ANSWER_S = 900.0
"""A change is answered when it is live everywhere (as ``master.admin_client`` waits for it)."""
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


def make_gateway(socket_path: str, pools: Pools) -> dict[str, Handler]:
    """The services of the master.

    Args:
        socket_path: where it listens; empty if it does not, and then they answer 502.
        pools: of the worker.
    """
    # Nothing is kept open: an exchange with the master is rare, and a drained worker leaves nothing behind.
    settings = TransportSettings(MASTER_DIAL_S, MASTER_ANSWER_S, idle_timeout_s=0.0, max_idle=0)
    pool = Pool(Origin("unix", socket_path, 0), settings, pools)
    server = Server("unix:master", 1, "penstock", "", pass_host_header=True, pool=pool)

    async def pass_on(exchange: Exchange) -> Response:
        return await forward(exchange, server)

    return dict.fromkeys(OF_THE_MASTER, pass_on)


def answer_for(names: Iterable[str]) -> dict[str, Handler]:
    """Stand-ins for the master's services, for whoever only wants to know that they would be reached."""

    async def answer(exchange: Exchange) -> Response:
        return Response(HTTPStatus.OK)

    return dict.fromkeys(names, answer)
