"""The program of this project, as it is installed beside the Python that runs this."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from scripts.bench.peers.dialect import change_first_router, write_rules
from scripts.bench.peers.program import Program, RunningProgram, Setup


class Penstock(Program):
    """Penstock, with both lanes or with the general one for everything."""

    version_flags = ("version",)
    package = "scripts/bench/run installs it"
    can_change = True
    can_tls = True

    def __init__(self, name: str, *, is_general_only: bool = False) -> None:
        super().__init__(name)
        self._is_general_only = is_general_only

    def find(self) -> str:
        """The installed command beside this Python."""
        path = Path(sys.executable).with_name("penstock")
        return str(path) if path.exists() else ""

    def prepare(self, setup: Setup, folder: Path, port: int) -> list[str]:
        """A static file, the rules in a watched folder, and the throttle out of the way."""
        write_rules(setup, folder / "rules")
        static: dict[str, object] = {
            "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}},
            "providers": {
                "providersThrottleDuration": "1ms",
                "file": {"directory": str(folder / "rules"), "watch": True},
            },
            "log": {"level": "INFO"},
        }
        if setup.has_access_log:
            static["accessLog"] = {"filePath": str(folder / "access.log")}
        (folder / "static.yml").write_text(json.dumps(static))
        flags = [
            f"--workers={setup.workers}",
            f"--runtimeDir={folder / 'run'}",
            f"--stateDir={folder / 'state'}",
        ]
        return [self.find(), "start", f"--configFile={folder / 'static.yml'}", *flags]

    def environment(self, folder: Path) -> dict[str, str]:
        """The switch between the lanes."""
        return {"PENSTOCK_GENERAL_LANE_ONLY": "1"} if self._is_general_only else {}

    def change(self, setup: Setup, running: RunningProgram, path: str) -> None:
        """One file changes; the provider watches."""
        change_first_router(setup, running.folder / "rules", path)
