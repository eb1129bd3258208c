"""What all providers say, under qualified names, each object with the place it was written in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from master.compiler.item import Item
from master.compiler.stream_catalog import StreamCatalog
from shared.config.diagnostics import Path
from shared.config.documents import Document
from shared.config.dynamic import HttpConfig, Router, ServersTransport, Service, TlsConfig
from shared.config.middlewares import Middleware
from shared.config.tls import TlsCertificate, TlsOptions, TlsStore
from shared.table.streams import DEFAULT_OPTIONS

__all__ = ["INTERNAL", "Catalog", "Item", "qualify", "written_path"]

INTERNAL = "internal"
"""The provider name of objects that we make ourselves."""


class Catalog:
    """All HTTP and TLS objects by qualified name; ``streams`` has those of TCP and UDP.

    The TLS options and the store ``default`` are global.

    Attributes:
        clashing: (kind, item) of global objects that a second provider defines; none of theirs may be used.
    """

    def __init__(self) -> None:
        self.routers: dict[str, Item[Router]] = {}
        self.services: dict[str, Item[Service]] = {}
        self.middlewares: dict[str, Item[Middleware]] = {}
        self.transports: dict[str, Item[ServersTransport]] = {}
        self.tls_options: dict[str, Item[TlsOptions]] = {}
        self.tls_stores: dict[str, Item[TlsStore]] = {}
        self.certificates: list[Item[TlsCertificate]] = []
        self.clashing: list[tuple[str, Item[object]]] = []
        self.streams = StreamCatalog()

    def add(
        self, provider: str, document: Document | None, http: HttpConfig
    ) -> list[tuple[Item[object], Item[object]]]:
        """Add what one document says. Names that are already there stay as they are.

        Returns:
            (the item that was not added, the one that was there) for each name defined twice.
        """
        repeated = []
        for kind, objects, target in self._kinds(http):
            for name, value in objects.items():
                qualified = f"{name}@{provider}"
                item = Item(qualified, provider, value, document, written_path(kind, name, document))
                first = target.setdefault(qualified, item)
                if first is not item:
                    repeated.append((item, first))
        return repeated

    def add_tls(
        self, provider: str, document: Document | None, tls: TlsConfig
    ) -> list[tuple[Item[object], Item[object]]]:
        """Add the TLS objects of one document; returns as ``add`` does."""
        repeated = []
        kinds: tuple[tuple[str, dict[str, Any], dict[str, Item[Any]]], ...] = (
            ("options", tls.options, self.tls_options),
            ("stores", tls.stores, self.tls_stores),
        )
        for kind, objects, target in kinds:
            for name, value in objects.items():
                qualified = name if name == DEFAULT_OPTIONS else f"{name}@{provider}"
                item: Item[object] = Item(qualified, provider, value, document, ("tls", kind, name))
                first = target.setdefault(qualified, item)
                if first is not item and first.provider == provider:
                    repeated.append((item, first))
                elif first is not item:
                    self.clashing.append((kind, item))
        for index, certificate in enumerate(tls.certificates):
            path: Path = ("tls", "certificates", index)
            self.certificates.append(Item(f"{index}@{provider}", provider, certificate, document, path))
        return repeated

    def _kinds(self, http: HttpConfig) -> Iterator[tuple[str, dict[str, object], dict[str, Item[object]]]]:
        yield "routers", http.routers, self.routers  # type: ignore[misc]
        yield "services", http.services, self.services  # type: ignore[misc]
        yield "middlewares", http.middlewares, self.middlewares  # type: ignore[misc]
        yield "serversTransports", http.servers_transports, self.transports  # type: ignore[misc]


def written_path(kind: str, name: str, document: Document | None) -> Path:
    """Where an object of the model was written: v1 knows routers as frontends and services as backends."""
    if document is None or document.dialect != "v1":
        return ("http", kind, name)
    return ("frontends" if kind in ("routers", "middlewares") else "backends", name)


def qualify(name: str, provider: str) -> str:
    """A reference as a qualified name: without ``@`` it means the referring object's own provider."""
    return name if "@" in name else f"{name}@{provider}"
