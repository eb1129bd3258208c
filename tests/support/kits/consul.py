"""A stand-in for Consul, with its keys in v2's layout."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

from tests.support.kits import keys
from tests.support.kits.base import Route
from tests.support.kits.consul_server import ConsulServerKit


class ConsulKit(ConsulServerKit):
    """v2's layout, read with a token."""

    provider = "consul"
    layout = keys.V2
    root = "traefik"

    def clear(self) -> None:
        self.server.tokens = None
        self.server.table.delete(self.server.table.keys_below(""))

    def settings(self, host: str, port: int, password: str = "") -> str:
        token = f'token = "{password}"\n' if password else ""
        return f'[providers.consul]\nendpoints = ["{host}:{port}"]\n{token}'

    def write(self, routes: Sequence[Route]) -> None:
        self.put(keys.pairs_of(self.layout, self.root, routes))

    def remove(self, routes: Sequence[Route]) -> None:
        prefixes = [f"{self.root}/{each}" for route in routes for each in self.layout.folders(route)]
        self.server.table.transact([{"KV": {"Verb": "delete-tree", "Key": each}} for each in prefixes])

    def spoil(self, route: Route) -> str:
        key, value = self.layout.spoilt(route)
        self.put({f"{self.root}/{key}": value})
        return f"{self.root}/{key}"

    def write_half(self, route: Route) -> None:
        self.put(dict(keys.half_of(self.layout, self.root, route)))

    def set_password(self, password: str) -> None:
        self.server.tokens = {password: (self.root,)}
        with self.server.table.changed:
            self.server.table.put("elsewhere", password.encode())
            self._wake()

    def make_impatient(self, set_constant: Callable[[str, float], None]) -> None:
        set_constant("providers.consul.WAIT_S", 0.3)
        set_constant("providers.consul.ANSWER_S", 1.0)

    def put(self, pairs: dict[str, str]) -> None:
        """Write pairs, each batch of them in a transaction."""
        for batch in keys.batches(pairs, 63):
            self.server.table.transact([_set(key, value) for key, value in batch.items()])

    def _wake(self) -> None:
        """End open queries: a change of rights alone does not, and the suite should not wait for 15 s."""
        self.server.table.put(f"{self.root}/wake", str(self.server.table.index).encode())


def _set(key: str, value: str) -> dict[str, Any]:
    return {"KV": {"Verb": "set", "Key": key, "Value": base64.b64encode(value.encode()).decode()}}


class ConsulV1Kit(ConsulKit):
    """v1's layout, from v1's own section; it knows no tokens."""

    layout = keys.V1
    has_passwords = False
    many = 2_500

    def settings(self, host: str, port: int, password: str = "") -> str:
        return f'[consul]\nendpoint = "{host}:{port}"\nprefix = "/traefik"\n'
