"""Does what the plan decides: starts, feeds, watches and ends workers, and brings tables to them.

Everything that happens becomes an event for ``master.plan`` or ``master.transaction``, one at a time; this
file holds no rules of its own. Who asked for something waits until the state says that it is so.
"""

from __future__ import annotations

import logging
import os
import random
from collections import deque
from collections.abc import Callable
from typing import assert_never

import trio

from master import plan, transaction
from master.slots import Slots
from master.worker_handle import Gone, Happening, Spawner, Stuck, WorkerHandle, spawn_worker
from shared import control
from shared.arena import Arena
from shared.boot import WorkerBoot, encode_boot
from shared.config.static import StaticConfig
from shared.errors import ArenaError

_log = logging.getLogger(__name__)

INSTALL_TIMEOUT_S = 15.0
"""From the offer of a table to the last worker's answer. Mapping takes milliseconds; the rest is for
machines so loaded that a worker does not get to run."""

SETTLE_S = 1.0
"""Between steering connections away from a slot and draining it; longer than a handshake across the world
(about 0.3 s), including one lost packet on most paths."""

SPARE_COLUMNS = 8
"""Columns of the arena beyond two per slot (the worker that serves and the one that drains) and the master's:
for workers that were told to die and are not dead yet."""

JITTER = 0.25
"""Restart delays vary by this much either way: slots that crashed together shall not return together."""


class Supervisor:
    """Owner of all workers.

    Args:
        slots: the listening sockets.
        wanted: how many workers to start with.
        nursery: where the workers are watched; it ends with the master.
        spawn: starts a process; tests bring their own.
        gateway: where workers reach the master's HTTP API; empty for nowhere.
    """

    def __init__(
        self,
        slots: Slots,
        wanted: int,
        nursery: trio.Nursery,
        spawn: Spawner = spawn_worker,
        gateway: str = "",
    ) -> None:
        self.slots = slots
        self.state = plan.PlanState(wanted=wanted)
        self.tables = transaction.TableState()
        self.handles: dict[int, WorkerHandle] = {}
        self.failure = ""
        self.grace_s = 10.0
        self.arena = Arena.create(1 + 2 * slots.count + SPARE_COLUMNS)
        self._columns: dict[int, int] = {}
        self._nursery = nursery
        self._spawn = spawn
        self._gateway = gateway
        self._statics: dict[int, StaticConfig] = {}
        self._table_files: dict[int, int] = {}
        self._concluded: dict[int, transaction.Conclude] = {}
        self._rolls: dict[int, str] = {}
        self._changed = trio.Event()
        self._events: deque[plan.AnyEvent | transaction.AnyTableEvent] = deque()
        self._busy = False
        self._is_terminating = False

    def add_epoch(self, epoch: int, static: StaticConfig, grace_s: float) -> None:
        """Make static settings known; their sockets are open already."""
        self._statics[epoch] = static
        self.grace_s = grace_s

    def begin(self) -> None:
        """Start the first workers."""
        self._feed(plan.Begin())

    async def wait_started(self) -> bool:
        """Wait until every wanted slot serves for the first time; False if that failed."""
        await self._wait_until(lambda: self.state.started or self.state.stopping)
        return self.state.started

    async def wait_finished(self) -> None:
        """Wait until the last worker is gone after a stop."""
        await self._wait_until(lambda: self.state.finished)

    async def offer(self, generation: int, table_file: int) -> transaction.Conclude:
        """Bring a table to all workers, or to none.

        Args:
            generation: larger than any before.
            table_file: a sealed memory file; the supervisor owns it from now on.

        Returns:
            How it ended; the table is live everywhere unless there is a reason.
        """
        self._table_files[generation] = table_file
        self._feed(transaction.Offered(generation))
        with trio.move_on_after(INSTALL_TIMEOUT_S):
            await self._wait_until(lambda: generation in self._concluded)
        self._feed(transaction.Overdue(generation))  # no effect if it was concluded
        return self._concluded.pop(generation)

    async def scale(self, wanted: int) -> str:
        """Serve with this many workers; returns when it is so. Returns a reason if it failed."""
        failures = sum(self.state.failures.values())
        self._feed(plan.Scale(wanted))

        def ended() -> bool:
            failed = sum(self.state.failures.values()) > failures
            return plan.is_settled(self.state) or self.state.stopping or self.state.wanted != wanted or failed

        await self._wait_until(ended)
        if plan.is_settled(self.state) and self.state.wanted == wanted:
            return ""
        if self.state.stopping:
            return "the proxy is stopping"
        if self.state.wanted != wanted:
            return f"another request asked for {self.state.wanted} workers meanwhile"
        return "a worker failed; it is restarted with growing delays, see status"

    async def roll(self, epoch: int) -> str:
        """Replace all workers by ones of this epoch; returns a reason if the old ones serve on instead."""
        self._feed(plan.Roll(epoch))
        await self._wait_until(lambda: epoch in self._rolls or self.state.stopping)
        return self._rolls.pop(epoch, "the proxy is stopping")

    def stop(self, now: bool = False) -> None:
        """Drain everything, or end everything; from now on nobody new is let in."""
        self._feed(plan.Stop(now))
        self.slots.close()  # workers that accept to the end have their own copies; then it is refused

    def say_terminating(self) -> None:
        """Let the health endpoint say that the proxy will stop; also that of workers that start yet."""
        self._is_terminating = True
        for handle in self.handles.values():
            handle.send(control.Terminating())

    def reopen_logs(self) -> None:
        """Tell every worker that log files were moved."""
        for handle in self.handles.values():
            handle.send(control.ReopenLogs())

    def _tell(self, handle: WorkerHandle, happening: Happening) -> None:
        """What a worker's handle reports, as events."""
        worker = handle.worker
        match happening:
            case control.Booted():
                if self._is_terminating:
                    handle.send(control.Terminating())
                self._feed(transaction.Joined(worker))
            case control.Installed(generation=generation):
                self._feed(transaction.Answered(worker, generation))
            case control.Refused(generation=generation, reason=reason):
                self._feed(transaction.Answered(worker, generation, reason))
            case control.Ready():
                self._log_worker(logging.INFO, handle, "serves")
                self._feed(plan.Ready(worker))
            case control.Drained(exchanges=exchanges, cut=cut):
                self._log_worker(logging.INFO, handle, "drained", exchanges=exchanges, cut=cut)
            case control.BootFailed(reason=reason):
                self._log_worker(logging.ERROR, handle, f"cannot start: {reason}")
            case control.Pong():
                pass
            case Stuck(reason=reason):
                self._log_worker(logging.ERROR, handle, f"is stuck: {reason}; it is ended and replaced")
                self._feed(transaction.Left(worker, crashed=True), plan.Broken(worker, reason))
            case Gone(reason=reason, uptime_s=uptime_s):
                self._note_end(handle, reason)
                self._feed(transaction.Left(worker, crashed=True), plan.Exited(worker, reason, uptime_s))
            case _:
                assert_never(happening)

    def _note_end(self, handle: WorkerHandle, reason: str) -> None:
        self.handles.pop(handle.worker, None)
        column = self._columns.pop(handle.worker, None)
        if column is not None:
            self.arena.retire_column(column)
        view = self.state.find(handle.worker)
        if view is not None and view.phase in (plan.Phase.STARTING, plan.Phase.READY):
            self._log_worker(logging.ERROR, handle, f"ended unexpectedly: {reason}; its queue is kept")
        else:
            self._log_worker(logging.INFO, handle, f"gone: {reason}")

    def _feed(self, *events: plan.AnyEvent | transaction.AnyTableEvent) -> None:
        """Decide and do. An action that causes another event only queues it, so steps never nest."""
        self._events.extend(events)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                self._handle(self._events.popleft())
        finally:
            self._busy = False
        self.slots.steer(plan.pick_avoided(self.state))
        self._changed.set()
        self._changed = trio.Event()

    def _handle(self, event: plan.AnyEvent | transaction.AnyTableEvent) -> None:
        if isinstance(event, transaction.TableEvent):
            self.tables, table_actions = transaction.step(self.tables, event)
            for table_action in table_actions:
                self._do_table_action(table_action)
            self._forget_tables()
        else:
            self.state, actions = plan.step(self.state, event)
            for action in actions:
                self._do(action)

    def _do(self, action: plan.AnyAction) -> None:
        match action:
            case plan.Spawn(worker=worker, slot=slot, epoch=epoch):
                self._start_worker(worker, slot, epoch)
            case plan.Drain(worker=worker):
                self._events.append(transaction.Left(worker, crashed=False))
                if not self.handles[worker].drain(self.grace_s):
                    self._events.append(plan.Broken(worker, "takes no messages"))
            case plan.Kill(worker=worker, abort=abort):
                self._end_process(worker, abort)
            case plan.StartRestartTimer(slot=slot, delay_s=delay_s):
                jittered_s = delay_s * random.uniform(1 - JITTER, 1 + JITTER)
                _log.warning("slot %d: next start in %.1f s", slot, jittered_s)
                self._nursery.start_soon(self._feed_later, jittered_s, plan.RestartDue(slot))
            case plan.StartSettleTimer(slot=slot):
                self._nursery.start_soon(self._feed_later, SETTLE_S, plan.Settled(slot))
            case plan.RestSlot(slot=slot):
                self.slots.rest(slot)
            case plan.RetireEpoch(epoch=epoch):
                self.slots.retire_epoch(epoch)
                self._statics.pop(epoch, None)
            case plan.ReportRoll(epoch=epoch, reason=reason):
                self._rolls[epoch] = reason
            case plan.GiveUp(reason=reason):
                self.failure = reason
            case plan.ReportStarted() | plan.Finish():
                pass  # those who wait look at the state
            case _:
                assert_never(action)

    def _do_table_action(self, action: transaction.AnyTableAction) -> None:
        match action:
            case transaction.SendInstall(worker=worker, generation=generation):
                handle = self.handles[worker]
                self.slots.listen(handle.epoch, handle.slot)
                self._send(worker, control.Install(generation), self._table_files[generation])
            case transaction.SendCommit(worker=worker, generation=generation):
                self._send(worker, control.Commit(generation))
            case transaction.SendRollback(worker=worker, generation=generation):
                self._send(worker, control.Rollback(generation))
            case transaction.Conclude(generation=generation):
                self._concluded[generation] = action
            case transaction.Unusable(worker=worker, reason=reason):
                self._events.append(plan.Broken(worker, reason))
            case _:
                assert_never(action)

    def _send(self, worker: int, message: control.ToWorker, fd: int | None = None) -> None:
        if not self.handles[worker].send(message, fd):
            self._events.append(transaction.Left(worker, crashed=True))
            self._events.append(plan.Broken(worker, "takes no messages"))

    def _start_worker(self, worker: int, slot: int, epoch: int) -> None:
        try:
            column = self._columns[worker] = self.arena.take_column()
        except ArenaError as error:
            self._events.append(plan.Exited(worker, str(error), 0.0))
            return
        handle = self.handles[worker] = WorkerHandle(worker, slot, epoch)
        handle.send(control.UseArena(column), self.arena.fd)
        boot = encode_boot(WorkerBoot(slot, self._statics[epoch], self._gateway))
        listeners = self.slots.for_worker(epoch, slot)
        self._nursery.start_soon(handle.run, boot, listeners, self._spawn, self._tell)

    def _end_process(self, worker: int, abort: bool) -> None:
        handle = self.handles.get(worker)
        if handle is None:
            return
        if abort:
            self._nursery.start_soon(handle.abort)
        else:
            handle.end()

    async def _feed_later(self, delay_s: float, event: plan.AnyEvent) -> None:
        await trio.sleep(delay_s)
        self._feed(event)

    def _forget_tables(self) -> None:
        """Close the tables that nobody will be given any more."""
        for generation in self._table_files.keys() - {self.tables.current, self.tables.offered}:
            os.close(self._table_files.pop(generation))

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    def _log_worker(self, level: int, handle: WorkerHandle, what: str, **fields: object) -> None:
        known = {"slot": handle.slot, "worker_pid": handle.pid, **fields}
        _log.log(level, "worker %d %s", handle.slot, what, extra={"fields": known})
