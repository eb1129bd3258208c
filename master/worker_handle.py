"""One worker process as the master holds it: started, talked to, watched, ended.

Strategy: everything that can happen to a worker arrives as an event, in order, at one callback. Sending never
waits: an outbox with a limit stands between, and a worker that lets it fill up counts as hung. Death is seen
through a pidfd, so no SIGCHLD handler and no process id that may have been reused.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
import multiprocess
import trio

from shared import control
from shared.channel import Channel, make_pair
from shared.errors import ControlError

_log = logging.getLogger(__name__)

OUTBOX_MESSAGES = 64
"""Control messages that wait for a worker; a few per reload, one ping per interval."""

PING_INTERVAL_S = 2.0
HANG_TIMEOUT_S = 10.0
"""A worker that answers no ping for this long is replaced: its slot's clients are stuck meanwhile."""

START_TIMEOUT_S = 60.0
"""From spawn to Ready; a bare start takes about 0.3 s, a loaded machine with a big table much longer."""

DRAIN_MARGIN_S = 5.0
"""Beyond its grace period a draining worker gets this long to cut what is left and exit."""

ABORT_WAIT_S = 2.0
"""From SIGABRT, which shows where a hung worker stands, to SIGKILL."""

LAST_WORDS_S = 1.0
"""After a process has ended, to read its remaining messages: they are in the socket already."""


class Gone(msgspec.Struct, frozen=True):
    """The process ended."""

    reason: str
    uptime_s: float


class Stuck(msgspec.Struct, frozen=True):
    """A deadline passed; the process is still there."""

    reason: str


Happening = control.ToMaster | Gone | Stuck
Tell = Callable[["WorkerHandle", Happening], None]


class Spawner(Protocol):
    """Starts a process that runs a worker."""

    def __call__(self, boot: bytes, channel: socket.socket, listeners: Listeners) -> Process:
        """Start it; the worker owns its copies of the sockets."""


class Process(Protocol):
    """The part of ``multiprocess.Process`` that is used."""

    @property
    def pid(self) -> int | None: ...

    @property
    def exitcode(self) -> int | None: ...

    def join(self, timeout: float | None = None) -> None: ...

    def close(self) -> None: ...


Listeners = Sequence[tuple[str, socket.socket]]


def spawn_worker(boot: bytes, channel: socket.socket, listeners: Listeners) -> Process:
    """Start a worker in a fresh interpreter. Never a fork: an event loop does not survive one."""
    from worker.main import run_worker  # the one thing of the worker that the master knows

    context: Any = multiprocess.get_context("spawn")
    process: Process = context.Process(
        target=run_worker, args=(boot, channel, list(listeners)), name="worker"
    )
    process.start()  # type: ignore[attr-defined]  # not in the protocol, so that nobody starts one twice
    return process


class WorkerHandle:
    """A running worker.

    Args:
        worker: its number.
        slot: its slot.
        epoch: the version of the static settings it was started with.
    """

    def __init__(self, worker: int, slot: int, epoch: int) -> None:
        self.worker = worker
        self.slot = slot
        self.epoch = epoch
        self.pid = 0
        self.generation = 0
        self.started_at = trio.current_time()
        self.ready_at: float | None = None
        self.last_pong: control.Pong | None = None
        self._boot_failure = ""
        self._pings = 0
        self._answered = 0
        self._drain_by = float("inf")
        self._outbox, self._to_send = trio.open_memory_channel[tuple[control.ToWorker, int | None]](
            OUTBOX_MESSAGES
        )
        self._end_asked = False
        self._heard_all = trio.Event()
        self._process: Process | None = None
        self._pidfd: int | None = None

    def send(self, message: control.ToWorker, fd: int | None = None) -> bool:
        """Queue a message. The descriptor is duplicated, so the caller may close its own.

        Returns:
            False if the worker has let too many messages pile up.
        """
        copy = None if fd is None else os.dup(fd)
        try:
            self._outbox.send_nowait((message, copy))
        except (trio.WouldBlock, trio.BrokenResourceError):
            if copy is not None:
                os.close(copy)
            return False
        return True

    def drain(self, grace_s: float) -> bool:
        """Ask it to finish and leave; ``Stuck`` follows if it does not."""
        self._drain_by = trio.current_time() + grace_s + DRAIN_MARGIN_S
        return self.send(control.Drain(grace_s))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, to exactly this process."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def end(self) -> None:
        """End the process at once, also one that is only just being started."""
        self._end_asked = True
        self.signal(signal.SIGKILL)

    async def abort(self) -> None:
        """End a process that does not answer: SIGABRT for its traceback, then SIGKILL."""
        self.signal(signal.SIGABRT)
        await trio.sleep(ABORT_WAIT_S)
        self.end()

    async def run(self, boot: bytes, listeners: Listeners, spawn: Spawner, tell: Tell) -> None:
        """Start the process and report what happens to it, ``Gone`` last."""
        if self._end_asked:
            tell(self, Gone("not needed any more", 0.0))
            return
        ours, theirs = make_pair()
        with theirs:
            try:
                self._process = spawn(boot, theirs, listeners)
            except OSError as error:
                ours.close()
                tell(self, Gone(f"cannot start a process: {error}", 0.0))
                return
        self.pid = self._process.pid or 0
        self._pidfd = os.pidfd_open(self.pid)
        channel: Channel[control.ToMaster] = Channel(ours, control.decode_for_master)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_queued, channel)
                nursery.start_soon(self._watch_deadlines, tell)
                nursery.start_soon(self._receive, channel, tell)
                await trio.lowlevel.wait_readable(self._pidfd)
                # What it said last, the reason of a failed start, is still to be read up to the end of file.
                with trio.move_on_after(LAST_WORDS_S):
                    await self._heard_all.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._release(channel)
        uptime_s = 0.0 if self.ready_at is None else trio.current_time() - self.ready_at
        tell(self, Gone(self._describe_end(), uptime_s))
        self._process.close()

    async def _send_queued(self, channel: Channel[control.ToMaster]) -> None:
        async for message, fd in self._to_send:
            try:
                await channel.send(message, () if fd is None else (fd,))
            except ControlError as error:
                _log.debug("worker %d: %s", self.slot, error)  # its end is reported by the pidfd
            finally:
                if fd is not None:
                    os.close(fd)

    async def _receive(self, channel: Channel[control.ToMaster], tell: Tell) -> None:
        while True:
            try:
                message, fds = await channel.receive()
            except ControlError as error:
                tell(self, Stuck(str(error)))
                return
            for fd in fds:  # workers have none to give
                os.close(fd)
            if message is None:
                self._heard_all.set()
                return
            self._note(message)
            tell(self, message)

    async def _watch_deadlines(self, tell: Tell) -> None:
        """Ping, and report the first deadline that passes. Counts intervals, so that a master that was
        stopped itself (a suspended machine) does not take its workers for hung."""
        unanswered = 0
        while True:
            await trio.sleep(PING_INTERVAL_S)
            now = trio.current_time()
            unanswered = 0 if self._answered == self._pings else unanswered + 1
            if unanswered * PING_INTERVAL_S >= HANG_TIMEOUT_S:
                tell(self, Stuck(f"no answer for {HANG_TIMEOUT_S:g} s"))
                return
            if self.ready_at is None and now > self.started_at + START_TIMEOUT_S:
                tell(self, Stuck(f"not ready within {START_TIMEOUT_S:g} s"))
                return
            if now > self._drain_by:
                tell(self, Stuck("still there after its grace period"))
                return
            if self.ready_at is not None and self._answered == self._pings:
                self._pings += 1
                self.send(control.Ping(self._pings))

    def _note(self, message: control.ToMaster) -> None:
        match message:
            case control.Ready():
                self.ready_at = trio.current_time()
            case control.Installed(generation=generation):
                self.generation = generation
            case control.Pong():
                self._answered = message.number
                self.last_pong = message
            case control.BootFailed(reason=reason):
                self._boot_failure = reason
            case _:
                pass

    def _describe_end(self) -> str:
        code = self._process.exitcode if self._process is not None else None
        if self._boot_failure:
            return self._boot_failure
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}"

    def _release(self, channel: Channel[control.ToMaster]) -> None:
        channel.close()
        self._outbox.close()
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                _, fd = self._to_send.receive_nowait()
                if fd is not None:
                    os.close(fd)
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        if self._process is not None:
            self._process.join(0)
