"""Plans that are remembered, by the bytes of their heads: a book for each peer at each entrypoint."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from worker.plain.composer import MAX_HEAD_BYTES
from worker.plain.plan import Plan, Planner
from worker.routes import Routes
from worker.tls.stream import TlsIdentity

if TYPE_CHECKING:
    from worker.plain.client import PlainClient

MAX_PLANS = 16_384
"""Request heads remembered per worker; with them go their answers (bounded by 300 MB; usually a few)."""
MAX_SEEN = 65_536
"""Marks of heads seen once (about 6 MB)."""

BookKey = tuple[str, str, TlsIdentity | None]
"""What the plans of a connection depend on: entrypoint, peer, and what TLS says about the client."""


class Book(dict[bytes, Plan]):
    """The plans of one peer at one entrypoint; shared by its connections and gone with the last of them."""

    __slots__ = ("__weakref__",)


class Books:
    """All books of a worker."""

    def __init__(self) -> None:
        self._books: weakref.WeakValueDictionary[BookKey, Book] = weakref.WeakValueDictionary()
        self._planner = Planner()
        self._plan_count = 0
        self._seen: set[int] = set()

    def open(self, key: BookKey) -> Book:
        """The book of these connections; whoever holds it keeps it."""
        book = self._books.get(key)
        if book is None:
            book = self._books[key] = Book()
        return book

    def make_plan(self, client: PlainClient, head: bytes, routes: Routes, generation: int) -> Plan | None:
        """The plan for bytes that are in no book; None unless they are one whole plain head."""
        if len(head) > MAX_HEAD_BYTES or head.find(b"\r\n\r\n") != len(head) - 4:
            return None
        plan = self._planner.make_plan(head, client.entrance, client.peer, routes, generation, client.session)
        if plan is not None and self._is_known(head):
            if self._plan_count >= MAX_PLANS:
                self._forget_plans()
            self._plan_count += 1
            client.plans[head] = plan
        return plan

    def _is_known(self, head: bytes) -> bool:
        """Whether this head was seen lately: one that never comes again is not worth a place."""
        mark = hash(head)
        if mark in self._seen:
            return True
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen.add(mark)
        return False

    def _forget_plans(self) -> None:
        for book in list(self._books.values()):
            book.clear()
        self._plan_count = 0
