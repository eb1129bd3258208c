"""From snapshots to a table that is live everywhere: take, compile, offer, remember.

One change at a time (a lock), each a transaction: either every worker serves the new table or all go on with
the old one, and whoever asked is told which. A table equal to the live one is not offered.

The last good table comes from disk when the first snapshots do not arrive in time, or a source cannot be read
at all. It then stays until every provider has spoken once or somebody asks for a reload: a partial
configuration would drop routes.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
from collections.abc import Sequence

import msgspec
import trio

from master.aggregator import Aggregator
from master.arena_identities import identities_of_table
from master.arena_ledger import ArenaLedger
from master.compiler.compiler import Compiled
from master.health import HealthMonitor
from master.last_good import LastGood, load_last_good, save_last_good
from master.provider_feed import ProviderFeed
from master.runtime_directory import RuntimeDirectory
from master.supervisor import Supervisor
from providers.base import Provider, Snapshot
from shared import logs
from shared.config.diagnostics import Diagnostic, Severity
from shared.config.static import StaticConfig
from shared.errors import ArenaError, TableError
from shared.identities import Identity
from shared.table.reader import open_table

_log = logging.getLogger(__name__)

REREAD_WAIT_S = 10.0
"""How long a reload waits for a provider to look at its source."""

RETRY_FIRST_S = 5.0
RETRY_MOST_S = 300.0
"""A change that did not become live (a worker was silent) is offered again, ever more rarely."""

RENEWAL_S = 86_400.0
"""At least so often the configuration is compiled: the secret of session tickets is renewed by that."""

MAX_OFFERS = 3
"""Of one table, when workers die meanwhile for reasons of their own."""


class Outcome(msgspec.Struct, frozen=True):
    """How a reload ended.

    Attributes:
        generation: what is live now.
        changed: whether this reload made it so.
        reason: why the change is not live; empty if all is well.
        problems: what is wrong with the configuration, as text; those objects keep their last good form.
    """

    generation: int
    changed: bool = False
    reason: str = ""
    problems: tuple[str, ...] = ()


class Reloader:
    """Owner of the configuration that is live.

    Args:
        supervisor: brings tables to workers.
        runtime: where the last good table is.
        health: is told which services are live.
    """

    def __init__(self, supervisor: Supervisor, runtime: RuntimeDirectory, health: HealthMonitor) -> None:
        self.feeds: list[ProviderFeed] = []
        self.compiled: Compiled | None = None
        self.outcome = Outcome(0)
        self.holding: list[str] = []
        self.live_table = b""
        self._supervisor = supervisor
        self._runtime = runtime
        self._health = health
        self._aggregator: Aggregator | None = None
        self._live_digest = b""
        self._live_identities: frozenset[Identity] = frozenset()
        self._ledger = ArenaLedger(supervisor.arena)
        self._generation = 0
        self._inbox: dict[str, Snapshot] = {}
        self._shown: frozenset[Diagnostic] = frozenset()
        self._lock = trio.Lock()
        self._arrived = trio.Event()
        self._feeds_scope: trio.CancelScope | None = None

    async def start(self, static: StaticConfig, providers: Sequence[Provider], nursery: trio.Nursery) -> None:
        """Run the providers and bring the first table to the workers."""
        await self._run_feeds(static, providers, nursery)
        last = await trio.to_thread.run_sync(load_last_good, self._runtime.last_good)
        if last is not None:
            self._generation = last.generation
        await self._wait_for_snapshots(static.providers.first_sync_wait)
        all_heard = all(feed.is_heard for feed in self.feeds)
        if not all_heard and last is not None and _is_readable(last.table):
            await self._go_live_with(last)
        else:
            await self.apply()
        nursery.start_soon(self._run_changes)

    async def switch(
        self, static: StaticConfig, providers: Sequence[Provider], nursery: trio.Nursery
    ) -> Outcome:
        """Take up changed static settings, whose workers serve already; snapshots are read anew."""
        before = {feed.name: feed.latest for feed in self.feeds}
        if self._feeds_scope is not None:
            self._feeds_scope.cancel()
        async with self._lock:
            await self._run_feeds(static, providers, nursery)
            await self._wait_for_snapshots(static.providers.first_sync_wait)
            for feed in self.feeds:
                kept = before.get(feed.name)
                if not feed.spoke.is_set() and kept is not None:
                    self._inbox.setdefault(feed.name, kept)
            return await self._apply_locked()

    async def reload(self) -> Outcome:
        """Have every provider look again, and return when what they say is live everywhere, or is not."""
        assert self._aggregator is not None, "started before"
        silent: list[str] = []
        async with trio.open_nursery() as nursery:
            for feed in self.feeds:
                nursery.start_soon(_reread, feed, silent)
        self.holding = []
        self._aggregator.forget_files()
        outcome = await self.apply()
        if silent and not outcome.reason:
            names = ", ".join(sorted(silent))
            waited = f"no answer within {REREAD_WAIT_S:g} s from provider {names}; its last routes stay"
            return msgspec.structs.replace(outcome, reason=waited)
        return outcome

    async def apply(self) -> Outcome:
        """Compile what has been handed over and bring it to the workers."""
        async with self._lock:
            return await self._apply_locked()

    async def apply_now(self, name: str) -> Outcome:
        """Bring what a provider has just said to the workers, past its throttle; returns how that ended."""
        if self.holding:
            waited = f"the last good table stays until provider {', '.join(self.holding)} speaks"
            return Outcome(self._live, reason=waited)
        for feed in self.feeds:
            if feed.name == name:
                feed.flush()
        return await self.apply()

    async def _run_feeds(
        self, static: StaticConfig, providers: Sequence[Provider], nursery: trio.Nursery
    ) -> None:
        throttle_s = static.providers.providers_throttle_duration
        self._aggregator = Aggregator(static)
        self._inbox.clear()
        self.feeds = [ProviderFeed(provider, throttle_s, self._take) for provider in providers]
        self._feeds_scope = trio.CancelScope()
        nursery.start_soon(self._run_until_cancelled, self.feeds, self._feeds_scope)

    async def _run_until_cancelled(self, feeds: list[ProviderFeed], scope: trio.CancelScope) -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                for feed in feeds:
                    nursery.start_soon(feed.run)

    def _take(self, snapshot: Snapshot) -> None:
        self._inbox[snapshot.provider] = snapshot
        self._arrived.set()

    async def _wait_for_snapshots(self, at_most_s: float) -> None:
        """Wait until every provider spoke, for a while; what they said has then been handed over.

        A start is ready only after that: with a long wait nobody is sent to a proxy without routes.
        """
        with trio.move_on_after(at_most_s):
            for feed in self.feeds:
                await feed.spoke.wait()
        for feed in self.feeds:
            feed.flush()

    async def _run_changes(self) -> None:
        wait_s = RETRY_FIRST_S
        while True:
            with trio.move_on_after(wait_s if self.outcome.reason else RENEWAL_S):
                await self._arrived.wait()
            wait_s = min(2 * wait_s, RETRY_MOST_S) if self.outcome.reason else RETRY_FIRST_S
            retries = not self._arrived.is_set()
            self._arrived = trio.Event()
            self.holding = [name for name in self.holding if not self._has_spoken(name)]
            if self.holding:
                _log.warning("last good table stays until provider %s speaks", ", ".join(self.holding))
            elif self._inbox or retries:
                await self.apply()

    def _has_spoken(self, name: str) -> bool:
        return any(feed.name == name and feed.is_heard for feed in self.feeds)

    async def _go_live_with(self, last: LastGood) -> None:
        silent = [feed for feed in self.feeds if not feed.is_heard]
        self.holding = [feed.name for feed in silent]
        problems = [each for feed in silent if feed.latest is not None for each in feed.latest.problems]
        self._show_problems(problems)
        names = ", ".join(self.holding)
        _log.warning("provider %s says nothing; serving the last good table %d", names, last.generation)
        table = open_table(last.table)
        identities = identities_of_table(table)
        await self._ledger.claim(identities)
        conclusion = await self._supervisor.offer(last.generation, seal_table(last.table))
        self._live_identities = identities
        services = [table.service(number) for number in range(table.service_count)]
        transports = {each.transport: table.transport(each.transport) for each in services}
        self._health.update(services, transports, table.streams().tcp)
        self._note_live(last.generation, last.table, b"")
        told = tuple(str(each) for each in problems)
        self.outcome = Outcome(last.generation, True, conclusion.reason, told)

    async def _apply_locked(self) -> Outcome:
        assert self._aggregator is not None, "started before"
        taken, self._inbox = self._inbox, {}
        for snapshot in taken.values():
            self._aggregator.take(snapshot)
        try:
            compiled = await trio.to_thread.run_sync(_compile, self._aggregator, self._generation + 1)
        except Exception as error:
            # A defect of ours, met by one configuration: the old table serves on, and the text says where.
            _log.exception("cannot compile the configuration; table %d stays", self._live)
            self.outcome = Outcome(self._live, False, f"cannot compile the configuration: {error!r}")
            return self.outcome
        self.compiled = compiled
        self._show_problems(compiled.found)
        problems = tuple(str(each) for each in compiled.found)
        if compiled.digest == self._live_digest:
            self.outcome = Outcome(self._live, False, "", problems)
            return self.outcome
        try:
            await self._ledger.claim(compiled.identities)
            reason = await self._offer(compiled)
        except ArenaError as error:
            reason = str(error)
        if not reason:
            self._live_identities = compiled.identities
            if compiled.content is not None:
                content = compiled.content
                self._health.update(content.services, content.transports, content.streams.tcp)
        self._ledger.keep_only(self._live_identities)
        if reason:
            _log.error("reload failed: %s; table %d stays live everywhere", reason, self._live)
        self.outcome = Outcome(self._live, not reason, reason, problems)
        return self.outcome

    @property
    def _live(self) -> int:
        return self._supervisor.tables.current

    async def _offer(self, compiled: Compiled) -> str:
        """Offer until it is live or refused. Returns the reason if it is not live."""
        assert self._aggregator is not None, "called with one"
        reason = ""
        for _ in range(MAX_OFFERS):
            self._generation += 1
            conclusion = await self._supervisor.offer(self._generation, seal_table(compiled.table))
            reason = conclusion.reason
            if not reason:
                self._note_live(self._generation, compiled.table, compiled.digest)
                counts = {"generation": self._generation, **compiled.summary}
                _log.info("table %d is live everywhere", self._generation, extra={"fields": counts})
                await self._remember(LastGood(self._generation, compiled.table))
                return ""
            if not conclusion.lost_worker:
                return reason
            _log.warning("table %d: %s; offering it again", self._generation, reason)
            compiled = await trio.to_thread.run_sync(_compile, self._aggregator, self._generation + 1)
        return reason

    def _note_live(self, generation: int, table: bytes, digest: bytes) -> None:
        self.live_table, self._live_digest = table, digest
        logs.set_generation(generation)

    async def _remember(self, last: LastGood) -> None:
        try:
            await trio.to_thread.run_sync(save_last_good, self._runtime.last_good, last)
        except OSError as error:
            _log.warning("cannot save the last good table: %s; serving goes on", error)

    def _show_problems(self, found: Sequence[Diagnostic]) -> None:
        """Log what is new; a problem that stays is not repeated with every change."""
        for each in found:
            if each not in self._shown:
                level = logging.ERROR if each.severity is Severity.ERROR else logging.WARNING
                _log.log(level, "%s", each)
        if self._shown and not found:
            _log.info("all problems of the configuration are solved")
        self._shown = frozenset(found)


def _compile(aggregator: Aggregator, generation: int) -> Compiled:
    """Compile with the collector at rest: looking through 10,000 routers for cycles costs a sixth of it."""
    gc.disable()
    try:
        return aggregator.compile(generation)
    finally:
        gc.enable()


def seal_table(table: bytes) -> int:
    """A memory file that holds the table and that nobody can change any more (memfd_create(2), fcntl(2))."""
    descriptor = os.memfd_create("penstock-table", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        rest = memoryview(table)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


async def _reread(feed: ProviderFeed, silent: list[str]) -> None:
    with trio.move_on_after(REREAD_WAIT_S) as waiting:
        await feed.reread()
    if waiting.cancelled_caught:
        silent.append(feed.name)


def _is_readable(table: bytes) -> bool:
    try:
        open_table(table)
    except TableError as error:
        _log.warning("last good table is not usable: %s", error)
        return False
    return True
