"""Bytes both ways between a client and a server until both have ended.

Between two plain sockets the kernel moves them (splice(2)): they never become ours. A pipe is needed for each
direction only while bytes are on their way, so pipes are borrowed and an idle tunnel costs two descriptors.
Where one side speaks TLS the bytes go through this process, one chunk at a time each way.

When one side ends, the other is told (FIN), and the opposite direction has ``delay_s`` to end too. When one
breaks, both are over. No deadline otherwise: a tunnel may be silent for ever (keep-alive probes find the
dead).

Source: splice(2); spec v2 section 6.2.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

CHUNK_BYTES = 262_144
"""Most bytes of one direction on their way (the size of its pipe; not measured)."""
MAX_SPARE_PIPES = 64
"""Pipes kept for the next use."""
FULL_BYTES = 32_768
"""A piece as large as this is probably not the last one; after a smaller one we wait before we look again."""
MOVES_PER_TURN = 16
"""Pieces moved before the worker's other tasks get their turn."""
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_READ_BYTES = 65_536


class Tally:
    """What went through.

    Attributes:
        bytes_in: from the client.
        bytes_out: to the client.
    """

    __slots__ = ("bytes_in", "bytes_out")

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0

    def add_in(self, size: int) -> None:
        """So many more from the client."""
        self.bytes_in += size

    def add_out(self, size: int) -> None:
        """So many more to the client."""
        self.bytes_out += size


class DuplexStream(Protocol):
    """What a side that is no plain socket offers; errors as of ``trio.SocketStream``."""

    async def receive_some(self, max_bytes: int) -> bytes | bytearray:
        """Some bytes; empty at the end."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it."""

    async def send_eof(self) -> None:
        """Say that nothing more comes."""


class Pipes:
    """Pipes between uses. An empty one is as good as new."""

    def __init__(self) -> None:
        self._spare: list[tuple[int, int]] = []

    def take(self) -> tuple[int, int]:
        """A pipe (read end, write end).

        Raises:
            OSError: the process may not open more.
        """
        if self._spare:
            return self._spare.pop()
        ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # over the user's limit for pipes: the default size does too
            fcntl.fcntl(ends[0], fcntl.F_SETPIPE_SZ, CHUNK_BYTES)
        return ends

    def give_back(self, pipe: tuple[int, int], *, is_empty: bool) -> None:
        """Keep it, unless it holds bytes that nobody wants."""
        if is_empty and len(self._spare) < MAX_SPARE_PIPES:
            self._spare.append(pipe)
        else:
            for end in pipe:
                os.close(end)

    def close(self) -> None:
        """Close those that are kept."""
        for pipe in self._spare:
            for end in pipe:
                os.close(end)
        self._spare.clear()


async def relay_sockets(
    client: socket.socket, server: socket.socket, delay_s: float, tally: Tally, pipes: Pipes
) -> None:
    """Run a tunnel between plain sockets; both stay open for the caller to close."""

    async def move_in() -> None:
        await _splice(client, server, tally.add_in, pipes)

    async def move_out() -> None:
        await _splice(server, client, tally.add_out, pipes)

    await _run_both(move_in, move_out, delay_s)


async def relay_streams(client: DuplexStream, server: DuplexStream, delay_s: float, tally: Tally) -> None:
    """Run a tunnel of which at least one side is no plain socket; both stay open for the caller to close."""

    async def move_in() -> None:
        await _copy(client, server, tally.add_in)

    async def move_out() -> None:
        await _copy(server, client, tally.add_out)

    await _run_both(move_in, move_out, delay_s)


async def _run_both(
    move_in: Callable[[], Awaitable[None]], move_out: Callable[[], Awaitable[None]], delay_s: float
) -> None:
    async def run(move: Callable[[], Awaitable[None]]) -> None:
        try:
            await move()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            nursery.cancel_scope.cancel()
            return
        nursery.cancel_scope.deadline = min(nursery.cancel_scope.deadline, trio.current_time() + delay_s)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, move_in)
        nursery.start_soon(run, move_out)


async def _splice(
    source: socket.socket, target: socket.socket, count: Callable[[int], None], pipes: Pipes
) -> None:
    """One direction, to its end, which is passed on.

    Raises:
        OSError: one side broke.
    """
    moves = 0
    has_more = False
    while True:
        if not has_more or moves >= MOVES_PER_TURN:
            await trio.lowlevel.wait_readable(source)
            moves = 0
        pipe = pipes.take()
        waiting = 0
        try:
            got = waiting = _fill(source, pipe[1])
            while waiting > 0:
                waiting -= await _empty(pipe[0], target, waiting)
        finally:
            pipes.give_back(pipe, is_empty=waiting <= 0)
        if got == 0:
            target.shutdown(socket.SHUT_WR)
            return
        count(max(got, 0))
        moves += 1
        has_more = got >= FULL_BYTES


def _fill(source: socket.socket, pipe: int) -> int:
    """Move what has come into an empty pipe: how much, 0 at the end, -1 if there is nothing now."""
    try:
        return os.splice(source.fileno(), pipe, CHUNK_BYTES, flags=_FLAGS)
    except BlockingIOError:
        return -1


async def _empty(pipe: int, target: socket.socket, size: int) -> int:
    """Move from a pipe what the target takes, waiting if that is nothing."""
    while True:
        try:
            moved = os.splice(pipe, target.fileno(), size, flags=_FLAGS)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(target)
            continue
        if not moved:
            raise OSError(errno.EPIPE, "nothing leaves the pipe")
        return moved


async def _copy(source: DuplexStream, target: DuplexStream, count: Callable[[int], None]) -> None:
    while data := await source.receive_some(_READ_BYTES):
        await target.send_all(data)
        count(len(data))
    await target.send_eof()
