"""A real Docker engine, whose containers are routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.support.docker_engine import DockerEngine, docker_engine, missing_part
from tests.support.kits import labelled
from tests.support.kits.base import Kit, Route
from tests.support.ports import reserve_port


class DockerKit(Kit):
    """v2's labels, on containers in the host's network; a container that is only created is half a route."""

    provider = "docker"
    many = 8
    has_passwords = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._stack = ExitStack()
        self._port = self._stack.enter_context(reserve_port())
        self._engine: DockerEngine | None = None
        self._is_running = False

    @classmethod
    def missing(cls) -> str:
        return missing_part()

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._port.number

    @property
    def engine(self) -> DockerEngine:
        """The engine, once started."""
        assert self._engine is not None, "the kit was not started"
        return self._engine

    def start(self) -> None:
        if self._engine is None:
            host = f"--host=tcp://127.0.0.1:{self._port.number}"
            self._engine = self._stack.enter_context(docker_engine(host, "--tls=false"))
        elif not self._is_running:
            self._engine.start()
        self._is_running = True

    def stop(self) -> None:
        if self._is_running:
            self.engine.stop()
            self._is_running = False

    def close(self) -> None:
        if self._engine is not None:
            self.start()
        self._stack.close()

    def clear(self) -> None:
        self.engine.remove_all()

    def settings(self, host: str, port: int, password: str = "") -> str:
        return f'[providers.docker]\nendpoint = "tcp://{host}:{port}"\n'

    def write(self, routes: Sequence[Route]) -> None:
        present = set(self.engine("ps", "--all", "--format={{.Names}}").split())
        self.engine.remove(*(_name(each) for each in routes if _name(each) in present))
        for route in routes:
            self.engine.run(_name(route), self._labels(route), "--network=host")

    def remove(self, routes: Sequence[Route]) -> None:
        self.engine.remove(*map(_name, routes))

    def spoil(self, route: Route) -> str:
        label, value = labelled.V2.spoilt(route)
        self.engine.remove(_name(route))
        self.engine.run(_name(route), {**self._labels(route), label: value}, "--network=host")
        return f"container {_name(route)}: label {label}"

    def write_half(self, route: Route) -> None:
        self.engine.create(_name(route), self._labels(route), "--network=host")

    def make_impatient(self, set_constant: Callable[[str, float], None]) -> None:
        set_constant("providers.docker.LOOK_AGAIN_S", 0.3)
        set_constant("providers.api_client.ANSWER_TIMEOUT_S", 1.0)

    def _labels(self, route: Route) -> dict[str, str]:
        port = {f"traefik.http.services.{route.name}.loadbalancer.server.port": str(labelled.port_of(route))}
        return {**labelled.V2.labels(route), **port}


def _name(route: Route) -> str:
    """Containers need names of two letters at least."""
    return f"kit-{route.name}"
