"""What rules look at in a connection."""

from __future__ import annotations

from shared.rules.tcp import ALPN_FIELD
from worker.tls.client_hello import ClientHello


class Facts:
    """What rules may ask about a connection; a ``Matchable``.

    Args:
        client_ip: of the client.
        hello: what it asks for; None without TLS.
    """

    __slots__ = ("client_ip", "host", "protocols")

    method = routing_path = decoded_path = ""

    def __init__(self, client_ip: str, hello: ClientHello | None) -> None:
        self.client_ip = client_ip
        self.host = hello.server_name if hello is not None else ""
        self.protocols = list(hello.protocols) if hello is not None else []

    def header_values(self, name: str) -> list[str]:
        """The protocols it offers."""
        return self.protocols if name == ALPN_FIELD else []

    def query_values(self, key: str) -> list[str]:
        """It has none."""
        return []
