"""What is legal but probably not meant: routers that cannot win, ties that overlap, objects nobody uses.

Only what can be proved is reported (``shared.rules.relations``), so a warning is worth reading. Routers are
compared by host first: two that name different hosts have nothing to say about each other.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from master.compiler.catalog import INTERNAL, Catalog, Item, qualify
from master.compiler.checked import LinkedRouter
from shared.config.diagnostics import Diagnostics
from shared.config.dynamic import Router, Service
from shared.config.static import StaticConfig
from shared.rules.conditions import (
    All,
    AnyCondition,
    Either,
    HeaderMatches,
    HostMatches,
    Not,
    PathMatches,
    QueryMatches,
)
from shared.rules.language import hosts_of
from shared.rules.relations import excludes, implies

MAX_COMPARISONS = 2_000_000
"""Pairs of routers looked at; past it the rest is not judged, and that is said."""

_LITERAL_PATTERN = re.compile(r"\^(?:[\w/\-]|\\[.\-/])+\$")
_ANY_HOST = ""


def find_suspicions(
    routers: Sequence[tuple[Item[Router], LinkedRouter]],
    catalog: Catalog,
    static: StaticConfig,
    found: Diagnostics,
) -> None:
    """Record a warning for everything suspicious.

    Args:
        routers: the ones that serve, in match order, with what they were written as.
        catalog: everything that is written.
        static: what entrypoints put in front of routers.
        found: takes the warnings.
    """
    written = [(item, link) for item, link in routers if item.provider != INTERNAL]
    _compare_pairs(written, found)
    for item, link in written:
        for pattern in _needless_patterns(link.condition):
            if pattern in item.value.rule:  # not one that a dialect made of a plain path
                item.warning(
                    found,
                    f"the expression {pattern} matches one text only; a plain matcher is clearer",
                    None,
                    "rule",
                )
    _find_unused(catalog, static, found)


def _compare_pairs(routers: Sequence[tuple[Item[Router], LinkedRouter]], found: Diagnostics) -> None:
    """Each router against those before it that could take its requests, in match order."""
    by_host: dict[str, list[LinkedRouter]] = defaultdict(list)
    left = MAX_COMPARISONS
    for item, link in routers:
        hosts = hosts_of(link.condition) or [_ANY_HOST]
        earlier = _earlier(by_host, hosts)
        left -= len(earlier)
        if left < 0:
            found.warning((), f"more than {MAX_COMPARISONS} pairs of routers: the rest was not compared")
            return
        _judge(item, link, earlier, found)
        for host in hosts:
            by_host[host].append(link)


def _earlier(by_host: dict[str, list[LinkedRouter]], hosts: Iterable[str]) -> list[LinkedRouter]:
    """Routers without a host concern everyone; one without a host is only hidden by those."""
    seen = {id(link): link for host in (_ANY_HOST, *hosts) for link in by_host.get(host, ())}
    return list(seen.values())


def _judge(item: Item[Router], link: LinkedRouter, earlier: list[LinkedRouter], found: Diagnostics) -> None:
    for other in earlier:
        shared = set(link.entry_points) & set(other.entry_points)
        if not shared or link.tls != other.tls:
            continue
        if set(link.entry_points) <= shared and implies(link.condition, other.condition):
            item.warning(
                found,
                f"can never win: {other.name} takes all its requests first ({other.rule})",
                None,
                "rule",
            )
            return
        if link.priority == other.priority and not excludes(link.condition, other.condition):
            item.warning(
                found,
                f"has the priority of {other.name} ({link.priority}) and may match the same requests;"
                f" {other.name} wins by its {'name' if link.provider == other.provider else 'provider'}",
                None,
                "rule",
            )
            return


def _needless_patterns(condition: AnyCondition) -> Iterator[str]:
    match condition:
        case All(parts) | Either(parts):
            for part in parts:
                yield from _needless_patterns(part)
        case Not(part):
            yield from _needless_patterns(part)
        case HostMatches() | PathMatches() | HeaderMatches() | QueryMatches():
            if _LITERAL_PATTERN.fullmatch(condition.pattern):
                yield condition.pattern
        case _:
            pass


def _find_unused(catalog: Catalog, static: StaticConfig, found: Diagnostics) -> None:
    """What no router can reach, however indirectly. Broken routers count: their objects are meant."""
    middlewares = {
        qualify(name, INTERNAL)
        for entry_point in static.entry_points.values()
        for name in entry_point.http.middlewares
    }
    services: set[str] = set()
    for router in catalog.routers.values():
        services.add(qualify(router.value.service, router.provider))
        middlewares |= {qualify(name, router.provider) for name in router.value.middlewares}
    _add_reachable(services, middlewares, catalog)
    for service in catalog.services.values():
        if service.name not in services and service.provider != INTERNAL:
            is_v1 = service.path[:1] == ("backends",)
            service.warning(
                found, f"no {'frontend uses this backend' if is_v1 else 'router uses this service'}"
            )
    for middleware in catalog.middlewares.values():
        if middleware.name not in middlewares and middleware.provider != INTERNAL:
            middleware.warning(found, "no router uses this middleware")


def _add_reachable(services: set[str], middlewares: set[str], catalog: Catalog) -> None:
    """Add what the used objects use, until nothing new comes."""
    waiting = [(True, name) for name in services] + [(False, name) for name in middlewares]
    while waiting:
        is_service, name = waiting.pop()
        for leads_to_service, other in _references(is_service, name, catalog):
            target = services if leads_to_service else middlewares
            if other not in target:
                target.add(other)
                waiting.append((leads_to_service, other))


def _references(is_service: bool, name: str, catalog: Catalog) -> Iterator[tuple[bool, str]]:
    """(whether it is a service, qualified name) of all that an object names."""
    if is_service:
        service = catalog.services.get(name)
        if service is not None:
            yield from ((True, qualify(each, service.provider)) for each in _children(service.value))
            yield from ((False, qualify(each, service.provider)) for each in service.value.middlewares)
        return
    middleware = catalog.middlewares.get(name)
    if middleware is None:
        return
    if middleware.value.chain is not None:
        for each in middleware.value.chain.middlewares:
            yield False, qualify(each, middleware.provider)
    if middleware.value.errors is not None:
        yield True, qualify(middleware.value.errors.service, middleware.provider)


def _children(service: Service) -> Iterator[str]:
    for balanced in (service.weighted, service.highest_random_weight):
        if balanced is not None:
            yield from (each.name for each in balanced.services)
    if service.mirroring is not None:
        yield service.mirroring.service
        yield from (each.name for each in service.mirroring.mirrors)
    if service.failover is not None:
        yield from (service.failover.service, service.failover.fallback)
