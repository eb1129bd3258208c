"""From linked TCP and UDP routers to the table's streams: names become indexes, match order is fixed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from master.compiler.checked import LinkedRouter
from master.compiler.entry_points import EntryPointModel
from master.compiler.stream_checked import (
    CheckedTcpService,
    CheckedUdpService,
    LinkedTcpRouter,
    LinkedUdpRouter,
)
from shared.config.diagnostics import Diagnostics
from shared.rules.domains import domains_of
from shared.table.stream_routes import (
    TcpContent,
    TcpEntrance,
    TcpMiddlewareEntry,
    TcpRouterEntry,
    TcpServiceEntry,
    TcpTransportEntry,
    UdpContent,
    UdpEntrance,
    UdpServiceEntry,
)

_Checked = TypeVar("_Checked", CheckedTcpService, CheckedUdpService)

Rank = Callable[[str], int]
"""A provider's place among providers: the lower wins a tie."""


def assemble_tcp(
    routers: Iterable[LinkedTcpRouter],
    http: Iterable[LinkedRouter],
    models: Mapping[str, EntryPointModel],
    rank: Rank,
) -> TcpContent:
    """The TCP side of a table.

    Args:
        routers: TCP ones.
        http: HTTP ones; those with TLS share entrypoints with TCP routers.
        models: of entrypoints; some give TLS to their HTTP routers.
        rank: of providers.
    """
    order = sorted(routers, key=lambda each: (-each.priority, rank(each.provider), each.provider, each.name))
    services = _all_services(each.service for each in order)
    steps = {step.name: step for each in order for step in each.middlewares}
    transports = {each.transport.name: each.transport for each in services.values()}
    service_at, step_at, transport_at = _numbers(services), _numbers(steps), _numbers(transports)
    return TcpContent(
        routers=tuple(
            TcpRouterEntry(
                name=each.name,
                rule=each.rule,
                condition=each.condition,
                priority=each.priority,
                tls=each.tls,
                tls_options=each.tls_options,
                is_catch_all=each.is_catch_all,
                middlewares=tuple(step_at[step.name] for step in each.middlewares),
                service=service_at[each.service.name],
            )
            for each in order
        ),
        services=tuple(
            TcpServiceEntry(
                name=name,
                options=services[name].options,
                children=tuple(service_at[child.name] for child in services[name].children),
                transport=transport_at[services[name].transport.name],
            )
            for name in sorted(services)
        ),
        middlewares=tuple(TcpMiddlewareEntry(name, steps[name].options) for name in sorted(steps)),
        transports=tuple(
            TcpTransportEntry(name, transports[name].options, transports[name].tls)
            for name in sorted(transports)
        ),
        entrances=_entrances(order, list(http), models),
    )


def assemble_udp(routers: Iterable[LinkedUdpRouter], found: Diagnostics) -> UdpContent:
    """The UDP side of a table: each entrypoint has one router, the one whose name sorts last."""
    order = sorted(routers, key=lambda each: each.name)
    services = _all_services(each.service for each in order)
    service_at = _numbers(services)
    winners: dict[str, LinkedUdpRouter] = {}
    for each in order:
        for name in each.entry_points:
            if name in winners:
                reason = f"several routers want entrypoint {name}, which serves one: {each.name} wins"
                found.warning(("udp", "routers", winners[name].name), reason)
            winners[name] = each
    return UdpContent(
        services=tuple(
            UdpServiceEntry(
                name,
                services[name].options,
                tuple(service_at[child.name] for child in services[name].children),
            )
            for name in sorted(services)
        ),
        entrances=tuple(
            UdpEntrance(name, winners[name].name, service_at[winners[name].service.name])
            for name in sorted(winners)
        ),
    )


def _entrances(
    order: list[LinkedTcpRouter], http: list[LinkedRouter], models: Mapping[str, EntryPointModel]
) -> tuple[TcpEntrance, ...]:
    found: dict[str, list[int]] = {}
    for index, router in enumerate(order):
        for name in router.entry_points:
            found.setdefault(name, []).append(index)
    return tuple(_entrance(name, found[name], http, models) for name in sorted(found))


def _entrance(
    name: str, routers: list[int], http: list[LinkedRouter], models: Mapping[str, EntryPointModel]
) -> TcpEntrance:
    secure = [each for each in http if name in each.entry_points and (each.tls or models[name].tls)]
    named = [domains_of(each.condition) for each in secure]
    return TcpEntrance(
        entrypoint=name,
        routers=tuple(routers),
        https_hosts=tuple(sorted({host for hosts in named for host in hosts})),
        has_https=bool(secure),
        has_https_catch_all=not all(named),
    )


def _all_services(roots: Iterable[_Checked]) -> dict[str, _Checked]:
    services: dict[str, _Checked] = {}
    waiting = list(roots)
    while waiting:
        service = waiting.pop(0)
        if services.setdefault(service.name, service) is service:
            waiting += service.children
    return services


def _numbers(names: Iterable[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(sorted(names))}
