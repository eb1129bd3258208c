"""Servers that flap, are slow, reset or fail, behind Penstock and Traefik 3.7.15: the same comes of both.

Both proxies have the same configuration, and servers of their own that follow the same script at the same
time. What is compared are sequences of statuses, who answered, and what arrived (``behaviours.py``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.differential.behaviour_side import DEAD, GRPC_PORT, Scenario, Side
from tests.differential.behaviours import SCENARIOS
from tests.support import traefik
from tests.support.clients import Address, get
from tests.support.grpc_health import GrpcHealth, running_grpc_health
from tests.support.ports import reserve_port
from tests.support.proxy import running_proxy
from tests.support.scripted_upstream import NEVER, ScriptedUpstream, running_upstream

WORKERS = 2
LIVE_TIMEOUT_S = 30.0
PAUSE_S = 0.02
MARKER_HOST = "marker.test"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("integration"),
    pytest.mark.skipif(bool(traefik.missing()), reason=traefik.missing()),
]


class Pair:
    """Both proxies' addresses, and each one's servers by scenario."""

    def __init__(
        self,
        addresses: list[Address],
        servers: list[dict[str, dict[str, ScriptedUpstream]]],
        grpc: list[GrpcHealth],
    ) -> None:
        self.addresses = addresses
        self.servers = servers
        self.grpc = grpc

    def play(self, scenario: Scenario) -> list[object]:
        """What comes of it: ours, theirs. At the same time, so that a busy machine is the same for both."""
        with ThreadPoolExecutor(2) as threads:
            return list(threads.map(lambda number: self._play(scenario, number), range(2)))

    def _play(self, scenario: Scenario, number: int) -> object:
        servers = self.servers[number][scenario.name]
        side = Side(self.addresses[number], f"{scenario.name}.test", servers, self.grpc[number])
        try:
            return scenario.play(side)
        finally:
            side.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder: Path = tmp_path_factory.mktemp("behaviour")
    with ExitStack() as stack:
        dead_url = f"http://127.0.0.1:{stack.enter_context(reserve_port()).number}"
        servers = [_running_servers(stack) for _ in range(2)]
        grpc = [stack.enter_context(running_grpc_health()) for _ in range(2)]
        theirs = stack.enter_context(
            traefik.running_traefik(
                folder / "theirs", _static, _dynamic(servers[1], dead_url, grpc[1]), entrypoints=["web"]
            )
        )
        (folder / "ours").mkdir()
        ours = stack.enter_context(
            running_proxy(
                folder / "ours",
                static=lambda ports: json.dumps(_static(ports)),
                dynamic=_dynamic(servers[0], dead_url, grpc[0]),
                workers=WORKERS,
            )
        )
        addresses = [ours.address(), theirs.address("web")]
        for address in addresses:
            _wait_until_live(address)
        yield Pair(addresses, servers, grpc)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_same_comes_of_both(pair: Pair, scenario: Scenario) -> None:
    ours, theirs = pair.play(scenario)
    assert ours == scenario.expected
    assert theirs == (scenario.theirs if scenario.difference else ours)


def _running_servers(stack: ExitStack) -> dict[str, dict[str, ScriptedUpstream]]:
    return {
        each.name: {name: stack.enter_context(running_upstream(name)) for name in each.servers}
        for each in SCENARIOS
    }


def _static(ports: Mapping[str, int]) -> dict[str, Any]:
    return {
        "entryPoints": {"web": {"address": f"127.0.0.1:{ports['web']}"}},
        "providers": {"providersThrottleDuration": "20ms", "file": {"directory": "dynamic", "watch": True}},
    }


def _dynamic(servers: Mapping[str, Mapping[str, ScriptedUpstream]], dead_url: str, grpc: GrpcHealth) -> str:
    """All scenarios in one document; every name begins with its scenario's."""
    http: dict[str, dict[str, Any]] = {}
    for scenario in SCENARIOS:
        urls = {DEAD: dead_url, **{name: each.url for name, each in servers[scenario.name].items()}}
        steps = {f"{scenario.name}-{number}": step for number, step in enumerate(scenario.middlewares)}
        router = {
            "rule": f"Host(`{scenario.name}.test`)",
            "service": f"{scenario.name}-main",
            **({"middlewares": list(steps)} if steps else {}),
        }
        http.setdefault("routers", {})[scenario.name] = router
        http.setdefault("middlewares", {}).update(steps)
        for section, objects in scenario.http(urls).items():
            renamed = {
                f"{scenario.name}-{name}": _renamed(each, scenario.name) for name, each in objects.items()
            }
            http.setdefault(section, {}).update(renamed)
    http["middlewares"]["marker"] = {"headers": {"customResponseHeaders": {"X-Live": "1"}}}
    http["routers"]["marker"] = {
        "rule": f"Host(`{MARKER_HOST}`)",
        "service": "dead-main",
        "middlewares": ["marker"],
    }
    return json.dumps({"http": http}).replace(json.dumps(GRPC_PORT), str(grpc.address[1]))


def _renamed(options: Any, prefix: str) -> Any:
    """Service options whose references to other objects begin with the scenario's name."""
    if isinstance(options, list):
        return [_renamed(each, prefix) for each in options]
    if not isinstance(options, dict):
        return options
    return {
        key: f"{prefix}-{value}"
        if key in ("service", "fallback", "serversTransport") or (key == "name" and _is_reference(options))
        else _renamed(value, prefix)
        for key, value in options.items()
    }


def _is_reference(options: Mapping[str, Any]) -> bool:
    """Whether a mapping with a name refers to a service: a cookie's name is just a name."""
    return "weight" in options or "percent" in options


def _wait_until_live(address: Address) -> None:
    waited_s = 0.0
    while get(address, "/", host=MARKER_HOST).header("X-Live") != "1":
        if waited_s > LIVE_TIMEOUT_S:
            raise AssertionError(f"the configuration is not live at {address}")
        NEVER.wait(PAUSE_S)
        waited_s += PAUSE_S
