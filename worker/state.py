"""What the tasks of one worker share: its entrypoints, the routes in force, its counts, and when it ends.

State changes only between awaits; nothing here waits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import trio

from shared.config.static import EntryPoint
from worker.forwarded import PeerTrust, make_trust
from worker.proxy_protocol import ProxyTrust
from worker.request_head import HeadRules, make_rules
from worker.routes import Routes

DRAIN_IDLE_S = 3.0
"""How long an idle connection may still bring a request once draining began; its answer then says close.
A client that is busy elsewhere for longer sends into a closed connection; 1 s lost a few under load."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """An entrypoint with everything that connections ask of it worked out.

    Attributes:
        name: as configured.
        settings: as configured.
        rules: for heads.
        trust: for forwarded fields.
        proxy_trust: whose PROXY protocol headers are read; None for nobody's.
        tls: whether its connections speak TLS.
    """

    name: str
    settings: EntryPoint
    rules: HeadRules
    trust: PeerTrust
    tls: bool = False
    proxy_trust: ProxyTrust | None = None

    @property
    def is_plain(self) -> bool:
        """Whether its connections may be in the plain lane, which does not count their exchanges or age."""
        transport = self.settings.transport
        return not transport.keep_alive_max_requests and not transport.keep_alive_max_time

    @property
    def keeps_fields(self) -> bool:
        """Whether it passes every field on that this hop has no part in, whatever it is called."""
        rules = self.rules
        return rules.underscores == rules.aliases == "keep" and not self.trust.kept_connection


def make_entrance(name: str, settings: EntryPoint, hostname: str) -> Entrance:
    """Work an entrypoint out.

    Raises:
        ConfigError: a setting cannot be honoured.
    """
    proxy = settings.proxy_protocol
    return Entrance(
        name,
        settings,
        make_rules(settings.http),
        make_trust(settings.forwarded_headers, hostname),
        proxy_trust=ProxyTrust(proxy) if proxy is not None else None,
    )


class Lifetime:
    """When connections must end: serving, then draining, then cut at the deadline."""

    def __init__(self) -> None:
        self.is_draining = False
        self.is_terminating = False  # still accepting, so that whoever asks the health endpoint can go away
        self._idle: set[trio.CancelScope] = set()
        self._leaving: set[Callable[[], None]] = set()

    def begin_drain(self) -> None:
        """From now on every answer says close, and idle connections are let go."""
        self.is_draining = self.is_terminating = True
        for scope in self._idle:
            self._hasten(scope)
        for leave in tuple(self._leaving):
            leave()

    def watch_drain(self, leave: Callable[[], None]) -> None:
        """Call this when draining begins, or now if it has begun."""
        self._leaving.add(leave)
        if self.is_draining:
            leave()

    def forget_drain(self, leave: Callable[[], None]) -> None:
        """Do not call it any more."""
        self._leaving.discard(leave)

    def enter_idle(self, scope: trio.CancelScope) -> None:
        """A connection begins to wait for its next request inside ``scope``."""
        self._idle.add(scope)
        if self.is_draining:
            self._hasten(scope)

    def leave_idle(self, scope: trio.CancelScope) -> None:
        """The wait is over."""
        self._idle.discard(scope)

    def _hasten(self, scope: trio.CancelScope) -> None:
        scope.deadline = min(scope.deadline, trio.current_time() + DRAIN_IDLE_S)


class Counts:
    """Figures of this worker since it started; the shared arena will take them over."""

    def __init__(self) -> None:
        self.connections = 0
        self.in_flight = 0
        self.exchanges = 0
        self.cut = 0


class Generations:
    """The routes in force and, until the master commits, those before."""

    def __init__(self) -> None:
        self.routes: Routes | None = None
        self.number = 0
        self._previous: tuple[int, Routes | None] | None = None

    def install(self, number: int, routes: Routes) -> None:
        """Exchanges that begin now use these."""
        self._previous = (self.number, self.routes)
        self.number, self.routes = number, routes

    def commit(self, number: int) -> None:
        """Forget what was before this generation."""
        if number == self.number:
            self._previous = None

    def roll_back(self, number: int) -> bool:
        """Return to the generation before this one; False if this one is not in force."""
        if number != self.number or self._previous is None:
            return False
        (self.number, self.routes), self._previous = self._previous, None
        return True


def seconds(limit: float) -> float:
    """A configured limit, where 0 means none."""
    return limit or math.inf
