"""v1's labels as frontends and backends: what Docker, Marathon, Mesos and the Consul catalog have in common.

Each provider decides what its objects are called and where servers answer (``V1Item``); this file reads the
settings from labels. Names of labels are matched in any case. Of several workloads with one frontend the
first one's labels count; of those with one backend each setting is taken from the first that has it.

A value is not judged here: what is no number or no rule disables its server or frontend when the document is
read, with the label's name (v1 lost the whole provider then, spec v1 section 5.3).

Source: spec v1 sections 5c to 5g, column C; labels of 1.4 to 1.7 where leaving them out would open something.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from providers.labels import LabelDocument, Tree, Workload, problem, source_of, usable_labels, warning
from shared.config.diagnostics import Diagnostic, nearest_name

PREFIX = "traefik."


class V1Item(msgspec.Struct, frozen=True):
    """One server of one workload, and the frontend in front of it.

    Attributes:
        workload: whose it is.
        backend: name of the backend.
        server: name of the server in it.
        url: where it answers; empty for a workload that must not get requests now.
        frontend: name of the frontend; empty for none.
        route: name of the frontend's route.
        rule: the rule when no label has one; empty for none.
        segment: the service of ``traefik.<service>.port`` labels, which come before the workload's own.
        weight_label: where the weight is written.
        prefix: of the labels.
    """

    workload: Workload
    backend: str
    server: str
    url: str
    frontend: str
    route: str
    rule: str
    segment: str = ""
    weight_label: str = "weight"
    prefix: str = PREFIX


class V1Labels:
    """The labels of one workload, found in any case; a segment's own come first."""

    def __init__(self, labels: Iterable[tuple[str, str]], prefix: str = PREFIX, segment: str = "") -> None:
        self._prefixes = [f"{prefix}{segment}.".lower()] if segment else []
        self._prefixes.append(prefix.lower())
        self._written: dict[str, tuple[str, str]] = {}
        for label, value in labels:
            self._written.setdefault(label.lower(), (label, value))

    def find(self, *names: str) -> tuple[str, str] | None:
        """The label, as written, and its value, of the first of these names that is there."""
        for prefix in self._prefixes:
            for name in names:
                found = self._written.get(f"{prefix}{name}".lower())
                if found is not None:
                    return found
        return None

    def get(self, name: str, default: str = "") -> str:
        """The value of a label."""
        found = self.find(name)
        return default if found is None else found[1]

    def below(self, name: str) -> list[tuple[str, str, str]]:
        """(rest of the name, label as written, value) of each label below ``name``, by name."""
        start = f"{self._prefixes[-1]}{name}.".lower()
        return [
            (label[len(start) :], label, value)
            for folded, (label, value) in sorted(self._written.items())
            if folded.startswith(start)
        ]


_BACKEND: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("backend.circuitbreaker.expression", "backend.circuitbreaker"), ("circuitBreaker", "expression")),
    (("backend.loadbalancer.method", "backend.loadbalancer"), ("loadBalancer", "method")),
    (("backend.loadbalancer.sticky",), ("loadBalancer", "sticky")),
    (
        ("backend.loadbalancer.stickiness.cookieName",),
        ("loadBalancer", "stickiness", "cookieName"),
    ),
    (("backend.loadbalancer.stickiness",), ("loadBalancer", "stickiness")),
    (("backend.healthcheck.path",), ("healthCheck", "path")),
    (("backend.healthcheck.interval",), ("healthCheck", "interval")),
    (("backend.healthcheck.port",), ("healthCheck", "port")),
)
"""Labels of a backend, the first of each that is there, and the setting they are."""
_FRONTEND: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("frontend.priority",), ("priority",)),
    (("frontend.auth.headerField",), ("auth", "headerField")),
    (("frontend.whiteList.useXForwardedFor",), ("whiteList", "useXForwardedFor")),
    (("frontend.passTLSCert",), ("passTLSCert",)),
)
_FRONTEND_LISTS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("frontend.entryPoints",), ("entryPoints",)),
    (("frontend.auth.basic.users", "frontend.auth.basic"), ("basicAuth",)),
    (("frontend.whitelistSourceRange",), ("whitelistSourceRange",)),
    (("frontend.whiteList.sourceRange",), ("whiteList", "sourceRange")),
)
_ELSEWHERE = (
    *("backend", "backend.weight", "backend.maxconn.amount", "backend.maxconn.extractorfunc"),
    *("frontend.rule", "frontend.value", "frontend.passHostHeader"),
    *(
        "port",
        "portIndex",
        "portName",
        "weight",
        "protocol",
        "enable",
        "tags",
        "domain",
        "ipAddressIdx",
        "marathon.ipAddressIdx",
    ),
)
_OPEN = ("docker.", "swarm.", "frontend.headers.", "frontend.errors.", "backend.loadbalancer.swarm")
"""Beginnings of labels with names of their own in them, and of what has no effect by its nature."""
_HEADER_MAPS = frozenset({"customrequestheaders", "customresponseheaders", "sslproxyheaders"})


def _known_labels() -> tuple[str, ...]:
    tables = (*_BACKEND, *_FRONTEND, *_FRONTEND_LISTS)
    return (*_ELSEWHERE, *(name for names, _ in tables for name in names))


_KNOWN = {name.lower(): name for name in _known_labels()}


def build_v1(
    provider: str, items: Sequence[V1Item], problems: Sequence[Diagnostic] = ()
) -> tuple[LabelDocument, tuple[Diagnostic, ...]]:
    """The document of all items, in their order.

    Args:
        provider: its name.
        items: what there is.
        problems: what was found before.
    """
    found = list(problems)
    tree = Tree(any_case=False)
    tree.root.update(backends={}, frontends={})
    for item in items:
        usable, trouble = usable_labels(provider, item.workload)
        found += trouble
        labels = V1Labels(usable.items(), item.prefix, item.segment)
        _add_backend(tree, item, labels, provider, found)
        if item.frontend and tree.get(("frontends", item.frontend)) is None:
            _add_frontend(tree, item, labels, provider, found)
    return tree.document(provider, "v1"), tuple(found)


def unknown_labels(
    provider: str, workload: Workload, segments: Iterable[str] = (), prefix: str = PREFIX
) -> list[Diagnostic]:
    """A warning for each label that looks like one of v1's and is none."""
    found = []
    beginnings = [f"{prefix}{segment}.".lower() for segment in segments] + [prefix.lower()]
    for label in sorted(workload.labels):
        start = next((each for each in beginnings if label.lower().startswith(each)), None)
        if start is None:
            continue
        name = label[len(start) :].lower()
        if name in _KNOWN or name.startswith(_OPEN):
            continue
        if name.split(".")[0] in ("http", "tcp", "udp", "tls"):
            reason = "a label of v2, which is read only under providers.* in the v2 layout"
        else:
            hint = nearest_name(name, _KNOWN.values())
            reason = f'unknown label "{label}"' + (f'; did you mean "{prefix}{hint}"?' if hint else "")
        found.append(warning(provider, workload, reason, label))
    return found


def _add_backend(tree: Tree, item: V1Item, labels: V1Labels, provider: str, found: list[Diagnostic]) -> None:
    base = ("backends", item.backend)
    title = item.workload.title
    if tree.get((*base, "servers")) is None:
        tree.put((*base, "servers"), {}, title)
    _put_labels(tree, base, labels, _BACKEND, item.workload)
    _put_max_conn(tree, base, labels, item.workload, provider, found)
    if not item.url:
        return
    name = item.server
    if tree.get((*base, "servers", name)) is not None:
        name = f"{name}-{item.workload.name}"  # of two that would have one name, both stay
    tree.put((*base, "servers", name, "url"), item.url, title)
    weight = labels.find(item.weight_label)
    if weight is not None:
        tree.put((*base, "servers", name, "weight"), weight[1], source_of(item.workload, weight[0]))


def _put_max_conn(
    tree: Tree,
    base: tuple[str, ...],
    labels: V1Labels,
    workload: Workload,
    provider: str,
    found: list[Diagnostic],
) -> None:
    """Both settings are needed; one alone says nothing."""
    amount = labels.find("backend.maxconn.amount")
    extractor = labels.find("backend.maxconn.extractorfunc")
    if amount is not None and extractor is not None:
        tree.put((*base, "maxConn", "amount"), amount[1], source_of(workload, amount[0]))
        tree.put((*base, "maxConn", "extractorFunc"), extractor[1], source_of(workload, extractor[0]))
    elif amount is not None or extractor is not None:
        written = amount or extractor
        assert written is not None, "one of them is there"
        reason = "maxconn.amount and maxconn.extractorfunc need each other; there is no limit"
        found.append(warning(provider, workload, reason, written[0]))


def _put_labels(
    tree: Tree,
    base: tuple[str, ...],
    labels: V1Labels,
    table: Iterable[tuple[tuple[str, ...], tuple[str, ...]]],
    workload: Workload,
    lists: bool = False,
) -> None:
    for names, path in table:
        found = labels.find(*names)
        if found is not None:
            label, value = found
            tree.put((*base, *path), _split(value) if lists else value, source_of(workload, label))


def _add_frontend(tree: Tree, item: V1Item, labels: V1Labels, provider: str, found: list[Diagnostic]) -> None:
    base = ("frontends", item.frontend)
    workload = item.workload
    route = _route(item, labels, provider, found)
    if route is None:
        return
    for key, (value, source) in route.items():
        tree.put((*base, "routes", item.route, key), value, source)
    tree.put((*base, "backend"), item.backend, workload.title)
    passes = labels.find("frontend.passHostHeader")
    value, source = ("true", "") if passes is None else (passes[1], passes[0])
    tree.put((*base, "passHostHeader"), value, source_of(workload, source))
    _put_labels(tree, base, labels, _FRONTEND, workload)
    _put_labels(tree, base, labels, _FRONTEND_LISTS, workload, lists=True)
    _put_named(tree, base, labels, workload)


def _put_named(tree: Tree, base: tuple[str, ...], labels: V1Labels, workload: Workload) -> None:
    """Labels with a name of their own in them: headers and error pages."""
    for name, label, text in labels.below("frontend.headers"):
        is_map = name.lower() in _HEADER_MAPS
        tree.put((*base, "headers", name), _header_map(text) if is_map else text, source_of(workload, label))
    for name, label, text in labels.below("frontend.errors"):
        page, _, key = name.partition(".")
        setting: object = _split(text) if key.lower() == "status" else text
        setting = f"backend-{text}" if key.lower() == "backend" else setting
        tree.put((*base, "errors", page, key), setting, source_of(workload, label))


def _route(
    item: V1Item, labels: V1Labels, provider: str, found: list[Diagnostic]
) -> Mapping[str, tuple[str, str]] | None:
    """Rule and value with their sources; None if there is no rule that could be meant."""
    workload = item.workload
    rule, value = labels.find("frontend.rule"), labels.find("frontend.value")
    if value is not None and (rule is None or ":" in rule[1]):
        reason = (
            "frontend.value belongs to a frontend.rule that names a matcher only; the frontend is left out"
        )
        found.append(problem(provider, workload, reason, value[0]))
        return None
    if rule is None:
        return {"rule": (item.rule, workload.title)} if item.rule else None
    source = source_of(workload, rule[0])
    if value is not None:
        return {"rule": (rule[1], source), "value": (value[1], source_of(workload, value[0]))}
    if rule[1].isalpha():
        reason = (
            f"{rule[1]} has no argument: write {rule[1]}:..., or frontend.value; the frontend is left out"
        )
        found.append(problem(provider, workload, reason, rule[0]))
        return None
    return {"rule": (rule[1], source)}


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _header_map(text: str) -> dict[str, str]:
    """``Name:value||Name:value``."""
    pairs = (part.partition(":") for part in text.split("||") if ":" in part)
    return {name.strip(): value.strip() for name, _, value in pairs}
