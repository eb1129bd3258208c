"""Services and tasks of a Docker swarm as workloads (spec v1 section 5c, v2 section 8.3).

Labels are the service's, addresses its tasks': each running task is a server, or, where a label asks for it,
the service's virtual address is the only one. The ingress network leads to no task in particular and counts
only when it is asked for by name.

Source: Docker Engine API, ServiceList, TaskList, NodeList.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from providers.docker_containers import LOOPBACK, NETWORK_LABEL
from providers.labels import Workload, normalize, problem, warning
from providers.reachability import RoutingTable, why_not
from shared.config.diagnostics import Diagnostic

SWARM_NETWORK_LABEL = "traefik.swarm.network"
BALANCER_LABELS = ("traefik.swarm.lbswarm", "traefik.docker.lbswarm", "traefik.backend.loadbalancer.swarm")
"""Labels that ask for the service's virtual address instead of its tasks'."""
RUNNING = "running"
HOST_DRIVER = "host"


class SwarmView(msgspec.Struct, frozen=True):
    """How services are to be looked at.

    Attributes:
        provider: its name, for messages.
        network: which network's address to use where no label says.
        allow_empty: a service without a running task keeps its routes.
        is_local: the engine runs on this machine.
        nodes: addresses of nodes by id, for tasks in their host's own network.
        routes: which networks this host has a way to.
    """

    provider: str = "swarm"
    network: str = ""
    allow_empty: bool = False
    is_local: bool = False
    nodes: Mapping[str, str] = {}
    routes: RoutingTable = RoutingTable(None)


class _Spec(msgspec.Struct):
    name: str = msgspec.field(default="", name="Name")
    labels: dict[str, str] | None = msgspec.field(default=None, name="Labels")


class Service(msgspec.Struct):
    """An entry of ``/services``."""

    id: str = msgspec.field(name="ID")
    spec: _Spec = msgspec.field(name="Spec")
    endpoint: dict[str, Any] | None = msgspec.field(default=None, name="Endpoint")

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return self.spec.labels or {}

    @property
    def wants_balancer(self) -> bool:
        """Whether a label asks for its virtual address."""
        written = {label.lower(): value for label, value in self.labels.items()}
        return any(written.get(label, "").lower() == "true" for label in BALANCER_LABELS)


class Task(msgspec.Struct):
    """An entry of ``/tasks``."""

    id: str = msgspec.field(name="ID")
    service_id: str = msgspec.field(default="", name="ServiceID")
    node_id: str = msgspec.field(default="", name="NodeID")
    slot: int = msgspec.field(default=0, name="Slot")
    desired_state: str = msgspec.field(default="", name="DesiredState")
    status: dict[str, Any] | None = msgspec.field(default=None, name="Status")
    attachments: list[dict[str, Any]] | None = msgspec.field(default=None, name="NetworksAttachments")

    @property
    def is_running(self) -> bool:
        """Whether it runs and is meant to."""
        return (self.status or {}).get("State") == RUNNING and self.desired_state in (RUNNING, "")

    @property
    def is_on_host(self) -> bool:
        """Whether it is in its node's own network."""
        return any(each.driver == HOST_DRIVER for each in self.networks)

    @property
    def networks(self) -> list[Attachment]:
        """Its networks, the ingress last."""
        found = [_attachment(each) for each in self.attachments or ()]
        return sorted(found, key=lambda each: (each.is_ingress, each.name))


class Attachment(msgspec.Struct, frozen=True):
    """A network that a task is in, and its address there."""

    id: str
    name: str
    driver: str
    is_ingress: bool
    address: str


def _attachment(raw: Mapping[str, Any]) -> Attachment:
    network = raw.get("Network") or {}
    spec = network.get("Spec") or {}
    addresses = raw.get("Addresses") or [""]
    return Attachment(
        str(network.get("ID", "")),
        str(spec.get("Name", "")),
        str((spec.get("DriverConfiguration") or {}).get("Name") or ""),
        bool(spec.get("Ingress")),
        str(addresses[0]).partition("/")[0],
    )


def read_swarm(raw_services: object, raw_tasks: object) -> tuple[list[Service], dict[str, list[Task]]]:
    """Services, and the running tasks of each by its id.

    Raises:
        ValueError: the answers are not such lists.
    """
    try:
        services = msgspec.convert(raw_services, list[Service])
        tasks = msgspec.convert(raw_tasks, list[Task])
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    running: dict[str, list[Task]] = {}
    for task in sorted(tasks, key=lambda each: (each.slot, each.id)):
        if task.is_running:
            running.setdefault(task.service_id, []).append(task)
    return services, running


def swarm_workloads(
    services: Iterable[Service], tasks: Mapping[str, list[Task]], view: SwarmView
) -> tuple[list[Workload], list[Diagnostic]]:
    """The workloads of a swarm, and what is odd about them."""
    found: list[Diagnostic] = []
    workloads: list[Workload] = []
    for service in sorted(services, key=lambda each: each.spec.name):
        base = Workload(
            "service",
            service.spec.name,
            normalize(service.spec.name),
            service.labels,
            group=service.spec.name,
        )
        kinds = {label.split(".")[1].lower() for label in service.labels if label.lower().count(".") >= 2}
        if {"docker", "swarm"} <= kinds:
            reason = "has labels traefik.docker.* and traefik.swarm.*; use one kind"
            found.append(problem(view.provider, base, reason))
            continue
        workloads += _workloads(service, tasks.get(service.id, []), base, view, found)
    return workloads, found


def _workloads(
    service: Service, tasks: list[Task], base: Workload, view: SwarmView, found: list[Diagnostic]
) -> list[Workload]:
    if not tasks:
        return [msgspec.structs.replace(base, is_ready=False)] if view.allow_empty else []
    if service.wants_balancer:
        address, trouble = _virtual_address(service, tasks, base, view, found)
        return [msgspec.structs.replace(base, address=address, trouble=trouble)]
    workloads = []
    for task in tasks:
        name = f"{service.spec.name}.{task.slot or task.id}"
        workload = msgspec.structs.replace(base, kind="task", name=name)
        address, trouble = _address(task, workload, view, found)
        workloads.append(msgspec.structs.replace(workload, address=address, trouble=trouble))
    return workloads


def _address(task: Task, workload: Workload, view: SwarmView, found: list[Diagnostic]) -> tuple[str, str]:
    if task.is_on_host:
        address = view.nodes.get(task.node_id, "")
        # A swarm of one node that advertises no address of its own.
        return (LOOPBACK if address in ("", "0.0.0.0") else address), ""
    return _choose(task.networks, workload, view, found)


def _virtual_address(
    service: Service, tasks: list[Task], workload: Workload, view: SwarmView, found: list[Diagnostic]
) -> tuple[str, str]:
    known = {each.id: each for task in tasks for each in task.networks}
    virtual = []
    for each in (service.endpoint or {}).get("VirtualIPs") or ():
        network = known.get(str(each.get("NetworkID", "")))
        if network is not None:
            address = str(each.get("Addr") or "").partition("/")[0]
            virtual.append(msgspec.structs.replace(network, address=address))
    return _choose(sorted(virtual, key=lambda each: (each.is_ingress, each.name)), workload, view, found)


def _choose(
    networks: list[Attachment], workload: Workload, view: SwarmView, found: list[Diagnostic]
) -> tuple[str, str]:
    """The address to use, or why there is none."""
    label = next((each for each in (SWARM_NETWORK_LABEL, NETWORK_LABEL) if each in workload.labels), "")
    wanted = workload.labels.get(label) or view.network
    chosen = [each for each in networks if each.name == wanted]
    if not chosen:
        if wanted:
            reason = f'it is not in the network "{wanted}"; another one is used'
            found.append(warning(view.provider, workload, reason, label))
        chosen = [each for each in networks if not each.is_ingress]
    refused: list[str] = []
    for each in chosen:
        if not each.address:
            continue
        reason = why_not(view.routes, each.address, view.is_local)
        if not reason:
            return each.address, ""
        refused.append(f"{each.address} of network {each.name}: {reason}")
    if refused:
        advice = "run the proxy as a service in that network"
        return "", f"its address cannot be reached ({'; '.join(refused)}); {advice}"
    return "", "unable to find the IP address for the service"
