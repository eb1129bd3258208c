"""How long a change takes and what it costs: one router among many.

A change counts as live when ``ASK_TIMES`` new connections in a row got the new answer, so that every worker
was asked; the figure is the time from the write to the first of those. Nothing is pinned here, and two
workers serve, as they would in service. Beside it a client asks for another route without a break: its
longest wait is the pause that clients see.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from scripts.bench.bench import Bench, say
from scripts.bench.machine import PROJECT
from scripts.bench.measure import Row, Sample, cpu_s
from scripts.bench.peers.program import PREFIX, RunningProgram, Setup, host_of
from scripts.bench.waiting import ask

ASK_TIMES = 8
LIVE_LIMIT_S = 120.0
WORKERS = 2
CPU_SETTLE_S = 0.5
"""After a change is live, until its CPU time is read: collectors and caches have their share in it."""
INSTALL_SIZES = "10000,100000"
INSTALL_LIMIT_S = 600.0


class Beholder(threading.Thread):
    """A client that asks again as soon as it was answered, and keeps the longest wait."""

    def __init__(self, port: int, host: str) -> None:
        super().__init__(daemon=True)
        self.longest_s = 0.0
        self._port = port
        self._request = f"GET {PREFIX}/x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self._is_over = threading.Event()

    def run(self) -> None:
        """Ask until stopped."""
        connection = socket.create_connection(("127.0.0.1", self._port), LIVE_LIMIT_S)
        while not self._is_over.wait(0.001):
            began = time.perf_counter()
            connection.sendall(self._request)
            if not connection.recv(65536):  # a worker that was replaced ends its idle connections
                connection.close()
                connection = socket.create_connection(("127.0.0.1", self._port), LIVE_LIMIT_S)
                continue
            self.longest_s = max(self.longest_s, time.perf_counter() - began)
        connection.close()

    def finish(self) -> float:
        """Stop asking. Returns the longest wait in seconds."""
        self._is_over.set()
        self.join(LIVE_LIMIT_S)
        return self.longest_s


def measure_changes(bench: Bench) -> None:
    """One router among 10,000, with ``--long`` among 100,000 too, the throttle aside."""
    chosen = [
        each for each in bench.programs if each.can_change and each.name in ("penstock", "nginx", "traefik")
    ]
    for size in (10_000, 100_000) if bench.is_long else (10_000,):
        setup = Setup(bench.origins.small, routers=size, workers=WORKERS, is_pinned=False)
        with bench.side_by_side("reload", setup, chosen) as programs:
            numbers = {each.name: 0 for each in programs}

            def work(
                program: RunningProgram, setup: Setup = setup, numbers: dict[str, int] = numbers
            ) -> Sample:
                numbers[program.name] += 1
                return change_once(program, setup, numbers[program.name])

            bench.compare("reload", f"1 of {size:,} routers", "live_ms", programs, work)


def change_once(program: RunningProgram, setup: Setup, number: int) -> Sample:
    """Let the first router take another path only, and wait until every worker does so.

    Args:
        number: makes the path one that was not there before.

    Raises:
        RuntimeError: the change does not become live.
    """
    path = f"/change{number}"
    before = cpu_s(program.processes())
    beholder = Beholder(program.port, host_of(setup.routers - 1))
    beholder.start()
    began = first = time.perf_counter()
    program.program.change(setup, program, path)
    in_a_row = 0
    while in_a_row < ASK_TIMES:
        if time.perf_counter() - began > LIVE_LIMIT_S:
            raise RuntimeError(f"a change is not live after {LIVE_LIMIT_S:g} s")
        asked = time.perf_counter()
        is_new = ask(program.port, f"{path}/x", host_of(0)) == 200
        in_a_row = in_a_row + 1 if is_new else 0
        if in_a_row == 1:
            first = asked
    longest_s = beholder.finish()
    time.sleep(CPU_SETTLE_S)
    return {
        "live_ms": (first - began) * 1e3,
        "cpu_ms": (cpu_s(program.processes()) - before) * 1e3,
        "longest_answer_ms": longest_s * 1e3,
    }


def measure_install(bench: Bench) -> None:
    """The longest pause of a loop while a table is taken, by ``scripts/bench/table.py``. Ours only."""
    with tempfile.TemporaryDirectory(prefix="pbench-") as folder:
        result = Path(folder) / "table.json"
        command = [sys.executable, "scripts/bench/table.py", "--rules", "host+path", "--sizes", INSTALL_SIZES]
        done = subprocess.run(
            [*command, "--json", str(result)],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=INSTALL_LIMIT_S,
        )
        if done.returncode != 0:
            bench.note("install", "", "penstock", f"scripts/bench/table.py failed: {done.stderr[-300:]}")
            return
        for found in json.loads(result.read_text())["rows"]:
            row = Row("install", f"{found['routers']:,} routers", "penstock", "pause_ms")
            row.rounds.append(
                {name: found[name] for name in ("pause_ms", "rewrite_ms", "match_us", "write_ms")}
            )
            bench.rows.append(row)
            say(f"install: {found}")
