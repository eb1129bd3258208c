"""Links TCP and UDP routers to what they need, and remembers how each one last worked.

As for HTTP: one that cannot be linked now keeps the link it had, with the services and middlewares of that
time, and the report says so (spec v2 sections 2.6, 6.2 and 6.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from master.compiler.catalog import INTERNAL, Item, qualify
from master.compiler.linking import RouterReport, RouterStatus
from master.compiler.routers import MAX_USER_PRIORITY, at_key
from master.compiler.stream_checked import LinkedTcpRouter, LinkedUdpRouter
from master.compiler.stream_services import TcpServiceChecker, UdpServiceChecker
from master.compiler.tls_material import TlsObjects
from shared.config.diagnostics import Diagnostics, nearest_name
from shared.config.dynamic import TcpRouter, UdpRouter
from shared.config.effective import is_udp
from shared.config.static import StaticConfig
from shared.errors import ConfigError
from shared.rules.tcp import TcpRule, default_tcp_priority, read_tcp_rule
from shared.table.stream_routes import TlsMode

_Router = TypeVar("_Router", TcpRouter, UdpRouter)
_Link = TypeVar("_Link", LinkedTcpRouter, LinkedUdpRouter)


class TcpRouterLinker:
    """Links TCP routers of one compilation.

    Args:
        static: entrypoints.
        default_entry_points: for routers that name none.
        services: the checker of this compilation.
        tls: the TLS objects of this compilation.
    """

    def __init__(
        self,
        static: StaticConfig,
        default_entry_points: tuple[str, ...],
        services: TcpServiceChecker,
        tls: TlsObjects,
    ) -> None:
        self._entry_points = _of_protocol(static, udp=False)
        self._default_entry_points = default_entry_points
        self._services = services
        self._tls = tls
        self._default_syntax = static.core.default_rule_syntax

    def link(self, item: Item[TcpRouter], found: Diagnostics) -> LinkedTcpRouter:
        """The router with all it needs; warnings go to ``found``.

        Raises:
            ConfigError: it cannot serve; ``path`` is the key inside the router.
        """
        router = item.value
        with at_key("rule"):
            rule = self._rule(router)
        wanted = router.entry_points or self._default_entry_points
        with at_key("entryPoints"):
            entry_points = _reachable(item, wanted, self._entry_points, "TCP", found)
        with at_key("tls"):
            tls_options = self._tls.resolve(router.tls.options, item.provider) if router.tls else ""
        with at_key("middlewares"):
            steps = self._services.steps(router.middlewares, item.provider)
        with at_key("service"):
            service = self._services.check(_service_name(item))
        return LinkedTcpRouter(
            name=item.name,
            provider=item.provider,
            rule=router.rule,
            condition=rule.condition,
            priority=_priority(item, rule),
            is_catch_all=rule.is_catch_all,
            tls=_mode(router),
            tls_options=tls_options,
            middlewares=steps,
            service=service,
            entry_points=entry_points,
        )

    def _rule(self, router: TcpRouter) -> TcpRule:
        if not router.rule:
            raise ConfigError("", "router has no rule")
        syntax = router.rule_syntax if router.rule_syntax in ("v2", "v3") else self._default_syntax
        rule = read_tcp_rule(router.rule, syntax)
        if rule.needs_tls and router.tls is None:
            raise ConfigError(
                "",
                f'invalid rule: "{router.rule}", has HostSNI matcher, but no TLS on router',
            )
        return rule


class UdpRouterLinker:
    """Links UDP routers of one compilation; arguments as for ``TcpRouterLinker``."""

    def __init__(self, static: StaticConfig, services: UdpServiceChecker) -> None:
        self._entry_points = _of_protocol(static, udp=True)
        self._services = services

    def link(self, item: Item[UdpRouter], found: Diagnostics) -> LinkedUdpRouter:
        """The router with all it needs; as ``TcpRouterLinker.link``."""
        with at_key("entryPoints"):
            if not item.value.entry_points:
                raise ConfigError("", "a UDP router must name its entryPoints; there are no default ones")
            entry_points = _reachable(item, item.value.entry_points, self._entry_points, "UDP", found)
        with at_key("service"):
            service = self._services.check(_service_name(item))
        return LinkedUdpRouter(item.name, item.provider, service, entry_points)


class StreamLinkMemory(Generic[_Router, _Link]):
    """The links of the compilation before, by router."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol
        self._links: dict[str, _Link] = {}

    def link_all(
        self,
        items: Mapping[str, Item[_Router]],
        broken: Iterable[str],
        link: Callable[[Item[_Router], Diagnostics], _Link],
        found: Diagnostics,
    ) -> tuple[list[_Link], list[RouterReport]]:
        """Link every router; see ``LinkMemory.link_all``."""
        before, self._links = self._links, {}
        reports: list[RouterReport] = []
        for item in items.values():
            try:
                made = self._links[item.name] = link(item, found)
            except ConfigError as error:
                reports.append(self._keep(item, error, before.get(item.name), found))
            else:
                reports.append(self._report(made, "enabled"))
        for name in sorted(set(broken) - items.keys()):
            last = before.get(name)
            if last is None:
                reports.append(_disabled(name, self._protocol, "could not be read"))
            else:
                self._links[name] = last
                reports.append(self._report(last, "kept", "could not be read"))
        return list(self._links.values()), reports

    def _keep(
        self, item: Item[_Router], error: ConfigError, last: _Link | None, found: Diagnostics
    ) -> RouterReport:
        outcome = "the router is disabled" if last is None else "its last good version stays live"
        item.error(found, f"{error.reason}; {outcome}", error.hint, *([error.path] if error.path else []))
        if last is None:
            return _disabled(item.name, self._protocol, str(error), item.value)
        self._links[item.name] = last
        return self._report(last, "kept", str(error))

    def _report(self, link: _Link, status: RouterStatus, error: str = "") -> RouterReport:
        rule, priority = "", 0
        steps: tuple[str, ...] = ()
        if isinstance(link, LinkedTcpRouter):
            rule, priority = link.rule, link.priority
            steps = tuple(step.name for step in link.middlewares)
        service, protocol = link.service.name, self._protocol
        return RouterReport(
            link.name, rule, priority, link.entry_points, service, steps, status, error, protocol
        )


def _disabled(
    name: str, protocol: str, error: str, router: TcpRouter | UdpRouter | None = None
) -> RouterReport:
    if router is None:
        return RouterReport(name, "", 0, (), "", (), "disabled", error, protocol)
    rule, priority = "", 0
    steps: tuple[str, ...] = ()
    if isinstance(router, TcpRouter):
        rule, priority, steps = router.rule, router.priority, router.middlewares
    return RouterReport(
        name, rule, priority, router.entry_points, router.service, steps, "disabled", error, protocol
    )


def _of_protocol(static: StaticConfig, *, udp: bool) -> dict[str, bool]:
    """Every entrypoint, and whether it is of this protocol."""
    return {name: is_udp(entry_point) is udp for name, entry_point in static.entry_points.items()}


def _reachable(
    item: Item[_Router],
    wanted: tuple[str, ...],
    entry_points: Mapping[str, bool],
    protocol: str,
    found: Diagnostics,
) -> tuple[str, ...]:
    good = []
    for index, name in enumerate(dict.fromkeys(wanted)):
        if entry_points.get(name):
            good.append(name)
        elif name in entry_points:
            item.warning(found, f'entryPoint "{name}" is not a {protocol} one', None, "entryPoints", index)
        else:
            hint = nearest_name(name, entry_points)
            item.warning(found, f'entryPoint "{name}" doesn\'t exist', hint, "entryPoints", index)
    if not good:
        raise ConfigError("", "no valid entryPoint for this router")
    return tuple(good)


def _service_name(item: Item[_Router]) -> str:
    if not item.value.service:
        raise ConfigError("", "the service is missing on the router")
    return qualify(item.value.service, item.provider)


def _priority(item: Item[TcpRouter], rule: TcpRule) -> int:
    given = item.value.priority
    if given > MAX_USER_PRIORITY and item.provider != INTERNAL:
        raise ConfigError(
            "priority",
            f"the router priority {given} exceeds the max user-defined priority {MAX_USER_PRIORITY}",
        )
    return given or default_tcp_priority(item.value.rule, is_catch_all=rule.is_catch_all)


def _mode(router: TcpRouter) -> TlsMode:
    if router.tls is None:
        return "plain"
    return "passthrough" if router.tls.passthrough else "terminate"
