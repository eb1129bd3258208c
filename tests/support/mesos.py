"""A stand-in for a Mesos master: its state, a standby's redirect, and faults."""

from __future__ import annotations

import json
from typing import Any

from tests.support.stand_in import StandIn, StandInHandler

AGENT = "agent-S1"


class MesosStandIn(StandIn):
    """A master. What it holds outlives its stops.

    Args:
        port: where it listens.

    Attributes:
        tasks: by id, as the API shows them.
        leader: ``host:port`` of another master that leads; empty if this one does.
        is_old: whether it answers under the old path only, and gives an empty state instead of a redirect.
        fault: ``no leader``, ``just elected``, ``page`` or empty.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port, _Handler)
        self.tasks: dict[str, dict[str, Any]] = {}
        self.leader = ""
        self.is_old = False
        self.fault = ""

    @property
    def state(self) -> dict[str, Any]:
        """What it says when it is asked."""
        me = f"master@127.0.0.1:{self.port}"
        gone = self.fault == "just elected"
        agents = [{"id": AGENT, "pid": "slave(1)@127.0.0.1:5051", "hostname": "node-1", "active": True}]
        framework = {"id": "F1", "name": "marathon", "active": True, "tasks": list(self.tasks.values())}
        empty = bool(self.leader) or gone
        return {
            "version": "1.9.0",
            "pid": me,
            "leader": f"master@{self.leader}" if self.leader else me,
            "slaves": [] if empty else agents,
            "recovered_slaves": agents if gone else [],
            "frameworks": [] if empty else [framework],
        }


class _Handler(StandInHandler):
    stand_in: MesosStandIn

    def do_GET(self) -> None:
        stand_in = self.stand_in
        paths = ("/state.json",) if stand_in.is_old else ("/state", "/state.json", "/master/state")
        if self.path not in paths:
            self.send(404, b"", "text/plain")
        elif stand_in.fault == "no leader":
            self.send(503, b"No leader elected", "text/plain")
        elif stand_in.fault == "page":
            self.send(200, b"<html>sign in</html>", "text/html")
        elif stand_in.leader and not stand_in.is_old:
            self.send(307, b"", "text/plain", {"Location": f"//{stand_in.leader}{self.path}"})
        else:
            self.send(200, json.dumps(stand_in.state).encode(), "application/json")


def make_task(name: str, labels: dict[str, str], *ports: int, number: int = 1, **more: Any) -> dict[str, Any]:
    """A running task with ports of its agent, which is 127.0.0.1."""
    return {
        "id": f"{name}.instance-{number}._app.1",
        "name": name,
        "framework_id": "F1",
        "slave_id": AGENT,
        "state": "TASK_RUNNING",
        "resources": {"cpus": 0.1, "ports": f"[{', '.join(f'{each}-{each}' for each in ports)}]"},
        "statuses": [
            {
                "state": "TASK_RUNNING",
                "timestamp": 1772359202.2,
                "container_status": {"network_infos": [{"ip_addresses": [{"ip_address": "172.17.0.2"}]}]},
            }
        ],
        "labels": [{"key": key, "value": value} for key, value in labels.items()],
        "discovery": {
            "name": name,
            "ports": {"ports": [{"number": each, "protocol": "tcp"} for each in ports]},
        },
        **more,
    }
