"""What a running master says about itself: the content of ``penstock status``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import trio

from master import plan
from master.health import ServiceStatus
from master.worker_handle import WorkerHandle

if TYPE_CHECKING:
    from master.app import Master  # the app uses the admin socket, which uses this


class WorkerStatus(msgspec.Struct, frozen=True):
    """One worker process. Counts are those of its last answer to a ping, at most some seconds old."""

    slot: int
    pid: int
    state: str
    generation: int
    uptime_s: float
    connections: int
    in_flight: int
    exchanges: int


class ProviderStatus(msgspec.Struct, frozen=True):
    """One provider; ``failure`` is empty while it works, ``has_spoken`` false until its first snapshot."""

    name: str
    documents: int
    failure: str
    restarts: int
    has_spoken: bool


class MasterStatus(msgspec.Struct, frozen=True):
    """Everything at one moment.

    Attributes:
        state: starting, ready, degraded (a slot is not served) or stopping.
        generation: of the table that is live everywhere.
        last_reload: why the last change is not live; empty if it is.
        problems: what is wrong with the configuration.
        services: those whose servers are checked or drain.
        waiting_for: providers whose silence keeps the last good table of an earlier run live.
    """

    state: str
    pid: int
    generation: int
    workers_wanted: int
    workers_ready: int
    max_workers: int
    addresses: dict[str, str]
    workers: tuple[WorkerStatus, ...]
    providers: tuple[ProviderStatus, ...]
    routers: dict[str, int]
    last_reload: str
    problems: tuple[str, ...]
    waiting_for: tuple[str, ...]
    services: tuple[ServiceStatus, ...]


def describe_master(master: Master) -> MasterStatus:
    """The status now."""
    supervisor, reloader = master.supervisor, master.reloader
    state = supervisor.state
    handles = sorted(supervisor.handles.values(), key=lambda each: (each.slot, each.worker))
    return MasterStatus(
        state=_name_state(state),
        pid=os.getpid(),
        generation=supervisor.tables.current,
        workers_wanted=state.wanted,
        workers_ready=plan.count_ready(state),
        max_workers=master.slots.count,
        addresses=master.slots.addresses(state.epoch),
        workers=tuple(_describe_worker(each, state) for each in handles),
        providers=tuple(
            ProviderStatus(
                feed.name,
                len(feed.latest.documents) if feed.latest else 0,
                feed.failure,
                feed.restarts,
                feed.latest is not None,
            )
            for feed in reloader.feeds
        ),
        routers=reloader.compiled.summary if reloader.compiled is not None else {},
        last_reload=master.notice or reloader.outcome.reason,
        problems=reloader.outcome.problems,
        waiting_for=tuple(reloader.holding),
        services=master.health.describe(),
    )


def _name_state(state: plan.PlanState) -> str:
    if state.stopping:
        return "stopping"
    if not state.started:
        return "starting"
    return "ready" if plan.count_ready(state) == state.wanted else "degraded"


def _describe_worker(handle: WorkerHandle, state: plan.PlanState) -> WorkerStatus:
    view, pong = state.find(handle.worker), handle.last_pong
    return WorkerStatus(
        slot=handle.slot,
        pid=handle.pid,
        state=str(view.phase) if view is not None else "gone",
        generation=handle.generation,
        uptime_s=round(trio.current_time() - handle.started_at, 3),
        connections=pong.connections if pong is not None else 0,
        in_flight=pong.in_flight if pong is not None else 0,
        exchanges=pong.exchanges if pong is not None else 0,
    )
