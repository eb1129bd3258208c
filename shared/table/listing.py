"""The text form of a table, for ``status --table``, goldens and people.

Stable: equal tables give equal text, and a change in one object changes its lines only. Objects are named,
not numbered; secrets are left out: of a middleware's options only the kind is shown.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.config.dynamic import Service
from shared.table.entries import MiddlewareEntry, RouterEntry, ServiceEntry, TransportEntry
from shared.table.reader import Table
from shared.table.stream_listing import describe_streams


def describe(table: Table) -> str:
    """What a table says, as lines; the generation is not part of it."""
    lines = [
        f"table {table.digest[:16]}: {table.router_count} routers, {table.middleware_count} middlewares, "
        f"{table.service_count} services, {table.transport_count} transports"
    ]
    for each in sorted(table.lists(), key=lambda each: (each.entrypoint, each.tls)):
        lines.append(f"entrypoint {each.entrypoint}{' tls' if each.tls else ''}")
        lines += (f"  {table.router(number).name}" for number in each.routers)
    lines += _sorted(_router(table, table.router(number)) for number in range(table.router_count))
    lines += _sorted(_middleware(table.middleware(number)) for number in range(table.middleware_count))
    lines += _sorted(_service(table, table.service(number)) for number in range(table.service_count))
    lines += _sorted(_transport(table.transport(number)) for number in range(table.transport_count))
    lines += describe_streams(table.streams())
    return "\n".join(lines) + "\n"


def _sorted(blocks: Iterator[list[str]]) -> list[str]:
    return [line for block in sorted(blocks) for line in block]


def _router(table: Table, entry: RouterEntry) -> list[str]:
    lines = [f"router {entry.name}", f"  rule {entry.rule}", f"  priority {entry.priority}"]
    lines += (f"  middleware {table.middleware(number).name}" for number in entry.middlewares)
    return [*lines, f"  service {table.service(entry.service).name}"]


def _middleware(entry: MiddlewareEntry) -> list[str]:
    return [f"middleware {entry.name}", f"  kind {_kind(entry.options)}"]


def _service(table: Table, entry: ServiceEntry) -> list[str]:
    lines = [f"service {entry.name}", f"  kind {_kind(entry.options)}"]
    lines += (f"  server {url}" for url in _servers(entry.options))
    lines += (f"  child {table.service(number).name}" for number in entry.children)
    return [*lines, f"  transport {table.transport(entry.transport).name}"]


def _transport(entry: TransportEntry) -> list[str]:
    return [f"transport {entry.name}"]


def _servers(service: Service) -> list[str]:
    if service.load_balancer is None:
        return []
    return [
        server.url if server.weight is None else f"{server.url} weight {server.weight}"
        for server in service.load_balancer.servers
    ]


def _kind(options: object) -> str:
    """The field of a one-of structure that is set."""
    fields: tuple[str, ...] = getattr(options, "__struct_fields__", ())
    kinds = [field for field in fields if getattr(options, field) not in (None, ())]
    return ", ".join(kinds) if kinds else "none"
