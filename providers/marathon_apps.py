"""Marathon's applications and tasks as v1's frontends and backends (spec v1 section 5d, column C).

Labels are the application's, addresses its tasks'. Which address and which port follows from how its
containers are networked, in the form of Marathon 1.5 (``networks``) or the one before it.

Source: Marathon REST API, /v2/apps; spec v1 section 5d.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from providers.labels import LabelDocument, Workload, bare_host, normalize, problem
from providers.labels_address import parse_port
from providers.labels_constraints import TagTest
from providers.labels_containers_v1 import segments_of, tags_of
from providers.labels_v1 import V1Item, V1Labels, build_v1, unknown_labels
from providers.reachability import RoutingTable, why_not
from shared.config.diagnostics import Diagnostic, Position, Severity
from shared.errors import ConfigError

RUNNING = "TASK_RUNNING"
MAX_APPS = 100_000
"""More applications are not read (not measured)."""


class MarathonRules(msgspec.Struct, frozen=True):
    """How v1's ``[marathon]`` says applications are to be read.

    Attributes:
        domain: what default rules end with.
        exposed_by_default: what counts without ``traefik.enable``.
        takes_tags: the constraints.
        groups_as_sub_domains: ``/a/b`` is called ``b.a`` instead of ``a-b``.
        lb_compatibility: labels of marathon-lb count where ours are missing.
        force_task_hostname: never use addresses of tasks' own.
        respect_readiness: tasks of a deployment wait for their readiness checks.
    """

    domain: str
    exposed_by_default: bool
    takes_tags: TagTest
    groups_as_sub_domains: bool = False
    lb_compatibility: bool = False
    force_task_hostname: bool = False
    respect_readiness: bool = False


class _Address(msgspec.Struct, rename="camel"):
    ip_address: str = ""


class _Result(msgspec.Struct):
    alive: bool = False


class Task(msgspec.Struct, rename="camel"):
    """A task of an application."""

    id: str = ""
    host: str = ""
    ports: list[int] | None = None
    state: str = RUNNING  # the oldest servers do not say
    version: str = ""
    ip_addresses: list[_Address] | None = None
    health_check_results: list[_Result | None] | None = None

    @property
    def is_serving(self) -> bool:
        """Whether it runs and no health check has failed."""
        results = self.health_check_results or ()
        return self.state == RUNNING and all(each is None or each.alive for each in results)


class _Readiness(msgspec.Struct, rename="camel"):
    task_id: str = ""
    ready: bool = False


class App(msgspec.Struct, rename="camel"):
    """An application with its tasks."""

    id: str
    labels: dict[str, str] = {}
    tasks: list[Task] = []
    port_definitions: list[dict[str, Any]] | None = None
    container: dict[str, Any] | None = None
    networks: list[dict[str, Any]] | None = None
    ip_address: dict[str, Any] | None = None
    version: str = ""
    deployments: list[Any] | None = None
    readiness_checks: list[Any] | None = None
    readiness_check_results: list[_Readiness] | None = None

    @property
    def has_own_addresses(self) -> bool:
        """Whether its tasks are reached at addresses of their own, and not at their host's."""
        docker = (self.container or {}).get("docker") or {}
        in_network = any(each.get("mode") == "container" for each in self.networks or ())
        return in_network or self.ip_address is not None or docker.get("network") == "USER"

    def ports_of(self, task: Task) -> list[int]:
        """The ports to choose from, in their order."""
        if self.has_own_addresses:
            docker = (self.container or {}).get("docker") or {}
            mappings = (self.container or {}).get("portMappings") or docker.get("portMappings") or ()
            inner = _numbers(mappings, "containerPort")
            if inner:
                return inner
        discovery = (self.ip_address or {}).get("discovery") or {}
        return (
            list(task.ports or ())
            or _numbers(self.port_definitions or (), "port")
            or _numbers(discovery.get("ports") or (), "number")
        )

    def is_ready(self, task: Task) -> bool:
        """Whether a task of a running deployment has passed its readiness checks; others are ready."""
        if not self.readiness_checks or not self.deployments:
            return True
        for each in self.readiness_check_results or ():
            if each.task_id == task.id:
                return each.ready
        return task.version != self.version


def _numbers(entries: Iterable[Any], key: str) -> list[int]:
    found = (each.get(key) for each in entries if isinstance(each, dict))
    return [each for each in found if isinstance(each, int) and each > 0]


def read_apps(raw: object, provider: str) -> tuple[list[App], list[Diagnostic]]:
    """The applications of an answer; one that makes no sense is left out alone.

    Raises:
        ValueError: the answer holds no list of applications.
    """
    written = raw.get("apps") if isinstance(raw, dict) else None
    if not isinstance(written, list):
        raise ValueError("the answer holds no list of apps")
    apps: list[App] = []
    found: list[Diagnostic] = []
    for each in written[:MAX_APPS]:
        try:
            apps.append(msgspec.convert(each, App))
        except msgspec.ValidationError as error:
            name = each.get("id", "without an id") if isinstance(each, dict) else "without an id"
            position = Position(f"{provider}: app {name}")
            found.append(Diagnostic(Severity.ERROR, (), f"cannot be read: {error}", position=position))
    return apps, found


def translate_apps(
    provider: str,
    apps: Iterable[App],
    rules: MarathonRules,
    routes: RoutingTable,
    problems: Iterable[Diagnostic] = (),
) -> tuple[LabelDocument, tuple[Diagnostic, ...]]:
    """The frontends and backends of all applications."""
    found = list(problems)
    items: list[V1Item] = []
    for app in sorted(apps, key=lambda each: each.id):
        workload = Workload("app", app.id, normalize(app.id), _labels(app, rules))
        if not _is_exposed(V1Labels(workload.labels.items()), rules):
            continue
        segments = segments_of(workload)
        found += unknown_labels(provider, workload, segments)
        for segment in segments or ("",):
            items += _items(provider, app, workload, segment, rules, routes, found)
    return build_v1(provider, items, found)


def _labels(app: App, rules: MarathonRules) -> dict[str, str]:
    """The application's labels; in compatibility mode marathon-lb's stand in for missing ones."""
    labels = dict(app.labels)
    if rules.lb_compatibility:
        if "HAPROXY_0_VHOST" in labels:
            labels.setdefault("traefik.frontend.rule", f"Host:{labels['HAPROXY_0_VHOST']}")
        if "HAPROXY_GROUP" in labels:
            labels["traefik.tags"] = ",".join(
                filter(None, (labels.get("traefik.tags"), labels["HAPROXY_GROUP"]))
            )
    return labels


def _is_exposed(labels: V1Labels, rules: MarathonRules) -> bool:
    enable = labels.get("enable").strip().lower()
    exposed = enable != "false" if rules.exposed_by_default else enable == "true"
    return exposed and rules.takes_tags(tags_of(labels))


def _items(
    provider: str,
    app: App,
    workload: Workload,
    segment: str,
    rules: MarathonRules,
    routes: RoutingTable,
    found: list[Diagnostic],
) -> list[V1Item]:
    labels = V1Labels(workload.labels.items(), segment=segment)
    dashed = app.id.replace("/", "-")
    suffix = f"-{normalize(segment)}" if segment else ""
    backend = f"backend{V1Labels(workload.labels.items()).get('backend', dashed)}{suffix}"
    route = f"route-host{dashed}{suffix}"
    items: list[V1Item] = []
    reasons: dict[str, None] = {}
    for task in app.tasks:
        if not task.is_serving or (rules.respect_readiness and not app.is_ready(task)):
            continue
        try:
            url = _url(app, task, labels, rules, routes)
        except ConfigError as error:
            reasons[error.reason] = None
            continue
        server = f"server-{task.id.replace('.', '-')}"
        frontend = f"frontend{dashed}{suffix}"
        rule = _default_rule(app, labels, rules)
        items.append(V1Item(workload, backend, server, url, frontend, route, rule, segment))
    # All tasks of an application mostly fail for one reason, which is said once.
    found += (problem(provider, workload, reason) for reason in reasons)
    return items


def _default_rule(app: App, labels: V1Labels, rules: MarathonRules) -> str:
    parts = app.id.strip("/").split("/")
    host = ".".join(reversed(parts)) if rules.groups_as_sub_domains else "-".join(parts)
    domain = labels.get("domain", rules.domain)
    return f"Host:{host}.{domain}" if domain else f"Host:{host}"


def _url(app: App, task: Task, labels: V1Labels, rules: MarathonRules, routes: RoutingTable) -> str:
    """Where a task answers.

    Raises:
        ConfigError: that cannot be said; the reason says why.
    """
    port = _port(app, task, labels)
    own_address = app.has_own_addresses and not rules.force_task_hostname
    host = _own_address(task, labels) if own_address else task.host
    if not host:
        raise ConfigError("", "a task has no address")
    reason = why_not(routes, host, on_this_machine=False)
    if reason:
        raise ConfigError("", f"its address {host} cannot be reached: {reason}")
    return f"{labels.get('protocol', 'http')}://{bare_host(host)}:{port}"


def _port(app: App, task: Task, labels: V1Labels) -> int:
    written, index_label = labels.find("port"), labels.find("portIndex")
    if written is not None and index_label is not None:
        raise ConfigError("", f"{written[0]} and {index_label[0]} exclude each other")
    if written is not None:
        return parse_port(written[1])
    ports = app.ports_of(task)
    if not ports:
        raise ConfigError("", "port is missing: its tasks offer none and no label names one")
    if index_label is None:
        return ports[0]
    text = index_label[1].strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= 5) or int(text) >= len(ports):
        raise ConfigError("", f'{index_label[0]}: "{text[:60]}" is no index of its {len(ports)} ports')
    return ports[int(text)]


def _own_address(task: Task, labels: V1Labels) -> str:
    addresses = [each.ip_address for each in task.ip_addresses or () if each.ip_address]
    if len(addresses) <= 1:
        return addresses[0] if addresses else ""
    label = labels.find("ipAddressIdx", "marathon.ipAddressIdx")
    if label is None:
        raise ConfigError(
            "", f"its tasks have {len(addresses)} addresses; say which with traefik.ipAddressIdx"
        )
    text = label[1].strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= 5) or int(text) >= len(addresses):
        raise ConfigError("", f'{label[0]}: "{text[:60]}" is no index of its {len(addresses)} addresses')
    return addresses[int(text)]
