"""A key-value store as a provider: connect, read a whole tree, publish, wait for a change, read again.

What a store must bring is small (``KeyStore``): one consistent reading, and a hint that something may have
changed. Hints may come too often or for nothing; whether anything changed is seen by comparing. So a missed
or doubled hint never matters, and each store is read again every ``check_s`` in any case: that also finds a
connection that is dead without anybody having said so.

Any failure ends ``run`` with an error that names the endpoint; the next endpoint is tried, and when all have
failed the caller starts over with growing delays. What was published stays: nothing is ever published because
of an error, and an alias that leads nowhere is one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Protocol, TypeVar, runtime_checkable

import trio

from providers.base import Publish, Snapshot
from providers.kv import KeyTree, TreeTooLargeError, position_of
from providers.kv_documents import DocumentMaker
from providers.kv_v1 import Keeps
from shared.config.diagnostics import Diagnostic, Severity
from shared.config.documents import Document
from shared.errors import ConfigError, ProviderError

MIN_PAUSE_S = 0.05
MAX_PAUSE_S = 5.0
"""Between two readings there is a pause as long as the reading took, within these: a store that is written
all the time costs at most half a core, one that tells of changes where there are none next to nothing."""

_THREADS = trio.CapacityLimiter(1)
"""Translations of all stores take turns: they keep the processor busy, a second thread gains nothing."""

_log = logging.getLogger(__name__)


class KeyStore(Protocol):
    """A store that answers.

    Attributes:
        check_s: how often to read it although it said nothing.
    """

    check_s: float

    async def read(self) -> KeyTree:
        """The tree now, as of one moment, with the alias followed.

        Raises:
            ProviderError: it cannot be read, or not consistently.
            TreeTooLargeError: there is more than a configuration can be.
        """

    async def wait(self) -> None:
        """Return when something may have changed since the last reading began. May be cancelled.

        Raises:
            ProviderError: the connection is lost.
        """


@runtime_checkable
class SettingsSource(Protocol):
    """A store whose keys can be read as they are."""

    async def read_own(self) -> Mapping[str, bytes]:
        """The keys below the configured root now, whatever the alias says; folders may end in a slash.

        Raises:
            ProviderError: it cannot be read.
        """


@runtime_checkable
class SettingsStore(Protocol):
    """A store that can be written."""

    async def write(self, pairs: Mapping[str, str]) -> None:
        """Write keys below the configured root; one that ends in a slash is a folder.

        Raises:
            ProviderError: it does not take them.
        """


T = TypeVar("T")

Connect = Callable[[str], AbstractAsyncContextManager[KeyStore]]
"""Connects to an endpoint; entering raises ProviderError when it does not answer."""


class KeyValueProvider:
    """Publishes the tree of a key-value store.

    Args:
        name: behind ``@``.
        endpoints: any of them will do; the first that answers is used.
        connect: makes a connection to one.
        watch: whether to follow changes; without, only ``reread`` looks again.
        keeps: v1's constraints over the tags of servers.
    """

    def __init__(
        self,
        name: str,
        endpoints: Sequence[str],
        connect: Connect,
        *,
        watch: bool = True,
        keeps: Keeps = lambda tags: True,
    ) -> None:
        self.name = name
        self._endpoints = list(endpoints)
        self._connect = connect
        self._watch = watch
        self._maker = DocumentMaker(name, keeps)
        self._tree: KeyTree | None = None
        self._documents: tuple[Document, ...] = ()
        self._problems: tuple[Diagnostic, ...] = ()
        self._asked = False
        self._wake = trio.Event()

    def validate(self) -> None:
        """Check that there is somebody to ask.

        Raises:
            ConfigError: no endpoint is configured.
        """
        if not any(self._endpoints):
            raise ConfigError(f"providers.{self.name}.endpoints", "no endpoint is configured")

    async def run(self, publish: Publish) -> None:
        """Publish what the store holds, then whatever it comes to hold.

        Raises:
            ProviderError: no endpoint answers any more.
        """
        reasons: list[str] = []
        for endpoint in list(self._endpoints):
            try:
                with single_provider_error():
                    async with self._connect(endpoint) as store:
                        await self._follow(store, publish)
            except ProviderError as error:
                reasons.append(error.reason)
                # Begin with another one next time: this one has failed last.
                self._endpoints.append(self._endpoints.pop(self._endpoints.index(endpoint)))
        raise ProviderError(self.name, "; ".join(reasons))

    async def ask(self, question: Callable[[KeyStore], Awaitable[T]]) -> T:
        """Put a question of one's own to the first endpoint that answers it.

        Raises:
            ProviderError: none does.
        """
        reasons: list[str] = []
        for endpoint in self._endpoints:
            try:
                with single_provider_error():
                    async with self._connect(endpoint) as store:
                        return await question(store)
            except ProviderError as error:
                reasons.append(error.reason)
        raise ProviderError(self.name, "; ".join(reasons))

    def reread(self) -> None:
        """Look now, and publish even if nothing changed, so that whoever asked knows the look is over."""
        self._asked = True
        self._wake.set()

    async def _follow(self, store: KeyStore, publish: Publish) -> None:
        connected = True
        while True:
            self._wake = trio.Event()
            asked, self._asked = self._asked, False
            started = trio.current_time()
            try:
                tree = await store.read()
            except TreeTooLargeError as error:
                raise ProviderError(self.name, str(error)) from error
            changed = await self._take(tree)
            if changed or asked or connected:
                connected = False
                publish(Snapshot(self.name, self._documents, self._problems))
            with trio.move_on_after(min(max(trio.current_time() - started, MIN_PAUSE_S), MAX_PAUSE_S)):
                await self._wake.wait()
            await self._wait(store)

    async def _wait(self, store: KeyStore) -> None:
        """Wait for a change, for somebody to ask, or until it is time to look in any case."""
        if not self._watch:
            await self._wake.wait()
            return
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + store.check_s

            async def wait_for(waiting: Callable[[], Awaitable[None]]) -> None:
                await waiting()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait_for, store.wait)
            nursery.start_soon(wait_for, self._wake.wait)

    async def _take(self, tree: KeyTree) -> bool:
        """Translate a reading; whether it says anything new."""
        if tree == self._tree:
            return False
        before = (self._documents, self._problems)
        if tree.is_aliased and not tree.pairs:
            reason = "the alias leads here, where there is nothing; what was read before stays"
            where = position_of(self.name, tree.root, "")
            self._problems = (Diagnostic(Severity.ERROR, (), reason, position=where),)
        else:
            self._documents, self._problems = await trio.to_thread.run_sync(
                self._maker.translate, tree, limiter=_THREADS
            )
        self._tree = tree
        return before != (self._documents, self._problems)


@contextmanager
def single_provider_error() -> Iterator[None]:
    """Unwrap the ProviderError that nurseries have packed into groups; anything else stays as it is."""
    try:
        yield
    except BaseExceptionGroup as group:
        failures, rest = group.split(ProviderError)
        if failures is None or rest is not None:
            raise
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
