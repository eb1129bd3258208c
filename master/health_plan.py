"""When which server is checked, and what became of it. Pure: no sockets, no clock, no arena.

Each service has two tickers, one for its servers that are up and one for those that are down, without jitter.
A tick is a round: every server of that kind is due, unless its last check still runs. v2 begins one interval
after the service was loaded, v1 at once.

What is known about a server belongs to its identity, service and URL, and stays through reloads; only other
health settings make it forgotten. A server that nobody knows is up.

Source: spec v2 section 3.5, spec v1 section 4.7.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from shared.config.dynamic import HealthCheck

How = TypeVar("How", bound=Hashable)


class Watched(NamedTuple, Generic[How]):
    """A service whose servers are checked. All durations of ``check`` are positive.

    Attributes:
        tls: how servers are spoken to, for whoever checks: with another one all is forgotten.
    """

    service: str
    check: HealthCheck
    tls: How
    urls: tuple[str, ...]


class Check(NamedTuple, Generic[How]):
    """A check that is due. ``number`` tells it from all others."""

    number: int
    service: str
    url: str
    check: HealthCheck
    tls: How


class Health(NamedTuple):
    """What is known about one server.

    Attributes:
        is_up: by its last check; True before the first.
        since: when that became so.
        last_failure: why a check failed last, empty if none did.
    """

    is_up: bool
    since: float
    last_failure: str = ""


class _Server:
    __slots__ = ("health", "running")

    def __init__(self, now: float) -> None:
        self.health = Health(True, now)
        self.running = 0


class _Schedule(Generic[How]):
    __slots__ = ("servers", "watched")

    def __init__(self, watched: Watched[How]) -> None:
        self.watched = watched
        self.servers: dict[str, _Server] = {}

    def interval_s(self, of_up: bool) -> float:
        check = self.watched.check
        if of_up or check.unhealthy_interval is None:
            return check.interval
        return check.unhealthy_interval


class HealthPlan(Generic[How]):
    """The checks of all services."""

    def __init__(self) -> None:
        self._schedules: dict[str, _Schedule[How]] = {}
        self._ticks: list[tuple[float, int, _Schedule[How], bool]] = []
        self._numbers = itertools.count(1)

    def update(self, wanted: Iterable[Watched[How]], now: float) -> list[tuple[str, str]]:
        """What is to be checked from now on.

        Returns:
            Service and URL of every server of which nothing is known: new ones, those with other settings
            than before, and those that are not checked any more.
        """
        before, self._schedules = self._schedules, {}
        forgotten: list[tuple[str, str]] = []
        for watched in wanted:
            old = before.pop(watched.service, None)
            if old is not None and _settings(old.watched) == _settings(watched):
                forgotten += self._renew(old, watched, now)
            else:
                forgotten += self._begin(watched, now, old)
        for gone in before.values():
            forgotten += [(gone.watched.service, url) for url in gone.servers]
        self._ticks = [tick for tick in self._ticks if self._is_current(tick[2])]
        heapq.heapify(self._ticks)
        return forgotten

    def next_at(self) -> float:
        """When something is due next; infinite for never."""
        return self._ticks[0][0] if self._ticks else math.inf

    def take_due(self, now: float) -> list[Check[How]]:
        """The checks to start now. Each must be concluded."""
        due: list[Check[How]] = []
        while self._ticks and self._ticks[0][0] <= now:
            at, _, schedule, of_up = heapq.heappop(self._ticks)
            due += self._round(schedule, of_up)
            interval_s = schedule.interval_s(of_up)
            missed = math.floor((now - at) / interval_s)
            self._push(at + (missed + 1) * interval_s, schedule, of_up)
        return due

    def conclude(self, check: Check[How], failure: str, now: float) -> bool:
        """A check has ended.

        Args:
            check: as it was due.
            failure: why it failed; empty if it did not.
            now: when it ended.

        Returns:
            Whether that counts: False if its server is gone or its settings are others by now.
        """
        schedule = self._schedules.get(check.service)
        server = schedule.servers.get(check.url) if schedule is not None else None
        if server is None or server.running != check.number:
            return False
        server.running = 0
        known = server.health
        is_up = not failure
        since = known.since if known.is_up == is_up else now
        server.health = Health(is_up, since, failure or known.last_failure)
        return True

    def health(self, service: str, url: str) -> Health | None:
        """What is known about a server; None if it is not checked."""
        schedule = self._schedules.get(service)
        server = schedule.servers.get(url) if schedule is not None else None
        return server.health if server is not None else None

    def _begin(self, watched: Watched[How], now: float, old: _Schedule[How] | None) -> list[tuple[str, str]]:
        schedule = self._schedules[watched.service] = _Schedule(watched)
        schedule.servers = {url: _Server(now) for url in watched.urls}
        for of_up in (False, True):
            delay_s = 0.0 if watched.check.is_v1 else schedule.interval_s(of_up)
            self._push(now + delay_s, schedule, of_up)
        urls = dict.fromkeys((*watched.urls, *(old.servers if old is not None else ())))
        return [(watched.service, url) for url in urls]

    def _renew(self, schedule: _Schedule[How], watched: Watched[How], now: float) -> list[tuple[str, str]]:
        """The same settings: servers that stay keep their health, and the tickers run on."""
        self._schedules[watched.service] = schedule
        schedule.watched = watched
        old, schedule.servers = schedule.servers, {}
        for url in watched.urls:
            schedule.servers[url] = old.get(url) or _Server(now)
        added = [url for url in watched.urls if url not in old]
        if added and watched.check.is_v1:
            self._ticks = [tick for tick in self._ticks if tick[2] is not schedule]
            for of_up in (False, True):
                self._push(now, schedule, of_up)
        changed = [*added, *(url for url in old if url not in schedule.servers)]
        return [(watched.service, url) for url in changed]

    def _round(self, schedule: _Schedule[How], of_up: bool) -> Iterator[Check[How]]:
        watched = schedule.watched
        for url, server in schedule.servers.items():
            if server.health.is_up == of_up and not server.running:
                server.running = next(self._numbers)
                yield Check(server.running, watched.service, url, watched.check, watched.tls)

    def _push(self, at: float, schedule: _Schedule[How], of_up: bool) -> None:
        heapq.heappush(self._ticks, (at, next(self._numbers), schedule, of_up))

    def _is_current(self, schedule: _Schedule[How]) -> bool:
        return self._schedules.get(schedule.watched.service) is schedule


def _settings(watched: Watched[How]) -> tuple[HealthCheck, How]:
    return watched.check, watched.tls
