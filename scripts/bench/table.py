"""What routing tables cost: compiling, installing, matching, by number of routers.

    python scripts/bench/table.py [--sizes 10,1000,10000] [--json FILE]

Matching is measured warm (routes made, sets built) over requests that hit routers spread over the list; a
figure is the best of ``ROUNDS`` means. ``pause`` is the longest stall that a loop running beside the install
saw, with the digest verified and the sets built in a thread as a worker does it.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import platform
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from shared.config.dynamic import LoadBalancer, Server, ServersTransport, Service
from shared.rules import conditions as c
from shared.table.entries import RouterEntry, RouterList, ServiceEntry, TableContent, TransportEntry
from shared.table.reader import Table, open_table, verify_digest
from shared.table.writer import TableWriter
from tests.support.oracle import PlainRequest
from worker.routes import Routes

SIZES = (10, 1_000, 10_000, 100_000)
MAX_UNANCHORED = 10_000
ROUNDS = 5
REQUESTS = 500
TICK_S = 0.0005


def _host(i: int) -> str:
    return f"host-{i}.example.com"


FAMILIES = {
    "host": (lambda i: c.HostIs(_host(i)), lambda i: PlainRequest(host=_host(i))),
    "host+path": (
        lambda i: c.All((c.HostIs(_host(i // 10)), c.PathStarts(f"/api/{i % 10}"))),
        lambda i: PlainRequest(host=_host(i // 10), path=f"/api/{i % 10}/users"),
    ),
    "host|path": (
        lambda i: c.Either((c.HostIs(_host(i)), c.PathIs(f"/only/{i}"))),
        lambda i: PlainRequest(host="other", path=f"/only/{i}"),
    ),
    "path": (lambda i: c.PathStarts(f"/service-{i}/"), lambda i: PlainRequest(path=f"/service-{i}/a/b?c")),
    "header": (
        lambda i: c.All((c.HostIs("one"), c.HeaderIs("x-tenant", str(i)))),
        lambda i: PlainRequest(host="one", headers=[("accept", "*/*"), ("x-tenant", str(i))]),
    ),
    "host regex": (
        lambda i: c.HostMatches(rf"^[a-z0-9-]+\.tenant{i}\.example\.com$"),
        lambda i: PlainRequest(host=f"www.tenant{i}.example.com"),
    ),
    "path regex": (
        lambda i: c.PathMatches(rf"svc{i}-[a-z]+/v[0-9]"),
        lambda i: PlainRequest(path=f"/x/svc{i}-abc/v3"),
    ),
}


def content_of(conditions: list[c.AnyCondition]) -> TableContent:
    count = len(conditions)
    routers = tuple(
        RouterEntry(f"r{i}@file", f"rule {i}", each, 0, (), i) for i, each in enumerate(conditions)
    )
    services = tuple(
        ServiceEntry(
            f"s{i}@file",
            Service(load_balancer=LoadBalancer(servers=(Server(url=f"http://10.0.0.1:{i % 60000}"),))),
            (),
            0,
        )
        for i in range(count)
    )
    transport = (TransportEntry("default@internal", ServersTransport()),)
    return TableContent(routers, (), services, transport, (RouterList("web", False, tuple(range(count))),))


def measure(family: str, size: int) -> dict[str, object]:
    condition, request = FAMILIES[family]
    content = content_of([condition(i) for i in range(size)])
    writer = TableWriter()
    full_ms, data = _timed_ms(lambda: writer.write(content, 1))
    changed = list(content.routers)
    middle = size // 2
    changed[middle] = RouterEntry("r@file", "new", c.HostIs("new"), 0, (), 0)
    edited = TableContent(tuple(changed), (), content.services, content.transports, content.lists)
    again_ms, _ = _timed_ms(lambda: writer.write(edited, 2))
    mapped = _mapped(data)
    pause_ms, table = _install(mapped)
    first_ms, _ = _timed_ms(lambda: _routes(open_table(mapped)).match("web", False, request(middle)))
    step = max(1, size // REQUESTS)
    asked = [request(i) for i in range(0, size, step)]
    figures = _match_us(_routes(table), asked)
    return {
        "rules": family,
        "routers": size,
        "bytes": len(data),
        "write_ms": round(full_ms, 1),
        "rewrite_ms": round(again_ms, 1),
        "pause_ms": round(pause_ms, 2),
        "first_ms": round(first_ms, 2),
        "match_us": round(figures, 2),
    }


def _timed_ms(call):
    start = time.perf_counter()
    result = call()
    return (time.perf_counter() - start) * 1e3, result


def _mapped(data: bytes) -> mmap.mmap:
    descriptor = os.memfd_create("table")
    os.write(descriptor, data)
    mapped = mmap.mmap(descriptor, len(data), access=mmap.ACCESS_READ)
    os.close(descriptor)
    return mapped


def _routes(table: Table) -> Routes:
    return Routes(table, lambda service: None, lambda middleware, router: None)


def _install(mapped: mmap.mmap) -> tuple[float, Table]:
    """Install as a worker does; returns the longest stall of the loop beside it."""
    opened: list[Table] = []

    def prepare() -> None:
        verify_digest(memoryview(mapped))
        opened.append(open_table(mapped))
        opened[0].warm()

    thread = threading.Thread(target=prepare)
    longest = 0.0
    last = time.perf_counter()
    thread.start()
    while True:
        alive = thread.is_alive()
        time.sleep(TICK_S)
        now = time.perf_counter()
        longest = max(longest, now - last - TICK_S)
        last = now
        if not alive:
            break
    thread.join()
    _routes(opened[0])
    longest = max(longest, time.perf_counter() - last)
    return longest * 1e3, opened[0]


def _match_us(routes: Routes, asked: list[PlainRequest]) -> float:
    found = [routes.match("web", False, each) for each in asked]
    assert all(found), "every request of a family must hit"
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        rounds = max(1, 5_000 // len(asked))
        for _ in range(rounds):
            for each in asked:
                routes.match("web", False, each)
        best = min(best, (time.perf_counter() - start) / (rounds * len(asked)))
    return best * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--rules", default=",".join(FAMILIES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    columns = ("rules", "routers", "bytes", "write_ms", "rewrite_ms", "pause_ms", "first_ms", "match_us")
    print("".join(f"{column:>12}" for column in columns))
    for family in options.rules.split(","):
        for size in map(int, options.sizes.split(",")):
            if family == "path regex" and size > MAX_UNANCHORED:
                continue  # beyond MAX_SETS: those are scanned, by design
            row = measure(family, size)
            rows.append(row)
            print("".join(f"{row[column]!s:>12}" for column in columns), flush=True)
    machine = {
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    if options.json:
        options.json.write_text(json.dumps({**machine, "rows": rows}, indent=1))
    else:
        print(json.dumps({**machine, "rows": rows}))


if __name__ == "__main__":
    main()
