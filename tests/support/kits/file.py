"""A directory of files, one for each route."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.support.kits.base import Kit, Route

TEXT = """http:
  routers:
    {route.name}: {{rule: "Host(`{route.host}`)", service: {route.name}{more}}}
  services:
    {route.name}: {{loadBalancer: {{servers: [{{url: "{route.url}"}}]}}}}
"""


class FileKit(Kit):
    """``providers.file``."""

    provider = "file"
    has_network = False
    has_passwords = False
    many = 2_000
    """Files; the limit is 10,000, and writing them takes longer than reading."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._rules = folder / "rules"
        self._rules.mkdir()

    @classmethod
    def missing(cls) -> str:
        return ""

    @property
    def address(self) -> tuple[str, int]:
        return str(self._rules), 0

    def start(self) -> None:
        """There is no server."""

    def stop(self) -> None:
        """There is no server."""

    def clear(self) -> None:
        for path in self._rules.iterdir():
            path.unlink()

    def settings(self, host: str, port: int, password: str = "") -> str:
        return f'[providers.file]\ndirectory = "{host}"\n'

    def write(self, routes: Sequence[Route]) -> None:
        for route in routes:
            self._replace(route, TEXT.format(route=route, more=""))

    def remove(self, routes: Sequence[Route]) -> None:
        for route in routes:
            (self._rules / f"{route.name}.yml").unlink()

    def spoil(self, route: Route) -> str:
        self._replace(route, TEXT.format(route=route, more=", bogus: 1"))
        return f"http.routers.{route.name}.bogus"

    def write_half(self, route: Route) -> None:
        self._replace(route, TEXT.format(route=route, more="")[:40])

    def _replace(self, route: Route, text: str) -> None:
        new = self.folder / f"{route.name}.new"
        new.write_text(text)
        new.replace(self._rules / f"{route.name}.yml")
