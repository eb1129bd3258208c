"""Caddy, with its native JSON. Many routers are many routes, which it walks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scripts.bench.peers.program import PREFIX, Program, Setup, host_of


class Caddy(Program):
    """Caddy as a reverse proxy."""

    command_name = "caddy"
    version_flags = ("version",)
    package = "apt-get install caddy"

    def cannot(self, setup: Setup) -> str:
        """Its passwords are bcrypt only and it has no rate limit: not the same work."""
        return "has no {SHA} passwords and no rate limit" if setup.has_chain else ""

    def prepare(self, setup: Setup, folder: Path, port: int) -> list[str]:
        """One file."""
        upstreams = [{"dial": f"127.0.0.1:{each}"} for each in setup.upstreams]
        balancing = {"selection_policy": {"policy": "round_robin"}}
        forward = [{"handler": "reverse_proxy", "upstreams": upstreams, "load_balancing": balancing}]
        routes: list[dict[str, Any]] = [
            {
                "match": [{"host": [host_of(router)], "path": [f"{PREFIX}*"]}],
                "handle": forward,
                "terminal": True,
            }
            for router in range(setup.routers)
        ]
        last = [{"handler": "static_response", "status_code": 404}] if setup.routers else forward
        server: dict[str, Any] = {
            "listen": [f"127.0.0.1:{port}"],
            "automatic_https": {"disable": True},
            "protocols": ["h1"],
            "routes": [*routes, {"handle": last}],
        }
        logs: dict[str, Any] = {"default": {"level": "ERROR", "exclude": ["http.log.access"]}}
        if setup.has_access_log:
            server["logs"] = {}
            writer = {"output": "file", "filename": str(folder / "access.log"), "roll": False}
            logs["access"] = {"writer": writer, "include": ["http.log.access"]}
        config = {
            "admin": {"disabled": True, "config": {"persist": False}},
            "logging": {"logs": logs},
            "apps": {"http": {"servers": {"web": server}}},
        }
        (folder / "caddy.json").write_text(json.dumps(config))
        return [self.find(), "run", "--config", str(folder / "caddy.json")]

    def environment(self, folder: Path) -> dict[str, str]:
        """Everything it would write at home goes into the folder."""
        return {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
