"""The Mesos provider, v1 only (spec v1 section 5g): the leading master's state, polled.

The endpoint names masters, or ZooKeeper (``zk://host:port/mesos``), where the leader is looked up at each
connection. A master that does not lead says where the leader is; its own state, which is empty, is never
believed. Neither is that of a master that has just been elected and has no task yet while agents are missing.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from urllib.parse import urljoin, urlsplit

import trio

from providers.api_client import ApiClient, ApiError, Endpoint, open_client
from providers.base import Provider
from providers.labels_settings import v1_tag_test
from providers.listing import ListingProvider, Source, Translate, Translated
from providers.marathon import parse_endpoints
from providers.mesos_state import IP_SOURCES, MesosRules, read_state, read_tasks, translate_tasks
from providers.reachability import read_routing_table
from shared.config.documents import Document
from shared.config.static import StaticConfig
from shared.config.static_v1 import V1Mesos
from shared.errors import ConfigError, ProviderError

NAME = "mesos"
STATE, OLD_STATE = "/state", "/state.json"
MAX_REDIRECTS = 3
"""Standby to leader is one."""
DEFAULT_REFRESH_S = 30.0
"""Where ``refreshSeconds`` is 0."""


def make_providers(config: StaticConfig, static_document: Document | None) -> list[Provider]:
    """The provider of v1's ``[mesos]``.

    Raises:
        ConfigError: its settings cannot work.
    """
    assert config.v1 is not None, "the registry asks only for sections that are there"
    settings = config.v1.mesos
    assert settings is not None, "the registry asks only for sections that are there"
    rules = MesosRules(
        domain=settings.domain,
        exposed_by_default=settings.exposed_by_default,
        takes_tags=v1_tag_test(config, "mesos", settings),
        groups_as_sub_domains=settings.groups_as_sub_domains,
        ip_sources=_ip_sources(settings.ip_sources),
    )
    find_masters = _finder(settings)
    connect = functools.partial(_connect, find_masters, settings, rules)
    refresh_s = settings.refresh_seconds if settings.refresh_seconds > 0 else DEFAULT_REFRESH_S
    look_again_s = refresh_s if settings.watch else None
    return [ListingProvider(NAME, connect, watch=False, look_again_s=look_again_s)]


FindMasters = Callable[[], list[Endpoint]]
"""The masters to ask, in order. Blocks; raises ProviderError when they cannot be found out."""


def _finder(settings: V1Mesos) -> FindMasters:
    if settings.endpoint.startswith("zk://"):
        from providers.mesos_leader import find_leader, parse_zookeeper_url

        servers, path = parse_zookeeper_url("mesos.endpoint", settings.endpoint)
        timeout_s = float(settings.zk_detection_timeout)
        return lambda: [find_leader(servers, path, timeout_s)]
    endpoints = parse_endpoints("mesos.endpoint", settings.endpoint)
    return lambda: endpoints


def _ip_sources(text: str) -> tuple[str, ...]:
    sources = tuple(part.strip() for part in text.split(",") if part.strip())
    for each in sources:
        if each not in IP_SOURCES:
            raise ConfigError("mesos.IPSources", f'"{each}" is none of {", ".join(IP_SOURCES)}')
    return sources


@contextlib.asynccontextmanager
async def _connect(find_masters: FindMasters, settings: V1Mesos, rules: MesosRules) -> AsyncIterator[Source]:
    """Connect to the first master that answers.

    Raises:
        ProviderError: none does.
    """
    reasons: list[str] = []
    for endpoint in await trio.to_thread.run_sync(find_masters, abandon_on_cancel=True):
        async with contextlib.AsyncExitStack() as stack:
            try:
                client = await _find_leader(stack, endpoint, settings)
            except ProviderError as error:
                reasons.append(error.reason)
                continue
            yield _Mesos(client, rules)
            return
    raise ProviderError(NAME, "; ".join(reasons))


async def _find_leader(stack: contextlib.AsyncExitStack, endpoint: Endpoint, settings: V1Mesos) -> ApiClient:
    """A client for the leader that this master knows. Credentials go to the configured one only."""
    timeout_s = float(settings.state_timeout_second)
    for _ in range(MAX_REDIRECTS + 1):
        opened = open_client(NAME, endpoint, tls=settings.tls, timeout_s=timeout_s)
        client = await stack.enter_async_context(opened)
        try:
            raw = await _ask(client)
        except ApiError as error:
            if not error.location:
                raise
            parts = urlsplit(urljoin(f"{endpoint.url}{STATE}", error.location))
            endpoint = Endpoint(f"{parts.scheme}://{parts.netloc}")
            continue
        leader = _leader_elsewhere(raw)
        if not leader:
            return client
        endpoint = Endpoint(f"{urlsplit(endpoint.url).scheme}://{leader}")
    raise ProviderError(NAME, f"{endpoint}: more than {MAX_REDIRECTS} masters say that another one leads")


async def _ask(client: ApiClient) -> object:
    try:
        _, raw = await client.get(STATE)
    except ApiError as error:
        if error.status != 404:
            raise
        _, raw = await client.get(OLD_STATE)  # before Mesos 1.0
    return raw


def _leader_elsewhere(raw: object) -> str:
    """Host and port of the leader, if that is another master; empty if it is this one, or nobody."""
    try:
        state = read_state(raw)
    except ValueError:
        return ""
    return "" if state.is_leading else state.leader.rpartition("@")[2]


class _Mesos:
    """A master that led when it was asked."""

    def __init__(self, client: ApiClient, rules: MesosRules) -> None:
        self._client = client
        self._rules = rules

    async def list_all(self) -> Translate:
        raw = await _ask(self._client)
        routes = read_routing_table()

        def translate() -> Translated:
            try:
                state = read_state(raw)
                tasks = read_tasks(state)
            except ValueError as error:
                raise ProviderError(NAME, f"{self._client.endpoint}{STATE}: {error}") from error
            if not state.is_leading:
                raise ProviderError(NAME, f"{self._client.endpoint} does not lead (any more)")
            if not tasks and state.recovered_slaves:
                reason = f"has no task yet, and {len(state.recovered_slaves)} agents have not come back"
                raise ProviderError(NAME, f"{self._client.endpoint} {reason}")
            return translate_tasks(NAME, state, tasks, self._rules, routes)

        return translate

    async def watch(self, changed: Callable[[], None]) -> None:
        await trio.sleep_forever()  # a master says nothing by itself
