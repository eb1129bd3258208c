"""What a Docker engine lists, as workloads: names, health, which network and which address.

Everything is taken from one answer of ``/containers/json?all=true``, so that it is of one moment.

Source: Docker Engine API, ContainerList; spec v1 section 5c, v2 section 8.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from providers.labels import Port, Workload, normalize, warning
from providers.labels_containers_v1 import COMPOSE_PROJECT, COMPOSE_SERVICE
from providers.reachability import RoutingTable, why_not
from shared.config.diagnostics import Diagnostic

LOOPBACK = "127.0.0.1"
HOST_MODE = "host"
NETWORK_LABEL = "traefik.docker.network"
KEEP_LABEL = "traefik.docker.allownonrunning"
MAX_CONTAINERS = 100_000
"""More are not read (not measured)."""

_HEALTH = re.compile(r"\((?:health: )?(?P<health>healthy|unhealthy|starting)\)")


class ContainerView(msgspec.Struct, frozen=True):
    """How containers are to be looked at.

    Attributes:
        provider: its name, for messages.
        network: which network's address to use where no label says.
        use_bind_port_ip: use the published address where there is one.
        allow_empty: an unhealthy container keeps its routes.
        is_local: the engine runs on this machine.
        host_address: where containers in the host's own network answer.
        routes: which networks this host has a way to.
    """

    provider: str = "docker"
    network: str = ""
    use_bind_port_ip: bool = False
    allow_empty: bool = False
    is_local: bool = False
    host_address: str = LOOPBACK
    routes: RoutingTable = RoutingTable(None)


class Container(msgspec.Struct):
    """An entry of the engine's list; fields that are not there count as empty."""

    id: str = msgspec.field(default="", name="Id")
    names: list[str] | None = msgspec.field(default=None, name="Names")
    labels: dict[str, str] | None = msgspec.field(default=None, name="Labels")
    state: str = msgspec.field(default="", name="State")
    status: str = msgspec.field(default="", name="Status")
    ports: list[dict[str, Any]] | None = msgspec.field(default=None, name="Ports")
    host_config: dict[str, Any] | None = msgspec.field(default=None, name="HostConfig")
    network_settings: dict[str, Any] | None = msgspec.field(default=None, name="NetworkSettings")
    health: dict[str, Any] | None = msgspec.field(default=None, name="Health")

    @property
    def name(self) -> str:
        """Its own name: links add others, which hold a second slash."""
        names = self.names or []
        own = next((each for each in names if each.count("/") <= 1), next(iter(names), self.id[:12]))
        return own.removeprefix("/")

    @property
    def health_state(self) -> str:
        """``healthy``, ``unhealthy``, ``starting``, or empty without a health check."""
        if self.health:
            stated = str(self.health.get("Status", ""))
            return "" if stated == "none" else stated
        found = _HEALTH.search(self.status)
        return found["health"] if found is not None else ""

    @property
    def network_mode(self) -> str:
        """``host``, ``none``, ``container:ID`` or a network's name."""
        return str((self.host_config or {}).get("NetworkMode", ""))

    @property
    def networks(self) -> dict[str, Mapping[str, Any]]:
        """Its networks by name."""
        networks = (self.network_settings or {}).get("Networks") or {}
        return {name: each for name, each in sorted(networks.items()) if isinstance(each, Mapping)}


def read_containers(raw: object, view: ContainerView) -> tuple[list[Workload], list[Diagnostic]]:
    """The workloads of an engine's list, and what is odd about them.

    Args:
        raw: the answer, decoded.
        view: how to look at it.

    Raises:
        ValueError: it is not such a list.
    """
    try:
        containers = msgspec.convert(raw, list[Container])
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    found: list[Diagnostic] = []
    by_id = {each.id: each for each in containers[:MAX_CONTAINERS]}
    by_id |= {each.name: each for each in by_id.values() if each.name not in by_id}
    workloads = (_workload(each, by_id, view, found) for each in containers[:MAX_CONTAINERS])
    return [each for each in workloads if each is not None], found


def uses_host_network(raw: object) -> bool:
    """Whether some container of an engine's list is in the host's own network."""
    entries = raw if isinstance(raw, list) else []
    modes = ((each.get("HostConfig") or {}).get("NetworkMode") for each in entries if isinstance(each, dict))
    return HOST_MODE in modes


def _workload(
    container: Container, others: Mapping[str, Container], view: ContainerView, found: list[Diagnostic]
) -> Workload | None:
    labels = container.labels or {}
    kept = labels.get(KEEP_LABEL, "").lower() == "true"
    is_running = container.state == "running"
    if not is_running and not kept:
        return None
    is_healthy = container.health_state in ("", "healthy")
    if not is_healthy and not view.allow_empty and not kept:
        return None
    base = Workload(
        "container",
        container.name,
        service_name(container.name, labels),
        labels,
        ports=_ports(container),
        is_ready=is_running and is_healthy,
        by_binding=view.use_bind_port_ip,
    )
    if not base.is_ready:
        return base
    address, trouble = _address(container, base, others, view, found)
    return msgspec.structs.replace(base, address=address, trouble=trouble)


def service_name(name: str, labels: Mapping[str, str]) -> str:
    """What a container's service is called: after its compose service and project, else after itself."""
    service, project = labels.get(COMPOSE_SERVICE), labels.get(COMPOSE_PROJECT)
    return normalize(f"{service}_{project}" if service and project else name)


def _ports(container: Container) -> tuple[Port, ...]:
    ports = []
    for each in container.ports or ():
        number = each.get("PrivatePort")
        if isinstance(number, int) and number > 0:
            public = each.get("PublicPort")
            ports.append(
                Port(
                    number,
                    str(each.get("Type") or "tcp"),
                    str(each.get("IP") or ""),
                    public if isinstance(public, int) else 0,
                )
            )
    return tuple(sorted(set(ports), key=lambda port: (port.number, port.host_address, port.host_number)))


def _address(
    container: Container,
    workload: Workload,
    others: Mapping[str, Container],
    view: ContainerView,
    found: list[Diagnostic],
) -> tuple[str, str]:
    """The address to use, or why there is none."""
    mode = container.network_mode
    if mode == HOST_MODE:
        return view.host_address, ""
    if mode.startswith("container:"):
        owner = others.get(mode.partition(":")[2].removeprefix("/"))
        if owner is None or owner.network_mode.startswith("container:"):
            return "", f"it uses the network of {mode.partition(':')[2][:12]}, which is not there"
        return _address(owner, workload, others, view, found)
    return _network_address(container.networks, workload, view, found)


def _network_address(
    networks: Mapping[str, Mapping[str, Any]],
    workload: Workload,
    view: ContainerView,
    found: list[Diagnostic],
) -> tuple[str, str]:
    label = NETWORK_LABEL if NETWORK_LABEL in workload.labels else ""
    wanted = workload.labels.get(NETWORK_LABEL) or view.network
    chosen = networks
    if wanted in networks:
        chosen = {wanted: networks[wanted]}
    elif wanted:
        near = next((name for name in networks if name.endswith(f"_{wanted}")), None)
        hint = f'; did you mean "{near}"?' if near else ""
        reason = f'it is not in the network "{wanted}"; another one is used{hint}'
        found.append(warning(view.provider, workload, reason, label))
    refused: list[str] = []
    for name, network in chosen.items():
        address = str(network.get("IPAddress") or network.get("GlobalIPv6Address") or "")
        if not address:
            continue
        reason = why_not(view.routes, address, view.is_local)
        if not reason:
            return address, ""
        refused.append(f"{address} of network {name}: {reason}")
    if refused:
        advice = "publish its port and set useBindPortIP, or put the proxy into its network"
        return "", f"its address cannot be reached ({'; '.join(refused)}); {advice}"
    return "", "unable to find the IP address for the container"
