"""Checks services and transports, and resolves what they refer to (spec v2 sections 3.2, 3.6, 10.2)."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from master.compiler.catalog import INTERNAL, Catalog, Item, qualify
from master.compiler.checked import CheckedService, CheckedTransport
from master.compiler.health_checks import require_health, settle_health_checks
from master.compiler.internal import can_put_rules
from master.compiler.transports import TransportChecker
from shared.config.diagnostics import Diagnostics, nearest_name
from shared.config.dynamic import (
    Failover,
    HighestRandomWeight,
    LoadBalancer,
    Mirroring,
    Server,
    Service,
    Weighted,
)
from shared.config.static import StaticConfig
from shared.errors import ConfigError
from shared.status_ranges import StatusRanges

INTERNAL_SERVICES = ("noop", "ping", "rest")
MAX_SERVICE_DEPTH = 16
"""Composite services nested deeper than this are refused; nobody reads such a tree."""

MULTI_TYPES = (
    "cannot create service: multi-types service not supported, consider declaring two different pieces"
    " of service instead"
)

_KINDS = ("load_balancer", "weighted", "mirroring", "failover", "highest_random_weight")
_STRATEGIES = ("wrr", "p2c", "hrw", "leasttime")

_Balanced = TypeVar("_Balanced", Weighted, HighestRandomWeight)


class ServiceResult(msgspec.Struct, frozen=True, eq=False):
    """What a compilation made of one service.

    Attributes:
        source: the object it was made of.
        checked: the service.
        is_quiet: making it gave no warning, so that it need not be made again to give it again.
    """

    source: object
    checked: CheckedService
    is_quiet: bool


class ServiceChecker:
    """Checks each service once per compilation; unchanged ones come from the one before.

    Args:
        catalog: all objects.
        static: for the default transport and v1's rhythm of health checks.
        found: takes warnings; errors are raised, for the router that needs the service.
        known: results of the compilation before, by name.
    """

    def __init__(
        self, catalog: Catalog, static: StaticConfig, found: Diagnostics, known: dict[str, ServiceResult]
    ) -> None:
        self._catalog = catalog
        self._static = static
        self._found = found
        self._known = known
        self._transports = TransportChecker(catalog, static, found)
        self._default = self._transports.default()
        self.done: dict[str, ServiceResult] = {}
        self._failed: dict[str, ConfigError] = {}

    def check(self, name: str, trail: tuple[str, ...] = ()) -> CheckedService:
        """The service of this qualified name, ready for use.

        Raises:
            ConfigError: it, or something it needs, is missing or wrong.
        """
        done = self.done.get(name)
        if done is not None:
            return done.checked
        if name in self._failed:
            raise self._failed[name]
        try:
            return self._check(name, trail)
        except ConfigError as error:
            self._failed[name] = error
            raise

    def _check(self, name: str, trail: tuple[str, ...]) -> CheckedService:
        if name in trail or len(trail) >= MAX_SERVICE_DEPTH:
            raise ConfigError(
                f"services.{name}", f"services refer to each other in a circle: {' -> '.join((*trail, name))}"
            )
        internal, _, provider = name.rpartition("@")
        if provider == INTERNAL and internal in INTERNAL_SERVICES:
            if internal == "rest" and not can_put_rules(self._static):
                raise ConfigError("", "rest is not enabled")
            return self._remember(name, None, CheckedService(name, Service(), (), self._default), 0)
        item = self._catalog.services.get(name)
        if item is None:
            hint = nearest_name(name, self._catalog.services)
            raise ConfigError("", f'the service "{name}" does not exist', hint)
        before = self._known.get(name)
        if before is not None and self._is_current(before, item):
            self.done[name] = before
            return before.checked
        mark = len(self._found)
        options, children, transport = self._resolve(item, (*trail, name))
        if before is not None and _same(before, item.value, children, transport):
            return self._remember(name, item.value, before.checked, mark)
        return self._remember(name, item.value, CheckedService(name, options, children, transport), mark)

    def _is_current(self, before: ServiceResult, item: Item[Service]) -> bool:
        """Whether a load balancer needs no look: it did not change, had no warning, nor did its transport."""
        balancer = item.value.load_balancer
        if balancer is None or before.source is not item.value or not before.is_quiet:
            return False
        return _is_same_transport(
            before.checked.transport,
            self._transports.get(balancer.servers_transport, item.provider, balancer.servers),
        )

    def _resolve(
        self, item: Item[Service], trail: tuple[str, ...]
    ) -> tuple[Service, tuple[CheckedService, ...], CheckedTransport]:
        kinds = [kind for kind in _KINDS if getattr(item.value, kind) is not None]
        if not kinds:
            raise ConfigError("", f'the service "{item.name}" does not have any type defined')
        if len(kinds) > 1:
            raise ConfigError("", f"{MULTI_TYPES} (service {item.name})")
        value = item.value
        if value.weighted is not None:
            weighted, children = self._weighted(item, value.weighted, trail)
            return msgspec.structs.replace(value, weighted=weighted), children, self._default
        if value.highest_random_weight is not None:
            hashed, children = self._weighted(item, value.highest_random_weight, trail)
            return msgspec.structs.replace(value, highest_random_weight=hashed), children, self._default
        if value.mirroring is not None:
            return *self._mirroring(item, value.mirroring, trail), self._default
        if value.failover is not None:
            return *self._failover(item, value.failover, trail), self._default
        balancer = item.value.load_balancer
        assert balancer is not None, "one kind is set and the others were excluded"
        return self._load_balancer(item, balancer)

    def _weighted(
        self, item: Item[Service], options: _Balanced, trail: tuple[str, ...]
    ) -> tuple[_Balanced, tuple[CheckedService, ...]]:
        members = tuple(
            msgspec.structs.replace(each, name=qualify(each.name, item.provider)) for each in options.services
        )
        children = tuple(self.check(each.name, trail) for each in members)
        if options.health_check is not None:
            for child in children:
                require_health(item, child)
        return msgspec.structs.replace(options, services=members), children

    def _mirroring(
        self, item: Item[Service], options: Mirroring, trail: tuple[str, ...]
    ) -> tuple[Service, tuple[CheckedService, ...]]:
        for index, mirror in enumerate(options.mirrors):
            if not 0 <= mirror.percent <= 100:
                path = f"mirroring.mirrors[{index}].percent"
                raise ConfigError(path, f"percent must be between 0 and 100, got {mirror.percent}")
        main = self.check(qualify(options.service, item.provider), trail)
        if options.health_check is not None:
            require_health(item, main)
        mirrors = tuple(
            msgspec.structs.replace(each, name=qualify(each.name, item.provider)) for each in options.mirrors
        )
        children = (main, *(self.check(each.name, trail) for each in mirrors))
        options = msgspec.structs.replace(options, service=main.name, mirrors=mirrors)
        return msgspec.structs.replace(item.value, mirroring=options), children

    def _failover(
        self, item: Item[Service], options: Failover, trail: tuple[str, ...]
    ) -> tuple[Service, tuple[CheckedService, ...]]:
        main = self.check(qualify(options.service, item.provider), trail)
        fallback = self.check(qualify(options.fallback, item.provider), trail)
        if options.errors is not None and options.errors.status:
            try:
                StatusRanges(options.errors.status)
            except ConfigError as error:
                raise ConfigError("failover.errors.status", error.reason) from error
        else:
            require_health(item, main)
        if options.health_check is not None:
            require_health(item, main)
            require_health(item, fallback)
        options = msgspec.structs.replace(options, service=main.name, fallback=fallback.name)
        return msgspec.structs.replace(item.value, failover=options), (main, fallback)

    def _load_balancer(
        self, item: Item[Service], balancer: LoadBalancer
    ) -> tuple[Service, tuple[CheckedService, ...], CheckedTransport]:
        strategy = balancer.strategy or "wrr"
        if strategy not in _STRATEGIES:
            raise ConfigError(
                "", f'unsupported load-balancer strategy "{strategy}"', nearest_name(strategy, _STRATEGIES)
            )
        servers = tuple(
            server for index, server in enumerate(balancer.servers) if self._usable(item, server, index)
        )
        transport = self._transports.get(balancer.servers_transport, item.provider, servers)
        balancer = msgspec.structs.replace(balancer, servers=servers, strategy=strategy)
        balancer = settle_health_checks(item, balancer, self._static, self._found)
        return msgspec.structs.replace(item.value, load_balancer=balancer), (), transport

    def _usable(self, item: Item[Service], server: Server, index: int) -> bool:
        reason = server_problem(server.url)
        if reason is not None:
            item.error(
                self._found,
                f"{reason}; this server is left out",
                None,
                "loadBalancer",
                "servers",
                index,
                "url",
            )
        return reason is None

    def _remember(self, name: str, source: object, checked: CheckedService, mark: int) -> CheckedService:
        """Keep a result; ``mark`` is how many problems there were before it."""
        self.done[name] = ServiceResult(source, checked, is_quiet=len(self._found) == mark)
        return checked


def _same(
    before: ServiceResult,
    source: Service,
    children: tuple[CheckedService, ...],
    transport: CheckedTransport,
) -> bool:
    old = before.checked
    return (
        before.source is source
        and len(old.children) == len(children)
        and all(map(_is, old.children, children))
        and _is_same_transport(old.transport, transport)
    )


def _is_same_transport(one: CheckedTransport, other: CheckedTransport) -> bool:
    return one is other or (one.name, one.options, one.tls) == (other.name, other.options, other.tls)


def _is(one: object, other: object) -> bool:
    return one is other


def server_problem(url: str) -> str | None:
    """Why a server's URL cannot be used, or None (spec v2 section 3.2: scheme http, https or h2c)."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"bad server URL {url!r}: {error}"
    if parts.scheme not in ("http", "https", "h2c"):
        return f"bad server URL {url!r}: the scheme must be http, https or h2c"
    if not host or any(ord(char) <= 0x20 or ord(char) == 0x7F for char in url):
        return f"bad server URL {url!r}: no usable host"
    return None
