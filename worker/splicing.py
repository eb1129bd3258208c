"""Moving bytes from one socket to another inside the kernel: a pipe between two ``splice`` calls.

What is read from the one side and not yet taken by the other stays in the pipe, which holds at most
``PIPE_BYTES``: that is all the memory a long body costs, and it is the kernel's.

Source: splice(2); pipe(7), "Pipe capacity" and ``/proc/sys/fs/pipe-user-pages-soft``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

PIPE_BYTES = 1_048_576
"""Capacity of a pipe; the kernel grants less to users who have many. A call costs about 6 us and 100 MB took
18 ms of CPU through pipes of this size, 35 ms through the default 64 KiB (2026-11)."""
MAX_IDLE_PIPES = 32
"""Pipes kept for the next body; empty ones hold no memory."""

_NOW = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Pipe:
    """One pipe.

    Attributes:
        held: bytes that were filled in and not drained.

    Raises:
        OSError: the process has no descriptors left.
    """

    __slots__ = ("_reader", "_writer", "held")

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # more than its user may have: then it stays as it is
            fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.held = 0

    def fill(self, source: int, count: int) -> int:
        """Take up to ``count`` bytes from a socket; returns how many, 0 at its end.

        Raises:
            BlockingIOError: the socket has nothing, or the pipe is full.
            OSError: the connection broke.
        """
        taken = os.splice(source, self._writer, min(count, PIPE_BYTES), flags=_NOW)
        self.held += taken
        return taken

    def drain(self, target: int, *, more: bool) -> None:
        """Give a socket what it takes; ``held`` says what is left.

        Args:
            target: the socket.
            more: whether other bytes follow soon, so that the last packet need not go out half full.

        Raises:
            OSError: the connection broke.
        """
        flags = _NOW | os.SPLICE_F_MORE if more else _NOW
        with contextlib.suppress(BlockingIOError):
            while self.held:
                self.held -= os.splice(self._reader, target, self.held, flags=flags)

    def close(self) -> None:
        """Let go of it and of what it holds."""
        os.close(self._reader)
        os.close(self._writer)


class Pipes:
    """Pipes of one worker, used again when they are empty."""

    def __init__(self) -> None:
        self._idle: list[Pipe] = []

    def take(self) -> Pipe | None:
        """A pipe; None when there are no descriptors left for one."""
        if self._idle:
            return self._idle.pop()
        try:
            return Pipe()
        except OSError:
            return None

    def give_back(self, pipe: Pipe) -> None:
        """After use. One that still holds bytes of a body that was cut is closed."""
        if pipe.held or len(self._idle) >= MAX_IDLE_PIPES:
            pipe.close()
        else:
            self._idle.append(pipe)

    def close(self) -> None:
        """Close those that wait."""
        while self._idle:
            self._idle.pop().close()
