"""The last table that was live, kept on disk for a start while providers are away.

The file is magic, generation (8 bytes, big-endian), SHA-256 of the table, table. It is replaced in one step
and synced, so a crash leaves the old or the new one. What does not check out is as good as not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from pathlib import Path
from typing import NamedTuple

_log = logging.getLogger(__name__)

MAGIC = b"PENSTOCK-LAST-1\n"
MAX_TABLE_BYTES = 1 << 30
"""Refuse to read more; 100,000 routers are tens of megabytes (not measured)."""

_GENERATION_BYTES = 8
_HEAD_BYTES = len(MAGIC) + _GENERATION_BYTES + hashlib.sha256().digest_size


class LastGood(NamedTuple):
    """A table and the generation it was live as."""

    generation: int
    table: bytes


def save_last_good(path: Path, last: LastGood) -> None:
    """Replace the file.

    Raises:
        OSError: it could not be written; the old one is still there.
    """
    head = MAGIC + last.generation.to_bytes(_GENERATION_BYTES) + hashlib.sha256(last.table).digest()
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(head)
        file.write(last.table)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    with contextlib.closing(_Directory(path.parent)) as directory:
        os.fsync(directory.fileno())


def load_last_good(path: Path) -> LastGood | None:
    """What ``save_last_good`` wrote, or None if there is nothing usable; says why in the log."""
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            _log.warning("last good table %s is over %d bytes; not used", path, MAX_TABLE_BYTES)
            return None
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("cannot read the last good table %s: %s", path, error)
        return None
    table = data[_HEAD_BYTES:]
    digest = data[_HEAD_BYTES - hashlib.sha256().digest_size : _HEAD_BYTES]
    if not data.startswith(MAGIC) or hashlib.sha256(table).digest() != digest:
        _log.warning("last good table %s is damaged; not used", path)
        return None
    return LastGood(int.from_bytes(data[len(MAGIC) : len(MAGIC) + _GENERATION_BYTES]), table)


class _Directory:
    """An open directory, to sync its entries."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)
