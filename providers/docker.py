"""The Docker provider: containers of an engine and their labels (spec v1 section 5c, v2 section 8.3).

The event stream says when to look, the list says what there is (``listing``). Under v1's ``[docker]`` labels
are v1's, under ``providers.docker`` they are v2's: a label of the other kind is reported, not mixed in.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import trio

from providers.api_client import ApiClient, lines, open_client, parse_endpoint
from providers.base import Provider
from providers.docker_containers import LOOPBACK, ContainerView, read_containers, uses_host_network
from providers.labels import LabelDocument, Workload
from providers.labels_constraints import label_constraints
from providers.labels_containers_v1 import V1Rules, translate_containers
from providers.labels_rules_v2 import V2Rules, translate_v2
from providers.labels_settings import v1_tag_test
from providers.labels_template import compile_template
from providers.listing import ListingProvider, Source, Translate
from providers.reachability import read_routing_table
from shared.config.diagnostics import Diagnostic
from shared.config.documents import Document
from shared.config.static import StaticConfig
from shared.config.static_providers import DockerSettings
from shared.errors import ProviderError

LOOK_AGAIN_S = 60.0
"""Containers are listed this often although no event came: finds a connection that died silently."""
RESOLVE_TIMEOUT_S = 2.0
"""For finding out what the host is called from inside a container."""

_EVENTS = {"type": ["container", "network"]}
_ACTIONS = ("start", "die", "destroy", "rename", "pause", "unpause", "health_status", "connect", "disconnect")
"""Beginnings of the actions that change who answers where."""
_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_HOST_NAMES = ("host.docker.internal", "host.containers.internal")

TranslateWorkloads = Callable[
    [list[Workload], Sequence[Diagnostic]], tuple[LabelDocument, tuple[Diagnostic, ...]]
]
"""Workloads and what was found about them, to a document and all that was found."""


def make_providers(config: StaticConfig, static_document: Document | None) -> list[Provider]:
    """The provider of the ``docker`` section, v1's or v2's.

    Raises:
        ConfigError: its settings cannot work.
    """
    settings = config.providers.docker
    assert settings is not None, "the registry asks only for sections that are there"
    translate = translation("docker", "providers.docker", settings, config)
    return [make_docker_provider(settings, translate)]


def make_docker_provider(settings: DockerSettings, translate: TranslateWorkloads) -> ListingProvider:
    """The provider, of settings and what turns workloads into routes.

    Raises:
        ConfigError: the endpoint is none.
    """
    endpoint = parse_endpoint("providers.docker.endpoint", settings.endpoint, settings.tls is not None)

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Source]:
        async with open_client(
            "docker",
            endpoint,
            tls=settings.tls,
            user=settings.username,
            password=settings.password,
            timeout_s=settings.http_client_timeout,
        ) as client:
            yield _Engine(client, settings, translate)

    return ListingProvider(
        "docker", connect, watch=settings.watch, look_again_s=LOOK_AGAIN_S if settings.watch else None
    )


def translation(
    provider: str, section: str, settings: DockerSettings, config: StaticConfig
) -> TranslateWorkloads:
    """How labels become routes: as v1's ``[docker]`` says if it is there, else as v2's section says.

    Args:
        provider: its name.
        section: path of the v2 section, for messages.
        settings: that section.
        config: the whole static configuration.

    Raises:
        ConfigError: constraints or the default rule are not what they should be.
    """
    if config.v1 is not None and config.v1.docker is not None:
        v1 = config.v1.docker
        v1_rules = V1Rules(v1.domain, v1.exposed_by_default, v1_tag_test(config, "docker", v1))
        return lambda workloads, found: translate_containers(provider, workloads, v1_rules, found)
    rules = V2Rules(
        settings.exposed_by_default,
        compile_template(f"{section}.defaultRule", settings.default_rule),
        label_constraints(f"{section}.constraints", settings.constraints),
    )
    return lambda workloads, found: translate_v2(provider, workloads, rules, found)


class _Engine:
    """One engine that answers."""

    def __init__(self, client: ApiClient, settings: DockerSettings, translate: TranslateWorkloads) -> None:
        self._client = client
        self._settings = settings
        self._translate = translate
        self._host_address = ""

    async def list_all(self) -> Translate:
        _, raw = await self._client.get("/containers/json", {"all": "true"})
        if not self._host_address and uses_host_network(raw):
            self._host_address = await find_host_address()
        view = ContainerView(
            network=self._settings.network,
            use_bind_port_ip=self._settings.use_bind_port_ip,
            allow_empty=self._settings.allow_empty_services,
            is_local=self._client.endpoint.is_local,
            host_address=self._host_address or LOOPBACK,
            routes=read_routing_table(),
        )

        def translate() -> tuple[LabelDocument, tuple[Diagnostic, ...]]:
            try:
                workloads, found = read_containers(raw, view)
            except ValueError as error:
                raise ProviderError("docker", f"the list of containers is not one: {error}") from error
            return self._translate(workloads, found)

        return translate

    async def watch(self, changed: Callable[[], None]) -> None:
        await watch_events(self._client, _EVENTS, changed)


async def watch_events(client: ApiClient, filters: dict[str, list[str]], changed: Callable[[], None]) -> None:
    """Follow an engine's events; ``changed`` is called once connected and for each that matters.

    Raises:
        ProviderError: the stream ended or broke.
    """
    async with client.stream("/events", {"filters": json.dumps(filters)}) as pieces:
        changed()
        async for line in lines(pieces):
            if line and _matters(line):
                changed()


def _matters(line: bytes) -> bool:
    """Whether an event is one to look after; what cannot be read is, too."""
    try:
        event: Any = json.loads(line)
        action = event.get("Action") or event.get("status") or ""
    except (ValueError, AttributeError):
        return True
    # Podman says init and remove where Docker says start and destroy.
    is_noisy = event.get("Type", "container") in ("container", "network")
    return not is_noisy or str(action).startswith((*_ACTIONS, "init", "remove", "died", "cleanup"))


async def find_host_address() -> str:
    """Where containers in the host's own network answer: on loopback, unless we are in one ourselves."""
    if not any(mark.exists() for mark in _CONTAINER_MARKS):
        return LOOPBACK
    for name in _HOST_NAMES:
        with trio.move_on_after(RESOLVE_TIMEOUT_S):
            try:
                found = await trio.socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
            except OSError:
                continue
            return str(found[0][4][0])
    return LOOPBACK
