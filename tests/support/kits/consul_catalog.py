"""A stand-in for Consul, with services whose tags are routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.support.kits import labelled
from tests.support.kits.base import Route
from tests.support.kits.consul_server import ConsulServerKit


class CatalogKit(ConsulServerKit):
    """v2's tags, read with a token."""

    provider = "consulcatalog"
    labelling = labelled.V2
    many = 100
    is_written_by_parts = False

    def clear(self) -> None:
        self.server.tokens = None
        for identity in list(self.server.catalog.services):
            self.server.catalog.deregister(identity)

    def settings(self, host: str, port: int, password: str = "") -> str:
        token = f'token = "{password}"\n' if password else ""
        return (
            "[providers.consulCatalog]\nwatch = true\nexposedByDefault = false\n"
            f'[providers.consulCatalog.endpoint]\naddress = "{host}:{port}"\n{token}'
        )

    def write(self, routes: Sequence[Route]) -> None:
        for route in routes:
            self._register(route, {})

    def remove(self, routes: Sequence[Route]) -> None:
        for route in routes:
            self.server.catalog.deregister(route.name)

    def spoil(self, route: Route) -> str:
        label, value = self.labelling.spoilt(route)
        self._register(route, {label: value})
        return f"instance {route.name}@node-1: label {label}"

    def set_password(self, password: str) -> None:
        self.server.tokens = {password: ()}
        self._register(Route("wake", "", "http://127.0.0.1:1"), {"traefik.enable": "false"})
        self.server.catalog.deregister("wake")

    def make_impatient(self, set_constant: Callable[[str, float], None]) -> None:
        set_constant("providers.consul_catalog.WAIT_S", 0.3)
        set_constant("providers.consul_catalog.WAIT_SLACK_S", 1.0)
        set_constant("providers.api_client.ANSWER_TIMEOUT_S", 1.0)

    def _register(self, route: Route, more: dict[str, str]) -> None:
        labels = {"traefik.enable": "true", **self.labelling.labels(route), **more}
        self.server.catalog.register(
            {
                "Name": route.name,
                "Address": "127.0.0.1",
                "Port": labelled.port_of(route),
                "Tags": [f"{label}={value}" for label, value in labels.items()],
                "Check": {"TTL": "10m", "Status": "passing"},
            }
        )


class CatalogV1Kit(CatalogKit):
    """v1's tags; its section knows no tokens."""

    provider = "consul_catalog"
    labelling = labelled.V1
    has_passwords = False

    def settings(self, host: str, port: int, password: str = "") -> str:
        return f'[consulCatalog]\nendpoint = "{host}:{port}"\ndomain = "test"\nexposedByDefault = false\n'
