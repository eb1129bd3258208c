"""One provider as the reloader sees it: kept running, its snapshots compared and throttled.

The provider may fail as often as it likes: it is restarted with growing delays, for ever, and its last
snapshot stays. Of its snapshots the first is handed on at once, then at most one per throttle interval,
always the newest (spec v1 section 5.2, the "v1.5+" design). One that says the same as the last one is not.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

import trio

from providers.base import Provider, Snapshot
from shared.errors import ProviderError

_log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.5
RETRY_GROWTH = 1.5
RETRY_JITTER = 0.5
MAX_RETRY_S = 60.0
STEADY_S = 30.0
"""Restart delays: 0.5 s x 1.5, plus or minus half, at most a minute; from the beginning after 30 s of good
work (spec v1 section 5.4)."""

HandOver = Callable[[Snapshot], None]


class ProviderFeed:
    """Runs one provider.

    Args:
        provider: what to run.
        throttle_s: least time between two snapshots that are handed over.
        hand_over: takes a snapshot; never waits.
    """

    def __init__(self, provider: Provider, throttle_s: float, hand_over: HandOver) -> None:
        self.provider = provider
        self.latest: Snapshot | None = None
        self.failure = ""
        self.restarts = 0
        self.spoke = trio.Event()
        self._throttle_s = throttle_s
        self._hand_over = hand_over
        self._pending: Snapshot | None = None
        self._arrived = trio.Event()
        self._retry_now = trio.Event()

    @property
    def name(self) -> str:
        """The provider's name."""
        return self.provider.name

    @property
    def is_heard(self) -> bool:
        """Whether its source could be read: a snapshot of nothing but problems says nothing about routes."""
        return self.latest is not None and bool(self.latest.documents or not self.latest.problems)

    async def run(self) -> None:
        """Keep the provider running and hand its snapshots over until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_throttle)
            await self._run_provider()

    async def reread(self) -> None:
        """Have the provider look at its source now; returns when it has spoken, throttle aside."""
        self.spoke = trio.Event()
        self._retry_now.set()
        self.provider.reread()
        await self.spoke.wait()
        self.flush()

    def _publish(self, snapshot: Snapshot) -> None:
        self.spoke.set()
        self.failure = ""
        if self.latest is not None and _say_the_same(self.latest, snapshot):
            _log.debug("skipping same configuration for provider %s", self.name)
            return
        self.latest = self._pending = snapshot
        self._arrived.set()

    async def _run_throttle(self) -> None:
        while True:
            await self._arrived.wait()
            self.flush()
            await trio.sleep(self._throttle_s)

    def flush(self) -> None:
        """Hand over what waits for its turn now."""
        if self._arrived.is_set():  # else the throttle waits for this very event
            self._arrived = trio.Event()
        if self._pending is not None:
            snapshot, self._pending = self._pending, None
            self._hand_over(snapshot)

    async def _run_provider(self) -> None:
        delay_s = FIRST_RETRY_S
        while True:
            started = trio.current_time()
            asked_delay_s = await self._run_once()
            if trio.current_time() - started >= STEADY_S:
                delay_s = FIRST_RETRY_S
            wait_s = asked_delay_s or delay_s * random.uniform(1 - RETRY_JITTER, 1 + RETRY_JITTER)
            self.restarts += 1
            _log.error(
                "provider %s: %s; next attempt in %.1f s, its routes stay", self.name, self.failure, wait_s
            )
            delay_s = min(delay_s * RETRY_GROWTH, MAX_RETRY_S)
            with trio.move_on_after(wait_s):
                self._retry_now = trio.Event()
                await self._retry_now.wait()

    async def _run_once(self) -> float | None:
        """Run the provider until it fails. Returns the delay that it asks for, if it does."""
        try:
            await self.provider.run(self._publish)
        except ProviderError as error:
            self.failure = error.reason
            return error.retry_after_s
        except (Exception, ExceptionGroup) as error:
            # Whatever a client library may raise must not end the master.
            self.failure = f"failed unexpectedly: {error!r}"
            _log.exception("provider %s failed unexpectedly", self.name)
        else:
            self.failure = "ended by itself"
        return None


def _say_the_same(one: Snapshot, other: Snapshot) -> bool:
    """Unchanged documents are usually the same objects; trees are compared for those that rebuild them."""
    if len(one.documents) != len(other.documents) or one.problems != other.problems:
        return False
    return all(
        a is b or (a.dialect == b.dialect and a.origin == b.origin and a.tree == b.tree)
        for a, b in zip(one.documents, other.documents, strict=True)
    )
