"""From linked routers to the content of a table: names become indexes, match order is fixed.

Order of a list: priority (descending), then the provider's place in ``providers.precedence``, then the
provider's name, then the router's name: written down, so that equal input gives equal bytes (spec v2
section 2.5 leaves the last two open).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from master.compiler.checked import CheckedMiddleware, CheckedService, CheckedTransport, LinkedRouter
from master.compiler.entry_points import EntryPointModel
from master.compiler.tls_material import TlsObjects, TlsUse
from shared.table.entries import (
    MiddlewareEntry,
    RouterEntry,
    RouterList,
    ServiceEntry,
    TableContent,
    TransportEntry,
)
from shared.table.streams import DEFAULT_OPTIONS, Streams

DEFAULT_PRECEDENCE = (
    "internal",
    "kubernetesgateway",
    "kubernetescrd",
    "kubernetes",
    "kubernetesingressnginx",
    "swarm",
    "docker",
    "file",
    "redis",
    "knative",
    "consul",
    "consulcatalog",
    "nomad",
    "etcd",
    "ecs",
    "http",
    "zookeeper",
    "rest",
)
"""Who wins a tie when ``providers.precedence`` is not written (spec v2 section 2.5)."""

MatchOrder = tuple[int, int, str, str]


class Assembler:
    """Builds table contents; keeps entries of the one before so that unchanged ones stay the same objects.

    Args:
        precedence: provider names, first wins a tie.
    """

    def __init__(self, precedence: Sequence[str] = ()) -> None:
        names = [name.lower() for name in precedence] or list(DEFAULT_PRECEDENCE)
        self._rank = {name: rank for rank, name in enumerate(names)}
        self._models: dict[str, EntryPointModel] = {}
        self._placed: dict[LinkedRouter, tuple[_Placed, ...]] = {}
        self._routers: dict[str, tuple[object, RouterEntry]] = {}
        self._services: dict[str, tuple[object, ServiceEntry]] = {}
        self._middlewares: dict[str, tuple[object, MiddlewareEntry]] = {}

    def assemble(
        self, routers: Iterable[LinkedRouter], models: Mapping[str, EntryPointModel], tls: TlsObjects
    ) -> TableContent:
        """The content for these routers; of two versions of a service the first router's wins."""
        placed = self._place_all(routers, models)
        services, middlewares, transports = _collect(placed)
        service_at = {name: index for index, name in enumerate(sorted(services))}
        middleware_at = {name: index for index, name in enumerate(sorted(middlewares))}
        transport_at = {name: index for index, name in enumerate(sorted(transports))}
        order = sorted(placed, key=_BY_ORDER)
        options, material = tls.settle(_tls_uses(placed))
        entries = self._router_entries(order, middleware_at, service_at, options)
        return TableContent(
            routers=tuple(entries),
            middlewares=self._middleware_entries(middlewares),
            services=self._service_entries(services, service_at, transport_at),
            transports=tuple(
                TransportEntry(name, each.options, each.tls) for name, each in sorted(transports.items())
            ),
            lists=_lists(order, models),
            streams=Streams(tls=material),
        )

    def rank(self, provider: str) -> int:
        """A provider's place when priorities are equal: the lower wins."""
        return self._rank.get(provider.lower(), len(self._rank))

    def match_order(self, router: LinkedRouter) -> MatchOrder:
        """What routers are sorted by; the first one that matches wins."""
        return (-router.priority, self.rank(router.provider), router.provider, router.name)

    def _place_all(
        self, routers: Iterable[LinkedRouter], models: Mapping[str, EntryPointModel]
    ) -> list[_Placed]:
        """Every router in its shapes, in those of the last time if neither it nor a model changed."""
        known = self._placed if _same_models(self._models, models) else {}
        self._models, self._placed = dict(models), {}
        result: list[_Placed] = []
        for router in routers:
            before = known.get(router)
            if before is None:
                before = tuple(_placements(router, models, self.match_order(router)))
            self._placed[router] = before
            result += before
        return result

    def _router_entries(
        self,
        order: list[_Placed],
        middleware_at: dict[str, int],
        service_at: dict[str, int],
        tls_options: Mapping[str, str],
    ) -> list[RouterEntry]:
        fresh: dict[str, tuple[object, RouterEntry]] = {}
        entries = []
        for placed in order:
            steps = tuple(middleware_at[step.name] for step in placed.steps)
            service = service_at[placed.router.service.name]
            options = tls_options.get(placed.name, "")
            before = self._routers.get(placed.name)
            if (
                before is not None
                and before[0] is placed.router
                and before[1].middlewares == steps
                and before[1].service == service
                and before[1].tls_options == options
            ):
                entry = before[1]
            else:
                router = placed.router
                entry = RouterEntry(
                    placed.name, router.rule, router.condition, router.priority, steps, service, options
                )
            fresh[placed.name] = (placed.router, entry)
            entries.append(entry)
        self._routers = fresh
        return entries

    def _middleware_entries(self, middlewares: dict[str, CheckedMiddleware]) -> tuple[MiddlewareEntry, ...]:
        fresh: dict[str, tuple[object, MiddlewareEntry]] = {}
        for name in sorted(middlewares):
            before = self._middlewares.get(name)
            checked = middlewares[name]
            fresh[name] = (
                before
                if before is not None and before[0] is checked
                else (checked, MiddlewareEntry(name, checked.options))
            )
        self._middlewares = fresh
        return tuple(entry for _, entry in fresh.values())

    def _service_entries(
        self, services: dict[str, CheckedService], service_at: dict[str, int], transport_at: dict[str, int]
    ) -> tuple[ServiceEntry, ...]:
        fresh: dict[str, tuple[object, ServiceEntry]] = {}
        for name in sorted(services):
            checked = services[name]
            children = tuple(service_at[child.name] for child in checked.children)
            transport = transport_at[checked.transport.name]
            before = self._services.get(name)
            unchanged = (
                before is not None
                and before[0] is checked
                and before[1].children == children
                and before[1].transport == transport
            )
            fresh[name] = (
                before
                if before is not None and unchanged
                else (checked, ServiceEntry(name, checked.options, children, transport))
            )
        self._services = fresh
        return tuple(entry for _, entry in fresh.values())


class _Placed:
    """A router in one shape: the same name, steps and TLS at one or several entrypoints."""

    __slots__ = ("entry_points", "name", "order", "router", "steps", "tls", "tls_options")

    def __init__(
        self,
        name: str,
        router: LinkedRouter,
        steps: tuple[CheckedMiddleware, ...],
        tls: str | None,
        entry_points: tuple[str, ...],
        order: MatchOrder,
    ) -> None:
        self.name = name
        self.order = (*order[:3], name)
        self.router = router
        self.steps = steps
        self.tls = tls is not None
        self.tls_options = tls or DEFAULT_OPTIONS
        self.entry_points = entry_points


_BY_ORDER = attrgetter("order")


def _same_models(before: Mapping[str, EntryPointModel], now: Mapping[str, EntryPointModel]) -> bool:
    """Whether entrypoints add the same steps, the same objects, as the last time."""
    return before.keys() == now.keys() and all(
        (old.tls, old.tls_options, old.usable, len(old.steps))
        == (now[name].tls, now[name].tls_options, now[name].usable, len(now[name].steps))
        and all(one is other for one, other in zip(old.steps, now[name].steps, strict=True))
        for name, old in before.items()
    )


def _placements(
    router: LinkedRouter, models: Mapping[str, EntryPointModel], order: MatchOrder
) -> list[_Placed]:
    """A router on several entrypoints of which some add something is split, as in the API (spec v2 3.1)."""
    usable = [name for name in router.entry_points if models[name].usable]
    if all(models[name].is_plain for name in usable):
        if not usable:
            return []
        return [_Placed(router.name, router, router.middlewares, _tls_of(router), tuple(usable), order)]
    placed = []
    for name in usable:
        model = models[name]
        copy = f"{name}-{router.name}" if len(router.entry_points) > 1 and not model.is_plain else router.name
        placed.append(
            _Placed(copy, router, model.steps + router.middlewares, _tls_of(router, model), (name,), order)
        )
    return _join_plain(placed, models)


def _join_plain(placed: list[_Placed], models: Mapping[str, EntryPointModel]) -> list[_Placed]:
    """Copies at plain entrypoints are one and the same router."""
    plain = [each for each in placed if models[each.entry_points[0]].is_plain]
    if len(plain) < 2:
        return placed
    first = plain[0]
    names = tuple(each.entry_points[0] for each in plain)
    joined = _Placed(first.name, first.router, first.steps, _tls_of(first.router), names, first.order)
    return [joined, *(each for each in placed if each not in plain)]


def _tls_of(router: LinkedRouter, model: EntryPointModel | None = None) -> str | None:
    """The name of the TLS options of a router at an entrypoint; None if it is a plain one there."""
    if router.tls:
        return router.tls_options
    return model.tls_options if model is not None and model.tls else None


def _tls_uses(placed: Iterable[_Placed]) -> Iterator[TlsUse]:
    for each in placed:
        if each.tls:
            router = each.router
            yield TlsUse(each.name, router.name, each.entry_points, each.tls_options, router.condition)


def _collect(
    placed: list[_Placed],
) -> tuple[dict[str, CheckedService], dict[str, CheckedMiddleware], dict[str, CheckedTransport]]:
    services: dict[str, CheckedService] = {}
    middlewares: dict[str, CheckedMiddleware] = {}
    for each in placed:
        for step in each.steps:
            middlewares.setdefault(step.name, step)
        waiting = [each.router.service]
        while waiting:
            service = waiting.pop()
            if services.setdefault(service.name, service) is service:
                waiting += service.children
    return services, middlewares, {each.transport.name: each.transport for each in services.values()}


def _lists(order: list[_Placed], models: Mapping[str, EntryPointModel]) -> tuple[RouterList, ...]:
    found: dict[tuple[str, bool], list[int]] = {}
    for index, placed in enumerate(order):
        for name in placed.entry_points:
            found.setdefault((name, placed.tls), []).append(index)
    return tuple(RouterList(name, tls, tuple(found[name, tls])) for name, tls in sorted(found))
