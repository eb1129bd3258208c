"""What all providers say about TCP and UDP, under qualified names; the sibling of ``catalog`` for HTTP."""

from __future__ import annotations

from collections.abc import Iterator

from master.compiler.item import Item
from shared.config.documents import Document
from shared.config.dynamic import (
    DynamicConfig,
    TcpRouter,
    TcpServersTransport,
    TcpService,
    UdpRouter,
    UdpService,
)
from shared.config.middlewares import TcpMiddleware


class StreamCatalog:
    """All TCP and UDP objects by qualified name.

    Attributes:
        broken: (section, qualified name) of routers that are written but could not be read.
    """

    def __init__(self) -> None:
        self.tcp_routers: dict[str, Item[TcpRouter]] = {}
        self.tcp_services: dict[str, Item[TcpService]] = {}
        self.tcp_middlewares: dict[str, Item[TcpMiddleware]] = {}
        self.tcp_transports: dict[str, Item[TcpServersTransport]] = {}
        self.udp_routers: dict[str, Item[UdpRouter]] = {}
        self.udp_services: dict[str, Item[UdpService]] = {}
        self.broken: set[tuple[str, str]] = set()

    def add(
        self, provider: str, document: Document | None, config: DynamicConfig
    ) -> list[tuple[Item[object], Item[object]]]:
        """Add what one document says. Names that are already there stay as they are.

        Returns:
            (the item that was not added, the one that was there) for each name defined twice.
        """
        repeated = []
        for section, kind, objects, target in self._kinds(config):
            for name, value in objects.items():
                qualified = f"{name}@{provider}"
                item = Item(qualified, provider, value, document, (section, kind, name))
                first = target.setdefault(qualified, item)
                if first is not item:
                    repeated.append((item, first))
        return repeated

    def broken_routers(self, section: str) -> set[str]:
        """Qualified names of the routers of ``tcp`` or ``udp`` that could not be read."""
        return {name for each, name in self.broken if each == section}

    def _kinds(
        self, config: DynamicConfig
    ) -> Iterator[tuple[str, str, dict[str, object], dict[str, Item[object]]]]:
        tcp, udp = config.tcp, config.udp
        yield "tcp", "routers", tcp.routers, self.tcp_routers  # type: ignore[misc]
        yield "tcp", "services", tcp.services, self.tcp_services  # type: ignore[misc]
        yield "tcp", "middlewares", tcp.middlewares, self.tcp_middlewares  # type: ignore[misc]
        yield "tcp", "serversTransports", tcp.servers_transports, self.tcp_transports  # type: ignore[misc]
        yield "udp", "routers", udp.routers, self.udp_routers  # type: ignore[misc]
        yield "udp", "services", udp.services, self.udp_services  # type: ignore[misc]
