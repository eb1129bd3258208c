"""Clients that are slow on purpose, in numbers: slow heads, slow bodies, slow reading (slowhttptest's modes).

500 connections by default, 5,000 with ``--long``. While they hold on, the p99 of others stays within a
factor of what it was, and the worker's memory within a stated size per connection.
"""

import asyncio
import os
import resource
import shutil
import statistics
import subprocess
import threading
import time

import psutil
import pytest

from tests.support.clients import ClientConnection
from tests.support.proxy import running_proxy

RULES = """
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", service: origin}}
  services:
    origin: {{loadBalancer: {{servers: [{{url: "http://127.0.0.1:{port}"}}]}}}}
"""
MODES = {
    "heads": ("-H", "-x", "16", "-t", "GET"),
    "bodies": ("-B", "-x", "16", "-s", "100000"),
    "reading": ("-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "1"),
}
LARGE_BYTES = 8 * 1_048_576
"""More than the kernel buffers for one connection, so that slow reading reaches the worker."""
BYTES_PER_CONNECTION = {"heads": 32 * 1024, "bodies": 64 * 1024, "reading": 256 * 1024}
"""What a slow connection may cost the worker: its task; and a second connection; and a chunk on its way."""
FACTOR = 3.0
FLOOR_S = 0.050
"""p99 may grow by this factor, or to this if that is more: on a shared machine p99 is one late tick."""
SAMPLES = 400
SHARE_UP = 0.9
PATIENCE_S = 150.0
LENGTH_S = "400"
"""How long slowhttptest would go on; it is ended once everything is measured."""

pytestmark = pytest.mark.skipif(
    shutil.which("slowhttptest") is None, reason="slowhttptest is missing (apt install slowhttptest)"
)


@pytest.fixture
def count(request):
    wanted = 5_000 if request.config.getoption("--long") else 500
    needed = 4 * wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"{needed} descriptors are needed and the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class QuietOrigin:
    """A server that keeps any number of connections in one thread: ``/`` is small, everything else large."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()
        assert self._started.wait(PATIENCE_S)

    async def _run(self):
        self._stop = asyncio.Event()
        self._tasks = set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4_096)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"POST"):
                    writer.transport.pause_reading()  # the kernel holds what comes: this thread stays quiet
                    await self._stop.wait()
                    return
                await self._answer(writer, LARGE_BYTES if b" /large " in head else 2)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()
            self._tasks.discard(asyncio.current_task())

    async def _answer(self, writer, size):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while size:
            piece = min(size, 65_536)
            writer.write(bytes(piece))
            await writer.drain()
            size -= piece

    def stop(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def proxy(tmp_path, count):
    origin = QuietOrigin()
    try:
        with running_proxy(tmp_path, dynamic=RULES.format(port=origin.port), workers=1) as running:
            yield running
    finally:
        origin.stop()


def p99(address):
    """The 99th percentile of requests one after the other on a kept connection, in seconds."""
    took = []
    with ClientConnection(address) as client:
        for _ in range(SAMPLES):
            started = time.perf_counter()
            assert client.request("GET", "/", host="a").content == bytes(2)
            took.append(time.perf_counter() - started)
    return statistics.quantiles(took, n=100)[98]


def worker_of(proxy):
    others = [each for each in proxy.processes() if each.pid != proxy.pid]
    return max(others, key=lambda each: each.memory_info().rss)


def descriptors(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def wait_for_descriptors(process, count):
    deadline = time.monotonic() + PATIENCE_S
    while descriptors(process) < count:
        if time.monotonic() > deadline:
            raise AssertionError(f"{descriptors(process)} of {count} descriptors after {PATIENCE_S} s")
        psutil.wait_procs([process], timeout=0.05)


@pytest.mark.parametrize("mode", MODES)
def test_slow_clients_in_numbers_cost_others_nothing(proxy, count, mode):
    address = proxy.address()
    worker = worker_of(proxy)
    p99(address)  # warm
    alone_s, resident, open_before = p99(address), worker.memory_info().rss, descriptors(worker)
    path = "/large" if mode == "reading" else "/"
    attack = subprocess.Popen(
        [
            *("slowhttptest", *MODES[mode], "-u", f"{proxy.url()}{path}"),
            *("-c", str(count), "-r", "400", "-l", LENGTH_S, "-p", "100", "-v", "0"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        per_connection = 1 if mode == "heads" else 2
        wait_for_descriptors(worker, open_before + int(SHARE_UP * count * per_connection))
        beside_s = p99(address)
        growth = worker.memory_info().rss - resident
        assert attack.poll() is None
    finally:
        attack.terminate()
        attack.wait()
    print(f"{mode}: p99 {alone_s * 1e3:.1f} -> {beside_s * 1e3:.1f} ms, {growth / count / 1024:.0f} KiB each")
    assert beside_s < max(FACTOR * alone_s, FLOOR_S)
    assert growth < BYTES_PER_CONNECTION[mode] * count
