"""A stand-in for Marathon, whose applications are routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.kits import labelled
from tests.support.kits.base import Kit, Route
from tests.support.marathon import MarathonStandIn, make_app
from tests.support.ports import reserve_port


class MarathonKit(Kit):
    """v1's labels; an application without a task is half a route."""

    provider = "marathon"
    many = 2_000

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port = reserve_port()
        self.server = MarathonStandIn(self._port.number)

    @classmethod
    def missing(cls) -> str:
        return ""

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._port.number

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def close(self) -> None:
        self.server.stop()
        self._port.release()

    def clear(self) -> None:
        self.server.credentials = None
        for app_id in list(self.server.apps):
            self.server.remove(app_id)

    def settings(self, host: str, port: int, password: str = "") -> str:
        basic = f'[marathon.basic]\nhttpBasicAuthUser = "proxy"\nhttpBasicPassword = "{password}"\n'
        return f'[marathon]\nendpoint = "http://{host}:{port}"\ndomain = "test"\n{basic if password else ""}'

    def write(self, routes: Sequence[Route]) -> None:
        for route in routes:
            self.server.put(make_app(f"/{route.name}", labelled.V1.labels(route), labelled.port_of(route)))

    def remove(self, routes: Sequence[Route]) -> None:
        for route in routes:
            self.server.remove(f"/{route.name}")

    def spoil(self, route: Route) -> str:
        label, value = labelled.V1.spoilt(route)
        labels = {**labelled.V1.labels(route), label: value}
        self.server.put(make_app(f"/{route.name}", labels, labelled.port_of(route)))
        return f"app /{route.name}: label {label}"

    def write_half(self, route: Route) -> None:
        self.server.put(make_app(f"/{route.name}", labelled.V1.labels(route), tasks=[]))

    def set_password(self, password: str) -> None:
        self.server.credentials = f"proxy:{password}"
        self.server.end_streams()

    def make_impatient(self, set_constant: Callable[[str, float], None]) -> None:
        set_constant("providers.marathon.SILENCE_S", 1.5)
        set_constant("providers.api_client.ANSWER_TIMEOUT_S", 1.0)
