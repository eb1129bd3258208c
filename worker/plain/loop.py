"""The loop of the plain lane: one trio task for all of its sockets.

It waits until the epoll instance has events, handles what there is, looks again a bounded number of times and
waits anew: trio is asked once for many exchanges. Nothing in here waits otherwise.

Source: epoll(7): an epoll instance can itself be waited for like any descriptor.
"""

from __future__ import annotations

import contextlib
import logging
import select
from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

logger = logging.getLogger(__name__)

EVENTS_PER_LOOK = 256
LOOKS_PER_TURN = 8
"""Before trio's other tasks get their turn."""


class Handler(Protocol):
    """What the loop drives."""

    def on_events(self, events: int) -> None:
        """The kernel has news about its socket."""


class Resumable(Handler, Protocol):
    """A handler that may ask for another turn (``Loop.again``)."""

    def go_on(self) -> None:
        """Others had their turn."""


OnDefect = Callable[[Handler], None]
"""Closes what a handler drives, after it raised."""


class Loop:
    """Drives handlers.

    Args:
        on_defect: one connection never ends the lane: it is closed instead.
    """

    def __init__(self, on_defect: OnDefect) -> None:
        self._on_defect = on_defect
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._due: deque[Resumable] = deque()

    def register(self, fd: int, handler: Handler, events: int) -> None:
        """Drive a socket until it is unregistered."""
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def unregister(self, fd: int) -> None:
        """Drive a socket no more; it may be closed already."""
        if self._handlers.pop(fd, None) is not None and not self._epoll.closed:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    def again(self, handler: Resumable) -> None:
        """Let it go on after others had their turn."""
        self._due.append(handler)

    async def run(self) -> None:
        """Drive everything until cancelled."""
        while True:
            if self._due:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
            self._look()

    def close(self) -> None:
        """Drive nothing any more."""
        self._epoll.close()

    def _look(self) -> None:
        for _ in range(LOOKS_PER_TURN):
            events = self._epoll.poll(0, EVENTS_PER_LOOK)
            for fd, what in events:
                handler = self._handlers.get(fd)
                if handler is None:  # closed by an event before this one
                    continue
                try:
                    handler.on_events(what)
                except Exception:
                    self._fail(handler)
            for _ in range(len(self._due)):
                due = self._due.popleft()
                try:
                    due.go_on()
                except Exception:
                    self._fail(due)
            if not events:
                return

    def _fail(self, handler: Handler) -> None:
        logger.exception("a connection of the plain lane failed; it is closed")
        self._on_defect(handler)
