"""What all providers say, under qualified names, each object with the place it was written in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from shared.config.diagnostics import Diagnostics, Path
from shared.config.documents import Document
from shared.config.dynamic import HttpConfig, Router, ServersTransport, Service
from shared.config.middlewares import Middleware

T = TypeVar("T")

INTERNAL = "internal"
"""The provider name of objects that we make ourselves."""


class Item(msgspec.Struct, Generic[T], frozen=True, eq=False):
    """One object and where it comes from.

    Attributes:
        name: qualified, ``web@file``.
        provider: the part behind ``@``.
        value: the object as decoded; the same instance as long as it did not change.
        document: the text it stands in, None for internal objects.
        path: its place in that text.
    """

    name: str
    provider: str
    value: T
    document: Document | None = None
    path: Path = ()

    def error(self, found: Diagnostics, reason: str, hint: str | None = None, *inner: str | int) -> None:
        """Record an error of this object, with its position."""
        located = Diagnostics(self.document)
        located.error((*self.path, *inner), reason, hint)
        found.extend(located)

    def warning(self, found: Diagnostics, reason: str, hint: str | None = None, *inner: str | int) -> None:
        """Record a warning about this object, with its position."""
        located = Diagnostics(self.document)
        located.warning((*self.path, *inner), reason, hint)
        found.extend(located)


class Catalog:
    """All HTTP objects by qualified name."""

    def __init__(self) -> None:
        self.routers: dict[str, Item[Router]] = {}
        self.services: dict[str, Item[Service]] = {}
        self.middlewares: dict[str, Item[Middleware]] = {}
        self.transports: dict[str, Item[ServersTransport]] = {}

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
