"""A provider that runs inside a test, as the master runs it: kept running, its snapshots in a queue."""

from __future__ import annotations

import contextlib
import math

import trio

from master.provider_feed import ProviderFeed

LIMIT_S = 60


class Heard:
    """What a provider says; lets a test wait for what it expects."""

    def __init__(self, provider):
        self.feed = ProviderFeed(provider, 0, self._take)
        self._send, self._receive = trio.open_memory_channel(math.inf)

    def _take(self, snapshot):
        self._send.send_nowait(snapshot)

    async def next(self):
        """The next snapshot that differs from the one before."""
        return await self._receive.receive()

    async def until(self, condition):
        """The next snapshot that fits."""
        while True:
            snapshot = await self._receive.receive()
            if condition(snapshot):
                return snapshot

    def nothing_waits(self):
        """Whether every snapshot was looked at."""
        return self._receive.statistics().current_buffer_used == 0


@contextlib.asynccontextmanager
async def heard(provider):
    """A provider that runs for the length of an ``async with`` block, restarted when it fails."""
    provider.validate()
    listener = Heard(provider)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.feed.run)
            yield listener
            nursery.cancel_scope.cancel()


async def condition_met(condition):
    """Wait until a condition over things of other threads holds."""
    while not condition():  # noqa: ASYNC110 - such things have no event of ours
        await trio.sleep(0.01)
