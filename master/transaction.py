"""Bringing a table to all workers as a transaction, pure: ``step(state, event)`` decides.

    Offered(n+1) -> SendInstall to every worker that holds n
    every answer Installed        -> SendCommit to all, n+1 is current
    one Refused, one gone, one silent -> SendRollback to the others, n stays current

A worker that joins is given the current table; if an offer is on its way, that too. A generation number is
never used twice, so a late answer to an offer that was taken back is recognised and ignored.
"""

from __future__ import annotations

from typing import assert_never

import msgspec


class TableState(msgspec.Struct, frozen=True):
    """Who has which generation.

    Attributes:
        current: the generation that everybody has or is being given; 0 before the first.
        offered: the one on its way, or None.
        waiting: workers whose answer to the offer is missing.
        workers: workers that take part.
    """

    current: int = 0
    offered: int | None = None
    waiting: frozenset[int] = frozenset()
    workers: frozenset[int] = frozenset()


class TableEvent(msgspec.Struct, frozen=True):
    """Something happened to a table or to a worker that holds one."""


class Offered(TableEvent, frozen=True):
    """A new table is to go live."""

    generation: int


class Joined(TableEvent, frozen=True):
    """A worker process is up and wants a table."""

    worker: int


class Left(TableEvent, frozen=True):
    """A worker takes no new tables any more; ``crashed`` if that was not our wish."""

    worker: int
    crashed: bool


class Answered(TableEvent, frozen=True):
    """A worker installed a generation, or refused it for a reason."""

    worker: int
    generation: int
    refusal: str | None = None


class Overdue(TableEvent, frozen=True):
    """The deadline of an offer passed."""

    generation: int


class TableAction(msgspec.Struct, frozen=True):
    """Something to do about tables."""


class SendInstall(TableAction, frozen=True):
    """Give a worker a table."""

    worker: int
    generation: int


class SendCommit(TableAction, frozen=True):
    """Tell a worker that the generation is live everywhere."""

    worker: int
    generation: int


class SendRollback(TableAction, frozen=True):
    """Tell a worker to go back."""

    worker: int
    generation: int


class Conclude(TableAction, frozen=True):
    """The offer ended: live everywhere if there is no reason, else taken back.

    ``lost_worker`` says that the table itself may be fine: a worker died meanwhile, so offer it again.
    """

    generation: int
    reason: str = ""
    lost_worker: bool = False


class Unusable(TableAction, frozen=True):
    """A worker cannot serve with the current table: it must be replaced."""

    worker: int
    reason: str


AnyTableEvent = Offered | Joined | Left | Answered | Overdue
AnyTableAction = SendInstall | SendCommit | SendRollback | Conclude | Unusable
TableStep = tuple[TableState, list[AnyTableAction]]


def step(state: TableState, event: AnyTableEvent) -> TableStep:
    """Decide.

    Returns:
        The state afterwards and the actions, in order.
    """
    match event:
        case Offered(generation=generation):
            return _offer(state, generation)
        case Joined(worker=worker):
            return _join(state, worker)
        case Left(worker=worker, crashed=crashed):
            return _leave(state, worker, crashed)
        case Answered():
            return _take_answer(state, event)
        case Overdue(generation=generation):
            if generation != state.offered:
                return state, []
            names = ", ".join(str(worker) for worker in sorted(state.waiting))
            return _take_back(state, f"no answer in time from worker process {names}")
        case _:
            assert_never(event)


def _offer(state: TableState, generation: int) -> TableStep:
    assert state.offered is None, "the reloader makes one offer at a time"
    assert generation > state.current, "generations only grow"
    installs: list[AnyTableAction] = [SendInstall(worker, generation) for worker in sorted(state.workers)]
    if state.current == 0 or not state.workers:
        # Nobody serves yet, so there is nothing to go back to: who cannot use it cannot start.
        return _with(state, current=generation), [*installs, Conclude(generation)]
    return _with(state, offered=generation, waiting=state.workers), installs


def _join(state: TableState, worker: int) -> TableStep:
    joined = _with(state, workers=state.workers | {worker})
    if state.current == 0:
        return joined, []
    actions: list[AnyTableAction] = [SendInstall(worker, state.current)]
    if state.offered is not None:
        actions.append(SendInstall(worker, state.offered))
        joined = _with(joined, waiting=joined.waiting | {worker})
    return joined, actions


def _leave(state: TableState, worker: int, crashed: bool) -> TableStep:
    was_waiting = worker in state.waiting
    left = _with(state, workers=state.workers - {worker}, waiting=state.waiting - {worker})
    if not was_waiting:
        return left, []
    if crashed:
        return _take_back(
            left, f"worker process {worker} ended while it installed the table", lost_worker=True
        )
    return _conclude_if_complete(left)


def _take_answer(state: TableState, answer: Answered) -> TableStep:
    if answer.worker not in state.workers:
        return state, []
    if answer.generation == state.offered and answer.worker in state.waiting:
        if answer.refusal is not None:
            reason = f"worker process {answer.worker} refused the table: {answer.refusal}"
            return _take_back(_with(state, waiting=state.waiting - {answer.worker}), reason, answer.worker)
        return _conclude_if_complete(_with(state, waiting=state.waiting - {answer.worker}))
    if answer.generation == state.current and answer.refusal is not None:
        reason = f"refused table {answer.generation}: {answer.refusal}"
        return _with(state, workers=state.workers - {answer.worker}), [Unusable(answer.worker, reason)]
    return state, []


def _conclude_if_complete(state: TableState) -> TableStep:
    if state.waiting or state.offered is None:
        return state, []
    commits: list[AnyTableAction] = [SendCommit(worker, state.offered) for worker in sorted(state.workers)]
    after = _with(state, current=state.offered, offered=None)
    return after, [*commits, Conclude(state.offered)]


def _take_back(
    state: TableState, reason: str, refuser: int | None = None, lost_worker: bool = False
) -> TableStep:
    assert state.offered is not None
    told = sorted(state.workers - {refuser})
    rollbacks: list[AnyTableAction] = [SendRollback(worker, state.offered) for worker in told]
    after = _with(state, offered=None, waiting=frozenset())
    return after, [*rollbacks, Conclude(state.offered, reason, lost_worker)]


def _with(state: TableState, **changes: object) -> TableState:
    return msgspec.structs.replace(state, **changes)
