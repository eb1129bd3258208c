"""10,000 routes in etcd: from the start to the first answer, memory then, and one key that changes.

A real etcd of one member, which all programs read at the same time; each is started once, so the first sync
is one figure and no median. A change is one key written: the rule of one route.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.bench.bench import Bench
from scripts.bench.changes import WORKERS, change_once
from scripts.bench.measure import Row, Sample, memory_bytes
from scripts.bench.peers.penstock import Penstock
from scripts.bench.peers.program import PREFIX, Program, RunningProgram, Setup, host_of, running
from scripts.bench.peers.traefik import Traefik
from tests.support.kits.base import Route
from tests.support.kits.etcd import EtcdV3Kit

ROUTES = 10_000
MB = 1 << 20
SETTLE_S = 1.0
"""After the first answer, until memory is read."""
KINDS: dict[str, type[Penstock] | type[Traefik]] = {"penstock": Penstock, "traefik": Traefik}


@contextmanager
def _filled_etcd(setup: Setup) -> Iterator[EtcdV3Kit]:
    folder = Path(tempfile.mkdtemp(prefix="pbench-", dir="/tmp"))
    kit = EtcdV3Kit(folder)
    try:
        kit.start()
        url = f"http://127.0.0.1:{setup.upstreams[0]}"
        kit.write([Route(f"r{number}", host_of(number), url) for number in range(setup.routers)])
        yield kit
    finally:
        kit.close()
        shutil.rmtree(folder, ignore_errors=True)


def _reading_keys(name: str, kit: EtcdV3Kit) -> Program:
    """A program whose only provider is etcd."""

    class ReadingKeys(KINDS[name]):  # type: ignore[misc]  # chosen by name
        def prepare(self, setup: Setup, folder: Path, port: int) -> list[str]:
            command: list[str] = super().prepare(setup, folder, port)
            path = folder / "static.yml"
            static = json.loads(path.read_text())
            endpoint = f"{kit.address[0]}:{kit.address[1]}"
            static["providers"] = {"providersThrottleDuration": "1ms", "etcd": {"endpoints": [endpoint]}}
            path.write_text(json.dumps(static))
            return command

        def change(self, setup: Setup, running: RunningProgram, path: str) -> None:
            kit.put({"traefik/http/routers/r0/rule": f"Host(`{host_of(0)}`) && PathPrefix(`{path}`)"})

    made: Program = ReadingKeys(name)
    return made


def routes_in_etcd(bench: Bench) -> None:
    """First sync, memory, and one key that changes."""
    scenario, variant = "etcd", f"{ROUTES:,} routes"
    missing = EtcdV3Kit.missing()
    if missing:
        bench.note(scenario, variant, "penstock", f"not installed: {missing}")
        return
    setup = Setup(bench.origins.small, routers=ROUTES, workers=WORKERS, is_pinned=False)
    chosen = [each.name for each in bench.programs if each.name in KINDS]
    with _filled_etcd(setup) as kit:
        for name in chosen:
            first = Row(scenario, f"{variant}, first sync", name, "start_s")
            change = Row(scenario, f"{variant}, one key changes", name, "live_ms")
            bench.rows += [first, change]
            try:
                kit.put({"traefik/http/routers/r0/rule": f"Host(`{host_of(0)}`) && PathPrefix(`{PREFIX}`)"})
                with running(_reading_keys(name, kit), setup) as program:
                    time.sleep(SETTLE_S)
                    memory = memory_bytes(program.processes()) / MB
                    first.rounds.append({"start_s": program.start_s, "mb": memory})
                    change.rounds += _changes(program, setup, bench.rounds)
            except RuntimeError as error:
                first.problem = change.problem = str(error)


def _changes(program: RunningProgram, setup: Setup, rounds: int) -> list[Sample]:
    return [change_once(program, setup, number) for number in range(1, rounds + 1)]
