"""What the plan knows of workers and slots, and questions about it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Phase(StrEnum):
    """Where a worker is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class WorkerView(msgspec.Struct, frozen=True):
    """What the plan knows of one worker process; ``worker`` is a number that is never used twice."""

    worker: int
    slot: int
    epoch: int
    phase: Phase = Phase.STARTING
    reason: str = ""


class PlanState(msgspec.Struct, frozen=True):
    """Everything that decisions depend on.

    Attributes:
        wanted: slots 0 to ``wanted - 1`` shall be served.
        epoch: the static settings that workers shall have.
        fallback: while a roll goes on, the epoch to return to.
        workers: all processes that are not known to be gone.
        epochs: those that are wanted, may be returned to, or still have workers.
        failures: per slot, crashes in a row.
        delayed: slots that wait for their restart timer.
        settling: slots that are not wanted any more while connections may still be on their way to them.
        settled: such slots that may be drained.
        started: every wanted slot was ready once.
        stopping: nothing is started any more.
        finished: nothing is left; the master may go.
    """

    wanted: int
    epoch: int = 1
    fallback: int | None = None
    workers: tuple[WorkerView, ...] = ()
    epochs: frozenset[int] = frozenset({1})
    next_worker: int = 1
    failures: dict[int, int] = {}
    delayed: frozenset[int] = frozenset()
    settling: frozenset[int] = frozenset()
    settled: frozenset[int] = frozenset()
    started: bool = False
    stopping: bool = False
    finished: bool = False

    def in_slot(self, slot: int) -> tuple[WorkerView, ...]:
        """The workers that serve or will serve a slot."""
        return tuple(w for w in self.workers if w.slot == slot and w.phase in (Phase.STARTING, Phase.READY))

    def find(self, worker: int) -> WorkerView | None:
        """The worker with this number, unless it is gone."""
        return next((each for each in self.workers if each.worker == worker), None)


def count_ready(state: PlanState) -> int:
    """Wanted slots with a ready worker of the wanted epoch."""
    ready = {w.slot for w in state.workers if w.phase is Phase.READY and w.epoch == state.epoch}
    return len(ready & set(range(state.wanted)))


def is_settled(state: PlanState) -> bool:
    """Whether reality is what is wanted: one ready worker per wanted slot, and no other that serves."""
    serving = [w for w in state.workers if w.phase in (Phase.STARTING, Phase.READY)]
    unwanted = [w for w in state.workers if w.slot >= state.wanted]
    return count_ready(state) == state.wanted == len(serving) and not unwanted


def pick_avoided(state: PlanState) -> frozenset[int]:
    """Slots that shall get no new connections: those being given up and those waiting for a restart.

    Where that would leave nothing, nothing is avoided: waiting in a queue is better than a reset.
    """
    waiting = frozenset(slot for slot in state.delayed if not has_ready(state, slot))
    avoided = state.settling | state.settled | waiting
    return frozenset() if set(range(state.wanted)) <= avoided else avoided


def has_ready(state: PlanState, slot: int) -> bool:
    """Whether a worker of this slot is ready, whatever its epoch."""
    return any(each.phase is Phase.READY for each in state.in_slot(slot))


def with_changes(state: PlanState, **changes: object) -> PlanState:
    """The state with these attributes changed."""
    return msgspec.structs.replace(state, **changes)


def with_worker(state: PlanState, worker: int, **changes: object) -> PlanState:
    """The state with attributes of one worker changed."""
    workers = tuple(
        msgspec.structs.replace(each, **changes) if each.worker == worker else each for each in state.workers
    )
    return with_changes(state, workers=workers)
