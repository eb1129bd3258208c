"""Objects that were checked and linked: what the table is assembled from.

They are compared by identity. The compiler hands out the same instance again while nothing it was made from
has changed; that is what makes a small change cheap, and what the writer's cache relies on.
"""

from __future__ import annotations

import msgspec

from shared.config.dynamic import ServersTransport, Service
from shared.config.middlewares import Middleware
from shared.rules.conditions import AnyCondition
from shared.table.client_tls import ClientTlsEntry
from shared.table.streams import DEFAULT_OPTIONS


class CheckedMiddleware(msgspec.Struct, frozen=True, eq=False):
    """A middleware that can be built: options valid, files read."""

    name: str
    options: Middleware


class CheckedTransport(msgspec.Struct, frozen=True, eq=False):
    """A way to speak to servers that can be used; ``tls`` is what its files and names mean."""

    name: str
    options: ServersTransport
    tls: ClientTlsEntry = ClientTlsEntry()


class CheckedService(msgspec.Struct, frozen=True, eq=False):
    """A service whose children and transport exist.

    Attributes:
        middlewares: steps that belong to the service, run after the router's own.
    """

    name: str
    options: Service
    children: tuple[CheckedService, ...]
    transport: CheckedTransport
    middlewares: tuple[CheckedMiddleware, ...] = ()


class LinkedRouter(msgspec.Struct, frozen=True, eq=False):
    """A router with everything it needs; self-contained, so that it can outlive what it was linked from.

    Attributes:
        entry_points: names of those it listens on, all of them existing.
        tls: whether it has a TLS section of its own.
        tls_options: name of the TLS options that this section asks for.
    """

    name: str
    provider: str
    rule: str
    condition: AnyCondition
    priority: int
    middlewares: tuple[CheckedMiddleware, ...]
    service: CheckedService
    entry_points: tuple[str, ...]
    tls: bool
    tls_options: str = DEFAULT_OPTIONS
