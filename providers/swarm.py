"""The swarm provider: services of a Docker swarm and their labels (``providers.swarm``, v1's ``swarmMode``).

A manager is asked every ``refreshSeconds``; its events make it faster where it sends some: those of services,
and those of containers on the manager itself. (Tasks on other nodes have no events there.)
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import trio

from providers.api_client import ApiClient, open_client, parse_endpoint
from providers.base import Provider
from providers.docker import TranslateWorkloads, translation, watch_events
from providers.listing import ListingProvider, Source, Translate, Translated
from providers.reachability import read_routing_table
from providers.swarm_services import SwarmView, read_swarm, swarm_workloads
from shared.config.documents import Document
from shared.config.static import StaticConfig
from shared.config.static_providers import SwarmSettings
from shared.errors import ProviderError

_EVENTS = {"type": ["service", "container", "node"]}
ECHO_S = 2.0
"""After an event everything is listed once more this much later: a task's state follows its container's."""
DEFAULT_REFRESH_S = 15.0
"""Where the setting is 0, which would mean to ask without a pause."""


def make_providers(config: StaticConfig, static_document: Document | None) -> list[Provider]:
    """The provider of ``providers.swarm``, or of v1's ``[docker]`` with ``swarmMode``.

    Raises:
        ConfigError: its settings cannot work.
    """
    settings = config.providers.swarm
    assert settings is not None, "the registry asks only for sections that are there"
    is_v1 = config.v1 is not None and config.v1.docker is not None
    name = "docker" if is_v1 else "swarm"
    translate = translation(name, "providers.swarm", settings, config)
    section = "docker" if is_v1 else "providers.swarm"
    endpoint = parse_endpoint(f"{section}.endpoint", settings.endpoint, settings.tls is not None)

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Source]:
        async with open_client(
            name,
            endpoint,
            tls=settings.tls,
            user=settings.username,
            password=settings.password,
            timeout_s=settings.http_client_timeout,
        ) as client:
            yield _Swarm(name, client, settings, translate)

    refresh_s = settings.refresh_seconds if settings.refresh_seconds > 0 else DEFAULT_REFRESH_S
    look_again_s = refresh_s if settings.watch else None
    return [ListingProvider(name, connect, watch=settings.watch, look_again_s=look_again_s)]


class _Swarm:
    """One manager that answers."""

    def __init__(
        self, name: str, client: ApiClient, settings: SwarmSettings, translate: TranslateWorkloads
    ) -> None:
        self._name = name
        self._client = client
        self._settings = settings
        self._translate = translate

    async def list_all(self) -> Translate:
        _, raw_services = await self._client.get("/services")
        _, raw_tasks = await self._client.get("/tasks", {"filters": '{"desired-state":["running"]}'})
        try:
            services, tasks = read_swarm(raw_services, raw_tasks)
        except ValueError as error:
            reason = f"{self._client.endpoint}: services or tasks are not what they should be: {error}"
            raise ProviderError(self._name, reason) from error
        on_host = any(task.is_on_host for of_service in tasks.values() for task in of_service)
        view = SwarmView(
            provider=self._name,
            network=self._settings.network,
            allow_empty=self._settings.allow_empty_services,
            is_local=self._client.endpoint.is_local,
            nodes=await self._nodes() if on_host else {},
            routes=read_routing_table(),
        )

        def translate() -> Translated:
            return self._translate(*swarm_workloads(services, tasks, view))

        return translate

    async def watch(self, changed: Callable[[], None]) -> None:
        async with trio.open_nursery() as nursery:
            echo = trio.Event()

            def note() -> None:
                nonlocal echo
                changed()
                echo.set()

            async def run_echo() -> None:
                nonlocal echo
                while True:
                    await echo.wait()
                    echo = trio.Event()
                    await trio.sleep(ECHO_S)
                    changed()

            nursery.start_soon(run_echo)
            await watch_events(self._client, _EVENTS, note)

    async def _nodes(self) -> dict[str, str]:
        _, raw = await self._client.get("/nodes")
        if not isinstance(raw, list):
            raise ProviderError(self._name, f"{self._client.endpoint}: the list of nodes is not one")
        nodes = (each for each in raw if isinstance(each, dict))
        return {str(each.get("ID")): str((each.get("Status") or {}).get("Addr") or "") for each in nodes}
