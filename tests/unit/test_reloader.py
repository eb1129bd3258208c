"""The reloader's loop: a change that could not be brought to the workers is not forgotten."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from master import reloader
from master.reloader import Outcome, Reloader


class Waiting(Reloader):
    """The loop alone, with an ``apply`` that fails as often as it is told."""

    def __init__(self, failures: int) -> None:
        self.outcome = Outcome(0)
        self.feeds, self.holding, self._inbox = [], [], {}
        self._arrived = trio.Event()
        self._failures = failures
        self.applied_at: list[float] = []

    async def apply(self) -> Outcome:
        self.applied_at.append(trio.current_time())
        self._failures -= 1
        self.outcome = Outcome(0, reason="worker 1 is silent" if self._failures >= 0 else "")
        self._inbox = {}
        return self.outcome


def test_a_change_that_did_not_go_live_is_offered_again_ever_more_rarely():
    async def scenario():
        waiting = Waiting(failures=3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiting._run_changes)
            began = trio.current_time()
            waiting._inbox = {"file": object()}
            waiting._arrived.set()
            await trio.sleep(1000)
            nursery.cancel_scope.cancel()
        first = reloader.RETRY_FIRST_S
        waits = [
            later - before for before, later in zip(waiting.applied_at, waiting.applied_at[1:], strict=False)
        ]
        assert waiting.applied_at[0] == began
        assert waits == [first, 2 * first, 4 * first]

    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))


class Speaking:
    """A feed that speaks after a while."""

    def __init__(self, after_s: float) -> None:
        self.spoke = trio.Event()
        self.flushed = False
        self._after_s = after_s

    async def run(self) -> None:
        await trio.sleep(self._after_s)
        self.spoke.set()

    def flush(self) -> None:
        self.flushed = self.spoke.is_set()


@pytest.mark.parametrize(("wait_s", "took_s", "heard"), [(60.0, 20.0, 2), (5.0, 5.0, 1), (0.0, 0.0, 0)])
def test_a_start_waits_for_first_syncs_as_long_as_it_is_told(wait_s, took_s, heard):
    async def scenario():
        waiting = Waiting(failures=0)
        waiting.feeds = [Speaking(1.0), Speaking(20.0)]
        async with trio.open_nursery() as nursery:
            for each in waiting.feeds:
                nursery.start_soon(each.run)
            began = trio.current_time()
            await waiting._wait_for_snapshots(wait_s)
            assert trio.current_time() - began == took_s
            nursery.cancel_scope.cancel()
        assert sum(each.flushed for each in waiting.feeds) == heard

    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))
