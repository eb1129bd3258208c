"""Plans which identities a table needs, from its content. What did not change is not looked at again."""

from __future__ import annotations

from shared.identities import Identity, of_middleware, of_service
from shared.table.entries import MiddlewareEntry, RouterEntry, ServiceEntry, TableContent
from shared.table.reader import Table


class IdentityPlanner:
    """Plans again and again for a configuration that changes a little each time."""

    def __init__(self) -> None:
        self._services: dict[str, tuple[ServiceEntry, tuple[Identity, ...]]] = {}

    def plan(self, content: TableContent) -> frozenset[Identity]:
        """Every identity that workers of this table will look for."""
        fresh: dict[str, tuple[ServiceEntry, tuple[Identity, ...]]] = {}
        found: set[Identity] = set()
        for entry in content.services:
            before = self._services.get(entry.name)
            known = before if before is not None and before[0] is entry else (entry, _of_service(entry))
            fresh[entry.name] = known
            found.update(known[1])
        self._services = fresh
        for router in content.routers:
            found.update(_of_router(router, content.middlewares))
        return frozenset(found)


def identities_of_table(table: Table) -> frozenset[Identity]:
    """As ``IdentityPlanner.plan``, from a table that was read back."""
    middlewares = tuple(map(table.middleware, range(table.middleware_count)))
    found: set[Identity] = set()
    for number in range(table.service_count):
        found.update(_of_service(table.service(number)))
    for number in range(table.router_count):
        found.update(_of_router(table.router(number), middlewares))
    return frozenset(found)


def _of_service(entry: ServiceEntry) -> tuple[Identity, ...]:
    return of_service(entry.name, entry.options)


def _of_router(router: RouterEntry, middlewares: tuple[MiddlewareEntry, ...]) -> list[Identity]:
    entries = [middlewares[number] for number in router.middlewares]
    return [each for entry in entries for each in of_middleware(router.name, entry.name, entry.options)]
