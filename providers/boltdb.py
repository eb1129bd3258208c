"""A BoltDB file as a provider, as in v1: keys of one bucket that other programs write (spec v1 section 5f).

The file is only read, and never locked: whoever writes it need not know of us. It is looked at once a second;
that the original documents a watch and has none is given up. A file that is gone, is being made or is damaged
costs no routes.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator

import trio

from providers.base import Provider
from providers.bolt_file import DamagedFileError, read_bucket, read_meta
from providers.kv import MAX_KEYS, MAX_TREE_BYTES, KeyTree, TreeTooLargeError, keys_below, tree_of
from providers.kv_provider import KeyStore, KeyValueProvider
from providers.kv_settings import extras_of
from shared.config.documents import Document
from shared.config.static import StaticConfig
from shared.errors import ConfigError, ProviderError

NAME = "boltdb"
BUCKET = b"traefik"
POLL_S = 1.0
"""How late a change is noticed; a look reads 160 bytes."""
CHECK_S = 60.0
"""How often the file is read although it did not change."""
QUIET_WAIT_S = 10.0
"""For a reading during which nobody commits twice; then what was read before stays."""
COUNTER_BYTES = 8
"""In front of each value: a counter, little-endian, of the original's library."""

State = tuple[int, int, int]
"""Device, inode and newest transaction: changes whenever the content may have."""


class BoltStore:
    """A file.

    Args:
        path: of it; it may be replaced at any time.
        root: as configured.
    """

    check_s = CHECK_S

    def __init__(self, path: str, root: str) -> None:
        self._path = path
        self._root = root
        self._state: State | None = None

    async def read(self) -> KeyTree:
        """The newest state of the file.

        Raises:
            ProviderError: it cannot be read.
            TreeTooLargeError: there is too much in it.
        """
        return await trio.to_thread.run_sync(self._read)

    async def read_own(self) -> dict[str, bytes]:
        """The keys below the root, whatever the alias says."""
        return keys_below(self._root, (await trio.to_thread.run_sync(self._read_quietly)).items())

    async def wait(self) -> None:
        """Return when there is another state."""
        while True:
            await trio.sleep(POLL_S)
            if await trio.to_thread.run_sync(self._look) != self._state:
                return

    def _look(self) -> State:
        with self._opened() as descriptor:
            return _state_of(descriptor)

    def _read(self) -> KeyTree:
        return tree_of(self._root, self._read_quietly())

    def _read_quietly(self) -> dict[str, bytes]:
        deadline = time.monotonic() + QUIET_WAIT_S
        while True:
            pairs = self._read_once()
            if pairs is not None:
                return pairs
            if time.monotonic() > deadline:
                raise self._failed(f"written without pause for {QUIET_WAIT_S:g} s")

    def _read_once(self) -> dict[str, bytes] | None:
        """All pairs; None if somebody wrote meanwhile.

        Raises:
            ProviderError: the file cannot be read, or is damaged.
        """
        with self._opened() as descriptor:
            before = _state_of(descriptor)
            try:
                pairs = _read_pairs(descriptor)
            except DamagedFileError:
                if _state_of(descriptor) == before:
                    raise
                return None
            if _state_of(descriptor) != before:
                return None
            self._state = before
            return pairs

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
            try:
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._failed(f"cannot be read: {error.strerror or error}") from error
        except DamagedFileError as error:
            raise self._failed(str(error)) from error

    def _failed(self, reason: str) -> ProviderError:
        return ProviderError(NAME, f"{self._path}: {reason}")


def _state_of(descriptor: int) -> State:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, read_meta(descriptor).transaction


def _read_pairs(descriptor: int) -> dict[str, bytes]:
    bucket = read_bucket(descriptor, read_meta(descriptor), BUCKET)
    pairs: dict[str, bytes] = {}
    size = 0
    for key, value in bucket if bucket is not None else ():
        pairs[key.decode("utf-8", "replace")] = payload_of(value)
        size += len(key) + len(value)
        if len(pairs) > MAX_KEYS or size > MAX_TREE_BYTES:
            raise TreeTooLargeError(f"more than {MAX_KEYS} keys or {MAX_TREE_BYTES} bytes in the bucket")
    return pairs


def payload_of(value: bytes) -> bytes:
    """A value without the counter in front of it.

    The last byte of a counter is zero for the next million years, and no text has a zero byte: so values that
    were written without a counter (by bbolt's own tools) are known as well.
    """
    has_counter = len(value) >= COUNTER_BYTES and value[COUNTER_BYTES - 1] == 0
    return value[COUNTER_BYTES:] if has_counter else value


def make_providers(config: StaticConfig, static_document: Document | None) -> list[Provider]:
    """The provider of v1's ``[boltdb]``.

    Raises:
        ConfigError: no file is named; the original's default is an address, which is none.
    """
    section = config.v1.boltdb if config.v1 is not None else None
    assert section is not None, "called for configured sections only"
    if not section.endpoint:
        raise ConfigError("boltdb.endpoint", "names no file; write the path of the database")

    @contextlib.asynccontextmanager
    async def connect(path: str) -> AsyncIterator[KeyStore]:
        yield BoltStore(path, section.prefix)

    extras = extras_of(config, NAME)
    return [KeyValueProvider(NAME, [section.endpoint], connect, watch=extras.watch, keeps=extras.keeps)]
