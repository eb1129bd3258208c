"""Documents to the one dynamic model, whichever dialect they are written in.

The smallest object that holds an error is left out and nothing else: a server, a router, a service, a
middleware, a TLS option. What is left out is named in ``Reading.broken``, so that whoever remembers the last
good version of it can keep that one. v1's roots are translated (``shared.config.legacy``).

A document may hold both dialects; the v2 objects come first where names meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from shared.config import dynamic
from shared.config.decode import decode, decode_each, list_items, show, written_names
from shared.config.diagnostics import Diagnostic, Diagnostics, Path, nearest_name
from shared.config.documents import V1_ROOTS, V2_ROOTS, Document
from shared.config.dynamic import DynamicConfig, HttpConfig, TlsConfig
from shared.config.kinds import Section
from shared.config.legacy import translate, translate_certificates
from shared.config.middlewares import Middleware, TcpMiddleware
from shared.config.static import StaticConfig
from shared.config.static_v1 import V1Retry, V1Static
from shared.config.tls import TlsCertificate, TlsOptions, TlsStore

ObjectKey = tuple[str, str, str]
"""Section, kind and name of an object, such as ``("http", "routers", "web")``; as the model's attributes."""

_KINDS: dict[str, dict[str, type[Section]]] = {
    "http": {
        "routers": dynamic.Router,
        "services": dynamic.Service,
        "middlewares": Middleware,
        "servers_transports": dynamic.ServersTransport,
    },
    "tcp": {
        "routers": dynamic.TcpRouter,
        "services": dynamic.TcpService,
        "middlewares": TcpMiddleware,
        "servers_transports": dynamic.TcpServersTransport,
    },
    "udp": {"routers": dynamic.UdpRouter, "services": dynamic.UdpService},
    "tls": {"options": TlsOptions, "stores": TlsStore},
}
_MODELS: dict[str, type[Section]] = {
    "http": HttpConfig,
    "tcp": dynamic.TcpConfig,
    "udp": dynamic.UdpConfig,
    "tls": TlsConfig,
}
_SERVERS: dict[str, type[Section]] = {
    "http": dynamic.Server,
    "tcp": dynamic.TcpServer,
    "udp": dynamic.UdpServer,
}
_STATIC_ROOTS = frozenset(
    name.casefold() for name in (*written_names(V1Static), *written_names(StaticConfig))
)
_DYNAMIC_ROOTS = ("http", "tcp", "udp", "tls", "frontends", "backends")


class Reading(msgspec.Struct, frozen=True):
    """What a document says, as far as it could be read.

    Attributes:
        config: the good objects.
        broken: objects that are written but could not be read.
        found: everything that is wrong, in the order it was found.
        document: where it was read from; None when several were merged.
    """

    config: DynamicConfig
    broken: frozenset[ObjectKey] = frozenset()
    found: tuple[Diagnostic, ...] = ()
    document: Document | None = None


def read_dynamic(
    document: Document, *, v1_pass_host_header: bool = False, v1_retry: V1Retry | None = None
) -> Reading:
    """Read everything dynamic in a document; static settings beside it are left alone.

    Args:
        document: of either dialect, or both.
        v1_pass_host_header: what a v1 frontend means that does not say whether the server gets the client's
            Host: False for files and REST, True for the other providers (spec v1 section 3.8).
        v1_retry: the static ``[retry]``, which is for every v1 backend.
    """
    found = Diagnostics(document)
    found.extend(document.notes)
    roots = _dynamic_roots(document, found)
    broken: set[ObjectKey] = set()
    sections: dict[str, Any] = {
        root: _read_section(root, name, raw, found, broken)
        for root, (name, raw) in roots.items()
        if root in V2_ROOTS
    }
    if not V1_ROOTS.isdisjoint(roots):
        frontends, backends = (roots.get(root, (root, {})) for root in ("frontends", "backends"))
        translated, broken_names = translate(frontends, backends, found, v1_pass_host_header, v1_retry)
        broken |= {("http", kind, name) for kind, name in broken_names}
        sections["http"] = _merged_section(sections.get("http", HttpConfig()), translated)
    return Reading(DynamicConfig(**sections), frozenset(broken), tuple(found), document)


def merge_documents(readings: Sequence[Reading]) -> Reading:
    """Several documents of one provider as one; of objects with one name the first counts.

    A broken object counts as well: its name is taken, and its last good version may be live.

    Args:
        readings: in order of precedence.
    """
    owners: dict[ObjectKey, Document | None] = {}
    found: list[Diagnostic] = []
    objects: dict[tuple[str, str], dict[str, object]] = {}
    certificates: list[TlsCertificate] = []
    broken: set[ObjectKey] = set()
    for reading in readings:
        found += reading.found
        repeated = Diagnostics(reading.document)
        mine: dict[ObjectKey, object] = dict.fromkeys(reading.broken)
        mine.update(_all_objects(reading.config))
        for key, value in mine.items():
            if key in owners:
                _report_repeated(key, owners[key], reading.document, repeated)
                continue
            owners[key] = reading.document
            if value is None:
                broken.add(key)
            else:
                objects.setdefault(key[:2], {})[key[2]] = value
        found += repeated
        certificates += reading.config.tls.certificates
    sections: dict[str, Any] = {
        root: model(**{kind: objects.get((root, kind), {}) for kind in _KINDS[root]})
        for root, model in _MODELS.items()
    }
    sections["tls"] = msgspec.structs.replace(sections["tls"], certificates=tuple(certificates))
    return Reading(DynamicConfig(**sections), frozenset(broken), tuple(found))


def _dynamic_roots(document: Document, found: Diagnostics) -> dict[str, tuple[str, object]]:
    """The dynamic root keys: folded name to the name as written and what stands there."""
    roots: dict[str, tuple[str, object]] = {}
    strangers: list[str] = []
    for name, raw in document.tree.items():
        folded = name.casefold()
        if folded in roots:
            found.error((name,), f'"{name}" is written twice, in different spellings')
        elif folded in _DYNAMIC_ROOTS:
            roots[folded] = (name, raw)
        else:
            strangers.append(name)
    for name in strangers:
        if name.casefold() not in _STATIC_ROOTS:
            hint = nearest_name(name, _DYNAMIC_ROOTS)
            found.warning((name,), f'unknown key "{name}"; it is left out', hint)
        elif not V2_ROOTS.isdisjoint(roots) and document.dialect == "v2":
            # v1 had both in one file; in v2 somebody expects this to work.
            found.warning((name,), f'"{name}" is static configuration and does nothing here')
    return roots


def _read_section(root: str, name: str, raw: object, found: Diagnostics, broken: set[ObjectKey]) -> Section:
    """One of v2's root sections; an unknown or broken part of it spoils only itself."""
    if root == "tls" and isinstance(raw, list):
        return TlsConfig(certificates=translate_certificates(raw, (name,), found))
    if not isinstance(raw, Mapping):
        found.error((name,), f"expected a table, got {show(raw)}")
        return _MODELS[root]()
    attributes = {info.encode_name.casefold(): info.name for info in msgspec.structs.fields(_MODELS[root])}
    values: dict[str, Any] = {}
    for key, part in raw.items():
        path = (name, key)
        attribute = attributes.get(key.casefold())
        if attribute is None:
            hint = nearest_name(key, written_names(_MODELS[root]))
            found.error(path, f'unknown key "{key}"; it is left out', hint)
        elif attribute in values:
            found.error(path, f'"{key}" is written twice, in different spellings')
        elif attribute == "certificates":
            values[attribute] = _read_certificates(part, path, found)
        elif attribute == "services":
            good, names = _read_services(root, part, path, found)
            values[attribute] = good
            broken |= {(root, attribute, each) for each in names}
        else:
            values[attribute], names = decode_each(_KINDS[root][attribute], part, path, found)
            broken |= {(root, attribute, each) for each in names}
    return _MODELS[root](**values)


def _read_certificates(raw: object, path: Path, found: Diagnostics) -> tuple[TlsCertificate, ...]:
    items = list_items(raw)
    if items is None or raw == {}:
        found.error(path, f"expected a list of tables, got {show(raw)}")
        return ()
    good = (decode(TlsCertificate, each, (*path, at), found) for at, each in items)
    return tuple(each for each in good if each is not None)


def _read_services(
    root: str, raw: object, path: Path, found: Diagnostics
) -> tuple[dict[str, Section], set[str]]:
    """Services; one that fails is tried again without those of its servers that are to blame."""
    kind = _KINDS[root]["services"]
    first_try = Diagnostics()
    good, broken = decode_each(kind, raw, path, first_try)
    if not len(first_try):
        return good, broken
    if not isinstance(raw, Mapping):
        decode_each(kind, raw, path, found)  # once more, to say so with a position
        return good, broken
    noted = {str(each.path[len(path)]) for each in first_try if len(each.path) > len(path)}
    for name in [name for name in raw if name in noted]:
        entry = _without_broken_servers(raw[name], _SERVERS[root], (*path, name), found)
        mended = decode(kind, entry, (*path, name), found)
        if mended is not None:
            good[name] = mended
            broken.discard(name)
    return {name: good[name] for name in raw if name in good}, broken


def _without_broken_servers(raw: object, kind: type[Section], path: Path, found: Diagnostics) -> object:
    """The service as written, but for servers that cannot be read; the model is left to judge the rest."""
    balancer_key, balancer = _part(raw, "loadBalancer")
    servers_key, servers = _part(balancer, "servers")
    items = list_items(servers)
    if items is None:
        return raw
    path = (*path, balancer_key, servers_key)
    good = [each for at, each in items if decode(kind, each, (*path, at), found) is not None]
    assert isinstance(raw, Mapping), "it has parts"
    assert isinstance(balancer, Mapping), "it has parts"
    return {**raw, balancer_key: {**balancer, servers_key: good}}


def _part(raw: object, wanted: str) -> tuple[str, object]:
    if isinstance(raw, Mapping):
        for key, value in raw.items():
            if str(key).casefold() == wanted.casefold():
                return key, value
    return wanted, None


def _merged_section(first: HttpConfig, second: HttpConfig) -> HttpConfig:
    merged = {kind: {**getattr(second, kind), **getattr(first, kind)} for kind in _KINDS["http"]}
    return HttpConfig(**merged)


def _all_objects(config: DynamicConfig) -> Iterable[tuple[ObjectKey, object]]:
    for root, kinds in _KINDS.items():
        for kind in kinds:
            for name, value in getattr(getattr(config, root), kind).items():
                yield (root, kind, name), value


def _report_repeated(
    key: ObjectKey, owner: Document | None, document: Document | None, found: Diagnostics
) -> None:
    root, kind, name = key
    path: Path = (root, _written_kind(root, kind), name)
    if document is not None and document.dialect == "v1" and root == "http":
        if kind == "middlewares":
            return  # comes from a frontend, which is reported itself
        path = ("frontends" if kind == "routers" else "backends", name)
    where = "another document" if owner is None else owner.origin
    found.warning(path, f"already defined in {where}; this one is left out")


def _written_kind(root: str, kind: str) -> str:
    return next(info.encode_name for info in msgspec.structs.fields(_MODELS[root]) if info.name == kind)
