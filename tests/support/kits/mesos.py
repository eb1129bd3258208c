"""A stand-in for a Mesos master, whose tasks are routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from providers import mesos
from tests.support.kits import labelled
from tests.support.kits.base import Kit, Route
from tests.support.mesos import MesosStandIn, make_task
from tests.support.ports import reserve_port

REFRESH_S = 0.1


class MesosKit(Kit):
    """v1's labels; a task that is still being staged is half a route."""

    provider = "mesos"
    many = 500
    has_passwords = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port = reserve_port()
        self.server = MesosStandIn(self._port.number)
        self._more = ""
        # Settings count in whole seconds; a suite that waits for every look should not.
        self._usual_refresh_s, mesos.DEFAULT_REFRESH_S = mesos.DEFAULT_REFRESH_S, REFRESH_S

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
        mesos.DEFAULT_REFRESH_S = self._usual_refresh_s
        self.server.stop()
        self._port.release()

    def clear(self) -> None:
        self.server.tasks = {}

    def settings(self, host: str, port: int, password: str = "") -> str:
        return (
            f'[mesos]\nendpoint = "http://{host}:{port}"\ndomain = "test"\nrefreshSeconds = 0\n{self._more}'
        )

    def write(self, routes: Sequence[Route]) -> None:
        self.server.tasks |= {each.name: self._task(each, {}) for each in routes}

    def remove(self, routes: Sequence[Route]) -> None:
        gone = {each.name for each in routes}
        self.server.tasks = {name: task for name, task in self.server.tasks.items() if name not in gone}

    def spoil(self, route: Route) -> str:
        label, value = labelled.V1.spoilt(route)
        self.server.tasks[route.name] = self._task(route, {label: value})
        return f"task {route.name}.instance-1._app.1: label {label}"

    def write_half(self, route: Route) -> None:
        self.server.tasks[route.name] = {**self._task(route, {}), "state": "TASK_STAGING", "statuses": []}

    def make_impatient(self, set_constant: Callable[[str, float], None]) -> None:
        self._more = "stateTimeoutSecond = 1\n"

    def _task(self, route: Route, more: dict[str, str]) -> dict[str, object]:
        return make_task(route.name, {**labelled.V1.labels(route), **more}, labelled.port_of(route))
