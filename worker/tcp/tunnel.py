"""A connection that a TCP router has: middlewares, server, tunnel, figures.

A tunnel needs no routes once it runs, so it lives through reloads. It counts as a connection while the worker
drains and is cut at the deadline (``graceTimeOut``).
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable

import trio

from shared.cells import ServerCell
from shared.errors import ConnectTimeout, UpstreamError, UpstreamProtocolError
from worker.proxy_protocol import format_header
from worker.tcp import postgres
from worker.tcp.arrival import Arrival
from worker.tcp.dialing import dial
from worker.tcp.relay import Pipes, Tally, relay_sockets, relay_streams
from worker.tcp.routes import TcpRoute
from worker.tcp.services import TcpTarget
from worker.tcp.steps import TcpStep
from worker.tls.stream import TlsStream

logger = logging.getLogger(__name__)


Terminate = Callable[[Arrival, str], Awaitable[TlsStream | None]]
"""Shakes hands with a client by TLS options of this name; None if that fails, and it was told why."""


class Tunnels:
    """Serves connections of TCP routers.

    Args:
        terminate: makes the server's side of TLS.
    """

    def __init__(self, terminate: Terminate) -> None:
        self._terminate = terminate
        self._pipes = Pipes()

    async def serve(self, arrival: Arrival, route: TcpRoute, *, is_postgres: bool = False) -> None:
        """Carry a connection until it ends; its socket is closed by the caller.

        Args:
            arrival: whose bytes, beginning with those of the client's protocol, are unread.
            route: which router it is for.
            is_postgres: whether it asked for TLS in PostgreSQL's way, and was told to begin.
        """
        ip = arrival.peer.ip
        passed: list[TcpStep] = []
        try:
            for step in route.steps:
                if not step.admit(ip):
                    logger.debug("router %s: a connection of %s may not pass", route.name, ip)
                    return
                passed.append(step)
            if route.entry.tls == "terminate":
                await self._carry_inside(arrival, route, is_postgres=is_postgres)
            else:
                await self._carry(arrival, route, None, is_postgres=is_postgres)
        finally:
            for step in passed:
                step.leave(ip)

    def close(self) -> None:
        """Let go of what is kept for the next tunnel."""
        self._pipes.close()

    async def _carry_inside(self, arrival: Arrival, route: TcpRoute, *, is_postgres: bool) -> None:
        """The server gets what is inside of TLS."""
        inside = await self._terminate(arrival, route.entry.tls_options)
        if inside is None:
            return
        try:
            await self._carry(arrival, route, inside, is_postgres=is_postgres)
        finally:
            inside.close()

    async def _carry(
        self, arrival: Arrival, route: TcpRoute, inside: TlsStream | None, *, is_postgres: bool
    ) -> None:
        target = route.endpoint.choose()
        if target is None:
            logger.debug("router %s: no server is there for a connection of %s", route.name, arrival.peer.ip)
            return
        block, tally = target.block, Tally()
        block.add(ServerCell.IN_FLIGHT)
        started = trio.current_time()
        try:
            await self._run(arrival, route, target, inside, tally, is_postgres)
        except UpstreamError as error:
            block.add(ServerCell.TIMEOUTS if isinstance(error, ConnectTimeout) else ServerCell.NETWORK_ERRORS)
            logger.warning("router %s: server %s: %s", route.name, target.address, error)
        finally:
            block.add(ServerCell.IN_FLIGHT, -1)
            block.add(ServerCell.REQUESTS)
            block.add(ServerCell.BYTES_IN, tally.bytes_in)
            block.add(ServerCell.BYTES_OUT, tally.bytes_out)
            logger.debug(
                "router %s: connection %s:%s to %s ended: %d bytes in, %d bytes out, %.3f s",
                *(route.name, arrival.peer.ip, arrival.peer.port, target.address),
                *(tally.bytes_in, tally.bytes_out, trio.current_time() - started),
            )

    async def _run(
        self,
        arrival: Arrival,
        route: TcpRoute,
        target: TcpTarget,
        inside: TlsStream | None,
        tally: Tally,
        is_postgres: bool,
    ) -> None:
        delay_s = target.transport.termination_delay_s
        with contextlib.closing(await dial(target)) as server:
            _introduce(arrival, target, server)
            if is_postgres and (target.dialer is not None or route.entry.tls == "passthrough"):
                await postgres.ask_for_tls(server)
            if inside is None and target.dialer is None:
                await relay_sockets(arrival.sock, server, delay_s, tally, self._pipes)
                return
            client = inside if inside is not None else _stream(arrival.sock)
            outside = _stream(server)
            if target.dialer is None:
                await relay_streams(client, outside, delay_s, tally)
                return
            secure = await target.dialer.secure(outside, ())
            try:
                await relay_streams(client, secure, delay_s, tally)
            finally:
                secure.close()


def _stream(sock: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


def _introduce(arrival: Arrival, target: TcpTarget, server: socket.socket) -> None:
    """Tell the server who the client is, if its transport says so."""
    version = target.transport.proxy_version
    if not version:
        return
    header = format_header(version, arrival.client_and_target())
    if server.send(header) != len(header):  # the first bytes of a connection: there is room for them
        raise UpstreamProtocolError("the server takes no PROXY protocol header")
