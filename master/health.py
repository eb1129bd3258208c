"""The health of all servers, as the master knows it: checks them, marks them in the arena, and can tell.

Only the master checks, and once for the whole proxy: its marks are what every worker reads before it picks a
server. What is due when is the plan's (``health_plan``), how a server is asked is the probe's
(``health_probe``). Drain marks are people's word about a server and stand beside.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import trio

from master.health_plan import Check, HealthPlan, Watched
from master.health_probe import Probe
from master.tcp_health import TcpHealthMonitor
from shared import health
from shared.arena import Arena
from shared.arena_block import Block
from shared.cells import ServerCell
from shared.config.dynamic import LoadBalancer
from shared.health import Mark
from shared.identities import SERVER, server_name
from shared.table.client_tls import ClientTlsEntry
from shared.table.entries import ServiceEntry, TransportEntry
from shared.table.stream_routes import TcpContent

_log = logging.getLogger(__name__)

MAX_CHECKS = 256
"""Checks at a time, each one connection; more wait for their turn."""

NO_TCP = TcpContent()

Transports = Mapping[int, TransportEntry] | Sequence[TransportEntry]
"""By index."""

ServerId = tuple[str, str]
"""A service's qualified name and a URL as configured."""


class ServerStatus(msgspec.Struct, frozen=True):
    """One server.

    Attributes:
        is_up: whether it may get exchanges: it passed its last check and did not fail too often.
        is_draining: whether it gets no new sessions.
        since: when it came up or went down, in seconds since the epoch; None if nobody checks.
        reason: why it failed last; empty if it did not.
        in_flight: exchanges that it has now, over all workers.
    """

    url: str
    is_up: bool
    is_draining: bool
    since: float | None
    reason: str
    in_flight: int


class ServiceStatus(msgspec.Struct, frozen=True):
    """One service whose servers are checked, or some of whose servers drain."""

    name: str
    servers: tuple[ServerStatus, ...]


class HealthMonitor:
    """Checks servers and keeps their marks.

    Args:
        arena: the master's.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._plan: HealthPlan[ClientTlsEntry] = HealthPlan()
        self._tcp = TcpHealthMonitor(arena)
        self._probe = Probe()
        self._services: dict[str, LoadBalancer] = {}
        self._draining: set[ServerId] = set()
        self._changed = trio.Event()
        self._room = trio.CapacityLimiter(MAX_CHECKS)

    def update(
        self, services: Iterable[ServiceEntry], transports: Transports, tcp: TcpContent = NO_TCP
    ) -> None:
        """These services are live from now on; their blocks are claimed.

        Args:
            services: all of the table.
            transports: of the table.
            tcp: of the table.
        """
        self._tcp.update(tcp)
        before, self._services = self._services, {}
        watched = []
        for entry in services:
            balancer = entry.options.load_balancer
            if balancer is None:
                continue
            self._services[entry.name] = balancer
            if health.is_checked(balancer):
                watched.append(_watched(entry.name, balancer, transports[entry.transport].tls))
        self._draining = {each for each in self._draining if each[1] in self._urls(each[0])}
        self._reset_returned(before)
        for service, url in self._plan.update(watched, trio.current_time()):
            self._mark((service, url), Mark.DOWN, False)
        self._wake()

    async def run(self) -> None:
        """Check until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tcp.run)
                while True:
                    for check in self._plan.take_due(trio.current_time()):
                        nursery.start_soon(self._check, check)
                    changed = self._changed
                    with trio.move_on_at(self._plan.next_at()):
                        await changed.wait()
        finally:
            await self._probe.aclose()

    def set_draining(self, server: ServerId, is_draining: bool) -> None:
        """Have a server get no new sessions, or get them again."""
        self._mark(server, Mark.DRAINING, is_draining)
        (self._draining.add if is_draining else self._draining.discard)(server)
        what = "drains: no new sessions" if is_draining else "takes new sessions again"
        _log.info("server %s of service %s %s", server[1], server[0], what)

    def servers(self) -> list[ServerId]:
        """Every server of every service."""
        return [(name, url) for name in self._services for url in self._urls(name)]

    def draining(self) -> frozenset[ServerId]:
        """The servers that drain."""
        return frozenset(self._draining)

    def in_flight(self, server: ServerId) -> int:
        """Exchanges that a server has now, over all workers."""
        block = self._find(server)
        return block.sum(ServerCell.IN_FLIGHT) if block is not None else 0

    def describe(self) -> tuple[ServiceStatus, ...]:
        """The services that have something to tell, by name."""
        return self._describe_http() + tuple(
            ServiceStatus(
                service,
                tuple(
                    ServerStatus(each.address, each.is_up, False, each.since, each.reason, each.in_flight)
                    for each in servers
                ),
            )
            for service, servers in itertools.groupby(self._tcp.describe(), lambda each: each.service)
        )

    def _describe_http(self) -> tuple[ServiceStatus, ...]:
        drained = {service for service, _ in self._draining}
        return tuple(
            ServiceStatus(name, tuple(self._describe((name, url), balancer) for url in self._urls(name)))
            for name, balancer in sorted(self._services.items())
            if name in drained or health.is_checked(balancer) or balancer.passive_health_check is not None
        )

    async def _check(self, check: Check[ClientTlsEntry]) -> None:
        async with self._room:
            try:
                failure = await self._probe.check(check.url, check.check, check.tls)
            except Exception as error:  # one server's strange answer must not end the checks of all
                _log.exception("the check of server %s of service %s broke off", check.url, check.service)
                failure = repr(error)
        before = self._plan.health(check.service, check.url)
        if not self._plan.conclude(check, failure, trio.current_time()):
            return
        block = self._find((check.service, check.url))
        if block is not None and not failure:
            block.set_f(health.CHECKED_GOOD_AT, self._arena.clock())
        self._mark((check.service, check.url), Mark.DOWN, bool(failure))
        if before is not None and before.is_up == bool(failure):
            said = (check.url, check.service)
            if failure:
                _log.warning("server %s of service %s is down: %s", *said, failure)
            else:
                _log.info("server %s of service %s is up again", *said)

    def _describe(self, server: ServerId, balancer: LoadBalancer) -> ServerStatus:
        known = self._plan.health(*server)
        block = self._find(server)
        is_up, since, reason = True, None, ""
        if known is not None:
            is_up, since, reason = (
                known.is_up,
                _to_epoch(known.since, trio.current_time()),
                known.last_failure,
            )
        passive = balancer.passive_health_check
        if is_up and passive is not None and block is not None:
            now = self._arena.clock()
            if health.is_ejected(block, passive, is_checked=health.is_checked(balancer), now=now):
                is_up, reason = False, "too many failed exchanges"
                since = _to_epoch(health.ejected_at(block), now)
        return ServerStatus(server[1], is_up, server in self._draining, since, reason, self.in_flight(server))

    def _reset_returned(self, before: Mapping[str, LoadBalancer]) -> None:
        """A server that comes (back) to a service starts without marks, also if its old block was not used
        by another meanwhile."""
        if not before:
            return
        for name, balancer in self._services.items():
            old = before.get(name)
            if old is balancer:
                continue
            known = {server.url for server in old.servers} if old is not None else set()
            for url in self._urls(name):
                if url not in known and (block := self._find((name, url))) is not None:
                    block.set(health.MARKS, 0)

    def _mark(self, server: ServerId, mark: Mark, is_set: bool) -> None:
        block = self._find(server)
        if block is not None:
            marks = block.get_own(health.MARKS)
            block.set(health.MARKS, marks | mark if is_set else marks & ~mark)

    def _find(self, server: ServerId) -> Block | None:
        return self._arena.find(SERVER, server_name(*server))

    def _urls(self, service: str) -> Iterable[str]:
        """Each URL once: a server that is listed twice has one block."""
        balancer = self._services.get(service)
        return dict.fromkeys(server.url for server in balancer.servers) if balancer is not None else ()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _watched(name: str, balancer: LoadBalancer, tls: ClientTlsEntry) -> Watched[ClientTlsEntry]:
    assert balancer.health_check is not None, "it is checked"
    urls = tuple(dict.fromkeys(server.url for server in balancer.servers))
    return Watched(name, balancer.health_check, tls, urls)


def _to_epoch(moment: float, now: float) -> float:
    return round(time.time() - (now - moment), 3)
