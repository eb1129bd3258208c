"""What a worker is told when it is started, as bytes: its slot and the static settings."""

from __future__ import annotations

import msgspec

from shared.config.static import StaticConfig
from shared.errors import WorkerBootError


class WorkerBoot(msgspec.Struct, frozen=True):
    """Everything a worker needs beside its channel and its listeners.

    Attributes:
        slot: which one it serves.
        static: the settings.
        gateway: the Unix socket on which the master answers what workers pass to it; empty for none.
    """

    slot: int
    static: StaticConfig
    gateway: str = ""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(WorkerBoot)


def encode_boot(boot: WorkerBoot) -> bytes:
    """The bytes to start a worker with."""
    return _encoder.encode(boot)


def decode_boot(data: bytes) -> WorkerBoot:
    """What the master said.

    Raises:
        WorkerBootError: the bytes are not a boot record of this version of the program.
    """
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise WorkerBootError(f"unreadable boot record: {error}") from error
