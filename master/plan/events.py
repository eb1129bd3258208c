"""What can happen, for the plan to record."""

from __future__ import annotations

import msgspec


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


AnyEvent = Begin | Ready | Exited | Broken | RestartDue | Settled | Scale | Roll | Stop
