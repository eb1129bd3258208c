"""Checks TCP and UDP services, transports and middlewares (spec v2 sections 4.9, 6.2, 6.3 and 10.3)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from master.compiler.catalog import Item, qualify
from master.compiler.stream_catalog import StreamCatalog
from master.compiler.stream_checked import (
    CheckedTcpMiddleware,
    CheckedTcpService,
    CheckedUdpService,
)
from master.compiler.stream_checks import (
    check_circle,
    check_kinds,
    check_tcp_middleware,
    check_version,
    find_service,
    qualified_members,
    usable_servers,
)
from master.compiler.stream_transports import TcpTransportChecker
from shared.config.diagnostics import Diagnostics, nearest_name
from shared.config.dynamic import TcpHealthCheck, TcpLoadBalancer, TcpService
from shared.config.static import StaticConfig
from shared.errors import ConfigError


class TcpServiceChecker:
    """Checks each TCP service and middleware once per compilation.

    Args:
        catalog: all objects.
        static: for the default transport.
        found: takes warnings; errors are raised, for the router that needs the object.
    """

    def __init__(self, catalog: StreamCatalog, static: StaticConfig, found: Diagnostics) -> None:
        self._catalog = catalog
        self._found = found
        self._transports = TcpTransportChecker(catalog, static, found)
        self._done: dict[str, CheckedTcpService] = {}
        self._failed: dict[str, ConfigError] = {}
        self._middlewares: dict[str, CheckedTcpMiddleware] = {}

    def check(self, name: str, trail: tuple[str, ...] = ()) -> CheckedTcpService:
        """The service of this qualified name, ready for use.

        Raises:
            ConfigError: it, or something it needs, is missing or wrong.
        """
        if name in self._failed:
            raise self._failed[name]
        if name not in self._done:
            try:
                self._done[name] = self._check(name, trail)
            except ConfigError as error:
                self._failed[name] = error
                raise
        return self._done[name]

    def steps(self, names: Iterable[str], provider: str) -> tuple[CheckedTcpMiddleware, ...]:
        """The middlewares that these names stand for.

        Raises:
            ConfigError: one is missing or wrong.
        """
        return tuple(self._step(qualify(name, provider)) for name in names)

    def _check(self, name: str, trail: tuple[str, ...]) -> CheckedTcpService:
        check_circle(name, trail)
        item = find_service(name, self._catalog.tcp_services)
        check_kinds(item.name, item.value)
        value = item.value
        if value.weighted is not None:
            weighted = qualified_members(value.weighted, item.provider)
            children = tuple(self.check(each.name, (*trail, name)) for each in weighted.services)
            if weighted.health_check is not None:
                _require_health(item.name, children)
            options = msgspec.structs.replace(value, weighted=weighted)
            return CheckedTcpService(name, options, children, self._transports.default())
        balancer = value.load_balancer
        assert balancer is not None, "one kind is set and the other was excluded"
        transport = self._transports.get(balancer.servers_transport, item.provider, balancer.servers)
        check_version(balancer.proxy_protocol)
        balancer = msgspec.structs.replace(
            balancer,
            servers=usable_servers(item, balancer.servers, self._found),
            health_check=self._settled(item, balancer),
        )
        return CheckedTcpService(name, msgspec.structs.replace(value, load_balancer=balancer), (), transport)

    def _settled(self, item: Item[TcpService], balancer: TcpLoadBalancer) -> TcpHealthCheck | None:
        """The health check with durations that can be waited for; 0 and less mean the default."""
        check = balancer.health_check
        if check is None:
            return None
        defaults = TcpHealthCheck()
        changes: dict[str, float] = {}
        for key in ("interval", "timeout"):
            if getattr(check, key) <= 0:
                changes[key] = getattr(defaults, key)
                reason = f"must be greater than zero; {changes[key]:g} s is used"
                item.warning(self._found, reason, None, "loadBalancer", "healthCheck", key)
        check = msgspec.structs.replace(check, **changes)
        unhealthy = check.unhealthy_interval
        if unhealthy is not None and unhealthy <= 0:
            check = msgspec.structs.replace(check, unhealthy_interval=None)
        return check

    def _step(self, name: str) -> CheckedTcpMiddleware:
        if name not in self._middlewares:
            item = self._catalog.tcp_middlewares.get(name)
            if item is None:
                hint = nearest_name(name, self._catalog.tcp_middlewares)
                raise ConfigError("", f'middleware "{name}" does not exist', hint)
            try:
                self._middlewares[name] = CheckedTcpMiddleware(name, check_tcp_middleware(item.value))
            except ConfigError as error:
                raise ConfigError("", f'middleware "{name}": {error}', error.hint) from error
        return self._middlewares[name]


class UdpServiceChecker:
    """Checks each UDP service once per compilation; arguments as for ``TcpServiceChecker``."""

    def __init__(self, catalog: StreamCatalog, found: Diagnostics) -> None:
        self._catalog = catalog
        self._found = found
        self._done: dict[str, CheckedUdpService] = {}

    def check(self, name: str, trail: tuple[str, ...] = ()) -> CheckedUdpService:
        """The service of this qualified name, ready for use.

        Raises:
            ConfigError: it, or something it needs, is missing or wrong.
        """
        if name not in self._done:
            self._done[name] = self._check(name, trail)
        return self._done[name]

    def _check(self, name: str, trail: tuple[str, ...]) -> CheckedUdpService:
        check_circle(name, trail)
        item = find_service(name, self._catalog.udp_services)
        check_kinds(item.name, item.value)
        value = item.value
        if value.weighted is not None:
            weighted = qualified_members(value.weighted, item.provider)
            children = tuple(self.check(each.name, (*trail, name)) for each in weighted.services)
            return CheckedUdpService(name, msgspec.structs.replace(value, weighted=weighted), children)
        balancer = value.load_balancer
        assert balancer is not None, "one kind is set and the other was excluded"
        servers = usable_servers(item, balancer.servers, self._found)
        balancer = msgspec.structs.replace(balancer, servers=servers)
        return CheckedUdpService(name, msgspec.structs.replace(value, load_balancer=balancer), ())


def _require_health(name: str, children: Iterable[CheckedTcpService]) -> None:
    for child in children:
        balancer, weighted = child.options.load_balancer, child.options.weighted
        if not (balancer and balancer.health_check) and not (weighted and weighted.health_check):
            kind = "load-balancer" if balancer is not None else "weighted"
            enabled = f"healthCheck not enabled in config for this {kind} service"
            raise ConfigError("", f"cannot register {child.name} as updater for {name}: {enabled}")
