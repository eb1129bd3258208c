"""What the features between match and server cost: CPU per request with all of them on the route, and bare.

    python scripts/bench/features.py [--seconds 5] [--rounds 3] [--workers 1] [--json FILE]

Starts the installed penstock in front of a small server of our own, and lets wrk ask for the bare route and
for the others in turn. CPU is user + system of all of the proxy's processes; the median of the rounds is
shown. On a busy machine the differences drown in noise: rounds that differ by more than them say nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

PENSTOCK = Path(sys.executable).with_name("penstock")
START_LIMIT_S = 60.0
CONNECTIONS = 16
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + b"x" * 300
FEATURES = {
    "bare": (),
    "circuitBreaker": ("breaker",),
    "retry": ("retry",),
    "inFlightReq": ("inflight",),
    "rateLimit": ("rate",),
    "all": ("rate", "inflight", "breaker", "retry"),
}
MIDDLEWARES = """
    breaker: {circuitBreaker: {expression: "NetworkErrorRatio() > 0.5 || LatencyAtQuantileMS(99.0) > 60000"}}
    retry: {retry: {attempts: 2}}
    inflight: {inFlightReq: {amount: 1000000}}
    rate: {rateLimit: {average: 1000000000, burst: 1000000000}}
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    wrk = shutil.which("wrk")
    if wrk is None:
        print("features: skipped, as there is no wrk (apt-get install wrk)")
        return
    with tempfile.TemporaryDirectory(prefix="pf") as folder:
        outcome = measure(Path(folder), wrk, options)
    print(json.dumps(outcome, indent=2))
    if options.json:
        options.json.write_text(json.dumps(outcome))


def measure(folder: Path, wrk: str, options: argparse.Namespace) -> dict[str, object]:
    """CPU microseconds per request, by feature."""
    origin = subprocess.Popen([sys.executable, __file__, "origin"], stdout=subprocess.PIPE, text=True)
    assert origin.stdout is not None, "it was asked for"
    rules = folder / "rules"
    rules.mkdir()
    (rules / "rules.yml").write_text(rules_text(int(origin.stdout.readline())))
    port = free_port()
    command = [
        str(PENSTOCK), "start", "--runtimeDir", str(folder / "run"), "--workers", str(options.workers),
        f"--entryPoints.web.address=127.0.0.1:{port}", f"--providers.file.directory={rules}",
    ]  # fmt: skip
    proxy = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until_ready(proxy)
        figures: dict[str, list[float]] = {name: [] for name in FEATURES}
        for _ in range(options.rounds):
            for name, found in figures.items():
                found.append(cpu_us(proxy.pid, wrk, port, name, options.seconds))
    finally:
        proxy.terminate()
        proxy.wait(START_LIMIT_S)
        origin.terminate()
        origin.wait(START_LIMIT_S)
    medians = {name: round(statistics.median(found), 1) for name, found in figures.items()}
    growth = {name: round(figure - medians["bare"], 1) for name, figure in medians.items()}
    return {"cpu_us_per_request": medians, "more_than_bare_us": growth, "rounds": figures}


def rules_text(origin_port: int) -> str:
    """One router per row of the table."""
    routers = "".join(
        f'    {name}: {{rule: "Host(`{name.lower()}.test`)", middlewares: {json.dumps(steps)}, service: s}}\n'
        for name, steps in FEATURES.items()
    )
    server = f"http://127.0.0.1:{origin_port}"
    return (
        f"http:\n  routers:\n{routers}  middlewares:{MIDDLEWARES}"
        f'  services:\n    s: {{loadBalancer: {{servers: [{{url: "{server}"}}]}}}}\n'
    )


def cpu_us(pid: int, wrk: str, port: int, name: str, seconds: int) -> float:
    """CPU of the proxy per request of one run of wrk."""
    before = cpu_s(pid)
    done = subprocess.run(
        [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", f"Host: {name.lower()}.test",
         f"http://127.0.0.1:{port}/"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    if "Non-2xx" in done.stdout:
        raise SystemExit(f"{name}: not every answer was a 200\n{done.stdout}")
    found = re.search(r"(\d+) requests in", done.stdout)
    assert found is not None, done.stdout
    return (cpu_s(pid) - before) / int(found[1]) * 1e6


def cpu_s(pid: int) -> float:
    """User and system time of a process and its children, so far."""
    master = psutil.Process(pid)
    times = [each.cpu_times() for each in (master, *master.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def wait_until_ready(proxy: subprocess.Popen[str]) -> None:
    """Wait for its line; what it says afterwards is read and dropped, so that it never waits for us."""
    assert proxy.stdout is not None, "it was asked for"
    deadline = time.monotonic() + START_LIMIT_S
    for line in proxy.stdout:
        if "ready workers=" in line:
            threading.Thread(target=proxy.stdout.read, daemon=True).start()
            return
        if time.monotonic() > deadline:
            break
    raise SystemExit("the proxy did not start")


def free_port() -> int:
    """A port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def run_origin() -> None:
    """A server that answers every head it gets, as cheaply as Python can."""
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    selector.register(listener, selectors.EVENT_READ)
    print(listener.getsockname()[1], flush=True)
    while True:
        for key, _ in selector.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket), "only sockets were registered"
            if sock is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            try:
                data = sock.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                selector.unregister(sock)
                sock.close()
                continue
            sock.sendall(ANSWER * data.count(b"\r\n\r\n"))


if __name__ == "__main__":
    if sys.argv[1:] == ["origin"]:
        run_origin()
    else:
        main()
