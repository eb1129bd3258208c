"""Links all routers of one compilation after the other, remembering how each one last worked.

A router whose parts are the same objects as before is the same link: its rule is not even read again. One
that cannot be linked now keeps the link it had, with the services and middlewares of that time, and the
report says so.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from master.compiler.catalog import Catalog, Item
from master.compiler.checked import LinkedRouter
from master.compiler.routers import RouterLinker
from shared.config.diagnostics import Diagnostics
from shared.config.dynamic import Router
from shared.errors import ConfigError

RouterStatus = Literal["enabled", "kept", "disabled"]


class RouterReport(msgspec.Struct, frozen=True):
    """How one router fared, for ``penstock routes`` and the API.

    Attributes:
        status: ``enabled``; ``kept``: broken now, its last good version serves; ``disabled``: does not serve.
        protocol: ``http``, ``tcp`` or ``udp``.
    """

    name: str
    rule: str
    priority: int
    entry_points: tuple[str, ...]
    service: str
    middlewares: tuple[str, ...]
    status: RouterStatus
    error: str = ""
    protocol: str = "http"


class _Linked(msgspec.Struct, frozen=True, eq=False):
    """What the compilation before made of a router; ``source`` is None once the link is kept."""

    source: Router | None
    link: LinkedRouter
    report: RouterReport


class LinkMemory:
    """The links of the compilation before, by router."""

    def __init__(self) -> None:
        self._links: dict[str, _Linked] = {}
        self._next: dict[str, _Linked] = {}

    def link_all(
        self, catalog: Catalog, broken: frozenset[str], linker: RouterLinker, found: Diagnostics
    ) -> tuple[list[LinkedRouter], list[RouterReport]]:
        """Link every router.

        Args:
            catalog: all readable objects.
            broken: names of routers that could not even be read.
            linker: of this compilation.
            found: takes the problems.

        Returns:
            The routers that serve, those linked now before those kept; and how every router fared.
        """
        fresh: list[LinkedRouter] = []
        kept: list[LinkedRouter] = []
        reports: list[RouterReport] = []
        for item in catalog.routers.values():
            try:
                linked = self._link(item, linker, found)
            except ConfigError as error:
                reports.append(self._keep(item, error, kept, found))
            else:
                self._next[item.name] = linked
                fresh.append(linked.link)
                reports.append(linked.report)
        unreadable = sorted(broken - catalog.routers.keys())
        reports += [self._keep_unreadable(name, kept) for name in unreadable]
        self._links, self._next = self._next, {}
        return fresh + kept, reports

    def _link(self, item: Item[Router], linker: RouterLinker, found: Diagnostics) -> _Linked:
        before = self._links.get(item.name)
        if before is not None and before.source is item.value and linker.is_current(before.link, item):
            return before
        link = linker.link(item, found)
        return _Linked(item.value, link, _serving(link, "enabled"))

    def _keep(
        self, item: Item[Router], error: ConfigError, kept: list[LinkedRouter], found: Diagnostics
    ) -> RouterReport:
        last = self._last(item.name)
        outcome = "the router is disabled" if last is None else "its last good version stays live"
        item.error(found, f"{error.reason}; {outcome}", error.hint, *([error.path] if error.path else []))
        if last is None:
            router = item.value
            return RouterReport(
                item.name,
                router.rule,
                router.priority,
                router.entry_points,
                router.service,
                router.middlewares,
                "disabled",
                str(error),
            )
        return self._kept(last, kept, str(error))

    def _keep_unreadable(self, name: str, kept: list[LinkedRouter]) -> RouterReport:
        last = self._last(name)
        if last is None:
            return RouterReport(name, "", 0, (), "", (), "disabled", "could not be read")
        return self._kept(last, kept, "could not be read")

    def _last(self, name: str) -> LinkedRouter | None:
        before = self._links.get(name)
        return before.link if before is not None else None

    def _kept(self, last: LinkedRouter, kept: list[LinkedRouter], error: str) -> RouterReport:
        report = _serving(last, "kept", error)
        self._next[last.name] = _Linked(None, last, report)
        kept.append(last)
        return report


def _serving(link: LinkedRouter, status: RouterStatus, error: str = "") -> RouterReport:
    steps = tuple(step.name for step in link.middlewares)
    return RouterReport(
        link.name, link.rule, link.priority, link.entry_points, link.service.name, steps, status, error
    )
