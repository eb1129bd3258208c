"""The Consul catalog as a provider: services, their healthy instances and their tags (spec v1 5e, v2 8.6).

One list is the names of all services and, for each, its instances with their checks. What may have changed is
learnt from two blocking queries: the list of names wakes for registrations and tags, the state of all checks
for health. With ``watch`` off (v2's default) everything is listed every ``refreshInterval`` instead.

An empty catalog is believed only from a server that never named a service: one that may be read always names
``consul`` itself, and a token that lost its rights gets ``{}``, not an error.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec
import trio

from providers.api_client import ANSWER_TIMEOUT_S, ApiClient, Endpoint, open_client, parse_endpoint
from providers.base import Provider
from providers.consul_services import (
    CatalogRulesV1,
    Instance,
    read_instances,
    tags_to_labels,
    translate_v1,
    workloads_v2,
)
from providers.labels_constraints import tag_expression
from providers.labels_rules_v2 import V2Rules, translate_v2
from providers.labels_settings import v1_tag_test
from providers.labels_template import compile_template
from providers.labels_template_functions import FUNCTIONS
from providers.listing import ListingProvider, Source, Translate
from providers.reachability import read_routing_table
from shared.config.documents import Document
from shared.config.static import StaticConfig
from shared.config.static_providers import CatalogEndpoint, ConsulCatalogSettings
from shared.errors import ConfigError, ProviderError

WAIT_S = 15.0
"""How long a blocking query may take without a change, where no setting says otherwise."""
WAIT_SLACK_S = 30.0
"""Consul adds up to a sixteenth, and may be 7 s late in saying that it has no leader."""
LEAST_ROUND_S = 1.0
"""A blocking query that came back without a change is repeated after this long at the earliest."""
MAX_REQUESTS = 8
"""Services that are asked about at the same time."""

MakeTranslate = Callable[[list[Instance]], Translate]
_PASSING = ("passing",)
_ITSELF = "consul"
"""The service that a Consul server registers of itself."""


def make_providers(config: StaticConfig, static_document: Document | None) -> list[Provider]:
    """The provider of v1's or v2's section, one for each namespace.

    Raises:
        ConfigError: its settings cannot work.
    """
    settings = config.providers.consul_catalog
    assert settings is not None, "the registry asks only for sections that are there"
    if config.v1 is not None and config.v1.consul_catalog is not None:
        return [_make_v1(settings, config)]
    return [_make_v2(settings, namespace) for namespace in settings.namespaces or ("",)]


def _make_v2(settings: ConsulCatalogSettings, namespace: str) -> ListingProvider:
    section = "providers.consulCatalog"
    name = f"consulcatalog-{namespace}" if namespace else "consulcatalog"
    for key, value in (
        ("connectAware", settings.connect_aware),
        ("connectByDefault", settings.connect_by_default),
    ):
        if value:
            raise ConfigError(
                f"{section}.{key}", "Consul Connect is not supported; services are reached directly"
            )
    rules = V2Rules(
        settings.exposed_by_default,
        compile_template(f"{section}.defaultRule", settings.default_rule),
        lambda labels: True,
        tag_expression(f"{section}.constraints", settings.constraints),
    )

    def make_translate(instances: list[Instance]) -> Translate:
        routes = read_routing_table()
        return lambda: translate_v2(name, workloads_v2(instances, settings.prefix, routes), rules)

    return _make(name, section, settings, namespace, make_translate, settings.strict_checks, settings.watch)


def _make_v1(settings: ConsulCatalogSettings, config: StaticConfig) -> ListingProvider:
    assert config.v1 is not None, "asked for v1"
    v1 = config.v1.consul_catalog
    assert v1 is not None, "asked for v1"
    rules = CatalogRulesV1(
        v1.domain,
        v1.prefix,
        v1.exposed_by_default,
        compile_template("consulCatalog.frontEndRule", v1.front_end_rule, {**FUNCTIONS, **_V1_FUNCTIONS}),
        v1_tag_test(config, "consulCatalog", v1),
    )

    def make_translate(instances: list[Instance]) -> Translate:
        routes = read_routing_table()
        return lambda: translate_v1("consul_catalog", instances, rules, routes)

    if v1.tls is not None and settings.endpoint.tls is None:
        where = msgspec.structs.replace(settings.endpoint, tls=v1.tls, scheme="https")
        settings = msgspec.structs.replace(settings, endpoint=where)
    return _make("consul_catalog", "consulCatalog", settings, "", make_translate, _PASSING, v1.watch)


def _make(
    name: str,
    section: str,
    settings: ConsulCatalogSettings,
    namespace: str,
    make_translate: MakeTranslate,
    states: tuple[str, ...],
    watch: bool,
) -> ListingProvider:
    where = settings.endpoint
    endpoint = _endpoint(f"{section}.endpoint", where)
    params = _params(settings, namespace)
    wait_s = where.endpoint_wait_time or WAIT_S
    catalog = functools.partial(_Catalog, name, params, states, make_translate, wait_s, settings, _Memory())

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Source]:
        async with open_client(
            name,
            endpoint,
            tls=where.tls,
            user=where.http_auth.username if where.http_auth else "",
            password=where.http_auth.password if where.http_auth else "",
            headers={"X-Consul-Token": where.token} if where.token else {},
        ) as client:
            yield catalog(client)

    return ListingProvider(name, connect, watch=watch, look_again_s=settings.refresh_interval or WAIT_S)


def _endpoint(path: str, where: CatalogEndpoint) -> Endpoint:
    address = where.address if "://" in where.address else f"{where.scheme}://{where.address}"
    return parse_endpoint(path, address, where.tls is not None)


def _params(settings: ConsulCatalogSettings, namespace: str) -> dict[str, str]:
    """What every query says. (A flag of Consul's counts by being there.)"""
    params = {"dc": settings.endpoint.datacenter, "ns": namespace}
    flags = {
        "consistent": settings.require_consistent,
        "stale": settings.stale,
        "cached": settings.cache and not settings.require_consistent,
    }
    return {key: value for key, value in params.items() if value} | {
        key: "" for key, value in flags.items() if value
    }


class _Memory:
    """What outlives a connection: whether the last list of names held the server's own."""

    named_itself = False


class _Catalog:
    """One Consul that answers."""

    def __init__(
        self,
        provider: str,
        params: Mapping[str, str],
        states: tuple[str, ...],
        make_translate: MakeTranslate,
        wait_s: float,
        settings: ConsulCatalogSettings,
        memory: _Memory,
        client: ApiClient,
    ) -> None:
        self._provider = provider
        self._params = params
        self._states = states
        self._make_translate = make_translate
        self._wait_s = wait_s
        self._settings = settings
        self._memory = memory
        self._client = client

    async def list_all(self) -> Translate:
        _, names = await self._client.get("/v1/catalog/services", self._params)
        if not isinstance(names, dict):
            raise ProviderError(self._provider, f"{self._client.endpoint}: the list of services is not one")
        if not names and self._memory.named_itself:
            reason = "names no service any more, not even consul: may the token still read services?"
            raise ProviderError(self._provider, f"{self._client.endpoint}: {reason}")
        self._memory.named_itself = _ITSELF in names
        wanted = sorted(name for name, tags in names.items() if self._is_wanted(tags or ()))
        found: dict[str, list[Instance]] = {}
        queue = iter(wanted)

        async def ask() -> None:
            for name in queue:
                found[name] = await self._instances(name)

        async with trio.open_nursery() as nursery:
            for _ in range(min(MAX_REQUESTS, len(wanted))):
                nursery.start_soon(ask)
        return self._make_translate([each for name in wanted for each in found[name]])

    def _is_wanted(self, tags: Any) -> bool:  # noqa: ANN401  # as decoded
        """Whether any instance can be exposed: saves asking about hundreds of others."""
        if self._settings.exposed_by_default:
            return True
        labels = tags_to_labels(map(str, tags), self._settings.prefix)
        return any(label.lower() == "traefik.enable" for label in labels)

    async def _instances(self, name: str) -> list[Instance]:
        path = f"/v1/health/service/{quote(name, safe='')}"
        only_passing = {"passing": ""} if self._states == _PASSING else {}
        _, raw = await self._client.get(path, {**self._params, **only_passing})
        try:
            instances = read_instances(raw)
        except ValueError as error:
            raise ProviderError(self._provider, f"{self._client.endpoint}{path}: {error}") from error
        return [each for each in instances if each.status in self._states]

    async def watch(self, changed: Callable[[], None]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._block, "/v1/catalog/services", changed)
            nursery.start_soon(self._block, "/v1/health/state/any", changed)

    async def _block(self, path: str, changed: Callable[[], None]) -> None:
        """Ask with the last index, for ever; an index that falls means starting over."""
        params = {key: value for key, value in self._params.items() if key != "cached"}
        index = 0
        while True:
            wait = {"index": str(index), "wait": f"{self._wait_s:g}s"} if index else {}
            limit_s = self._wait_s + WAIT_SLACK_S if index else ANSWER_TIMEOUT_S
            started = trio.current_time()
            headers, _ = await self._client.get(path, {**params, **wait}, limit_s)
            before, index = index, max(1, _number(headers.get("X-Consul-Index", "0")))
            if index != before:
                changed()
            else:
                await trio.sleep_until(started + LEAST_ROUND_S)
            if index < before:
                index = 0


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0


def _get_attribute(name: str, attributes: Mapping[str, str], default: str) -> str:
    folded = name.lower()
    return next((value for key, value in attributes.items() if key.lower() == folded), default)


_V1_FUNCTIONS: dict[str, Callable[..., Any]] = {"getAttribute": _get_attribute, "getTag": _get_attribute}
"""What v1's ``frontEndRule`` may call besides the usual."""
