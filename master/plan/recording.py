"""The first half of a step: what happened is written down, and what it alone calls for is named."""

from __future__ import annotations

from typing import assert_never

import msgspec

from master.plan.actions import AnyAction, GiveUp, Kill, ReportRoll, StartRestartTimer, Step
from master.plan.events import AnyEvent, Begin, Broken, Exited, Ready, RestartDue, Roll, Scale, Settled, Stop
from master.plan.state import Phase, PlanState, WorkerView, with_changes, with_worker

STEADY_S = 30.0
"""A worker that was ready this long was healthy: its crash starts the backoff from the beginning."""

FIRST_DELAY_S = 0.5
DELAY_GROWTH = 2.0
MAX_DELAY_S = 30.0
"""Restart delays after the first, immediate replacement (the supervisor adds jitter)."""


def delay_before_restart(failures: int) -> float:
    """Seconds to wait after this many crashes in a row; the first replacement comes at once."""
    if failures <= 1:
        return 0.0
    return min(FIRST_DELAY_S * DELAY_GROWTH ** (failures - 2), MAX_DELAY_S)


def record(state: PlanState, event: AnyEvent) -> Step:
    """Write down what happened."""
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
            return with_changes(state, delayed=state.delayed - {slot}), []
        case Settled(slot=slot):
            if slot not in state.settling:
                return state, []  # it is wanted again
            return with_changes(state, settling=state.settling - {slot}, settled=state.settled | {slot}), []
        case Scale(wanted=wanted):
            return with_changes(state, wanted=wanted), []
        case Roll(epoch=epoch):
            proven = state.epoch if state.fallback is None else state.fallback
            return with_changes(state, epoch=epoch, fallback=proven, epochs=state.epochs | {epoch}), []
        case Stop(now=now):
            return _record_stop(state, now)
        case _:
            assert_never(event)


def _record_ready(state: PlanState, worker: int) -> PlanState:
    found = state.find(worker)
    if found is None or found.phase is not Phase.STARTING:
        return state
    return with_worker(state, worker, phase=Phase.READY)


def _record_broken(state: PlanState, worker: int, reason: str) -> Step:
    found = state.find(worker)
    if found is None or found.phase is Phase.FAILED:
        return state, []
    failed = with_worker(state, worker, phase=Phase.FAILED, reason=reason)
    kill = Kill(worker, reason, abort=True)
    if found.phase is Phase.DRAINING:
        return failed, [kill]
    after, actions = _record_failure(failed, found, reason, 0.0)
    return after, [kill, *actions]


def _record_exit(state: PlanState, event: Exited) -> Step:
    found = state.find(event.worker)
    if found is None:
        return state, []
    gone = with_changes(state, workers=tuple(each for each in state.workers if each.worker != event.worker))
    if found.phase in (Phase.DRAINING, Phase.FAILED):
        return gone, []
    return _record_failure(gone, found, event.reason, event.uptime_s)


def _record_failure(state: PlanState, worker: WorkerView, reason: str, uptime_s: float) -> Step:
    """A worker that should serve will not: count it, and fail what depends on it."""
    if state.stopping:
        return state, []
    if not state.started and worker.phase is Phase.STARTING:
        return with_changes(state, stopping=True), [GiveUp(f"worker {worker.slot} could not start: {reason}")]
    if state.fallback is not None and worker.epoch == state.epoch and worker.phase is Phase.STARTING:
        back = with_changes(state, epoch=state.fallback, fallback=None)
        return back, [ReportRoll(worker.epoch, f"worker {worker.slot} could not start: {reason}")]
    failures = 1 if uptime_s >= STEADY_S else state.failures.get(worker.slot, 0) + 1
    counted = with_changes(state, failures={**state.failures, worker.slot: failures})
    delay_s = delay_before_restart(failures)
    if not delay_s or worker.slot >= state.wanted or worker.slot in state.delayed:
        return counted, []
    delayed = with_changes(counted, delayed=state.delayed | {worker.slot})
    return delayed, [StartRestartTimer(worker.slot, delay_s)]


def _record_stop(state: PlanState, now: bool) -> Step:
    stopping = with_changes(
        state, stopping=True, delayed=frozenset(), settling=frozenset(), settled=frozenset()
    )
    if not now:
        return stopping, []
    kills: list[AnyAction] = [Kill(w.worker, "stopping now") for w in state.workers]
    failed = tuple(msgspec.structs.replace(w, phase=Phase.FAILED) for w in state.workers)
    return with_changes(stopping, workers=failed), kills
