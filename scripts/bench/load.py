"""Load on a proxy: wrk over kept connections, ab with a new connection per request, or our own client.

Each runs on the load's CPU. All wait for an answer before they ask again (a closed loop), so the percentiles
are those of a proxy that is busy all the time.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from scripts.bench.machine import LOAD_CPUS, on_cpus

CONNECTIONS = 32
AB_CONCURRENCY = 20
EXTRA_LIMIT_S = 60.0
"""How much longer than asked a load generator may take before it is stopped."""
OWN_LIMIT_S = 10.0
UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}

UNIQUE_HEADS = """
local n = 0
local fields = {
  ["Host"] = "bench.test", ["Accept"] = "text/html,application/xhtml+xml,*/*;q=0.8",
  ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
  ["Accept-Language"] = "en-US,en;q=0.5", ["Accept-Encoding"] = "gzip, deflate",
}
request = function()
  n = n + 1
  fields["Cookie"] = "session=" .. n * 7919 .. "; theme=dark"
  return wrk.format("GET", "/items/" .. n .. "/view?page=" .. n % 97, fields)
end
"""
UPLOAD = """
wrk.method = "POST"
wrk.body = string.rep("x", {size})
"""


@dataclass(frozen=True)
class Ask:
    """What is requested, again and again."""

    path: str = "/"
    host: str = "bench.test"
    fields: dict[str, str] = field(default_factory=dict)
    script: str = ""
    """Lua for wrk."""
    is_hit: bool = True
    """Whether the answer has to be a success; otherwise it has to be none."""
    connections: int = CONNECTIONS
    has_tls: bool = False

    def url(self, port: int) -> str:
        """Of the program at a port."""
        return f"{'https' if self.has_tls else 'http'}://127.0.0.1:{port}{self.path}"


@dataclass(frozen=True)
class Outcome:
    """What a load generator saw."""

    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float
    unexpected: int
    """Answers of the other kind than wanted, and connections that failed."""


def generators() -> dict[str, str]:
    """Which generators this run uses, for the record."""
    return {
        "keep-alive": "wrk" if shutil.which("wrk") else "own client (wrk is not installed)",
        "new connections": "ab" if shutil.which("ab") else "own client (ab is not installed)",
    }


def keep_alive(port: int, asked: Ask, seconds: int, folder: Path) -> Outcome:
    """Requests over kept connections for some seconds."""
    if shutil.which("wrk") is None:
        _refuse_tls(asked, "wrk")
        return _own_client(port, asked, seconds, is_kept=True)
    command = ["wrk", "-t1", f"-c{asked.connections}", f"-d{seconds}s", "--latency", "--timeout", "30s"]
    for name, value in {"Host": asked.host, **asked.fields}.items():
        command += ["-H", f"{name}: {value}"]
    if asked.script:
        script = folder / "wrk.lua"
        script.write_text(asked.script)
        command += ["-s", str(script)]
    text = _run([*command, asked.url(port)], seconds)
    requests = int(_number(text, r"(\d+) requests in"))
    missed = int(_number(text, r"Non-2xx or 3xx responses: (\d+)"))
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    errors = sum(map(int, broken.groups())) if broken else 0
    return Outcome(
        requests,
        _number(text, r"Requests/sec: +([\d.]+)"),
        _wrk_time(text, "50"),
        _wrk_time(text, "99"),
        errors + (missed if asked.is_hit else requests - missed),
    )


def new_connections(port: int, asked: Ask, count: int) -> Outcome:
    """A connection for each of ``count`` requests, ``AB_CONCURRENCY`` at a time: HTTP/1.0, as ab does."""
    if shutil.which("ab") is None:
        _refuse_tls(asked, "ab")
        return _own_client(port, asked, max(1, count // 5000), is_kept=False)
    command = ["ab", "-q", "-n", str(count), "-c", str(AB_CONCURRENCY), "-H", f"Host: {asked.host}"]
    text = _run([*command, asked.url(port)], count / 200)
    return Outcome(
        int(_number(text, r"Complete requests: +(\d+)")),
        _number(text, r"Requests per second: +([\d.]+)"),
        _number(text, r" 50% +(\d+)"),
        _number(text, r" 99% +(\d+)"),
        int(_number(text, r"Failed requests: +(\d+)") + _number(text, r"Non-2xx responses: +(\d+)")),
    )


def _refuse_tls(asked: Ask, generator: str) -> None:
    if asked.has_tls:
        raise RuntimeError(f"needs {generator}, which is not installed")


def _run(command: list[str], seconds: float) -> str:
    with on_cpus(LOAD_CPUS):
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + EXTRA_LIMIT_S)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def _number(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    return float(found[1]) if found else 0.0


def _wrk_time(text: str, percent: str) -> float:
    found = re.search(rf" {percent}% +([\d.]+)(us|ms|s|m)\b", text)
    return float(found[1]) * UNITS_MS[found[2]] if found else 0.0


def _own_client(port: int, asked: Ask, seconds: float, *, is_kept: bool) -> Outcome:
    """The same in Python, for where the generator is missing: slower, so the proxy is not always busy."""
    lines = [f"GET {asked.path} HTTP/1.1", f"Host: {asked.host}", *map(": ".join, asked.fields.items())]
    lines += [] if is_kept else ["Connection: close"]
    request = "\r\n".join([*lines, "", ""]).encode()
    times: list[float] = []
    unexpected = 0
    with on_cpus(LOAD_CPUS), ExitStack() as stack:
        waiting = {
            stack.enter_context(socket.create_connection(("127.0.0.1", port), OWN_LIMIT_S)): 0.0
            for _ in range(asked.connections if is_kept else AB_CONCURRENCY)
        }
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for connection in waiting:
                waiting[connection] = time.perf_counter()
                connection.sendall(request)
            for connection, began in list(waiting.items()):
                answer = connection.recv(65536) if is_kept else _read_to_end(connection)
                times.append(time.perf_counter() - began)
                unexpected += (answer[9:10] in (b"2", b"3")) != asked.is_hit
                if not is_kept:
                    del waiting[connection]
                    connection.close()
                    fresh = socket.create_connection(("127.0.0.1", port), OWN_LIMIT_S)
                    waiting[stack.enter_context(fresh)] = 0.0
    times.sort()
    count = len(times)
    p50, p99 = (times[int(count * at)] * 1e3 if count else 0.0 for at in (0.5, 0.99))
    return Outcome(count, count / seconds, p50, p99, unexpected)


def _read_to_end(connection: socket.socket) -> bytes:
    data = b""
    while received := connection.recv(65536):
        data += received
    return data
