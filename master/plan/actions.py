"""What the plan asks of the supervisor."""

from __future__ import annotations

import msgspec

from master.plan.state import PlanState


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
