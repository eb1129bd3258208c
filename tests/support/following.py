"""A provider that runs as in the master, and what its routes come to: feed, aggregator, compiled table."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from master.aggregator import Aggregator
from master.compiler.compiler import Compiled
from master.provider_feed import ProviderFeed
from providers.base import Snapshot
from providers.registry import make_providers
from shared.config.sources import load_static

LIMIT_S = 120.0
"""How long a test waits for what it expects: machines are shared, and a slow one is not a wrong one."""
HOST = re.compile(r"Host[:(]`?([^`)]+)")

Routes = dict[str, list[str]]
"""Host of each router that serves, to the addresses of its servers."""


class Following:
    """What a running provider says. Made by ``following``."""

    def __init__(self, feed: ProviderFeed, aggregator: Aggregator) -> None:
        self.feed = feed
        self.history: list[Snapshot] = []
        self._aggregator = aggregator
        self._changed = trio.Event()
        self._compiled: Compiled | None = None
        self._compiled_of = 0

    def take(self, snapshot: Snapshot) -> None:
        """Receive a snapshot from the feed."""
        self.history.append(snapshot)
        self._aggregator.take(snapshot)
        self._changed.set()

    async def compiled(self) -> Compiled:
        """The table that would be live now."""
        if self._compiled is None or self._compiled_of != len(self.history):
            self._compiled_of = len(self.history)
            self._compiled = await trio.to_thread.run_sync(self._aggregator.compile, self._compiled_of + 1)
        return self._compiled

    async def routes(self) -> Routes:
        """The routes that serve now."""
        content = (await self.compiled()).content
        assert content is not None, "a compilation says what it holds"
        found: Routes = {}
        for router in content.routers:
            balancer = content.services[router.service].options.load_balancer
            # Where several keys cannot be written at once, a frontend is there before its rule.
            match = HOST.search(router.rule)
            found[match[1] if match is not None else router.rule] = (
                sorted(each.url for each in balancer.servers) if balancer is not None else []
            )
        return found

    async def problems(self) -> list[str]:
        """What is wrong with the configuration."""
        return [str(each) for each in (await self.compiled()).found]

    async def until_routes(self, expected: Routes) -> None:
        """Wait until exactly these routes serve."""

        async def fits() -> bool:
            return await self.routes() == expected

        await self._until(fits, lambda: f"not these routes: {expected}")

    async def until_problem(self, text: str) -> None:
        """Wait until some problem's text contains this."""

        async def fits() -> bool:
            return any(text in each for each in await self.problems())

        await self._until(fits, lambda: f"no problem with {text!r}")

    async def until_sound(self, expected: Routes) -> None:
        """Wait until exactly these routes serve and nothing is wrong with the configuration."""

        async def fits() -> bool:
            return not await self.problems() and await self.routes() == expected

        await self._until(fits, lambda: f"not these routes without a problem: {expected}")

    async def until_failed(self) -> str:
        """Wait until the provider cannot deliver; returns why."""
        with trio.fail_after(LIMIT_S):
            while not self.feed.failure:  # noqa: ASYNC110 - a failure is noted, not announced
                await trio.sleep(0.01)
        return self.feed.failure

    async def _until(self, fits: Callable[[], object], what: Callable[[], str]) -> None:
        with trio.move_on_after(LIMIT_S):
            while True:
                self._changed = trio.Event()
                if self.history and await fits():  # type: ignore[misc]  # an async function
                    return
                await self._changed.wait()
        raise AssertionError(
            f"{what()}; provider's failure: {self.feed.failure!r}; "
            f"{await self.routes() if self.history else 'nothing published'}; {await self.problems()}"
        )


@asynccontextmanager
async def following(settings: str, folder: Path) -> AsyncIterator[Following]:
    """Run the one provider of a static configuration for the length of a with block.

    Args:
        settings: TOML.
        folder: where to write it.
    """
    path = folder / "static.toml"
    path.write_text(settings)
    load = load_static([f"--configFile={path}"], {}, folder)
    (provider,) = make_providers(load.config, load.document)
    holder: list[Following] = []
    feed = ProviderFeed(provider, 0.0, lambda snapshot: holder[0].take(snapshot))
    holder.append(Following(feed, Aggregator(load.config)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        yield holder[0]
        nursery.cancel_scope.cancel()
