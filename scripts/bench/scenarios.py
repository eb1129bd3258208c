"""What is measured. Each scenario starts its programs, lets them take turns, and leaves rows in the run."""

from __future__ import annotations

import time
from collections.abc import Callable

from scripts.bench import streams
from scripts.bench.bench import Bench, sample_of
from scripts.bench.changes import measure_changes, measure_install
from scripts.bench.keys import routes_in_etcd
from scripts.bench.load import UNIQUE_HEADS, UPLOAD, Ask, Outcome, new_connections
from scripts.bench.measure import Row, Sample, memory_bytes, timed
from scripts.bench.peers.program import AUTHORIZATION, PREFIX, RunningProgram, Setup, host_of, running

MB = 1 << 20
LARGE_BYTES = 100 * MB
TRANSFERS = 5
"""Per turn: one costs some 40 ms of CPU, and the kernel counts in steps of 10 ms."""
AB_REQUESTS, AB_REQUESTS_QUICK = 20_000, 5_000
HANDSHAKES, HANDSHAKES_QUICK = 5_000, 1_500
MESSAGES, MESSAGES_QUICK = 20_000, 5_000
IDLE, IDLE_QUICK = 2_000, 1_000
IDLE_WARM = 50
SETTLE_S = 0.5
"""After the last answer, until the memory of idle connections is read."""
MANY_WORKERS = 4
NOT_IN_THOUSANDS = frozenset({"nginx-http10", "penstock-general"})
"""Variants of programs that are there anyway: what they change has nothing to do with routing."""


def small_answers(bench: Bench) -> None:
    """A small answer over kept connections, access log on: the same request all the time, and none twice."""
    with bench.side_by_side("keep-alive", Setup(bench.origins.small)) as programs:
        bench.warm(programs, Ask())
        bench.compare("keep-alive", "same head", "cpu_us", programs, bench.load(Ask()))
        unique = Ask(script=UNIQUE_HEADS)
        bench.compare("keep-alive", "unique heads", "cpu_us", programs, bench.load(unique))
    if bench.is_quick:
        return
    with bench.side_by_side("keep-alive", Setup(bench.origins.small, has_access_log=False)) as programs:
        bench.warm(programs, Ask())
        bench.compare("keep-alive", "same head, no access log", "cpu_us", programs, bench.load(Ask()))


def connection_per_request(bench: Bench) -> None:
    """``ab -c 20``: a new connection for every request."""
    count = AB_REQUESTS_QUICK if bench.is_quick else AB_REQUESTS

    def work(program: RunningProgram) -> Sample:
        outcome: list[Outcome] = []
        cpu, _ = timed(
            program.processes(), lambda: outcome.append(new_connections(program.port, Ask(), count))
        )
        return sample_of(outcome[0], cpu)

    with bench.side_by_side("new connections", Setup(bench.origins.small)) as programs:
        bench.warm(programs, Ask())
        bench.compare("new connections", f"ab -n {count} -c 20", "cpu_us", programs, work)


def many_routers(bench: Bench) -> None:
    """10 to 100,000 routers of host and path; the request is for the first, the last, or none of them."""
    sizes = [10, 10_000] if bench.is_quick else [10, 1_000, 10_000]
    chosen = [each for each in bench.programs if each.name not in NOT_IN_THOUSANDS]
    for size in [*sizes, 100_000] if bench.is_long else sizes:
        asked = {
            "first": Ask(f"{PREFIX}/users", host_of(0)),
            "last": Ask(f"{PREFIX}/users", host_of(size - 1)),
            "missing": Ask(f"{PREFIX}/users", "nobody.test", is_hit=False),
        }
        with bench.side_by_side("routers", Setup(bench.origins.small, routers=size), chosen) as programs:
            bench.warm(programs, asked["last"])
            for name in ["last"] if bench.is_quick else asked:
                bench.compare("routers", f"{size:,}, {name}", "cpu_us", programs, bench.load(asked[name]))


def middlewares(bench: Bench) -> None:
    """stripPrefix, headers, basicAuth and rateLimit in front of a small answer."""
    asked = Ask(f"{PREFIX}/users", fields={"Authorization": AUTHORIZATION})
    with bench.side_by_side("middlewares", Setup(bench.origins.small, has_chain=True)) as programs:
        bench.warm(programs, asked)
        bench.compare("middlewares", "strip, headers, auth, rate", "cpu_us", programs, bench.load(asked))


def bodies(bench: Bench) -> None:
    """Bodies each way: of 100 MB one after the other, of 1 MB several at a time."""

    def move(transfer: Callable[[int, int], None]) -> Callable[[RunningProgram], Sample]:
        def repeat(port: int) -> None:
            for _ in range(TRANSFERS):
                transfer(port, LARGE_BYTES)

        def work(program: RunningProgram) -> Sample:
            cpu, wall = timed(program.processes(), lambda: repeat(program.port))
            return {"cpu_ms": cpu / TRANSFERS * 1e3, "mb_per_s": LARGE_BYTES / MB * TRANSFERS / wall}

        return work

    with bench.side_by_side("bodies", Setup(bench.origins.bodies)) as programs:
        bench.compare("bodies", "100 MB download", "cpu_ms", programs, move(streams.download))
        bench.compare("bodies", "100 MB upload", "cpu_ms", programs, move(streams.upload))
        if bench.is_quick:
            return
        few = 8  # connections: a megabyte on the way for each
        down = Ask(f"/bytes/{MB}", connections=few)
        up = Ask("/upload", connections=few, script=UPLOAD.replace("{size}", str(MB)))
        bench.compare("bodies", "1 MB downloads", "cpu_us", programs, bench.load(down))
        bench.compare("bodies", "1 MB uploads", "cpu_us", programs, bench.load(up))


def websockets(bench: Bench) -> None:
    """64-byte messages and their echo, 16 connections."""
    count = MESSAGES_QUICK if bench.is_quick else MESSAGES

    def work(program: RunningProgram) -> Sample:
        cpu, wall = timed(program.processes(), lambda: streams.exchange_messages(program.port, count))
        return {"cpu_us": cpu / count * 1e6, "per_s": count / wall}

    chosen = [each for each in bench.programs if each.name != "nginx-http10"]  # has no upgrades
    with bench.side_by_side("websocket", Setup(bench.origins.bodies), chosen) as programs:
        bench.compare("websocket", "message and echo", "cpu_us", programs, work)


def idle_connections(bench: Bench) -> None:
    """Memory of all processes for each connection that waits for its next request. One round: no noise."""
    count = IDLE_QUICK if bench.is_quick else IDLE
    with bench.side_by_side("idle", Setup(bench.origins.small)) as programs:
        for program in programs:
            row = Row("idle", f"{count} connections", program.name, "bytes_each")
            try:
                with streams.idle_connections(program.port, IDLE_WARM):
                    time.sleep(SETTLE_S)
                    before = memory_bytes(program.processes())
                    with streams.idle_connections(program.port, count):
                        time.sleep(SETTLE_S)
                        after = memory_bytes(program.processes())
                row.rounds.append({"bytes_each": max(0, after - before) / count})
            except (OSError, RuntimeError) as error:
                row.problem = str(error)
            bench.rows.append(row)


def start_and_memory(bench: Bench) -> None:
    """From the start to the first answer, and the memory then, also with many routers and workers."""
    setups = {
        "1 router, 1 worker": Setup(bench.origins.small),
        f"10,000 routers, {MANY_WORKERS} workers": Setup(
            bench.origins.small, routers=10_000, workers=MANY_WORKERS, is_pinned=False
        ),
    }
    if bench.is_long:
        setups[f"100,000 routers, {MANY_WORKERS} workers"] = Setup(
            bench.origins.small, routers=100_000, workers=MANY_WORKERS, is_pinned=False
        )
    chosen = [each for each in bench.programs if each.name not in NOT_IN_THOUSANDS]
    for name, setup in setups.items():
        rounds = 1 if bench.is_quick or setup.routers else bench.rounds
        for program in chosen:
            starts = Row("start", name, program.name, "start_s")
            memory = Row("memory", name, program.name, "mb")
            try:
                for _ in range(rounds):
                    with running(program, setup) as each:
                        time.sleep(SETTLE_S)
                        starts.rounds.append({"start_s": each.start_s})
                        memory.rounds.append({"mb": memory_bytes(each.processes()) / MB})
            except RuntimeError as error:
                starts.problem = str(error)
            bench.rows += [starts, memory]


def tls(bench: Bench) -> None:
    """A small answer over kept TLS connections, and a handshake for every request (ECDSA P-256)."""
    asked = Ask(has_tls=True)
    count = HANDSHAKES_QUICK if bench.is_quick else HANDSHAKES

    def handshakes(program: RunningProgram) -> Sample:
        outcome: list[Outcome] = []
        cpu, _ = timed(
            program.processes(), lambda: outcome.append(new_connections(program.port, asked, count))
        )
        return sample_of(outcome[0], cpu)

    chosen = [each for each in bench.programs if each.can_tls and each.name not in NOT_IN_THOUSANDS]
    with bench.side_by_side("tls", Setup(bench.origins.small, has_tls=True), chosen) as programs:
        bench.warm(programs, asked)
        bench.compare("tls", "keep-alive", "cpu_us", programs, bench.load(asked))
        bench.compare("tls", f"handshakes, ab -n {count} -c 20", "cpu_us", programs, handshakes)


SCENARIOS: dict[str, Callable[[Bench], None]] = {
    "keep-alive": small_answers,
    "new-connections": connection_per_request,
    "routers": many_routers,
    "middlewares": middlewares,
    "bodies": bodies,
    "websocket": websockets,
    "idle": idle_connections,
    "reload": measure_changes,
    "etcd": routes_in_etcd,
    "install": measure_install,
    "start": start_and_memory,
    "tls": tls,
}
