"""A server whose conduct a test changes while it runs: healthy or not, quick or slow, whole or cut answers.

Health checks are requests for ``/health``; they are counted apart and have a conduct of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support.origins import Origin, OriginConnection, ReceivedRequest, answer

HEALTH_PATH = "/health"
NEVER = threading.Event()
"""Nobody sets it: to wait on it is to be slow."""

Act = Callable[[OriginConnection, ReceivedRequest], bool]
"""Deals with one request; returns whether the connection goes on."""


def answering(status: int = 200, content: bytes = b"ok") -> Act:
    """A whole answer."""

    def act(connection: OriginConnection, request: ReceivedRequest) -> bool:
        name = connection.origin.name if isinstance(connection.origin, ScriptedUpstream) else ""
        connection.send(answer(status, content, fields=(("X-Server", name),)))
        return True

    return act


def slow(delay_s: float, then: Act) -> Act:
    """Waits before it does something else."""

    def act(connection: OriginConnection, request: ReceivedRequest) -> bool:
        NEVER.wait(delay_s)
        return then(connection, request)

    return act


def held(release: threading.Event, limit_s: float = 30.0) -> Act:
    """Answers once the test says so."""

    def act(connection: OriginConnection, request: ReceivedRequest) -> bool:
        if not release.wait(limit_s):
            raise AssertionError("the test did not release the answer")
        return answering()(connection, request)

    return act


def resetting(data: bytes = b"") -> Act:
    """Sends some bytes, of an answer or none, and resets the connection."""

    def act(connection: OriginConnection, request: ReceivedRequest) -> bool:
        if data:
            connection.send(data)
            NEVER.wait(0.05)  # a reset discards what the other side's kernel has not passed on yet
        connection.reset()
        return False

    return act


def closing(data: bytes = b"") -> Act:
    """Sends some bytes and ends the connection properly."""

    def act(connection: OriginConnection, request: ReceivedRequest) -> bool:
        if data:
            connection.send(data)
        return False

    return act


def one_by_one(*acts: Act) -> Act:
    """The first request meets the first act, and so on; the last one stays."""
    lock = threading.Lock()
    left = list(acts)

    def act(connection: OriginConnection, request: ReceivedRequest) -> bool:
        with lock:
            now = left.pop(0) if len(left) > 1 else left[0]
        return now(connection, request)

    return act


class ScriptedUpstream(Origin):
    """The server. ``act`` and ``health`` may be set at any time; they hold from the next request on.

    Args:
        name: said in X-Server.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.act: Act = answering()
        self.health: Act = answering()
        self._checks = 0
        super().__init__(self._serve_all)

    @property
    def checks(self) -> int:
        """Health checks so far."""
        with self._changed:
            return self._checks

    def wait_for_checks(self, more: int, timeout_s: float) -> None:
        """Wait until so many more health checks have come."""
        wanted = self.checks + more
        self.wait_for(lambda: self._checks >= wanted, f"{more} health checks", timeout_s)

    def record(self, request: ReceivedRequest) -> None:
        """Health checks are only counted."""
        if request.target != HEALTH_PATH:
            super().record(request)
            return
        with self._changed:
            self._checks += 1
            self._changed.notify_all()

    def _serve_all(self, connection: OriginConnection) -> None:
        while (request := connection.receive_request()) is not None:
            act = self.health if request.target == HEALTH_PATH else self.act
            if not act(connection, request):
                return


@contextmanager
def running_upstream(name: str) -> Iterator[ScriptedUpstream]:
    """A server for the length of a with block."""
    upstream = ScriptedUpstream(name)
    try:
        yield upstream
    finally:
        upstream.stop()
