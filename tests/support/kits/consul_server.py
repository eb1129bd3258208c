"""What both kits of the Consul stand-in share: its life."""

from __future__ import annotations

from pathlib import Path

from tests.support.consul.server import ConsulStandIn
from tests.support.kits.base import Kit
from tests.support.ports import reserve_port


class ConsulServerKit(Kit):
    """A stand-in on a port of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port = reserve_port()
        self.server = ConsulStandIn(self._port.number)

    @classmethod
    def missing(cls) -> str:
        return ""

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._port.number

    def start(self) -> None:
        if not self.server.is_running:
            self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def close(self) -> None:
        self.server.stop(gracefully=False)
        self._port.release()
