"""The v2 routes of all workloads of a provider, brought together (spec v2 section 8.1, conflicts).

Services of one name with equal options are one service with the servers of all. Any other object that is
defined several times with different content is removed everywhere, since nobody can say which one is meant;
the message names both places.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from providers.labels import LabelDocument, fold_path, problem, spelling
from providers.labels_v2 import Routes
from shared.config import dynamic
from shared.config.decode import decode
from shared.config.diagnostics import Diagnostic, Diagnostics, Path
from shared.config.kinds import Section
from shared.config.middlewares import Middleware, TcpMiddleware
from shared.config.tls import TlsStore

_MODELS: dict[tuple[str, str], type[Section]] = {
    ("http", "routers"): dynamic.Router,
    ("http", "services"): dynamic.Service,
    ("http", "middlewares"): Middleware,
    ("http", "serverstransports"): dynamic.ServersTransport,
    ("tcp", "routers"): dynamic.TcpRouter,
    ("tcp", "services"): dynamic.TcpService,
    ("tcp", "middlewares"): TcpMiddleware,
    ("tcp", "serverstransports"): dynamic.TcpServersTransport,
    ("udp", "routers"): dynamic.UdpRouter,
    ("udp", "services"): dynamic.UdpService,
    ("tls", "stores"): TlsStore,
}
ObjectKey = tuple[str, str, str]
"""Root, kind (both folded) and name of an object."""

_WRITTEN = {"serverstransports": "serversTransports"}


def merge_routes(provider: str, all_routes: Iterable[Routes]) -> tuple[LabelDocument, list[Diagnostic]]:
    """One document of the routes of all workloads.

    Args:
        provider: its name.
        all_routes: of the workloads; their order does not matter.

    Returns:
        The document, whose ``http.routers`` is always there (so that no workload means no routes), and the
        conflicts.
    """
    merge = _Merge(provider)
    for routes in sorted(all_routes, key=lambda each: each.workload.name):
        merge.add(routes)
    return merge.finish()


class _Shared:
    """A service that several workloads may belong to: what it says but for its servers, and those."""

    def __init__(self, model: type[Section], balancer: dict[str, Any], service: object) -> None:
        self._model = model
        self._servers: list[Any] = []
        self._places: set[object] = set()
        self._meaning = self._without_servers(balancer, service)
        balancer["servers"] = self._servers

    def says_the_same(self, balancer: dict[str, Any], service: object) -> bool:
        return self._without_servers(balancer, service) == self._meaning

    def add(self, server: Mapping[str, object]) -> int | None:
        """Its place in the list; None if it is there already."""
        place = server.get("url") or server.get("address")
        if place in self._places:
            return None
        self._places.add(place)
        self._servers.append(server)
        return len(self._servers) - 1

    def _without_servers(self, balancer: dict[str, Any], service: object) -> object:
        servers = balancer.get("servers", [])
        balancer["servers"] = []  # there, as a balancer with nothing at all is refused
        meaning = _meaning(self._model, service)
        balancer["servers"] = servers
        return meaning


class _Merge:
    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._tree: dict[str, Any] = {"http": {"routers": {}, "services": {}}}
        self._sources: dict[Path, str] = {}
        self._owners: dict[ObjectKey, Routes] = {}
        self._shared: dict[ObjectKey, _Shared] = {}
        self._refused: dict[ObjectKey, None] = {}
        self._found: list[Diagnostic] = []

    def add(self, routes: Routes) -> None:
        """Take what one workload says."""
        for root_key, section in routes.labels.root.items():
            root = root_key.casefold()
            if not isinstance(section, dict):
                self._keep_for_the_reader((root,), section, routes)
                continue
            for kind_key, objects in section.items():
                kind = kind_key.casefold()
                if (root, kind) in _MODELS and isinstance(objects, dict):
                    for name, value in objects.items():
                        self._add_object((root, kind, name), value, routes)
                else:
                    self._keep_for_the_reader((root, kind_key), objects, routes)

    def _add_object(self, key: ObjectKey, value: object, routes: Routes) -> None:
        root, kind, name = key
        owner = self._owners.setdefault(key, routes)
        objects = self._tree.setdefault(root, {}).setdefault(_WRITTEN.get(kind, kind), {})
        balancer = _balancer(value) if kind == "services" else None
        servers = _take_servers(balancer) if balancer is not None else []
        if owner is routes:
            objects[name] = value
            self._take_sources(routes, key)
            if balancer is not None:
                self._shared[key] = _Shared(_MODELS[root, kind], balancer, value)
        elif not self._says_the_same(key, objects[name], value, balancer):
            self._refuse(key, owner, routes)
            return
        if key in self._shared:
            for server in servers:
                self._take_server_sources(routes, key, self._shared[key].add(server))

    def _says_the_same(
        self, key: ObjectKey, first: object, second: object, balancer: dict[str, Any] | None
    ) -> bool:
        if key in self._shared:
            return balancer is not None and self._shared[key].says_the_same(balancer, second)
        model = _MODELS[key[:2]]
        return _meaning(model, first) == _meaning(model, second)

    def _refuse(self, key: ObjectKey, owner: Routes, routes: Routes) -> None:
        if key in self._refused:
            return
        self._refused[key] = None
        root, kind, name = key
        reason = (
            f"{root}.{_WRITTEN.get(kind, kind)}.{name} is defined differently by {owner.workload.title}; "
            "it is left out everywhere"
        )
        folded = fold_path(key)
        # The first label below the object stands for all: sources come in the labels' order.
        source = next((each for path, each in routes.labels.sources.items() if path[:3] == folded), "")
        label = source.rpartition(": label ")[2]
        self._found.append(problem(self._provider, routes.workload, reason, label))

    def finish(self) -> tuple[LabelDocument, list[Diagnostic]]:
        """The document, without what was refused."""
        for root, kind, name in self._refused:
            del self._tree[root][_WRITTEN.get(kind, kind)][name]
        return LabelDocument(self._tree, self._provider, "v2", self._sources), self._found

    def _keep_for_the_reader(self, path: tuple[str, ...], value: object, routes: Routes) -> None:
        """What has no meaning here is left to the reader, which says so; the first of a kind is enough."""
        node = self._tree
        for part in path[:-1]:
            inner = node.setdefault(part, {})
            if not isinstance(inner, dict):
                return
            node = inner
        if node.setdefault(path[-1], value) is value:
            self._take_sources(routes, path)

    def _take_sources(self, routes: Routes, prefix: tuple[str, ...]) -> None:
        folded = fold_path(prefix)
        for path, source in routes.labels.sources.items():
            if path[: len(folded)] == folded:
                self._sources.setdefault(path, source)
        self._sources.setdefault(folded, routes.workload.title)

    def _take_server_sources(self, routes: Routes, key: ObjectKey, at: int | None) -> None:
        """``server.weight`` of this workload became ``servers[at].weight``."""
        if at is None:
            return
        written = (*fold_path(key), "loadbalancer", "server")
        item = (*fold_path(key), "loadbalancer", "servers", str(at))
        self._sources[item] = routes.workload.title
        for path, source in routes.labels.sources.items():
            if path[: len(written)] == written:
                self._sources[(*item, *path[len(written) :])] = source


def _meaning(model: type[Section], value: object) -> object:
    """What an object says, for comparing: decoded if it can be, else as written."""
    decoded = decode(model, value, (), Diagnostics())
    return value if decoded is None else decoded


def _balancer(service: object) -> dict[str, Any] | None:
    if not isinstance(service, Mapping):
        return None
    balancer = service.get(spelling(service, "loadBalancer"))
    return balancer if isinstance(balancer, dict) else None


def _take_servers(balancer: dict[str, Any]) -> list[Any]:
    """Take out the servers that ``labels_v2`` put in (index to server)."""
    servers = balancer.pop("servers", {})
    return list(servers.values()) if isinstance(servers, dict) else []
