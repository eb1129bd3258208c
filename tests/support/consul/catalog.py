"""The stand-in's services: registrations, checks, and what the catalog and health endpoints say about them.

Rules as recorded: the list of names wakes for registrations and tags, a service's health for its own changes,
the state of checks for any; tags of the list come in changing order, those of an instance as registered; the
server always names itself; who may not read is told ``{}`` or ``[]``, not an error.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.support.consul.store import Table

NODE = {
    "ID": "a609092e-7efc-7bbe-bee1-dca9fee5dc53",
    "Node": "node-1",
    "Address": "127.0.0.1",
    "Datacenter": "dc1",
}
ITSELF = "consul"


@dataclass
class Registered:
    """A service on the node, with its checks (id to status)."""

    id: str
    name: str
    address: str
    port: int
    tags: list[str]
    index: int
    checks: dict[str, str] = field(default_factory=dict)


class Catalog:
    """Services of one node. Shares the table's counter and condition."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.services: dict[str, Registered] = {}
        self.node_checks = {"serfHealth": "passing"}
        self.names_index = self.checks_index = 1
        self._health_index: dict[str, int] = {}

    def register(self, definition: dict[str, Any]) -> None:
        """Add or replace a service; a check that was just made is critical unless it says otherwise."""
        with self.table.changed:
            name = definition["Name"]
            identity = definition.get("ID") or name
            before = self.services.get(identity)
            at = self._next(name)
            made = Registered(
                identity,
                name,
                definition.get("Address", ""),
                definition.get("Port", 0),
                list(definition.get("Tags") or []),
                at,
            )
            check = definition.get("Check")
            if check:
                kept = before.checks if before is not None else {}
                check_id = check.get("CheckID") or f"service:{identity}"
                made.checks[check_id] = kept.get(check_id) or check.get("Status", "critical")
            self.services[identity] = made
            self.names_index = self.checks_index = at
            self.table.changed.notify_all()

    def deregister(self, identity: str) -> None:
        """Remove a service; nothing if it is not there."""
        with self.table.changed:
            gone = self.services.pop(identity, None)
            if gone is not None:
                self.names_index = self.checks_index = self._next(gone.name)
                self.table.changed.notify_all()

    def set_check(self, check_id: str, status: str) -> bool:
        """Change a check's state; False if there is none of this id."""
        with self.table.changed:
            for each in self.services.values():
                if check_id in each.checks:
                    each.checks[check_id] = status
                    self.checks_index = self._next(each.name)
                    self.table.changed.notify_all()
                    return True
        return False

    def set_maintenance(self, identity: str, on: bool) -> None:
        """Maintenance is a critical check of its own."""
        with self.table.changed:
            service = self.services[identity]
            check_id = f"_service_maintenance:{identity}"
            if on:
                service.checks[check_id] = "critical"
            else:
                service.checks.pop(check_id, None)
            self.checks_index = self._next(service.name)
            self.table.changed.notify_all()

    def set_node_maintenance(self, on: bool) -> None:
        """The same for the node, which counts for every service."""
        with self.table.changed:
            if on:
                self.node_checks["_node_maintenance"] = "critical"
            else:
                self.node_checks.pop("_node_maintenance", None)
            for name in {each.name for each in self.services.values()}:
                self.checks_index = self._next(name)
            self.table.changed.notify_all()

    def names(self) -> dict[str, list[str]]:
        """Names and the union of their tags, in no fixed order."""
        found: dict[str, list[str]] = {ITSELF: []}
        for each in self.services.values():
            tags = set(found.get(each.name, ())) | set(each.tags)
            found[each.name] = random.sample(sorted(tags), len(tags))
        return found

    def health_index(self, name: str) -> int:
        """The index of a service's health; that of the names if it was never there."""
        return self._health_index.get(name, self.names_index)

    def health(self, name: str, *, passing: bool) -> list[dict[str, Any]]:
        """The instances of a service with their checks, the node's included."""
        found = []
        for each in self.services.values():
            checks = {**self.node_checks, **each.checks}
            if each.name == name and (not passing or set(checks.values()) <= {"passing"}):
                found.append(_describe(each, checks))
        return found

    def states(self) -> list[dict[str, Any]]:
        """Every check."""
        states = [
            {"Node": "node-1", "CheckID": name, "Status": each} for name, each in self.node_checks.items()
        ]
        for service in self.services.values():
            states += [
                {"Node": "node-1", "CheckID": name, "Status": each, "ServiceID": service.id}
                for name, each in service.checks.items()
            ]
        return states

    def _next(self, name: str) -> int:
        self.table.index += 1
        self._health_index[name] = self.table.index
        return self.table.index


def _describe(service: Registered, checks: dict[str, str]) -> dict[str, Any]:
    return {
        "Node": {**NODE, "TaggedAddresses": {"lan": "127.0.0.1"}, "Meta": {"consul-network-segment": ""}},
        "Service": {
            "ID": service.id,
            "Service": service.name,
            "Tags": service.tags,
            "Address": service.address,
            "Meta": None,
            "Port": service.port,
            "Weights": {"Passing": 1, "Warning": 1},
            "CreateIndex": service.index,
            "ModifyIndex": service.index,
        },
        "Checks": [
            {
                "Node": "node-1",
                "CheckID": name,
                "Status": status,
                "Output": "",
                "ServiceID": service.id if name in service.checks else "",
                "ServiceName": service.name if name in service.checks else "",
            }
            for name, status in checks.items()
        ],
    }
