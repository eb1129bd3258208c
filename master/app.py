"""The master's program: put the parts together, start them in order, end them in order.

    run_master
    └─ root            signals, admin socket                                  cancelled last
       └─ serving      workers and their watchers, providers, change loop     ends after the last worker

Order of a start: runtime directory and lock, settings and providers checked, sockets bound, workers spawned
while the providers speak, first table, ready. What fails before "ready" leaves nothing behind.
"""

from __future__ import annotations

import logging
import os
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import trio

from master import admin, signals, stored_settings
from master.api.gateway import serve_gateway
from master.health import HealthMonitor
from master.pidfile import hold_pid_file
from master.reloader import Outcome, Reloader
from master.runtime_directory import RuntimeDirectory
from master.slots import ListenAddress, Slots
from master.supervisor import Supervisor
from providers.registry import make_providers
from providers.rest import RestProvider, hand_down
from shared import logs
from shared.config.diagnostics import Severity
from shared.config.documents import Document
from shared.config.effective import parse_address
from shared.config.sources import StaticLoad, load_static
from shared.config.static import StaticConfig
from shared.errors import ConfigError, ProxyError, WorkerBootError

_log = logging.getLogger(__name__)

MIN_SLOTS = 8
"""Slots reserved at least, so that a small start can still be scaled up."""

MAX_WORKERS = 512
"""More than any machine needs; each slot costs a descriptor per entrypoint."""


class StartOptions(msgspec.Struct, frozen=True):
    """What ``penstock start`` was told beside the static settings.

    Attributes:
        static_args: the flags that are static settings, as written.
        workers: how many; None is one per usable core.
        log_file: used when the settings name no log file.
    """

    static_args: tuple[str, ...] = ()
    workers: int | None = None
    max_workers: int | None = None
    log_file: str = ""


class Master:
    """A running master.

    Args:
        options: how it was started; the flags count again at every re-read of the settings.
        runtime: its directory, which it holds already.
        announce: told the ready line.
    """

    def __init__(
        self, options: StartOptions, runtime: RuntimeDirectory, announce: Callable[[str], None]
    ) -> None:
        self.options = options
        self.runtime = runtime
        self.epoch = 1
        self.notice = ""
        self._announce = announce
        self._load = read_static(options, runtime)
        self._providers = make_providers(self._load.config, self._load.document)
        cores = len(os.sched_getaffinity(0))
        self.workers_at_start = cores if options.workers is None else options.workers
        if not 1 <= self.workers_at_start <= MAX_WORKERS:
            raise ConfigError("workers", f"expected 1 to {MAX_WORKERS}, got {self.workers_at_start}")
        most = options.max_workers or max(MIN_SLOTS, 2 * self.workers_at_start)
        self.slots = Slots(min(max(most, self.workers_at_start), MAX_WORKERS))
        self._changing = trio.Lock()
        self._switching = trio.Lock()
        self._nursery: trio.Nursery
        self.supervisor: Supervisor
        self.health: HealthMonitor
        self.reloader: Reloader

    @property
    def static(self) -> StaticConfig:
        """The static settings in force."""
        return self._load.config

    async def run(self) -> None:
        """Serve until stopped.

        Raises:
            PortInUseError: an entrypoint's address is taken.
            WorkerBootError: the first workers could not start.
        """
        self.slots.open_epoch(self.epoch, listen_addresses(self.static))
        try:
            async with trio.open_nursery() as root:
                async with trio.open_nursery() as serving:
                    self._nursery = serving
                    self.supervisor = Supervisor(
                        self.slots,
                        self.workers_at_start,
                        serving,
                        gateway=str(self.runtime.gateway_socket),
                    )
                    self.supervisor.add_epoch(self.epoch, self.static, longest_grace_s(self.static))
                    self.health = HealthMonitor(self.supervisor.arena)
                    self.reloader = Reloader(self.supervisor, self.runtime, self.health)
                    await root.start(signals.run_signals, self)
                    await root.start(admin.serve_admin, self)
                    await root.start(serve_gateway, self)
                    self.supervisor.begin()
                    serving.start_soon(self.health.run)
                    serving.start_soon(self._start_serving)
                    await self.supervisor.wait_finished()
                    serving.cancel_scope.cancel()
                root.cancel_scope.cancel()
        finally:
            self.slots.close()
        if self.supervisor.failure:
            raise WorkerBootError(self.supervisor.failure)
        _log.info("stopped")

    async def reload(self) -> Outcome:
        """Re-read everything: a changed static file rolls the workers, then the rules are read anew."""
        async with self._changing:
            if not self.supervisor.state.started:
                return Outcome(0, reason="not ready yet")
            try:
                load = await trio.to_thread.run_sync(read_static, self.options, self.runtime)
                changed = load.config != self._load.config
                outcome = await (self._roll(load) if changed else self.reloader.reload())
            except ProxyError as error:
                outcome = Outcome(self.supervisor.tables.current, reason=f"{error}; the old settings stay")
        self.notice = outcome.reason
        if outcome.reason:
            _log.error("reload failed: %s", outcome.reason)
        return outcome

    async def put_rules(self, provider: str, document: Document) -> Outcome:
        """Let the REST provider say this from now on; returns when it is live everywhere, or is not."""
        # Not while providers are exchanged, so that the new one has it too. But also while workers are being
        # replaced: one of those that drain may be waiting for this very answer.
        async with self._switching:
            for each in self._providers:
                if isinstance(each, RestProvider) and each.name == provider:
                    each.put(document)
                    return await self.reloader.apply_now(provider)
        return Outcome(self.supervisor.tables.current, reason=f"there is no provider {provider} any more")

    async def scale(self, wanted: int) -> str:
        """Serve with this many workers; returns a reason if that failed."""
        if not 1 <= wanted <= self.slots.count:
            return f"expected 1 to {self.slots.count} workers (--maxWorkers), got {wanted}"
        async with self._changing:
            reason = await self.supervisor.scale(wanted)
        _log.log(
            logging.ERROR if reason else logging.INFO, "scale to %d workers: %s", wanted, reason or "done"
        )
        return reason

    async def stop(self) -> None:
        """Drain and end; returns when the last worker is gone. May go on accepting first, as configured."""
        waits = [
            each.transport.life_cycle.request_accept_grace_timeout
            for each in self.static.entry_points.values()
        ]
        self.supervisor.say_terminating()
        await trio.sleep(max(waits, default=0.0))
        self.slots.hand_over()
        self.supervisor.stop()
        await self.supervisor.wait_finished()

    def stop_now(self) -> None:
        """End at once; running exchanges are cut."""
        self.supervisor.stop(now=True)

    def reopen_logs(self) -> None:
        """Open log files anew, here and in the workers."""
        logs.reopen()
        self.supervisor.reopen_logs()

    async def _start_serving(self) -> None:
        await self.reloader.start(self.static, self._providers, self._nursery)
        if await self.supervisor.wait_started():
            addresses = self.slots.addresses(self.epoch)
            shown = " ".join(f"{name}={address}" for name, address in addresses.items())
            self._announce(f"ready workers={self.supervisor.state.wanted} pid={os.getpid()} {shown}")

    async def _roll(self, load: StaticLoad) -> Outcome:
        """Replace every worker by one with the new settings; on failure the old ones serve on."""
        providers = make_providers(load.config, load.document)
        epoch = self.epoch + 1
        self.slots.open_epoch(epoch, listen_addresses(load.config))
        self.supervisor.add_epoch(epoch, load.config, longest_grace_s(load.config))
        self.epoch = epoch  # numbers are not used twice, so also after a failure
        _log.info("static settings changed: replacing all workers, slot by slot")
        reason = await self.supervisor.roll(epoch)
        if reason:
            return Outcome(
                self.supervisor.tables.current, reason=f"{reason}; the old settings and workers stay"
            )
        async with self._switching:
            hand_down(self._providers, providers)
            self._load, self._providers = load, providers
            logs.configure(with_log_file(load.config, self.options).log, "master")
            outcome = await self.reloader.switch(load.config, providers, self._nursery)
        _log.info("rolled: every worker serves with the new settings")
        return outcome


def run_master(options: StartOptions, runtime: RuntimeDirectory, announce: Callable[[str], None]) -> None:
    """Run a master until it is stopped.

    Args:
        options: how to start.
        runtime: its directory; created if missing.
        announce: told the ready line.

    Raises:
        ProxyError: it could not start; the class decides the exit code.
    """
    runtime.create()
    with hold_pid_file(runtime.pid_file):
        for left in (runtime.admin_socket, runtime.gateway_socket):
            left.unlink(missing_ok=True)  # of a master that was killed; we hold the lock
        raise_descriptor_limit()
        master = Master(options, runtime, announce)
        logs.configure(with_log_file(master.static, options).log, "master")
        try:
            trio.run(master.run)
        except BaseExceptionGroup as group:
            raise single_cause(group) from group


def read_static(options: StartOptions, runtime: RuntimeDirectory | None = None) -> StaticLoad:
    """The static settings as files, environment, flags and v1's store are now; problems are shown together.

    Blocks, and must not be called in trio's own thread.

    Raises:
        ConfigError: they cannot be used.
    """
    stored = stored_settings.reader(runtime.stored_settings if runtime is not None else None)
    load = load_static(list(options.static_args), os.environ, Path.cwd(), stored=stored)
    errors = [str(each) for each in load.found if each.severity is Severity.ERROR]
    for each in load.found:
        if each.severity is Severity.WARNING:
            _log.warning("%s", each)
    if errors:
        raise ConfigError("", "\n".join(errors))
    return load


def listen_addresses(static: StaticConfig) -> dict[str, ListenAddress]:
    """Where each entrypoint listens.

    Raises:
        ConfigError: an address cannot be read.
    """
    found: dict[str, ListenAddress] = {}
    for name, entry_point in static.entry_points.items():
        try:
            address = parse_address(entry_point.address)
        except ConfigError as error:
            raise ConfigError(f"entryPoints.{name}.address", error.reason, error.hint) from error
        found[name] = ListenAddress(address.host, address.port, address.protocol)
    return found


def longest_grace_s(static: StaticConfig) -> float:
    """How long draining may take: the longest ``graceTimeOut`` of the entrypoints."""
    graces_s = [each.transport.life_cycle.grace_time_out for each in static.entry_points.values()]
    return max(graces_s, default=0.0)


def with_log_file(static: StaticConfig, options: StartOptions) -> StaticConfig:
    """The settings with the log file that a detached start falls back on."""
    if static.log.file_path or not options.log_file:
        return static
    log = msgspec.structs.replace(static.log, file_path=options.log_file)
    return msgspec.structs.replace(static, log=log)


def raise_descriptor_limit() -> None:
    """Let this process and its workers open as many files as the system allows (getrlimit(2))."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def single_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that nurseries wrapped, if there is one of ours in it."""
    found: Sequence[BaseException] = [group]
    leaves: list[BaseException] = []
    while found:
        each, *found = found
        if isinstance(each, BaseExceptionGroup):
            found = [*each.exceptions, *found]
        else:
            leaves.append(each)
    return next((each for each in leaves if isinstance(each, ProxyError)), group)


def print_ready(line: str) -> None:
    """Show the ready line to whoever started us, whatever the log level."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201  # a person waits for it
