"""What Consul's health endpoint says about a service, as instances with tags; v2's and v1's reading of them.

A tag ``prefix.rest=value`` is the label ``traefik.rest``, split at the first ``=``. In v2 each instance is a
workload like a container. In v1 what concerns the service comes from the tags of all its instances together,
and what concerns one server (``enable``, ``protocol``, ``backend.weight``) from its own.

Source: Consul HTTP API, health/service; spec v1 section 5e, v2 section 8.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from providers.labels import LabelDocument, Port, Workload, bare_host, normalize, problem
from providers.labels_constraints import TagTest
from providers.labels_containers_v1 import tags_of
from providers.labels_template import Template
from providers.labels_v1 import PREFIX, V1Item, V1Labels, build_v1, unknown_labels
from providers.reachability import RoutingTable, why_not
from shared.config.diagnostics import Diagnostic
from shared.errors import ConfigError

MAX_INSTANCES = 100_000
"""More instances are not read (not measured)."""
CANARY_LABEL = "traefik.consulcatalog.canary"

_OWN = ("enable", "protocol", "backend.weight", "tags")
_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


class _Node(msgspec.Struct):
    name: str = msgspec.field(default="", name="Node")
    address: str = msgspec.field(default="", name="Address")


class _Service(msgspec.Struct):
    id: str = msgspec.field(default="", name="ID")
    name: str = msgspec.field(default="", name="Service")
    tags: list[str] | None = msgspec.field(default=None, name="Tags")
    address: str = msgspec.field(default="", name="Address")
    port: int = msgspec.field(default=0, name="Port")


class _Check(msgspec.Struct):
    id: str = msgspec.field(default="", name="CheckID")
    status: str = msgspec.field(default="", name="Status")


class Instance(msgspec.Struct):
    """One instance of a service, as ``/v1/health/service/NAME`` lists it."""

    node: _Node = msgspec.field(name="Node")
    service: _Service = msgspec.field(name="Service")
    checks: list[_Check] | None = msgspec.field(default=None, name="Checks")

    @property
    def address(self) -> str:
        """The service's own address, else its node's."""
        return self.service.address or self.node.address

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags, as registered."""
        return tuple(self.service.tags or ())

    @property
    def status(self) -> str:
        """The worst of its checks, its node's included; ``passing`` without any."""
        states = {each.status for each in self.checks or ()}
        return next((each for each in ("maintenance", "critical", "warning") if each in states), "passing")


def read_instances(raw: object) -> list[Instance]:
    """The instances of an answer.

    Raises:
        ValueError: it is not such a list.
    """
    try:
        return msgspec.convert(raw, list[Instance])[:MAX_INSTANCES]
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def tags_to_labels(tags: Iterable[str], prefix: str) -> dict[str, str]:
    """The labels that tags stand for; of equal ones the first counts."""
    start = f"{prefix}.".lower()
    labels: dict[str, str] = {}
    for tag in tags:
        name, separator, value = tag.partition("=")
        if separator and name.lower().startswith(start):
            labels.setdefault(f"{PREFIX}{name[len(start) :]}", value)
    return labels


# ---------------------------------------------------------------------------------------------------- v2


def workloads_v2(instances: Iterable[Instance], prefix: str, routes: RoutingTable) -> list[Workload]:
    """Instances as workloads for v2's translation."""
    return [_workload(instance, tags_to_labels(instance.tags, prefix), routes) for instance in instances]


def _workload(instance: Instance, labels: Mapping[str, str], routes: RoutingTable) -> Workload:
    service = instance.service
    name = normalize(service.name)
    if labels.get(CANARY_LABEL, "").lower() == "true":
        name = normalize(f"{service.name}-{_fnv64(''.join(sorted(instance.tags)))}")
    reason = why_not(routes, instance.address, on_this_machine=False) if instance.address else ""
    return Workload(
        "instance",
        f"{service.id or service.name}@{instance.node.name}",
        name,
        labels,
        "" if reason else instance.address,
        (Port(service.port),) if service.port > 0 else (),
        f"its address {instance.address} cannot be reached: {reason}" if reason else "",
        tags=instance.tags,
        template_name=service.name,
    )


def _fnv64(text: str) -> int:
    """FNV-1, as Go's ``fnv.New64``."""
    value = _FNV_OFFSET
    for byte in text.encode():
        value = value * _FNV_PRIME % 2**64 ^ byte
    return value


# ---------------------------------------------------------------------------------------------------- v1


class CatalogRulesV1(msgspec.Struct, frozen=True):
    """How v1's ``[consulCatalog]`` says services are to be read.

    Attributes:
        domain: what default rules end with.
        prefix: of the tags.
        exposed_by_default: what counts without ``enable``.
        rule: ``frontEndRule``, compiled.
        takes_tags: the constraints.
    """

    domain: str
    prefix: str
    exposed_by_default: bool
    rule: Template
    takes_tags: TagTest


def translate_v1(
    provider: str, instances: Iterable[Instance], rules: CatalogRulesV1, routes: RoutingTable
) -> tuple[LabelDocument, tuple[Diagnostic, ...]]:
    """The frontends and backends of all instances."""
    found: list[Diagnostic] = []
    services: dict[str, list[Instance]] = {}
    for instance in instances:
        name = instance.service.name.lower()
        if name and not any(character.isspace() for character in name):
            services.setdefault(name, []).append(instance)
    items: list[V1Item] = []
    for name in sorted(services):
        items += _service_items(provider, name, services[name], rules, routes, found)
    return build_v1(provider, items, found)


def _service_items(
    provider: str,
    name: str,
    instances: Sequence[Instance],
    rules: CatalogRulesV1,
    routes: RoutingTable,
    found: list[Diagnostic],
) -> list[V1Item]:
    workloads: list[tuple[Instance, Workload]] = []
    for instance in sorted(instances, key=_order):
        workload = _workload(instance, tags_to_labels(instance.tags, rules.prefix), routes)
        found += unknown_labels(provider, workload)
        if _is_exposed(workload, rules):
            workloads.append((instance, workload))
    shared = _shared_labels(workload for _, workload in workloads)
    rule = _rule(provider, name, rules, shared, workloads, found)
    items = []
    for number, (instance, workload) in enumerate(workloads):
        server = _server_name(name, instance, number)
        url = _url(provider, workload, found)
        if not url:
            continue
        own = {label: value for label, value in workload.labels.items() if _is_own(label)}
        labelled = msgspec.structs.replace(workload, labels={**shared, **own})
        items.append(
            V1Item(
                labelled,
                f"backend-{name}",
                server,
                url,
                f"frontend-{name}",
                f"route-host-{name}",
                rule,
                weight_label="backend.weight",
            )
        )
    return items


def _order(instance: Instance) -> tuple[str, str, str, int, str]:
    service = instance.service
    return (service.name, service.address, instance.node.address, service.port, service.id)


def _is_exposed(workload: Workload, rules: CatalogRulesV1) -> bool:
    labels = V1Labels(workload.labels.items())
    enable = labels.get("enable").strip().lower()
    exposed = enable != "false" if rules.exposed_by_default else enable == "true"
    return exposed and rules.takes_tags(tags_of(labels))


def _is_own(label: str) -> bool:
    return label.lower().removeprefix(PREFIX) in _OWN


def _shared_labels(workloads: Iterable[Workload]) -> dict[str, str]:
    """What the tags of all instances say together; of different values the first instance's counts."""
    shared: dict[str, str] = {}
    names: set[str] = set()
    for workload in workloads:
        for label, value in workload.labels.items():
            if not _is_own(label) and label.lower() not in names:
                names.add(label.lower())
                shared[label] = value
    return shared


def _rule(
    provider: str,
    name: str,
    rules: CatalogRulesV1,
    shared: Mapping[str, str],
    workloads: Sequence[tuple[Instance, Workload]],
    found: list[Diagnostic],
) -> str:
    labels = V1Labels(shared.items())
    if not workloads or labels.find("frontend.rule") is not None:
        return ""
    model = {
        "ServiceName": name,
        "Domain": labels.get("domain", rules.domain),
        "Attributes": {label.removeprefix(PREFIX): value for label, value in shared.items()},
    }
    try:
        rule = rules.rule.render(model)
    except ConfigError as error:
        found.append(problem(provider, workloads[0][1], error.reason))
        return ""
    return rule if model["Domain"] else rule.rstrip(".")


def _server_name(name: str, instance: Instance, number: int) -> str:
    parts = [name, instance.service.address, str(instance.service.port)]
    parts += (normalize(tag) for tag in instance.tags)
    return "--".join([*parts, str(number)]).replace(".", "-").replace("=", "-")


def _url(provider: str, workload: Workload, found: list[Diagnostic]) -> str:
    """Where an instance answers; empty, and reported, if that cannot be said."""
    if not workload.address or not workload.ports:
        reason = workload.trouble or ("port is missing" if workload.address else "it has no address")
        found.append(problem(provider, workload, reason))
        return ""
    protocol = V1Labels(workload.labels.items()).get("protocol", "http")
    return f"{protocol}://{bare_host(workload.address)}:{workload.ports[0].number}"
