"""The supervisor's decisions, pure: ``step(state, event)`` says what to do, ``master.supervisor`` does it.

A worker's phases:

    starting -> ready -> draining -> gone
    starting | ready -> failed -> gone           (told to die, not dead yet)

Every step ends in the same place, ``converging``: compare what each slot has with what it should have, and
name the actions that close the gap. Events only record what happened. So a crash in the middle of a roll in
the middle of a scale-down needs no rule of its own.

Invariants (``tests/stateful/test_plan_machine.py``): unless stopping, every wanted slot has a worker that is
ready or on its way, or a restart timer; a ready worker is drained only when another is ready in its slot or
the slot is not wanted; at most one replacement of a roll starts at a time.

An *epoch* is one version of the static settings; a roll moves all slots to a new one.
"""

from __future__ import annotations

from master.plan.actions import (
    Action,
    AnyAction,
    Drain,
    Finish,
    GiveUp,
    Kill,
    ReportRoll,
    ReportStarted,
    RestSlot,
    RetireEpoch,
    Spawn,
    StartRestartTimer,
    StartSettleTimer,
    Step,
)
from master.plan.converging import MAX_DRAINING, converge
from master.plan.events import (
    AnyEvent,
    Begin,
    Broken,
    Event,
    Exited,
    Ready,
    RestartDue,
    Roll,
    Scale,
    Settled,
    Stop,
)
from master.plan.recording import (
    DELAY_GROWTH,
    FIRST_DELAY_S,
    MAX_DELAY_S,
    STEADY_S,
    delay_before_restart,
    record,
)
from master.plan.state import Phase, PlanState, WorkerView, count_ready, is_settled, pick_avoided

__all__ = [
    "DELAY_GROWTH",
    "FIRST_DELAY_S",
    "MAX_DELAY_S",
    "MAX_DRAINING",
    "STEADY_S",
    "Action",
    "AnyAction",
    "AnyEvent",
    "Begin",
    "Broken",
    "Drain",
    "Event",
    "Exited",
    "Finish",
    "GiveUp",
    "Kill",
    "Phase",
    "PlanState",
    "Ready",
    "ReportRoll",
    "ReportStarted",
    "RestSlot",
    "RestartDue",
    "RetireEpoch",
    "Roll",
    "Scale",
    "Settled",
    "Spawn",
    "StartRestartTimer",
    "StartSettleTimer",
    "Step",
    "Stop",
    "WorkerView",
    "count_ready",
    "delay_before_restart",
    "is_settled",
    "pick_avoided",
    "step",
]


def step(state: PlanState, event: AnyEvent) -> Step:
    """Decide.

    Returns:
        The state afterwards and the actions, in the order in which they must be done.
    """
    recorded, actions = record(state, event)
    after, more = converge(recorded)
    return after, actions + more
