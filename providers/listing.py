"""A source that is listed as a whole and hints at changes, as a provider: Docker, Consul and the like.

list -> translate -> publish, then wait for a hint (an event of the source), for the time of the next look,
or to be asked. Hints only make it faster: whatever they say, everything is listed again, so that a hint that
was lost or came twice never matters. Watching begins before the first list, so nothing falls in between.

Any failure ends ``run``; the caller starts it again with growing delays, and what was published stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Protocol

import trio

from providers.base import Publish, Snapshot
from providers.labels import LabelDocument
from shared.config.diagnostics import Diagnostic
from shared.errors import ConfigError, ProviderError

SETTLE_S = 0.05
"""After a hint, others are waited for this long: starting one container makes several events."""
MAX_PAUSE_S = 5.0
"""Between two lists there is a pause as long as the list took, at most this: a source that changes all the
time costs at most half a core."""

_THREADS = trio.CapacityLimiter(1)
"""Translations of all sources take turns: they keep the processor busy, a second thread gains nothing."""

Translated = tuple[LabelDocument, tuple[Diagnostic, ...]]
"""A document and what is wrong beside it."""
Translate = Callable[[], Translated]
"""Makes a document of what was listed; pure, runs in a thread."""


class Source(Protocol):
    """A source that answers."""

    async def list_all(self) -> Translate:
        """Everything there is now, ready to be translated.

        Raises:
            ProviderError: it cannot be listed.
        """

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` once armed and whenever something may have changed. Ends only by failing.

        Raises:
            ProviderError: the connection is lost.
        """


Connect = Callable[[], AbstractAsyncContextManager[Source]]
"""Connects; entering raises ProviderError when nobody answers."""


class ListingProvider:
    """Publishes what a source lists.

    Args:
        name: behind ``@``.
        connect: makes a connection.
        check: raises ConfigError if the settings cannot work.
        watch: whether to follow hints.
        look_again_s: list again after this long in any case (a connection may be dead without saying so);
            None for never.
    """

    def __init__(
        self,
        name: str,
        connect: Connect,
        *,
        check: Callable[[], None] = lambda: None,
        watch: bool = True,
        look_again_s: float | None,
    ) -> None:
        self.name = name
        self._connect = connect
        self._check = check
        self._watch = watch
        self._look_again_s = look_again_s
        self._said: Snapshot | None = None
        self._asked = False
        self._wake = trio.Event()

    def validate(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: they cannot work.
        """
        self._check()

    async def run(self, publish: Publish) -> None:
        """Publish what the source lists, then whatever it comes to list.

        Raises:
            ProviderError: it cannot be asked (any more).
        """
        with single_error(self.name):
            async with self._connect() as source, trio.open_nursery() as nursery:
                self._wake = trio.Event()
                if self._watch:
                    nursery.start_soon(source.watch, self._changed)
                    await self._hint(self._look_again_s)
                await self._follow(source, publish)

    def reread(self) -> None:
        """List now, and publish even if nothing changed, so that whoever asked knows the look is over."""
        self._asked = True
        self._wake.set()

    def _changed(self) -> None:
        self._wake.set()

    async def _follow(self, source: Source, publish: Publish) -> None:
        asked = True  # whoever counts failures is to hear that it works again
        while True:
            self._wake = trio.Event()
            asked, self._asked = asked or self._asked, False
            started = trio.current_time()
            translate = await source.list_all()
            document, problems = await trio.to_thread.run_sync(translate, limiter=_THREADS)
            self._publish(document, problems, publish, asked)
            asked = False
            took_s = trio.current_time() - started
            await self._hint(self._look_again_s)
            await trio.sleep(min(max(SETTLE_S, took_s), MAX_PAUSE_S))

    async def _hint(self, longest_s: float | None) -> None:
        with trio.move_on_after(float("inf") if longest_s is None else longest_s):
            await self._wake.wait()

    def _publish(
        self, document: LabelDocument, problems: tuple[Diagnostic, ...], publish: Publish, asked: bool
    ) -> None:
        said = self._said
        if said is not None and said.documents[0].tree == document.tree:
            if said.problems == problems and not asked:
                return
            # The same object again: nobody needs to read it anew.
            self._said = Snapshot(self.name, said.documents, problems)
        else:
            self._said = Snapshot(self.name, (document,), problems)
        publish(self._said)


@contextmanager
def single_error(provider: str) -> Iterator[None]:
    """Take apart the groups that nurseries raise: of several failures the first says why."""
    try:
        yield
    except* ProviderError as group:
        raise _first(group) from None
    except* ConfigError as configs:
        raise ProviderError(provider, str(configs.exceptions[0])) from None


def _first(group: BaseExceptionGroup[ProviderError]) -> ProviderError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ProviderError), "the group holds nothing else"
    return error
