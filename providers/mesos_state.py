"""A Mesos master's state as v1's frontends and backends (spec v1 section 5g): running tasks and their labels.

Served is what runs, on an agent that is there, and whose last status is not unhealthy. A port is that of a
label, else of the task's discovery information, else of its resources.

Source: Mesos master API, /state; spec v1 section 5g.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from providers.labels import LabelDocument, Workload, bare_host, normalize, problem
from providers.labels_address import parse_port
from providers.labels_constraints import TagTest
from providers.labels_containers_v1 import tags_of
from providers.labels_v1 import V1Item, V1Labels, build_v1, unknown_labels
from providers.reachability import RoutingTable, why_not
from shared.config.diagnostics import Diagnostic
from shared.errors import ConfigError

RUNNING = "TASK_RUNNING"
MAX_TASKS = 100_000
"""More tasks are not read (not measured)."""
IP_SOURCES = ("host", "netinfo", "mesos", "docker")
"""What ``IPSources`` may name; the last three all mean the addresses of the task's last status."""

_RANGE = re.compile(r"(\d+)-(\d+)")


class MesosRules(msgspec.Struct, frozen=True):
    """How v1's ``[mesos]`` says tasks are to be read.

    Attributes:
        domain: what default rules end with.
        exposed_by_default: what counts without ``traefik.enable``.
        takes_tags: the constraints.
        groups_as_sub_domains: ``a/b`` is called ``b.a`` instead of ``a-b``.
        ip_sources: where to look for a task's address, in order; empty lets its ports decide.
    """

    domain: str
    exposed_by_default: bool
    takes_tags: TagTest
    groups_as_sub_domains: bool = False
    ip_sources: tuple[str, ...] = ()


class _Agent(msgspec.Struct):
    id: str
    pid: str = ""
    hostname: str = ""
    active: bool = True

    @property
    def address(self) -> str:
        """The IP address in ``slave(1)@192.0.2.10:5051``, else its name."""
        return self.pid.rpartition("@")[2].rpartition(":")[0].strip("[]") or self.hostname


class _Label(msgspec.Struct):
    key: str
    value: str = ""


class Task(msgspec.Struct):
    """A task of a framework."""

    id: str
    name: str = ""
    slave_id: str = ""
    state: str = ""
    resources: dict[str, Any] = {}
    statuses: list[dict[str, Any]] = []
    labels: list[_Label] = []
    discovery: dict[str, Any] = {}

    @property
    def called(self) -> str:
        """Its name for discovery, else its own."""
        return str(self.discovery.get("name") or self.name)

    @property
    def last_status(self) -> dict[str, Any]:
        """The newest status, whatever order they come in."""
        return max(self.statuses, key=lambda each: float(each.get("timestamp") or 0), default={})

    @property
    def ports(self) -> list[int]:
        """What it offers: its discovery ports, else those of its resources."""
        written = (self.discovery.get("ports") or {}).get("ports") or ()
        found = [each.get("number") for each in written if isinstance(each, dict)]
        numbers = [each for each in found if isinstance(each, int) and each > 0]
        return numbers or list(_range_starts(str(self.resources.get("ports") or "")))

    @property
    def own_addresses(self) -> list[str]:
        """Addresses of its networks, IPv4 first."""
        networks = (self.last_status.get("container_status") or {}).get("network_infos") or ()
        found = [
            str(each["ip_address"])
            for network in networks
            for each in network.get("ip_addresses") or ()
            if each.get("ip_address")
        ]
        return sorted(found, key=lambda each: ":" in each)


def _range_starts(text: str) -> Iterator[int]:
    """Every port of ``[31010-31011, 31020-31020]``, at most as many as a task may sensibly have."""
    for first, last in _RANGE.findall(text):
        yield from range(int(first), min(int(last), int(first) + 99) + 1)


class State(msgspec.Struct):
    """What is used of a master's state."""

    pid: str = ""
    leader: str = ""
    slaves: list[_Agent] = []
    recovered_slaves: list[Any] = []
    frameworks: list[dict[str, Any]] = []

    @property
    def is_leading(self) -> bool:
        """Whether it is the state of the leader: that of a standby is empty."""
        return bool(self.leader) and self.leader == self.pid


def read_state(raw: object) -> State:
    """The state of a master.

    Raises:
        ValueError: it is not one.
    """
    if not isinstance(raw, dict) or "frameworks" not in raw:
        raise ValueError("the answer is no state of a Mesos master")
    try:
        return msgspec.convert(raw, State)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def read_tasks(state: State) -> list[Task]:
    """Running tasks of all frameworks.

    Raises:
        ValueError: a task is none.
    """
    written = (task for framework in state.frameworks for task in framework.get("tasks") or ())
    try:
        tasks = [msgspec.convert(each, Task) for each in written]
    except msgspec.ValidationError as error:
        raise ValueError(f"a task: {error}") from error
    return [each for each in tasks if each.state == RUNNING][:MAX_TASKS]


def translate_tasks(
    provider: str, state: State, tasks: Iterable[Task], rules: MesosRules, routes: RoutingTable
) -> tuple[LabelDocument, tuple[Diagnostic, ...]]:
    """The frontends and backends of all tasks."""
    found: list[Diagnostic] = []
    items: list[V1Item] = []
    agents = {each.id: each for each in state.slaves if each.active}
    for task in sorted(tasks, key=lambda each: (each.called, each.id)):
        agent = agents.get(task.slave_id)
        if agent is None or task.last_status.get("healthy") is False:
            continue
        labels = {each.key: each.value for each in task.labels}
        workload = Workload("task", task.id, normalize(task.called), labels)
        if not _is_exposed(V1Labels(labels.items()), rules):
            continue
        found += unknown_labels(provider, workload)
        try:
            items.append(_item(task, agent, workload, rules, routes))
        except ConfigError as error:
            found.append(problem(provider, workload, error.reason))
    return build_v1(provider, items, found)


def _is_exposed(labels: V1Labels, rules: MesosRules) -> bool:
    enable = labels.get("enable").strip().lower()
    exposed = enable != "false" if rules.exposed_by_default else enable == "true"
    return exposed and rules.takes_tags(tags_of(labels))


def _item(task: Task, agent: _Agent, workload: Workload, rules: MesosRules, routes: RoutingTable) -> V1Item:
    labels = V1Labels(workload.labels.items())
    name = _cleaned(task.called)
    host = _address(task, agent, rules)
    reason = why_not(routes, host, on_this_machine=False)
    if reason:
        raise ConfigError("", f"its address {host} cannot be reached: {reason}")
    parts = task.called.strip("/").split("/")
    called = ".".join(reversed(parts)) if rules.groups_as_sub_domains else "-".join(parts)
    domain = labels.get("domain", rules.domain)
    return V1Item(
        workload,
        f"backend-{_cleaned(labels.get('backend', name))}",
        f"server-{_cleaned(task.id)}",
        f"{labels.get('protocol', 'http')}://{bare_host(host)}:{_port(task, labels)}",
        f"frontend-{name}",
        f"route-host-{name}",
        f"Host:{called}.{domain}" if domain else f"Host:{called}",
    )


def _cleaned(text: str) -> str:
    return text.strip("/").replace("/", "-").replace(".", "-")


def _port(task: Task, labels: V1Labels) -> int:
    written, index_label = labels.find("port"), labels.find("portIndex")
    if written is not None and index_label is not None:
        raise ConfigError("", f"{written[0]} and {index_label[0]} exclude each other")
    if written is not None:
        return parse_port(written[1])
    ports = task.ports
    if not ports:
        raise ConfigError("", "port is missing: it offers none and no label names one")
    text = index_label[1].strip() if index_label is not None else "0"
    if not (text.isascii() and text.isdecimal() and len(text) <= 5) or int(text) >= len(ports):
        raise ConfigError("", f'traefik.portIndex: "{text[:60]}" is no index of its {len(ports)} ports')
    return ports[int(text)]


def _address(task: Task, agent: _Agent, rules: MesosRules) -> str:
    """Ports of the agent are reached at the agent; a task without any has an address of its own."""
    own = task.own_addresses
    sources = rules.ip_sources or (("host",) if task.ports else ("netinfo", "host"))
    for source in sources:
        if source == "host" and agent.address:
            return agent.address
        if source != "host" and own:
            return own[0]
    raise ConfigError("", "unable to find the IP address of the task")
