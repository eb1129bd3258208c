"""What master and worker say to each other, sans I/O: message types and their encoding.

One message is one datagram of a ``SOCK_SEQPACKET`` pair, so there is no framing to get wrong; a table
travels beside an ``Install`` as a descriptor. ``shared.channel`` moves them.

Reload, seen from the worker: ``Install`` n+1 -> map, check, switch -> ``Installed`` (or ``Refused`` and
stay); then ``Commit`` (n may be forgotten) or ``Rollback`` (switch back to n).
"""

from __future__ import annotations

import msgspec

from shared.errors import ControlError

MAX_MESSAGE_BYTES = 131_072
"""Well under the default socket buffer; messages carry names and numbers, never configuration."""


class Message(msgspec.Struct, frozen=True, tag=True):
    """Root of all control messages."""


class Install(Message, frozen=True):
    """To the worker, with one descriptor: serve from this table."""

    generation: int


class UseArena(Message, frozen=True):
    """To the worker, first, with one descriptor: the arena, and which column of it is the worker's."""

    column: int


class Commit(Message, frozen=True):
    """To the worker: every worker has this generation; forget the one before."""

    generation: int


class Rollback(Message, frozen=True):
    """To the worker: return to the generation before this one."""

    generation: int


class Drain(Message, frozen=True):
    """To the worker: stop accepting, finish within ``grace_s`` seconds, exit 0."""

    grace_s: float


class Ping(Message, frozen=True):
    """To the worker: answer soon or be replaced."""

    number: int


class ReopenLogs(Message, frozen=True):
    """To the worker: log files were moved away."""


class Terminating(Message, frozen=True):
    """To the worker: go on serving, but let the health endpoint say that the proxy will stop."""


class Booted(Message, frozen=True):
    """To the master: the process runs and waits for its first table."""

    pid: int


class Ready(Message, frozen=True):
    """To the master: accepting connections on every slot socket."""

    generation: int


class Installed(Message, frozen=True):
    """To the master: exchanges that begin now use this generation. ``pause_ms``: the loop's longest stall."""

    generation: int
    pause_ms: float = 0.0


class Refused(Message, frozen=True):
    """To the master: this table cannot be used; the one before stays."""

    generation: int
    reason: str


class Pong(Message, frozen=True):
    """To the master: alive; how much is going on."""

    number: int
    generation: int
    connections: int
    in_flight: int
    exchanges: int


class Drained(Message, frozen=True):
    """To the master, last: how the drain went."""

    exchanges: int
    cut: int


class BootFailed(Message, frozen=True):
    """To the master: this worker will exit with code 3, and why."""

    reason: str


ToWorker = UseArena | Install | Commit | Rollback | Drain | Ping | ReopenLogs | Terminating
ToMaster = Booted | Ready | Installed | Refused | Pong | Drained | BootFailed

_encoder = msgspec.msgpack.Encoder()
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_to_master: msgspec.msgpack.Decoder[ToMaster] = msgspec.msgpack.Decoder(ToMaster)


def encode(message: ToWorker | ToMaster) -> bytes:
    """The datagram for a message.

    Raises:
        ControlError: it is over ``MAX_MESSAGE_BYTES``.
    """
    data = _encoder.encode(message)
    if len(data) > MAX_MESSAGE_BYTES:
        kind = type(message).__name__
        raise ControlError(f"{kind} message of {len(data)} bytes is over {MAX_MESSAGE_BYTES}")
    return data


def decode_for_worker(data: bytes) -> ToWorker:
    """A message from the master.

    Raises:
        ControlError: the bytes are no known message.
    """
    try:
        return _to_worker.decode(data)
    except msgspec.MsgspecError as error:
        raise ControlError(f"unreadable message from the master: {error}") from error


def decode_for_master(data: bytes) -> ToMaster:
    """A message from a worker.

    Raises:
        ControlError: the bytes are no known message.
    """
    try:
        return _to_master.decode(data)
    except msgspec.MsgspecError as error:
        raise ControlError(f"unreadable message from a worker: {error}") from error
