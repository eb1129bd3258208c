"""v1's names and filters for containers and swarm services (spec v1 section 5c, column C and its advice)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from providers.labels import LabelDocument, Workload, bare_host, normalize, problem
from providers.labels_address import choose_address
from providers.labels_constraints import TagTest
from providers.labels_v1 import V1Item, V1Labels, build_v1, unknown_labels
from shared.config.diagnostics import Diagnostic
from shared.errors import ConfigError

COMPOSE_PROJECT, COMPOSE_SERVICE = "com.docker.compose.project", "com.docker.compose.service"

_SEGMENT = re.compile(
    r"traefik\.(?P<service>.+?)\.(?:port|portIndex|weight|protocol|frontend\..+)", re.IGNORECASE
)
_NOT_SEGMENTS = frozenset({"frontend", "backend", "docker"})


class V1Rules(msgspec.Struct, frozen=True):
    """How a v1 provider section says its labels are to be read.

    Attributes:
        domain: what default rules end with.
        exposed_by_default: what counts without ``traefik.enable``.
        takes_tags: the constraints.
    """

    domain: str
    exposed_by_default: bool
    takes_tags: TagTest


def translate_containers(
    provider: str, workloads: Iterable[Workload], rules: V1Rules, problems: Sequence[Diagnostic] = ()
) -> tuple[LabelDocument, tuple[Diagnostic, ...]]:
    """The frontends and backends of all containers."""
    found = list(problems)
    items: list[V1Item] = []
    for workload in sorted(workloads, key=lambda each: each.name):
        labels = V1Labels(workload.labels.items())
        if workload.is_ready and is_exposed(labels, rules):
            items += _items(provider, workload, labels, rules, found)
    return build_v1(provider, items, found)


def is_exposed(labels: V1Labels, rules: V1Rules) -> bool:
    """Whether a workload takes part: only the exact texts ``false`` and ``true`` of ``enable`` count."""
    enable = labels.get("enable").strip().lower()
    exposed = enable != "false" if rules.exposed_by_default else enable == "true"
    return exposed and rules.takes_tags(tags_of(labels))


def tags_of(labels: V1Labels) -> list[str]:
    """What ``traefik.tags`` lists, for constraints."""
    return [tag.strip() for tag in labels.get("tags").split(",") if tag.strip()]


def _items(
    provider: str, workload: Workload, labels: V1Labels, rules: V1Rules, found: list[Diagnostic]
) -> list[V1Item]:
    segments = segments_of(workload)
    found += unknown_labels(provider, workload, segments)
    if segments:
        items = [_segment_item(provider, workload, segment, rules, found) for segment in segments]
        return [item for item in items if item is not None]
    rule = _default_rule(workload, labels, rules)
    if not rule and labels.find("frontend.rule") is None and labels.find("frontend.value") is None:
        found.append(problem(provider, workload, "no frontend rule, and no domain to make one of"))
        return []
    url = _url(provider, workload, labels, found)
    if not url:
        return []
    written = labels.get("frontend.rule", "Host" if labels.find("frontend.value") else rule)
    value = labels.get("frontend.value")
    frontend = f"frontend-{normalize(f'{written}-{value}' if value else written)}"
    server = f"server-{workload.name.replace('/', '').replace('.', '-')}"
    item = V1Item(workload, _backend(workload, labels), server, url, frontend, f"route-{frontend}", rule)
    return [item]


def segments_of(workload: Workload) -> list[str]:
    """The services of ``traefik.<service>.port`` labels, by name."""
    matches = (_SEGMENT.fullmatch(label) for label in workload.labels)
    names = {match["service"] for match in matches if match is not None}
    return sorted(name for name in names if name.split(".")[0].lower() not in _NOT_SEGMENTS)


def _segment_item(
    provider: str, workload: Workload, segment: str, rules: V1Rules, found: list[Diagnostic]
) -> V1Item | None:
    own = V1Labels(workload.labels.items(), segment=segment)
    url = _url(provider, workload, own, found)
    if not url:
        return None
    backend = f"{_backend(workload, V1Labels(workload.labels.items()))}-{normalize(segment)}"
    rule = _default_rule(workload, own, rules)
    frontend = f"frontend-{backend.removeprefix('backend-')}"
    route = f"service-{segment.replace('/', '').replace('.', '-')}"
    return V1Item(workload, backend, "service", url, frontend, route, rule, segment)


def _backend(workload: Workload, labels: V1Labels) -> str:
    label = labels.get("backend")
    compose = _compose_names(workload)
    name = label or (f"{compose[0]}-{compose[1]}" if compose else workload.group or workload.name)
    return f"backend-{normalize(name)}"


def _default_rule(workload: Workload, labels: V1Labels, rules: V1Rules) -> str:
    domain = labels.get("domain", rules.domain)
    if not domain:
        return ""
    compose = _compose_names(workload)
    host = ".".join(compose) if compose else workload.group or workload.name
    return f"Host:{host.strip('/').replace('/', '-').replace('_', '-')}.{domain}"


def _compose_names(workload: Workload) -> tuple[str, str] | None:
    service, project = (workload.labels.get(each, "") for each in (COMPOSE_SERVICE, COMPOSE_PROJECT))
    return (service, project) if service and project else None


def _url(provider: str, workload: Workload, labels: V1Labels, found: list[Diagnostic]) -> str:
    """Where the workload answers; empty, and reported, if that cannot be said."""
    label = labels.find("port")
    try:
        host, port = choose_address(workload, label[1] if label is not None else "")
    except ConfigError as error:
        found.append(problem(provider, workload, error.reason, label[0] if label is not None else ""))
        return ""
    return f"{labels.get('protocol', 'http')}://{bare_host(host)}:{port}"
