"""The control channel: whole messages, and the descriptors beside them, over a SOCK_SEQPACKET pair.

The kernel keeps the boundaries, so one datagram is one message and nothing can be half read. What was cut
short on the way is an error, never a shorter message. ``shared.control`` says what the messages are.

Source: unix(7), SOCK_SEQPACKET and SCM_RIGHTS.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import trio

from shared import control
from shared.errors import ControlError

Received = TypeVar("Received")

MAX_DESCRIPTORS = 8
"""Descriptors beside one message; an ``Install`` carries one."""

_INT_BYTES = array.array("i").itemsize


def make_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends: the master's and the worker's."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Channel(Generic[Received]):
    """One end of the channel. One task receives; any number may send.

    Args:
        sock: an end of ``make_pair``; the channel owns it from now on.
        decode: ``control.decode_for_master`` or ``control.decode_for_worker``, by the end this is.
    """

    def __init__(self, sock: socket.socket, decode: Callable[[bytes], Received]) -> None:
        self._sock = trio.socket.from_stdlib_socket(sock)
        self._decode = decode
        self._sending = trio.Lock()  # trio lets only one task at a time wait for room in a socket

    async def send(self, message: control.ToWorker | control.ToMaster, fds: Sequence[int] = ()) -> None:
        """Send one message. The descriptors are duplicated by the kernel; the caller's stay open.

        Raises:
            ControlError: the message is too long, or the other end is gone.
        """
        data = control.encode(message)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
        async with self._sending:
            try:
                await self._sock.sendmsg([data], rights)
            except OSError as error:
                raise ControlError(f"cannot send {type(message).__name__}: {error}") from error

    async def receive(self) -> tuple[Received | None, tuple[int, ...]]:
        """The next message and the descriptors that came with it, which the caller must close.

        Returns:
            ``(None, ())`` when the other end is gone.

        Raises:
            ControlError: what came is no message; its descriptors are closed already.
        """
        room = socket.CMSG_SPACE(MAX_DESCRIPTORS * _INT_BYTES)
        try:
            data, ancillary, flags, _ = await self._sock.recvmsg(
                control.MAX_MESSAGE_BYTES, room, socket.MSG_CMSG_CLOEXEC
            )
        except OSError:  # reset: the other end closed with messages of ours unread
            return None, ()
        fds = _descriptors(ancillary)
        if not data:
            _close_all(fds)
            return None, ()
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ControlError(
                    f"a message was cut short on its way ({len(data)} bytes, {len(fds)} descriptors)"
                )
            return self._decode(data), fds
        except ControlError:
            _close_all(fds)
            raise

    def close(self) -> None:
        """Close this end; the other one sees the end of file. Safe to call twice."""
        self._sock.close()


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, ...]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % _INT_BYTES])
    return tuple(fds)


def _close_all(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)
