"""One master per runtime directory: a locked file that holds its process id.

The lock, not the file, says that a master runs: the kernel drops it when the process ends, however that
happens, so a stale file never needs to be judged.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from shared.errors import AlreadyRunningError


@contextlib.contextmanager
def hold_pid_file(path: Path) -> Iterator[None]:
    """Own the file for the length of the block; it is removed at the end.

    Raises:
        AlreadyRunningError: another master does; names its process id.
    """
    descriptor = _open_locked(path)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)  # while still locked, so it is ours that goes
        os.close(descriptor)


def read_pid(path: Path) -> int | None:
    """The process id of the master that holds the file, or None if none does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(descriptor, 32, 0).strip()
        return int(text) if text.isdigit() else None
    else:
        return None
    finally:
        os.close(descriptor)


def _open_locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                return descriptor
        except BlockingIOError as error:
            text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise AlreadyRunningError(f"already running with pid {text or 'unknown'} ({path})") from error
        os.close(descriptor)  # the owner removed it between our open and our lock: try again


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
