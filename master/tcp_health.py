"""The health of TCP servers: the sibling of ``health`` for services below HTTP.

A check opens a connection as a tunnel would, TLS included, sends what is configured and compares the first
bytes of the answer with what is expected. Where nothing is expected, being there is health.

Source: spec v2 section 6.2 (healthCheck of a TCP load balancer).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import NamedTuple

import trio

from master.health_plan import Check, HealthPlan, Watched
from master.health_probe import describe_failure
from shared import health
from shared.addresses import split_address
from shared.arena import Arena
from shared.cells import ServerCell
from shared.client_tls import make_client_context, names_uri
from shared.config.dynamic import HealthCheck, TcpHealthCheck
from shared.errors import ConfigError
from shared.health import Mark
from shared.identities import TCP_SERVER, server_name
from shared.table.client_tls import ClientTlsEntry
from shared.table.stream_routes import TcpContent, TcpServiceEntry

_log = logging.getLogger(__name__)

MAX_CHECKS = 256
"""Checks at a time, each one connection; more wait for their turn."""
PROXY_HEADERS = {1: b"PROXY UNKNOWN\r\n", 2: b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"}
"""What a server that wants a PROXY protocol header gets: that nobody is behind this connection."""


class TcpCheck(NamedTuple):
    """How a server is checked: the options, and what the transport adds."""

    options: TcpHealthCheck
    tls: ClientTlsEntry | None
    proxy_version: int


Hows = frozenset[TcpCheck]
"""Every way in which servers of one service are checked."""


class TcpServerHealth(NamedTuple):
    """What is known about a server that is checked."""

    service: str
    address: str
    is_up: bool
    since: float
    reason: str
    in_flight: int


class TcpHealthMonitor:
    """Checks TCP servers and keeps their marks in the arena.

    Args:
        arena: the master's.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._plan: HealthPlan[Hows] = HealthPlan()
        self._checks: dict[tuple[str, str], TcpCheck] = {}
        self._changed = trio.Event()
        self._room = trio.CapacityLimiter(MAX_CHECKS)

    def update(self, content: TcpContent) -> None:
        """These services are live from now on; their blocks are claimed."""
        watched, self._checks = [], {}
        for entry in content.services:
            checks = _checks_of(entry, content)
            if checks:
                self._checks.update({(entry.name, address): each for address, each in checks.items()})
                watched.append(_watched(entry.name, checks))
        for service, address in self._plan.update(watched, trio.current_time()):
            self._mark(service, address, is_down=False)
        self._changed.set()
        self._changed = trio.Event()

    async def run(self) -> None:
        """Check until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                for check in self._plan.take_due(trio.current_time()):
                    nursery.start_soon(self._check, check)
                changed = self._changed
                with trio.move_on_at(self._plan.next_at()):
                    await changed.wait()

    def describe(self) -> list[TcpServerHealth]:
        """All servers that are checked, by service; ``since`` in seconds since the epoch."""
        found = []
        for service, address in sorted(self._checks):
            known = self._plan.health(service, address)
            block = self._arena.find(TCP_SERVER, server_name(service, address))
            if known is not None:
                since = round(time.time() - (trio.current_time() - known.since), 3)
                in_flight = block.sum(ServerCell.IN_FLIGHT) if block is not None else 0
                found.append(
                    TcpServerHealth(service, address, known.is_up, since, known.last_failure, in_flight)
                )
        return found

    async def _check(self, due: Check[Hows]) -> None:
        how = self._checks.get((due.service, due.url))
        failure = "it is not configured any more"
        if how is not None:
            async with self._room:
                failure = await check_server(due.url, how)
        before = self._plan.health(due.service, due.url)
        if not self._plan.conclude(due, failure, trio.current_time()):
            return
        self._mark(due.service, due.url, is_down=bool(failure))
        if before is not None and before.is_up == bool(failure):
            said = (due.url, due.service)
            if failure:
                _log.warning("TCP server %s of service %s is down: %s", *said, failure)
            else:
                _log.info("TCP server %s of service %s is up again", *said)

    def _mark(self, service: str, address: str, *, is_down: bool) -> None:
        block = self._arena.find(TCP_SERVER, server_name(service, address))
        if block is not None:
            block.set(health.MARKS, int(Mark.DOWN) if is_down else 0)


async def check_server(address: str, check: TcpCheck) -> str:
    """Why a server is not healthy; empty if it is.

    Args:
        address: as configured.
        check: how; its timeout is positive.
    """
    failure = f"no answer within {check.options.timeout:g} s"
    with trio.move_on_after(check.options.timeout):
        try:
            failure = await _ask(address, check)
        except* (OSError, trio.BrokenResourceError, ConfigError) as group:
            failure = describe_failure(group)
    return failure


async def _ask(address: str, check: TcpCheck) -> str:
    host, port = split_address(address)
    raw = await trio.open_tcp_stream(host, check.options.port or port)
    async with raw:
        if check.proxy_version:
            await raw.send_all(PROXY_HEADERS[check.proxy_version])
        stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = raw
        if check.tls is not None:
            context = await trio.to_thread.run_sync(make_client_context, check.tls)
            stream = trio.SSLStream(raw, context, server_hostname=check.tls.server_name or host)
            await stream.do_handshake()
            uri = check.tls.peer_cert_uri
            if uri and not names_uri(stream.getpeercert(), uri):
                return f"its certificate does not name {uri}"
        if check.options.send:
            await stream.send_all(check.options.send.encode())
        return await _compare(stream, check.options.expect.encode())


async def _compare(stream: trio.SocketStream | trio.SSLStream[trio.SocketStream], expected: bytes) -> str:
    got = b""
    while len(got) < len(expected):
        data = await stream.receive_some(len(expected) - len(got))
        if not data:
            return "it ended before the expected answer"
        got += data
    return "" if got == expected else f"it answered {got[:64]!r}"


def _watched(service: str, checks: Mapping[str, TcpCheck]) -> Watched[Hows]:
    options = next(iter(checks.values())).options
    rhythm = HealthCheck(
        interval=options.interval, unhealthy_interval=options.unhealthy_interval, timeout=options.timeout
    )
    return Watched(service, rhythm, frozenset(checks.values()), tuple(checks))


def _checks_of(entry: TcpServiceEntry, content: TcpContent) -> Mapping[str, TcpCheck]:
    balancer = entry.options.load_balancer
    if balancer is None or balancer.health_check is None:
        return {}
    transport = content.transports[entry.transport]
    proxy = transport.options.proxy_protocol
    if not balancer.servers_transport:
        proxy = balancer.proxy_protocol or proxy
    version = proxy.version if proxy is not None else 0
    return {
        server.address: TcpCheck(balancer.health_check, transport.tls if server.tls else None, version)
        for server in balancer.servers
    }
