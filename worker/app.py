"""One worker: wait for a table, serve, drain, leave.

::

    root           signals; control channel (end of file = the master is gone = drain)
    └─ background  reaper of idle connections, departures, access log      cancelled last
       └─ connections   one task per client connection                      deadline set when draining starts
          └─ acceptors  one accept loop per slot                            cancelled first

A table is installed in steps of which only the last concerns requests: map, check the digest and warm the
index in a thread, open, then one assignment. Exchanges keep the routes they began with.
"""

from __future__ import annotations

import logging
import mmap
import os
import signal
import socket
import time
from collections.abc import Sequence

import trio

from shared import control, logs
from shared.arena import Arena
from shared.boot import WorkerBoot
from shared.channel import Channel
from shared.errors import ControlError, WorkerBootError
from shared.identities import state_name
from shared.table.entries import MiddlewareEntry, RouterEntry
from shared.table.reader import Table, open_table, verify_digest
from shared.table.streams import Streams as TableStreams
from worker.access_log import AccessLog
from worker.admission import Room
from worker.conduct import Context
from worker.departures import Departures
from worker.internal_services import NOOP, PING, answer_noop, make_gateway, make_ping
from worker.listener import connection_limit, enter_service, serve_slot, serve_waiting
from worker.middlewares.registry import build_step
from worker.middlewares.state import StepState
from worker.pipeline import Step
from worker.pool import Pools
from worker.reception import Reception
from worker.routes import Routes
from worker.services import Services
from worker.state import Counts, Entrance, Generations, Lifetime, make_entrance
from worker.streams import Streams
from worker.tls.material import Contexts, TlsMaterial
from worker.udp.services import UdpRoute
from worker.udp.sessions import MAX_SESSIONS, UdpSessions

logger = logging.getLogger(__name__)

GENERAL_LANE_ONLY = "PENSTOCK_GENERAL_LANE_ONLY"
"""An environment variable: set, it sends every exchange through the general lane."""
DEFAULT_GRACE_S = 10.0
"""Grace when neither the master nor an entrypoint says one."""

Listeners = Sequence[tuple[str, socket.socket]]


class Worker:
    """One worker process, as a trio program.

    Args:
        boot: from the master.
        channel: to the master.
        listeners: the slot's sockets by entrypoint; they stay the master's.

    Raises:
        ConfigError: a static setting cannot be honoured.
        WorkerBootError: a listener belongs to no entrypoint.
    """

    def __init__(self, boot: WorkerBoot, channel: Channel[control.ToWorker], listeners: Listeners) -> None:
        self._static = boot.static
        self._channel = channel
        self._slots = [
            (sock, self._make_entrance(name)) for name, sock in listeners if sock.type == socket.SOCK_STREAM
        ]
        self._streams = Streams()
        self._sessions = [
            self._make_sessions(name, sock) for name, sock in listeners if sock.type == socket.SOCK_DGRAM
        ]
        self._pools = Pools()
        settings = boot.static.access_log
        self._context = Context(
            generations=Generations(),
            lifetime=Lifetime(),
            counts=Counts(),
            departures=Departures(),
            access_log=AccessLog(settings) if settings is not None else None,
        )
        internal = {
            NOOP: answer_noop,
            PING: make_ping(boot.static, self._context.lifetime),
            **make_gateway(boot.gateway, self._pools),
        }
        self._services = Services(self._pools, internal)
        self._contexts = Contexts()
        self._first_table = trio.Event()
        self._stop = trio.Event()
        self._connections: trio.Nursery | None = None
        self._grace_s = max(
            (each.transport.life_cycle.grace_time_out for each in boot.static.entry_points.values()),
            default=DEFAULT_GRACE_S,
        )

    async def run(self) -> None:
        """Serve until drained."""
        try:
            await self._channel.send(control.Booted(os.getpid()))
            async with trio.open_nursery() as root:
                root.start_soon(self._obey)
                root.start_soon(self._watch_signals)
                async with trio.open_nursery() as background:
                    self._start_background(background)
                    await self._serve()
                    background.cancel_scope.cancel()
                root.cancel_scope.cancel()
            await self._say_drained()
        finally:
            self._pools.close()
            self._context.departures.close()
            self._channel.close()

    def _start_background(self, background: trio.Nursery) -> None:
        background.start_soon(self._context.departures.run)
        background.start_soon(self._pools.run_reaper)
        background.start_soon(self._services.copies.run)
        if self._context.access_log is not None:
            background.start_soon(self._context.access_log.run_writer)

    async def _serve(self) -> None:
        """Accept and serve until told to stop, then drain (style: acceptors, draining, deadline)."""
        async with trio.open_nursery() as connections, trio.open_nursery() as lanes:
            self._connections = connections
            room, has_plain_lane = Room(connection_limit()), GENERAL_LANE_ONLY not in os.environ
            reception = Reception(
                self._context,
                room,
                connections,
                has_plain_lane=has_plain_lane,
                contexts=self._contexts,
                longest_grace_s=self._grace_s,
            )
            if reception.lane is not None:
                lanes.start_soon(reception.lane.run)
                lanes.start_soon(reception.lane.run_sweeper)
            for sessions in self._sessions:
                connections.start_soon(sessions.run)
            async with trio.open_nursery() as acceptors:
                acceptors.start_soon(self._enter_service, acceptors, reception)
                await self._stop.wait()
                acceptors.cancel_scope.cancel()
            for sock, entrance in self._slots:
                serve_waiting(sock, entrance, reception)
            self._context.lifetime.begin_drain()
            for sessions in self._sessions:
                sessions.begin_drain()
            connections.cancel_scope.deadline = trio.current_time() + self._grace_s
            logger.info("draining: %s connections", self._context.counts.connections)
            if reception.lane is not None:
                await reception.lane.drain()
            lanes.cancel_scope.cancel()
        reception.tunnels.close()

    async def _enter_service(self, acceptors: trio.Nursery, reception: Reception) -> None:
        await self._first_table.wait()
        for sock, entrance in self._slots:
            enter_service(sock)
            acceptors.start_soon(serve_slot, sock, entrance, reception)
        for sessions in self._sessions:
            acceptors.start_soon(sessions.accept)
        await self._channel.send(control.Ready(self._context.generations.number))
        logger.info("accepting connections")

    async def _obey(self) -> None:
        """Do what the master says; its end is our order to drain."""
        while True:
            try:
                message, fds = await self._channel.receive()
            except ControlError:
                logger.exception("unreadable control message; going on without it")
                continue
            if message is None:
                logger.warning("the master is gone; draining")
                self._begin_drain(self._grace_s)
                return
            try:
                await self._handle(message, fds)
            except ControlError as error:
                logger.warning("cannot answer the master: %s", error)

    async def _handle(self, message: control.ToWorker, fds: tuple[int, ...]) -> None:
        generations = self._context.generations
        match message:
            case control.UseArena():
                self._use_arena(message.column, fds)
            case control.Install():
                await self._install(message.generation, fds)
            case control.Commit():
                generations.commit(message.generation)
                if generations.routes is not None:
                    self._contexts.keep_only(generations.routes.tls.content)
            case control.Rollback():
                if generations.roll_back(message.generation):
                    logs.set_generation(generations.number)
                    logger.warning("rolled back to generation %s", generations.number)
            case control.Drain():
                self._begin_drain(message.grace_s)
            case control.Ping():
                await self._channel.send(self._pong(message.number))
            case control.ReopenLogs():
                self._reopen_logs()
            case control.Terminating():
                self._context.lifetime.is_terminating = True

    def _use_arena(self, column: int, fds: tuple[int, ...]) -> None:
        """Count in the proxy's arena from now on; without it, as in tests, in one of our own."""
        try:
            self._services.use_arena(Arena.attach(fds[0], column))
        finally:
            for fd in fds:
                os.close(fd)

    async def _install(self, generation: int, fds: tuple[int, ...]) -> None:
        try:
            table, tls, streams = await trio.to_thread.run_sync(_read_table, generation, fds)
            started = time.perf_counter()
            make_endpoint, blocks = self._services.endpoint_maker(table), self._services.blocks
            tcp, udp = self._streams.routes(streams, blocks)
            routes = Routes(table, make_endpoint, self._build_step, tls, tcp, udp)
            self._context.generations.install(generation, routes)
            pause_ms = (time.perf_counter() - started) * 1000
        except Exception as error:  # whatever is wrong with a table, the one before serves on
            logger.exception("generation %s refused; the one before stays", generation)
            await self._channel.send(control.Refused(generation, f"{type(error).__name__}: {error}"))
            return
        finally:
            for fd in fds:
                os.close(fd)
        logs.set_generation(generation)
        logger.info("installed generation %s", generation)
        await self._channel.send(control.Installed(generation, pause_ms))
        self._first_table.set()

    def _begin_drain(self, grace_s: float) -> None:
        """Stop; a second order can only shorten the grace."""
        if not self._stop.is_set():
            self._grace_s = grace_s
            self._stop.set()
        elif self._connections is not None:
            scope = self._connections.cancel_scope
            scope.deadline = min(scope.deadline, trio.current_time() + grace_s)

    async def _watch_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGUSR1) as signals:
            async for number in signals:
                if number == signal.SIGUSR1:
                    self._reopen_logs()
                else:
                    self._begin_drain(0.0 if self._stop.is_set() else self._grace_s)

    def _reopen_logs(self) -> None:
        logs.reopen()
        if self._context.access_log is not None:
            self._context.access_log.reopen()

    def _pong(self, number: int) -> control.Pong:
        counts = self._context.counts
        return control.Pong(
            number,
            self._context.generations.number,
            counts.connections,
            counts.in_flight,
            counts.exchanges,
        )

    async def _say_drained(self) -> None:
        counts = self._context.counts
        logger.info("gone: %s exchanges served, %s cut", counts.exchanges, counts.cut)
        try:
            await self._channel.send(control.Drained(counts.exchanges, counts.cut))
        except ControlError:
            logger.debug("nobody is there to hear that we drained")

    def _build_step(self, middleware: MiddlewareEntry, router: RouterEntry) -> Step:
        name = state_name(router.name, middleware.name, middleware.options)
        return build_step(middleware.options, StepState(name, self._services.blocks))

    def _make_sessions(self, name: str, sock: socket.socket) -> UdpSessions:
        entrance = self._make_entrance(name)

        def find_route() -> UdpRoute | None:
            routes = self._context.generations.routes
            return routes.udp.get(name) if routes is not None else None

        settings = entrance.settings
        return UdpSessions(
            sock,
            name,
            settings.udp.timeout,
            find_route,
            min(MAX_SESSIONS, connection_limit()),
            settings.transport.life_cycle.grace_time_out,
        )

    def _make_entrance(self, name: str) -> Entrance:
        settings = self._static.entry_points.get(name)
        if settings is None:
            raise WorkerBootError(f'a listener for entrypoint "{name}", which is not configured')
        return make_entrance(name, settings, socket.gethostname())


async def run(boot: WorkerBoot, channel: Channel[control.ToWorker], listeners: Listeners) -> None:
    """Run a worker until it has drained; arguments and errors as for ``Worker``."""
    await Worker(boot, channel, listeners).run()


def _read_table(generation: int, fds: tuple[int, ...]) -> tuple[Table, TlsMaterial, TableStreams]:
    """Map and check a table; in a thread, as this looks at every byte.

    Raises:
        ControlError: there is not exactly one descriptor, or it is of another generation.
        TableError: this program cannot read it.
        OSError: it cannot be mapped.
    """
    if len(fds) != 1:
        raise ControlError(f"Install came with {len(fds)} descriptors")
    mapping = mmap.mmap(fds[0], 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
    verify_digest(memoryview(mapping))
    table = open_table(mapping)
    if table.generation != generation:
        raise ControlError(f"Install {generation} came with a table of generation {table.generation}")
    table.warm()
    streams = table.streams()
    return table, TlsMaterial(streams.tls), streams
