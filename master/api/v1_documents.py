"""What ``GET /api`` of v1 shows: the snapshots of v1 providers, in v1's JSON model (spec v1 section 6).

Values are shown after defaults were filled in: entrypoints, the balancing method, weights and priorities are
always there. What could not be read is not shown, and neither are password hashes, which the original shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from master.provider_feed import ProviderFeed
from shared.config.decode import decode
from shared.config.diagnostics import Diagnostics
from shared.config.documents import Document
from shared.config.dump import REDACTED
from shared.config.kinds import Section
from shared.config.legacy_model import V1Backend, V1Frontend, V1Server

Shown = dict[str, Any]


def all_v1_documents(feeds: Iterable[ProviderFeed], entry_points: Iterable[str]) -> Shown:
    """Every provider that speaks v1, by name.

    Args:
        feeds: of all providers.
        entry_points: of frontends that name none.
    """
    shown: Shown = {}
    for feed in feeds:
        documents = [each for each in feed.latest.documents if each.dialect == "v1"] if feed.latest else []
        if documents:
            shown[feed.name] = v1_document(documents, entry_points)
    return shown


def v1_document(documents: Iterable[Document], entry_points: Iterable[str]) -> Shown:
    """Backends and frontends of one provider; of two with one name the first counts."""
    shown: Shown = {}
    for document in documents:
        for root, entries in document.tree.items():
            folded = str(root).casefold()
            if folded not in ("backends", "frontends") or not isinstance(entries, Mapping):
                continue
            show = _backend if folded == "backends" else _frontend
            into = shown.setdefault(folded, {})
            for name, raw in entries.items():
                found = show(raw, entry_points)
                if found is not None:
                    into.setdefault(name, found)
    return shown


def _backend(raw: object, _: Iterable[str]) -> Shown | None:
    if not isinstance(raw, Mapping):
        return None
    rest = dict(raw)
    servers: object = None
    for key in [key for key in raw if str(key).casefold() == "servers"]:
        servers = rest.pop(key)
    shown = _decoded(V1Backend, rest)
    if shown is None:
        return None
    shown["loadBalancer"] = {"method": "wrr", **shown.get("loadBalancer", {})}
    good = {name: _decoded(V1Server, each) for name, each in _items(servers)}
    shown["servers"] = {name: {"weight": 0, **each} for name, each in good.items() if each is not None}
    if not shown["servers"]:
        del shown["servers"]
    return shown


def _frontend(raw: object, entry_points: Iterable[str]) -> Shown | None:
    shown = _decoded(V1Frontend, raw)
    if shown is None:
        return None
    if not shown.get("passHostHeader"):
        shown.pop("passHostHeader", None)
    shown.pop("auth", None)
    if "basicAuth" in shown:
        shown["basicAuth"] = [_without_hash(each) for each in shown["basicAuth"]]
    return {"priority": 0, "basicAuth": None, "entryPoints": list(entry_points), **shown}


def _without_hash(user: str) -> str:
    return f"{user.partition(':')[0]}:{REDACTED}"


def _items(raw: object) -> Iterable[tuple[str, object]]:
    return raw.items() if isinstance(raw, Mapping) else ()


def _decoded(kind: type[Section], raw: object) -> Shown | None:
    value = decode(kind, raw, (), Diagnostics(), unknown="ignore")
    if value is None:
        return None
    shown: Shown = msgspec.to_builtins(value)
    return shown
