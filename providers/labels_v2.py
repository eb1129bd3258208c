"""v2's labels of one workload, completed: what is not written but meant (spec v2 section 8.2).

A workload that says nothing about services has one, called after it; one that says nothing about routers has
one to its only service, with the default rule. Each of its services has this workload as its only server;
``labels_merge`` brings the workloads of one service together. TCP and UDP labels alone make no HTTP objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from providers.labels import Workload, bare_host, problem, spelling
from providers.labels_address import NO_ADDRESS, choose_address
from providers.labels_grammar import LabelTree, read_labels
from providers.labels_template import Template
from shared.config.diagnostics import Diagnostic
from shared.errors import ConfigError

Section = dict[str, Any]
_OTHER_KINDS = frozenset({"weighted", "mirroring", "failover", "highestrandomweight"})
"""Kinds of services that are made of others: not to be had by labels (spec v2 section 3.2)."""


class Routes(NamedTuple):
    """What one workload contributes.

    Attributes:
        workload: whose it is.
        labels: its tree, completed.
    """

    workload: Workload
    labels: LabelTree


class _Unusable(Exception):
    """The workload cannot be a server of this service, because of what its labels say."""


class _Unreachable(Exception):
    """The workload cannot be a server of any service."""


def complete_labels(
    provider: str, workload: Workload, default_rule: Template
) -> tuple[Routes | None, list[Diagnostic]]:
    """The routes of one workload.

    Args:
        provider: its name, for messages.
        workload: what has the labels.
        default_rule: for routers without a rule.

    Returns:
        Its routes, None if it has none, and what is wrong.
    """
    labels, found = read_labels(provider, workload)
    maker = _Completion(provider, workload, labels, default_rule)
    try:
        maker.complete()
    except (_Unusable, _Unreachable) as error:
        return None, [*found, *maker.found, problem(provider, workload, str(error))]
    return Routes(workload, labels), [*found, *maker.found]


class _Completion:
    """Fills in one workload's tree, in place."""

    def __init__(self, provider: str, workload: Workload, labels: LabelTree, default_rule: Template) -> None:
        self._provider = provider
        self._workload = workload
        self._labels = labels
        self._default_rule = default_rule
        self.found: list[Diagnostic] = []

    def complete(self) -> None:
        root = self._labels.root
        others = False
        for kind in ("tcp", "udp"):
            section = _mapping(root, kind)
            if section is not None and (_mapping(section, "routers") or _mapping(section, "services")):
                others = True
                self._routers(kind, section, self._services(kind, section))
        http = _mapping(root, "http")
        if others and not (
            http and any(_mapping(http, each) for each in ("routers", "services", "middlewares"))
        ):
            return
        http = _section(root, "http")
        self._routers("http", http, self._services("http", http))

    # ------------------------------------------------------------------------------------------ services

    def _services(self, kind: str, section: Section) -> Section:
        """Give each service its server; the services, None for those that cannot have one."""
        services = _section(section, "services")
        implicit = not services
        if implicit:
            services[self._workload.service_name] = {}
        for name in list(services):
            service = services[name]
            if not isinstance(service, dict):
                continue  # a value in place of a table: the reader says so
            try:
                self._refuse_others(service)
                self._server(kind, name, _section(service, "loadBalancer"))
            except _Unusable as error:
                if implicit:
                    raise
                # Its name stays taken: routers must not be linked to another service because of this.
                services[name] = None
                self._problem(f"{error}; the service is left out", kind, "services", name)
        return services

    @staticmethod
    def _refuse_others(service: Section) -> None:
        for key in service:
            if key.casefold() in _OTHER_KINDS:
                raise _Unusable(f"labels know only loadBalancer, not {key}")

    def _server(self, kind: str, service: str, balancer: Section) -> None:
        """Turn ``server.port`` and so on into the one server of this workload."""
        key = spelling(balancer, "server")
        written = balancer.pop(key, {})
        if not isinstance(written, dict):
            balancer[key] = written
            return
        if spelling(balancer, "servers") in balancer:
            del balancer[spelling(balancer, "servers")]
            reason = "labels know only server, in the singular: it means the workload itself; left out"
            self._problem(reason, kind, "services", service, "loadBalancer", "servers")
        port, scheme, url = (
            str(written.pop(spelling(written, each), "")) for each in ("port", "scheme", "url")
        )
        if not self._workload.is_ready:
            balancer["servers"] = []
            return
        if url and kind == "http":
            if port or scheme:
                raise _Unusable("url excludes port and scheme")
            server: Section = {"url": url}
        else:
            host, number = self._address(port)
            place = f"{bare_host(host)}:{number}"
            server = {"url": f"{scheme or 'http'}://{place}"} if kind == "http" else {"address": place}
        balancer["servers"] = {"0": {**written, **server}}

    def _address(self, port: str) -> tuple[str, int]:
        if not self._workload.address and not self._workload.by_binding:
            raise _Unreachable(self._workload.trouble or NO_ADDRESS)
        try:
            return choose_address(self._workload, port)
        except ConfigError as error:
            raise _Unusable(error.reason) from error

    # ------------------------------------------------------------------------------------------- routers

    def _routers(self, kind: str, section: Section, services: Section) -> None:
        routers = _section(section, "routers")
        if kind == "http" and not routers:
            if len(services) != 1 or None in services.values():
                self._forget_unusable(services)
                return
            routers[self._workload.service_name] = {}
        for name in list(routers):
            router = routers[name]
            if isinstance(router, dict) and not self._complete_router(kind, name, router, services):
                del routers[name]
        self._forget_unusable(services)

    @staticmethod
    def _forget_unusable(services: Section) -> None:
        for name in [name for name, service in services.items() if service is None]:
            del services[name]

    def _complete_router(self, kind: str, name: str, router: Section, services: Section) -> bool:
        """Rule and service of a router; False if it cannot have them."""
        if kind != "udp" and not router.get(spelling(router, "rule")):
            rule = self._rule(kind, name)
            if not rule:
                return False
            router[spelling(router, "rule")] = rule
        if router.get(spelling(router, "service")):
            return True
        if len(services) != 1:
            known = ", ".join(sorted(services))
            reason = f"cannot be linked automatically with several services ({known}); name one"
            self._problem(reason, kind, "routers", name)
            return False
        router["service"] = next(iter(services))
        return True

    def _rule(self, kind: str, router: str) -> str:
        if kind == "tcp":
            self._problem("empty rule", kind, "routers", router)
            return ""
        workload = self._workload
        model = {
            "Name": workload.template_name or workload.service_name,
            "ContainerName": workload.name,
            "Labels": workload.labels,
        }
        try:
            rule = self._default_rule.render(model)
        except ConfigError as error:
            self._problem(error.reason, kind, "routers", router)
            return ""
        if not rule.strip():
            self._problem(
                "undefined rule: it has none and the default rule gives none", kind, "routers", router
            )
        return rule.strip()

    def _problem(self, reason: str, *path: str) -> None:
        folded = tuple(part.casefold() for part in path)
        source = ""
        while folded and not source:
            source = self._labels.sources.get(folded, "")
            folded = folded[:-1]
        dotted = ".".join(path)
        label = source.rpartition(": label ")[2] if source else ""
        self.found.append(problem(self._provider, self._workload, f"{dotted}: {reason}", label))


def _mapping(node: Mapping[str, Any], key: str) -> Section | None:
    value = node.get(spelling(node, key))
    return value if isinstance(value, dict) and value else None


def _section(node: Section, key: str) -> Section:
    """The table at ``key``, made if it is not there; a fresh one if something else stands there."""
    key = spelling(node, key)
    value = node.setdefault(key, {})
    return value if isinstance(value, dict) else {}
