"""The strategy of a service made from its options, with what it goes by: figures of the whole proxy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.arena import Arena
from shared.arena_block import Block
from shared.cells import ServerCell, ServiceCell
from worker.balancing.base import Balancer, Member
from worker.balancing.highest_random_weight import HighestRandomWeight
from worker.balancing.interleaved import InterleavedRoundRobin
from worker.balancing.least_time import LeastTime, Turns
from worker.balancing.power_of_two import PowerOfTwoChoices
from worker.balancing.rebalancer import Rebalancer
from worker.balancing.weighted_round_robin import WeightedRoundRobin
from worker.rebalancing import DynamicRoundRobin
from worker.target import Target

MAX_REMEMBERED = 100_000
"""Services whose state is kept by name. Beyond it the one made first is forgotten, which costs its position
in the round at the next reload."""

Rounds = WeightedRoundRobin | InterleavedRoundRobin
State = Rounds | Turns | tuple[InterleavedRoundRobin, Rebalancer]
Basis = tuple[tuple[str, int], ...]


class _Memory:
    """What a service's strategy goes on with after a reload, and the members it was made for."""

    __slots__ = ("basis", "state")

    def __init__(self, basis: Basis, state: State) -> None:
        self.basis = basis
        self.state = state


class Strategies:
    """All strategies of a worker, over all generations. State follows the name of its service."""

    def __init__(self) -> None:
        self._memories: dict[str, _Memory] = {}

    def over_servers(
        self, name: str, strategy: str, targets: Sequence[Target], block: Block, arena: Arena
    ) -> Balancer:
        """What picks among servers.

        Args:
            name: of the service.
            strategy: as checked by the compiler, or one of the v1 dialect's.
            targets: the servers, in order.
            block: of the service.
            arena: the proxy's.
        """
        members = [Member(target.server.url, target.server.weight) for target in targets]

        def in_flight(position: int) -> int:
            return targets[position].block.sum(ServerCell.IN_FLIGHT)

        def average_ms(position: int) -> float:
            return targets[position].first_bytes.average_ms()

        match strategy:
            case "p2c":
                return PowerOfTwoChoices(members, in_flight)
            case "hrw":
                return HighestRandomWeight(members)
            case "leasttime":
                turns = self._remembered(name, Turns)
                balancer = LeastTime(members, in_flight, average_ms, turns)
                self._remember(name, members, turns)
                return balancer
            case "v1-drr":
                return self._dynamic(name, members, targets, arena)
            case _:
                kind = InterleavedRoundRobin if strategy == "v1-wrr" else WeightedRoundRobin
                return self.round_robin(name, kind, members, block)

    def round_robin(
        self, name: str, kind: Callable[..., Rounds], members: Sequence[Member], block: Block
    ) -> Rounds:
        """The round of this name: the same while its members are equal, else one that goes on from it."""
        memory = self._memories.get(name)
        state = memory.state if memory is not None else None
        previous = state if type(state) is kind else None
        if memory is not None and previous is not None and memory.basis == _basis(members):
            return previous  # type: ignore[return-value]  # its type was compared
        start = block.sum(ServiceCell.REQUESTS) + max(block.column - 1, 0)
        made = kind(members, previous, start)
        self._remember(name, members, made)
        return made

    def _dynamic(
        self, name: str, members: Sequence[Member], targets: Sequence[Target], arena: Arena
    ) -> DynamicRoundRobin:
        memory = self._memories.get(name)
        state = memory.state if memory is not None and memory.basis == _basis(members) else None
        if isinstance(state, tuple):
            rounds, rebalancer = state
        else:
            rounds = InterleavedRoundRobin(members)
            rebalancer = Rebalancer([member.weight for member in members], arena.clock())
        self._remember(name, members, (rounds, rebalancer))
        return DynamicRoundRobin(rounds, rebalancer, [target.block for target in targets], arena.clock)

    def _remembered(self, name: str, kind: type[Turns]) -> Turns:
        memory = self._memories.get(name)
        return memory.state if memory is not None and isinstance(memory.state, kind) else kind()

    def _remember(self, name: str, members: Sequence[Member], state: State) -> None:
        self._memories[name] = _Memory(_basis(members), state)
        if len(self._memories) > MAX_REMEMBERED:
            del self._memories[next(iter(self._memories))]


def _basis(members: Sequence[Member]) -> Basis:
    return tuple((member.key, member.weight) for member in members)
