"""Links a router to its rule, middlewares, service and entrypoints (spec v2 sections 2.5 and 3.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from master.compiler.catalog import INTERNAL, Item, qualify
from master.compiler.checked import CheckedMiddleware, CheckedService, LinkedRouter
from master.compiler.middlewares import MiddlewareChecker
from master.compiler.services import ServiceChecker
from master.compiler.tls_material import TlsObjects
from shared.config.diagnostics import Diagnostics, nearest_name
from shared.config.dynamic import Router
from shared.config.effective import is_udp
from shared.config.static import EntryPoint, StaticConfig
from shared.errors import ConfigError
from shared.rules.conditions import AnyCondition
from shared.rules.language import default_priority, read_rule
from shared.table.streams import DEFAULT_OPTIONS

MAX_USER_PRIORITY = 9_223_372_036_854_774_807
"""Above it lie the priorities of our own routers (spec v2 section 2.5)."""


class RouterLinker:
    """Links routers of one compilation.

    Args:
        static: entrypoints and their defaults.
        default_entry_points: for routers that name none.
        services, middlewares: the checkers of this compilation.
        tls: its TLS options.
    """

    def __init__(
        self,
        static: StaticConfig,
        default_entry_points: tuple[str, ...],
        services: ServiceChecker,
        middlewares: MiddlewareChecker,
        tls: TlsObjects,
    ) -> None:
        self._entry_points: Mapping[str, EntryPoint] = {
            name: each for name, each in static.entry_points.items() if not is_udp(each)
        }
        self._default_entry_points = default_entry_points
        self._services = services
        self._middlewares = middlewares
        self._tls = tls
        self._default_syntax = static.core.default_rule_syntax

    def link(self, item: Item[Router], found: Diagnostics) -> LinkedRouter:
        """The router with all it needs; warnings go to ``found``.

        Raises:
            ConfigError: it cannot serve; ``path`` is the key inside the router.
        """
        router = item.value
        syntax = router.rule_syntax if router.rule_syntax in ("v1", "v2", "v3") else self._default_syntax
        priority = self._priority(item)
        with at_key("rule"):
            condition = self._rule(router, syntax)
        with at_key("entryPoints"):
            entry_points = self._reachable(item, found)
        with at_key("tls"):
            tls_options = self._tls_options(item, entry_points, condition)
        with at_key("middlewares"):
            middlewares = self._middlewares.expand(router.middlewares, item.provider)
        with at_key("service"):
            service = self._service(item)
            own = self._service_steps(service)
        return LinkedRouter(
            name=item.name,
            provider=item.provider,
            rule=router.rule,
            condition=condition,
            priority=priority,
            middlewares=middlewares + own,
            service=service,
            entry_points=entry_points,
            tls=router.tls is not None,
            tls_options=tls_options,
        )

    def is_current(self, link: LinkedRouter, item: Item[Router]) -> bool:
        """Whether linking this router again, itself unchanged, would give what ``link`` is already.

        Only its references can have changed; one with a warning to give is linked again, to give it.
        """
        router = item.value
        if len(router.entry_points) > len(link.entry_points):
            return False
        try:
            if router.tls is not None:
                self._tls.resolve(router.tls.options, item.provider)
            service = self._service(item)
            if not (router.middlewares or service.options.middlewares or link.middlewares):
                return service is link.service
            steps = self._middlewares.expand(router.middlewares, item.provider) + self._service_steps(service)
        except ConfigError:
            return False
        return (
            service is link.service
            and len(steps) == len(link.middlewares)
            and all(one is other for one, other in zip(steps, link.middlewares, strict=True))
        )

    def _rule(self, router: Router, syntax: str) -> AnyCondition:
        if not router.rule and syntax != "v1":
            raise ConfigError("", "router has no rule")
        return read_rule(router.rule, syntax)

    def _priority(self, item: Item[Router]) -> int:
        given = item.value.priority
        if given > MAX_USER_PRIORITY and item.provider != INTERNAL:
            raise ConfigError(
                "priority",
                f"the router priority {given} exceeds the max user-defined priority {MAX_USER_PRIORITY}",
            )
        return given or default_priority(item.value.rule)

    def _tls_options(self, item: Item[Router], entry_points: tuple[str, ...], condition: AnyCondition) -> str:
        if item.value.tls is None:
            return DEFAULT_OPTIONS
        try:
            return self._tls.resolve(item.value.tls.options, item.provider)
        except ConfigError:
            self._tls.refuse(entry_points, condition)
            raise

    def _service(self, item: Item[Router]) -> CheckedService:
        if not item.value.service:
            raise ConfigError("", "the service is missing on the router")
        return self._services.check(qualify(item.value.service, item.provider))

    def _service_steps(self, service: CheckedService) -> tuple[CheckedMiddleware, ...]:
        provider = service.name.rpartition("@")[2]
        return self._middlewares.expand(service.options.middlewares, provider)

    def _reachable(self, item: Item[Router], found: Diagnostics) -> tuple[str, ...]:
        wanted = item.value.entry_points or self._default_entry_points
        known = tuple(dict.fromkeys(name for name in wanted if name in self._entry_points))
        for index, name in enumerate(item.value.entry_points):
            if name not in self._entry_points:
                hint = nearest_name(name, self._entry_points)
                item.warning(found, f'entryPoint "{name}" doesn\'t exist', hint, "entryPoints", index)
        if not known:
            raise ConfigError("", "no valid entryPoint for this router")
        return known


@contextmanager
def at_key(key: str) -> Iterator[None]:
    """Errors raised inside are about this key of the router."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(key, error.reason, error.hint) from error
