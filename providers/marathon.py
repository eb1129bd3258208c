"""The Marathon provider, v1 only (spec v1 section 5d): applications, their tasks, and the event stream.

Events carry no order and are not replayed, so they only say when to ask for the applications again. The
stream sends an empty line every 10 s; when nothing comes for ``SILENCE_S`` it is dead, whatever its socket
says. A standby redirects the stream to the leader; credentials go there only if it is one of the endpoints.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from urllib.parse import urljoin, urlsplit

import trio

from providers.api_client import ApiClient, ApiError, Endpoint, open_client, parse_endpoint
from providers.base import Provider
from providers.event_stream import ServerEvent, events
from providers.labels_settings import v1_tag_test
from providers.listing import ListingProvider, Source, Translate, Translated
from providers.marathon_apps import MarathonRules, read_apps, translate_apps
from providers.reachability import read_routing_table
from shared.config.documents import Document
from shared.config.static import StaticConfig
from shared.config.static_v1 import V1Marathon
from shared.errors import ConfigError, ProviderError

NAME = "marathon"
LOOK_AGAIN_S = 60.0
"""Applications are listed this often although no event came."""
SILENCE_S = 35.0
"""Three heartbeats of 10 s and a little: a stream that is silent for longer is dead."""
MAX_REDIRECTS = 3
"""Standby to leader is one."""

_RELEVANT = frozenset(
    {
        *("status_update_event", "instance_changed_event", "health_status_changed_event"),
        *("instance_health_changed_event", "app_terminated_event", "api_post_event"),
        *("add_health_check_event", "remove_health_check_event", "failed_health_check_event"),
        *("unhealthy_task_kill_event", "unhealthy_instance_kill_event", "unknown_instance_terminated_event"),
        *("deployment_info", "deployment_success", "deployment_failed", "deployment_step_success"),
        *("deployment_step_failure", "group_change_success"),
        *("scheduler_registered_event", "scheduler_reregistered_event", "scheduler_disconnected_event"),
    }
)
"""Events after which something may be different; others, and what is unknown, are passed over."""


def make_providers(config: StaticConfig, static_document: Document | None) -> list[Provider]:
    """The provider of v1's ``[marathon]``.

    Raises:
        ConfigError: its settings cannot work.
    """
    assert config.v1 is not None, "the registry asks only for sections that are there"
    settings = config.v1.marathon
    assert settings is not None, "the registry asks only for sections that are there"
    rules = MarathonRules(
        domain=settings.domain,
        exposed_by_default=settings.exposed_by_default,
        takes_tags=v1_tag_test(config, "marathon", settings),
        groups_as_sub_domains=settings.groups_as_sub_domains,
        lb_compatibility=settings.marathon_lb_compatibility,
        force_task_hostname=settings.force_task_hostname,
        respect_readiness=settings.respect_readiness_checks,
    )
    endpoints = parse_endpoints("marathon.endpoint", settings.endpoint)
    connect = _Connector(endpoints, settings, rules).connect
    look_again_s = LOOK_AGAIN_S if settings.watch else None
    return [ListingProvider(NAME, connect, watch=settings.watch, look_again_s=look_again_s)]


def parse_endpoints(path: str, text: str) -> list[Endpoint]:
    """Several endpoints, joined by commas; those without a scheme have that of the first.

    Raises:
        ConfigError: one of them is none, or there is none.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ConfigError(path, "no endpoint is configured")
    scheme = parts[0].partition("://")[0] if "://" in parts[0] else "http"
    return [parse_endpoint(path, part if "://" in part else f"{scheme}://{part}") for part in parts]


class _Connector:
    """Finds an endpoint that is up; one that has failed comes last next time."""

    def __init__(self, endpoints: list[Endpoint], settings: V1Marathon, rules: MarathonRules) -> None:
        self._endpoints = list(endpoints)
        self._settings = settings
        self._rules = rules

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[Source]:
        """Connect to the first endpoint that answers.

        Raises:
            ProviderError: none does.
        """
        reasons: list[str] = []
        for endpoint in list(self._endpoints):
            async with self.open(endpoint) as client:
                try:
                    await client.probe("/ping")
                except ProviderError as error:
                    reasons.append(error.reason)
                    continue
                finally:
                    # The one in use is last while it is: when it fails, the others are tried before it.
                    self._endpoints.remove(endpoint)
                    self._endpoints.append(endpoint)
                yield _Marathon(self, client, self._rules)
                return
        raise ProviderError(NAME, "; ".join(reasons))

    def open(self, endpoint: Endpoint) -> contextlib.AbstractAsyncContextManager[ApiClient]:
        """A client with our credentials for one of the endpoints."""
        settings = self._settings
        token = {"Authorization": f"token={settings.dcos_token}"} if settings.dcos_token else {}
        basic = settings.basic
        return open_client(
            NAME,
            endpoint,
            tls=settings.tls,
            user=basic.http_basic_auth_user if basic is not None else "",
            password=basic.http_basic_password if basic is not None else "",
            headers=token,
            connect_timeout_s=settings.dialer_timeout,
            socket_options=_keep_alive(settings.keep_alive),
        )

    def endpoint_at(self, url: str) -> Endpoint | None:
        """The endpoint of ours that a URL belongs to."""
        place = urlsplit(url)
        for each in self._endpoints:
            ours = urlsplit(each.url)
            if (ours.scheme, ours.netloc) == (place.scheme, place.netloc):
                return each
        return None

    def open_stranger(self, url: str) -> contextlib.AbstractAsyncContextManager[ApiClient]:
        """A client without credentials for a server that one of ours named."""
        parts = urlsplit(url)
        return open_client(NAME, Endpoint(f"{parts.scheme}://{parts.netloc}"), tls=self._settings.tls)


class _Marathon:
    """One Marathon that answers."""

    def __init__(self, connector: _Connector, client: ApiClient, rules: MarathonRules) -> None:
        self._connector = connector
        self._client = client
        self._rules = rules

    async def list_all(self) -> Translate:
        embed = ["apps.tasks"]
        if self._rules.respect_readiness:
            embed += ["apps.deployments", "apps.readiness"]
        _, raw = await self._client.get("/v2/apps", [("embed", each) for each in embed])
        routes = read_routing_table()

        def translate() -> Translated:
            try:
                apps, found = read_apps(raw, NAME)
            except ValueError as error:
                raise ProviderError(NAME, f"{self._client.endpoint}/v2/apps: {error}") from error
            return translate_apps(NAME, apps, self._rules, routes, found)

        return translate

    async def watch(self, changed: Callable[[], None]) -> None:
        async with contextlib.AsyncExitStack() as stack:
            client, path = self._client, "/v2/events"
            for _ in range(MAX_REDIRECTS + 1):
                try:
                    await self._follow(client, path, changed)
                except ApiError as error:
                    if not error.location:
                        raise
                    url = urljoin(f"{client.endpoint.url}{path}", error.location)
                    ours = self._connector.endpoint_at(url)
                    opened = (
                        self._connector.open(ours) if ours is not None else self._connector.open_stranger(url)
                    )
                    client = await stack.enter_async_context(opened)
                    path = urlsplit(url).path
            raise ProviderError(NAME, f"{self._client.endpoint}: more than {MAX_REDIRECTS} redirects")

    async def _follow(self, client: ApiClient, path: str, changed: Callable[[], None]) -> None:
        accept = {"Accept": "text/event-stream"}
        async with client.stream(path, headers=accept) as pieces:
            changed()
            stream = events(pieces)
            while True:
                try:
                    with trio.fail_after(SILENCE_S):
                        event = await anext(stream)
                except trio.TooSlowError as error:
                    reason = f"{client.endpoint}{path}: the stream fell silent"
                    raise ProviderError(NAME, reason) from error
                except ValueError as error:
                    raise ProviderError(NAME, f"{client.endpoint}{path}: {error}") from error
                if event is not None and _matters(event):
                    changed()


def _matters(event: ServerEvent) -> bool:
    return event.kind in _RELEVANT or event.kind == "message"  # no type given: who knows


def _keep_alive(interval_s: float) -> list[tuple[int, int, int]]:
    """Socket options that find out about a peer that is gone; 0 switches them off."""
    if interval_s <= 0:
        return []
    seconds = max(1, round(interval_s))
    return [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, seconds),
    ]
