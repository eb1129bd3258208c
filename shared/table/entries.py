"""What a routing table holds, as plain structs: the compiler's output and the reader's answers.

A table is self-contained: every reference is an index into a sibling list, every regular expression, user
list and address range in it has been checked, so that a worker that can decode an entry can use it.
"""

from __future__ import annotations

import msgspec

from shared.config.dynamic import ServersTransport, Service
from shared.config.middlewares import Middleware
from shared.rules.conditions import AnyCondition
from shared.table.client_tls import ClientTlsEntry
from shared.table.streams import Streams


class RouterEntry(msgspec.Struct, frozen=True, array_like=True):
    """One router, ready to match.

    Attributes:
        name: qualified (``web@file``).
        rule: the text as written, for people.
        condition: what it means.
        priority: computed; routers of a list are ordered by it, ties already broken.
        middlewares: indexes into the table's middlewares, chains expanded, in order.
        service: index into the table's services.
        tls_options: name of the TLS options that its requests must have come over; empty for ``default``.
    """

    name: str
    rule: str
    condition: AnyCondition
    priority: int
    middlewares: tuple[int, ...]
    service: int
    tls_options: str = ""


class MiddlewareEntry(msgspec.Struct, frozen=True, array_like=True):
    """One middleware, resolved: files read, names expanded. ``options`` has exactly one kind set."""

    name: str
    options: Middleware


class ServiceEntry(msgspec.Struct, frozen=True, array_like=True):
    """One service. Child names in ``options`` are qualified.

    Attributes:
        name: qualified; the identity that pools, positions and counters follow.
        children: indexes of child services, in the order that ``options`` names them.
        transport: index into the table's transports.
    """

    name: str
    options: Service
    children: tuple[int, ...]
    transport: int


class TransportEntry(msgspec.Struct, frozen=True, array_like=True):
    """One way to speak to servers.

    Attributes:
        options: as configured, without what ``tls`` says: authorities, certificates, SPIFFE.
        tls: for servers that speak it.
    """

    name: str
    options: ServersTransport
    tls: ClientTlsEntry = ClientTlsEntry()


class RouterList(msgspec.Struct, frozen=True, array_like=True):
    """The routers that one kind of connection of one entrypoint sees, in match order.

    Attributes:
        entrypoint: its name.
        tls: whether these see TLS connections (True) or plain ones (False).
        routers: indexes into the table's routers; first match wins.
    """

    entrypoint: str
    tls: bool
    routers: tuple[int, ...]


class TableContent(msgspec.Struct, frozen=True, array_like=True):
    """Everything a table says; what ``write_table`` takes."""

    routers: tuple[RouterEntry, ...]
    middlewares: tuple[MiddlewareEntry, ...]
    services: tuple[ServiceEntry, ...]
    transports: tuple[TransportEntry, ...]
    lists: tuple[RouterList, ...]
    streams: Streams = Streams()
