"""The supervisor's decisions, pure: ``step(state, event)`` says what to do, ``master.supervisor`` does it.

A worker's phases:

    starting -> ready -> draining -> gone
    starting | ready -> failed -> gone           (told to die, not dead yet)

Every step ends in the same place, ``_converge``: compare what each slot has with what it should have, and
name the actions that close the gap. Events only record what happened. So a crash in the middle of a roll in
the middle of a scale-down needs no rule of its own.

Invariants (``tests/stateful/test_plan_machine.py``): unless stopping, every wanted slot has a worker that is
ready or on its way, or a restart timer; a ready worker is drained only when another is ready in its slot or
the slot is not wanted; at most one replacement of a roll starts at a time.

An *epoch* is one version of the static settings; a roll moves all slots to a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import assert_never

import msgspec

STEADY_S = 30.0
"""A worker that was ready this long was healthy: its crash starts the backoff from the beginning."""

FIRST_DELAY_S = 0.5
DELAY_GROWTH = 2.0
MAX_DELAY_S = 30.0
"""Restart delays after the first, immediate replacement (the supervisor adds jitter)."""

MAX_DRAINING = 4
"""Old workers that may still be draining while a roll goes on; more would multiply memory."""


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


class Event(msgspec.Struct, frozen=True):
    """Something happened."""


class Begin(Event, frozen=True):
    """The master has its sockets; start."""


class Ready(Event, frozen=True):
    """A worker accepts connections."""

    worker: int


class Exited(Event, frozen=True):
    """A worker process is gone. ``uptime_s`` counts from its Ready."""

    worker: int
    reason: str
    uptime_s: float = 0.0


class Broken(Event, frozen=True):
    """A worker hangs, did not start in time, refused its first table or does not finish draining."""

    worker: int
    reason: str


class RestartDue(Event, frozen=True):
    """The restart timer of a slot fired."""

    slot: int


class Settled(Event, frozen=True):
    """No connection is on its way to this slot any more."""

    slot: int


class Scale(Event, frozen=True):
    """Serve this many slots."""

    wanted: int


class Roll(Event, frozen=True):
    """Replace all workers, slot by slot, by workers with these static settings."""

    epoch: int


class Stop(Event, frozen=True):
    """Drain everything; with ``now``, end everything."""

    now: bool = False


class Action(msgspec.Struct, frozen=True):
    """Something to do."""


class Spawn(Action, frozen=True):
    """Start a worker process."""

    worker: int
    slot: int
    epoch: int


class Drain(Action, frozen=True):
    """Tell a worker to finish and leave."""

    worker: int


class Kill(Action, frozen=True):
    """End a worker process at once; with ``abort`` it first shows where it stands."""

    worker: int
    reason: str
    abort: bool = False


class StartRestartTimer(Action, frozen=True):
    """Send ``RestartDue`` after a delay (to which jitter is added)."""

    slot: int
    delay_s: float


class StartSettleTimer(Action, frozen=True):
    """Steer new connections away from the slot and send ``Settled`` later."""

    slot: int


class RestSlot(Action, frozen=True):
    """No worker uses this slot any more: stop listening on it."""

    slot: int


class RetireEpoch(Action, frozen=True):
    """No worker has these static settings any more: close what only they needed."""

    epoch: int


class ReportStarted(Action, frozen=True):
    """Every wanted slot is ready for the first time."""


class ReportRoll(Action, frozen=True):
    """A roll ended; with a reason it failed and the old settings are being restored."""

    epoch: int
    reason: str = ""


class GiveUp(Action, frozen=True):
    """The first start failed; end the master."""

    reason: str


class Finish(Action, frozen=True):
    """Stopping is complete."""


AnyEvent = Begin | Ready | Exited | Broken | RestartDue | Settled | Scale | Roll | Stop
AnyAction = (
    Spawn
    | Drain
    | Kill
    | StartRestartTimer
    | StartSettleTimer
    | RestSlot
    | RetireEpoch
    | ReportStarted
    | ReportRoll
    | GiveUp
    | Finish
)
Step = tuple[PlanState, list[AnyAction]]


def step(state: PlanState, event: AnyEvent) -> Step:
    """Decide.

    Returns:
        The state afterwards and the actions, in the order in which they must be done.
    """
    recorded, actions = _record(state, event)
    after, more = _converge(recorded)
    return after, actions + more


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
    waiting = frozenset(slot for slot in state.delayed if not _has_ready(state, slot))
    avoided = state.settling | state.settled | waiting
    return frozenset() if set(range(state.wanted)) <= avoided else avoided


def delay_before_restart(failures: int) -> float:
    """Seconds to wait after this many crashes in a row; the first replacement comes at once."""
    if failures <= 1:
        return 0.0
    return min(FIRST_DELAY_S * DELAY_GROWTH ** (failures - 2), MAX_DELAY_S)


def _record(state: PlanState, event: AnyEvent) -> Step:
    match event:
        case Begin():
            return state, []
        case Ready(worker=worker):
            return _record_ready(state, worker), []
        case Exited():
            return _record_exit(state, event)
        case Broken(worker=worker, reason=reason):
            return _record_broken(state, worker, reason)
        case RestartDue(slot=slot):
            return _with(state, delayed=state.delayed - {slot}), []
        case Settled(slot=slot):
            if slot not in state.settling:
                return state, []  # it is wanted again
            return _with(state, settling=state.settling - {slot}, settled=state.settled | {slot}), []
        case Scale(wanted=wanted):
            return _with(state, wanted=wanted), []
        case Roll(epoch=epoch):
            proven = state.epoch if state.fallback is None else state.fallback
            return _with(state, epoch=epoch, fallback=proven, epochs=state.epochs | {epoch}), []
        case Stop(now=now):
            return _record_stop(state, now)
        case _:
            assert_never(event)


def _record_ready(state: PlanState, worker: int) -> PlanState:
    found = state.find(worker)
    if found is None or found.phase is not Phase.STARTING:
        return state
    return _replace(state, worker, phase=Phase.READY)


def _record_broken(state: PlanState, worker: int, reason: str) -> Step:
    found = state.find(worker)
    if found is None or found.phase is Phase.FAILED:
        return state, []
    failed = _replace(state, worker, phase=Phase.FAILED, reason=reason)
    kill = Kill(worker, reason, abort=True)
    if found.phase is Phase.DRAINING:
        return failed, [kill]
    after, actions = _record_failure(failed, found, reason, 0.0)
    return after, [kill, *actions]


def _record_exit(state: PlanState, event: Exited) -> Step:
    found = state.find(event.worker)
    if found is None:
        return state, []
    gone = _with(state, workers=tuple(each for each in state.workers if each.worker != event.worker))
    if found.phase in (Phase.DRAINING, Phase.FAILED):
        return gone, []
    return _record_failure(gone, found, event.reason, event.uptime_s)


def _record_failure(state: PlanState, worker: WorkerView, reason: str, uptime_s: float) -> Step:
    """A worker that should serve will not: count it, and fail what depends on it."""
    if state.stopping:
        return state, []
    if not state.started and worker.phase is Phase.STARTING:
        return _with(state, stopping=True), [GiveUp(f"worker {worker.slot} could not start: {reason}")]
    if state.fallback is not None and worker.epoch == state.epoch and worker.phase is Phase.STARTING:
        back = _with(state, epoch=state.fallback, fallback=None)
        return back, [ReportRoll(worker.epoch, f"worker {worker.slot} could not start: {reason}")]
    failures = 1 if uptime_s >= STEADY_S else state.failures.get(worker.slot, 0) + 1
    counted = _with(state, failures={**state.failures, worker.slot: failures})
    delay_s = delay_before_restart(failures)
    if not delay_s or worker.slot >= state.wanted or worker.slot in state.delayed:
        return counted, []
    delayed = _with(counted, delayed=state.delayed | {worker.slot})
    return delayed, [StartRestartTimer(worker.slot, delay_s)]


def _record_stop(state: PlanState, now: bool) -> Step:
    stopping = _with(state, stopping=True, delayed=frozenset(), settling=frozenset(), settled=frozenset())
    if not now:
        return stopping, []
    kills: list[AnyAction] = [Kill(w.worker, "stopping now") for w in state.workers]
    failed = tuple(msgspec.structs.replace(w, phase=Phase.FAILED) for w in state.workers)
    return _with(stopping, workers=failed), kills


def _converge(state: PlanState) -> Step:
    """The actions that bring each slot nearer to what it should have."""
    rules: list[Callable[[PlanState], Step]]
    if state.stopping:
        rules = [_end_all]
    else:
        rules = [
            _drop_outdated_starts,
            _give_up_slots,
            _fill_slots,
            _drain_replaced,
            _advance_roll,
            _report,
            _retire_epochs,
        ]
    actions: list[AnyAction] = []
    for rule in rules:
        state, more = rule(state)
        actions += more
    return state, actions


def _end_all(state: PlanState) -> Step:
    actions: list[AnyAction] = []
    for each in state.workers:
        if each.phase is Phase.STARTING:
            state = _replace(state, each.worker, phase=Phase.FAILED, reason="stopping")
            actions.append(Kill(each.worker, "stopping"))
        elif each.phase is Phase.READY:
            state = _replace(state, each.worker, phase=Phase.DRAINING)
            actions.append(Drain(each.worker))
    if not state.workers and not state.finished:
        return _with(state, finished=True), [*actions, Finish()]
    return state, actions


def _drop_outdated_starts(state: PlanState) -> Step:
    """A worker that starts with settings nobody wants any more need not finish, unless it is the slot's hope.

    Where nobody is ready, one such start goes on beside the new one: of settings that are proven if there is
    one, and else the oldest, which is ready soonest. More would be three workers for one slot.
    """
    actions: list[AnyAction] = []
    hopes: set[int] = set()
    outdated = [w for w in state.workers if w.phase is Phase.STARTING and w.epoch != state.epoch]
    for each in sorted(outdated, key=lambda w: (w.epoch != state.fallback, w.worker)):
        if not _has_ready(state, each.slot) and each.slot not in hopes:
            hopes.add(each.slot)
            continue
        state = _replace(state, each.worker, phase=Phase.FAILED, reason="not wanted any more")
        actions.append(Kill(each.worker, "not wanted any more"))
    return state, actions


def _give_up_slots(state: PlanState) -> Step:
    """Slots beyond ``wanted``: steer away, wait, drain, rest. Slots wanted again are kept as they are."""
    wanted = frozenset(range(state.wanted))
    state = _with(
        state,
        settling=state.settling - wanted,
        settled=state.settled - wanted,
        delayed=state.delayed & wanted,
        failures={slot: count for slot, count in state.failures.items() if slot in wanted},
    )
    actions: list[AnyAction] = []
    occupied = {each.slot for each in state.workers} - wanted
    for slot in sorted(occupied - state.settling - state.settled):
        state = _with(state, settling=state.settling | {slot})
        actions.append(StartSettleTimer(slot))
    for each in state.workers:
        if each.slot in wanted:
            continue
        if each.phase is Phase.STARTING:
            state = _replace(state, each.worker, phase=Phase.FAILED, reason="not wanted any more")
            actions.append(Kill(each.worker, "not wanted any more"))
        elif each.phase is Phase.READY and each.slot in state.settled:
            state = _replace(state, each.worker, phase=Phase.DRAINING)
            actions.append(Drain(each.worker))
    empty = (state.settling | state.settled) - occupied
    actions += [RestSlot(slot) for slot in sorted(empty)]
    return _with(state, settling=state.settling - empty, settled=state.settled - empty), actions


def _fill_slots(state: PlanState) -> Step:
    actions: list[AnyAction] = []
    for slot in range(state.wanted):
        if not state.in_slot(slot) and slot not in state.delayed:
            state, spawn = _spawn(state, slot)
            actions.append(spawn)
    return state, actions


def _drain_replaced(state: PlanState) -> Step:
    """Where a worker of the wanted epoch is ready, older ones leave."""
    actions: list[AnyAction] = []
    for slot in range(state.wanted):
        ready = [each for each in state.in_slot(slot) if each.phase is Phase.READY]
        best = max(ready, key=lambda each: (each.epoch == state.epoch, each.worker), default=None)
        for each in ready:
            if each is not best:
                state = _replace(state, each.worker, phase=Phase.DRAINING)
                actions.append(Drain(each.worker))
    return state, actions


def _advance_roll(state: PlanState) -> Step:
    """Start the next replacement if none is starting and not too many old workers are draining."""
    if any(each.phase is Phase.STARTING and each.epoch == state.epoch for each in state.workers):
        return state, []
    if sum(each.phase is Phase.DRAINING for each in state.workers) >= MAX_DRAINING:
        return state, []
    for slot in range(state.wanted):
        serving = state.in_slot(slot)
        if serving and all(each.epoch != state.epoch for each in serving) and slot not in state.delayed:
            state, spawn = _spawn(state, slot)
            return state, [spawn]
    return state, []


def _report(state: PlanState) -> Step:
    if count_ready(state) < state.wanted:
        return state, []
    actions: list[AnyAction] = []
    if not state.started:
        actions.append(ReportStarted())
    if state.fallback is not None:
        actions.append(ReportRoll(state.epoch))
    return _with(state, started=True, fallback=None), actions


def _retire_epochs(state: PlanState) -> Step:
    needed = {each.epoch for each in state.workers} | {state.epoch, state.fallback}
    retired = sorted(state.epochs - needed)
    return _with(state, epochs=state.epochs - set(retired)), [RetireEpoch(each) for each in retired]


def _spawn(state: PlanState, slot: int) -> tuple[PlanState, Spawn]:
    new = WorkerView(state.next_worker, slot, state.epoch)
    after = _with(state, workers=(*state.workers, new), next_worker=state.next_worker + 1)
    return after, Spawn(new.worker, slot, state.epoch)


def _has_ready(state: PlanState, slot: int) -> bool:
    return any(each.phase is Phase.READY for each in state.in_slot(slot))


def _with(state: PlanState, **changes: object) -> PlanState:
    return msgspec.structs.replace(state, **changes)


def _replace(state: PlanState, worker: int, **changes: object) -> PlanState:
    workers = tuple(
        msgspec.structs.replace(each, **changes) if each.worker == worker else each for each in state.workers
    )
    return _with(state, workers=workers)
