"""The reloader's loop: a change that could not be brought to the workers is not forgotten."""

from __future__ import annotations

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
