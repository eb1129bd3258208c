"""Ports that stay ours between choosing them and the moment a process under test binds them.

Binding to port 0 and letting go loses the port to anybody who binds next. So ports come from outside the
range that the kernel hands out by itself, and a lock file per port keeps parallel test runs apart for as long
as the reservation is held.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import Self

LOWEST = 10_000
RANGE_LENGTH = 8_000
MAX_TRIES = 500


class NoFreePortError(Exception):
    """Every port tried is taken."""


class ReservedPort:
    """One port of 127.0.0.1 that no other test run takes until ``release``."""

    def __init__(self, number: int, lock: int) -> None:
        self.number = number
        self._lock = lock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others have it. Safe to call twice."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def reserve_port() -> ReservedPort:
    """A TCP port nobody has bound.

    Raises:
        NoFreePortError: none was found in ``MAX_TRIES`` tries.
    """
    numbers = _candidates()
    for number in random.sample(numbers, min(MAX_TRIES, len(numbers))):
        lock = _lock(number)
        if lock is None:
            continue
        if _is_free(number):
            return ReservedPort(number, lock)
        os.close(lock)
    raise NoFreePortError(f"none of {MAX_TRIES} ports from {numbers.start} to {numbers.stop - 1} is free")


def _candidates() -> range:
    """Ports that bind(0) and connect() never choose (kernel: ip_local_port_range)."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if first >= LOWEST + RANGE_LENGTH:
        return range(LOWEST, LOWEST + RANGE_LENGTH)
    if last < 65_535 - 1_000:
        return range(last + 1, 65_536)
    return range(LOWEST, 65_536)  # everything is ephemeral here: the lock files alone must do


def _lock(number: int) -> int | None:
    """A descriptor that holds the port's lock, None if another holds it. The kernel frees it when we die."""
    folder = Path(tempfile.gettempdir()) / f"penstock-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _is_free(number: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        return True
