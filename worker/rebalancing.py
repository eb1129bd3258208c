"""Traefik 1's dynamic round robin over the figures of the whole proxy.

Every worker meters the answers that all workers counted in the arena. Who makes a step publishes it with each
server's weight; the others adopt it and publish it too, so it outlives the worker that made it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.arena_block import Block
from shared.cells import ServerCell
from worker.balancing.base import Usable, always_usable
from worker.balancing.interleaved import InterleavedRoundRobin
from worker.balancing.rebalancer import Rebalancer, Step


class DynamicRoundRobin:
    """The strategy ``v1-drr``.

    Args:
        rounds: picks by the weights of the moment.
        rebalancer: decides on them.
        blocks: of the servers, in order.
        clock: the arena's.
    """

    def __init__(
        self,
        rounds: InterleavedRoundRobin,
        rebalancer: Rebalancer,
        blocks: Sequence[Block],
        clock: Callable[[], float],
    ) -> None:
        self._rounds = rounds
        self._rebalancer = rebalancer
        self._blocks = blocks
        self._clock = clock
        for meter, (good, bad) in zip(rebalancer.meters, self._counts(), strict=True):
            meter.begin_at(good, bad)

    def pick(self, usable: Usable = always_usable, client: str = "") -> int | None:
        """See ``Balancer``."""
        return self._rounds.pick(usable, client)

    def note_answer(self) -> None:
        """After every exchange, whoever answered: meter, adopt, adjust."""
        now_s = self._clock()
        for meter, (good, bad) in zip(self._rebalancer.meters, self._counts(), strict=True):
            meter.see(good, bad, now_s)
        is_changed = self._adopt()
        if self._rebalancer.adjust(now_s):
            self._publish()
            is_changed = True
        if is_changed:
            self._rounds.set_weights(self._rebalancer.state.weights)

    def _counts(self) -> list[tuple[int, int]]:
        return [(block.sum(ServerCell.RATED_GOOD), block.sum(ServerCell.RATED_BAD)) for block in self._blocks]

    def _adopt(self) -> bool:
        """Take over the newest step that is published for every server."""
        newest = [
            max((values for _, values in block.read_published(ServerCell.WEIGHT_GROUP, 2)), default=(0, 0))
            for block in self._blocks
        ]
        moments = {moment_us for moment_us, _ in newest}
        if len(moments) != 1:
            return False
        step = Step(moments.pop() / 1e6, tuple(weight for _, weight in newest))
        if step.at_s <= self._rebalancer.state.at_s or 0 in step.weights:
            return False
        is_changed = self._rebalancer.adopt(step)
        self._publish()
        return is_changed

    def _publish(self) -> None:
        step = self._rebalancer.state
        moment_us = round(step.at_s * 1e6)
        for block, weight in zip(self._blocks, step.weights, strict=True):
            block.publish(ServerCell.WEIGHT_GROUP, (moment_us, weight))
