"""The second half of a step: what each slot has is compared with what it should have."""

from __future__ import annotations

from collections.abc import Callable

from master.plan.actions import (
    AnyAction,
    Drain,
    Finish,
    Kill,
    ReportRoll,
    ReportStarted,
    RestSlot,
    RetireEpoch,
    Spawn,
    StartSettleTimer,
    Step,
)
from master.plan.state import Phase, PlanState, WorkerView, count_ready, has_ready, with_changes, with_worker

MAX_DRAINING = 4
"""Old workers that may still be draining while a roll goes on; more would multiply memory."""


def converge(state: PlanState) -> Step:
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
            state = with_worker(state, each.worker, phase=Phase.FAILED, reason="stopping")
            actions.append(Kill(each.worker, "stopping"))
        elif each.phase is Phase.READY:
            state = with_worker(state, each.worker, phase=Phase.DRAINING)
            actions.append(Drain(each.worker))
    if not state.workers and not state.finished:
        return with_changes(state, finished=True), [*actions, Finish()]
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
        if not has_ready(state, each.slot) and each.slot not in hopes:
            hopes.add(each.slot)
            continue
        state = with_worker(state, each.worker, phase=Phase.FAILED, reason="not wanted any more")
        actions.append(Kill(each.worker, "not wanted any more"))
    return state, actions


def _give_up_slots(state: PlanState) -> Step:
    """Slots beyond ``wanted``: steer away, wait, drain, rest. Slots wanted again are kept as they are."""
    wanted = frozenset(range(state.wanted))
    state = with_changes(
        state,
        settling=state.settling - wanted,
        settled=state.settled - wanted,
        delayed=state.delayed & wanted,
        failures={slot: count for slot, count in state.failures.items() if slot in wanted},
    )
    actions: list[AnyAction] = []
    occupied = {each.slot for each in state.workers} - wanted
    for slot in sorted(occupied - state.settling - state.settled):
        state = with_changes(state, settling=state.settling | {slot})
        actions.append(StartSettleTimer(slot))
    for each in state.workers:
        if each.slot in wanted:
            continue
        if each.phase is Phase.STARTING:
            state = with_worker(state, each.worker, phase=Phase.FAILED, reason="not wanted any more")
            actions.append(Kill(each.worker, "not wanted any more"))
        elif each.phase is Phase.READY and each.slot in state.settled:
            state = with_worker(state, each.worker, phase=Phase.DRAINING)
            actions.append(Drain(each.worker))
    empty = (state.settling | state.settled) - occupied
    actions += [RestSlot(slot) for slot in sorted(empty)]
    return with_changes(state, settling=state.settling - empty, settled=state.settled - empty), actions


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
                state = with_worker(state, each.worker, phase=Phase.DRAINING)
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
    return with_changes(state, started=True, fallback=None), actions


def _retire_epochs(state: PlanState) -> Step:
    needed = {each.epoch for each in state.workers} | {state.epoch, state.fallback}
    retired = sorted(state.epochs - needed)
    return with_changes(state, epochs=state.epochs - set(retired)), [RetireEpoch(each) for each in retired]


def _spawn(state: PlanState, slot: int) -> tuple[PlanState, Spawn]:
    new = WorkerView(state.next_worker, slot, state.epoch)
    after = with_changes(state, workers=(*state.workers, new), next_worker=state.next_worker + 1)
    return after, Spawn(new.worker, slot, state.epoch)
