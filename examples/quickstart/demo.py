"""The quickstart: two demo services, the proxy before them, and what to try. Started by scripts/run.

Ports: a taken default falls back to the next free one, a port from the environment does not. The services
bind first and say what they got; then the dynamic file is written with their ports, and the proxy gets its
port by a flag over the static file. Everything started here is stopped by its pid, the proxy first, so that
it can finish what it is doing.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
DEFAULT_PORT = 8000
PORTS_TRIED = 20
DEFAULT_SERVICE_PORTS = (8101, 8102)
"""As written in dynamic/demo.yml."""

SERVICE_START_S = 15.0
PROXY_START_S = 60.0
PROXY_STOP_S = 20.0
SERVICE_STOP_S = 5.0
MAX_LINE_BYTES = 65_536
READY = re.compile(rb"\bready workers=")


class DemoError(Exception):
    """The quickstart cannot go on; the text says why."""


class Lines:
    """The lines of a pipe, one at a time; a longer line than the limit comes in pieces."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._rest = b""

    async def next(self) -> bytes:
        """The next line with its end; empty when the pipe is closed."""
        while b"\n" not in self._rest and len(self._rest) < MAX_LINE_BYTES:
            data = await self._stream.receive_some()
            if not data:
                break
            self._rest += data
        line, newline, self._rest = self._rest.partition(b"\n")
        return line + newline


def ports_from_environment(name: str, count: int) -> tuple[int, ...] | None:
    """The ports a variable asks for, None when it is not set."""
    text = os.environ.get(name, "")
    if not text:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != count or not all(part.isdigit() and 0 < int(part) < 65_536 for part in parts):
        raise DemoError(f"{name}={text}: expected {count} port number(s), separated by commas")
    return tuple(int(part) for part in parts)


def is_free(port: int) -> bool:
    """Whether nobody has the port. SO_REUSEPORT stays off: with it a second proxy would share the first's."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def choose_proxy_port() -> int:
    """The port asked for, or the first free one from the default on."""
    asked = ports_from_environment("PENSTOCK_QUICKSTART_PORT", 1)
    if asked is not None:
        if not is_free(asked[0]):
            raise DemoError(f"PENSTOCK_QUICKSTART_PORT={asked[0]}: the port is taken")
        return asked[0]
    for port in range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED):
        if is_free(port):
            return port
    raise DemoError(
        f"ports {DEFAULT_PORT} to {DEFAULT_PORT + PORTS_TRIED - 1} are taken; set PENSTOCK_QUICKSTART_PORT"
    )


def say(text: str) -> None:
    """A line for the person at the terminal."""
    print(text, flush=True)


async def start(command: list[str], **pipes: int) -> trio.Process:
    """Start a child in a session of its own, so that Ctrl-C reaches only us and we decide the order."""
    return await trio.lowlevel.open_process(command, start_new_session=True, cwd=PROJECT, **pipes)


async def stop(process: trio.Process, name: str, limit_s: float) -> None:
    """Ask the process to end, insist after ``limit_s``."""
    with trio.CancelScope(shield=True):
        if process.poll() is None:
            process.terminate()
        with trio.move_on_after(limit_s):
            await process.wait()
            return
        say(f"{name} (pid {process.pid}) did not stop within {limit_s:g} s; killing it")
        process.kill()
        await process.wait()


@asynccontextmanager
async def running_service(name: str, port: int, *, or_any: bool) -> AsyncIterator[str]:
    """A demo service; yields its URL."""
    command = [sys.executable, str(HERE / "whoami.py"), "--name", name, "--port", str(port)]
    process = await start(command + ["--or-any"] * or_any, stdout=subprocess.PIPE)
    try:
        line = b""
        with trio.move_on_after(SERVICE_START_S):
            line = await Lines(process.stdout).next()
        if not line.startswith(b"listening on "):
            raise DemoError(f"demo service {name} did not start on port {port}")
        yield line.split()[-1].decode()
    finally:
        await stop(process, name, SERVICE_STOP_S)


async def run_proxy(port: int, folder: Path, task_status: trio.TaskStatus[None]) -> None:
    """Run the proxy and pass on what it logs; reports started when it says ready, fails if it ends before."""
    command = [
        str(Path(sys.executable).with_name("penstock")),
        "start",
        f"--configFile={HERE / 'penstock.yml'}",
        f"--runtimeDir={folder / 'run'}",
        f"--entryPoints.web.address=127.0.0.1:{port}",
        f"--providers.file.directory={folder / 'dynamic'}",
    ]
    if workers := os.environ.get("PENSTOCK_QUICKSTART_WORKERS"):
        command.append(f"--workers={workers}")
    process = await start(command, stderr=subprocess.PIPE)
    try:
        lines, deadline, ready = Lines(process.stderr), trio.current_time() + PROXY_START_S, False
        while True:
            with trio.move_on_at(math.inf if ready else deadline) as waiting:
                line = await lines.next()
            if waiting.cancelled_caught:
                raise DemoError(f"the proxy was not ready within {PROXY_START_S:g} s")
            if not line:
                break
            sys.stderr.buffer.write(line)
            sys.stderr.flush()
            if not ready and READY.search(line):
                ready = True
                task_status.started()
        raise DemoError(f"the proxy ended by itself with exit code {await process.wait()}")
    finally:
        await stop(process, "the proxy", PROXY_STOP_S)


def write_dynamic_file(folder: Path, urls: list[str]) -> Path:
    """A copy of the dynamic file with the ports the services have."""
    text = (HERE / "dynamic" / "demo.yml").read_text()
    # All at once: a fallback port of the one may be the default of the other.
    wanted = {f"http://127.0.0.1:{port}": url for port, url in zip(DEFAULT_SERVICE_PORTS, urls, strict=True)}
    text = re.sub("|".join(map(re.escape, wanted)), lambda found: wanted[found.group()], text)
    path = folder / "dynamic" / "demo.yml"
    path.parent.mkdir()
    path.write_text(text)
    return path


def invitation(port: int, urls: list[str], dynamic_file: Path, folder: Path) -> str:
    """What to try."""
    url, penstock = f"http://127.0.0.1:{port}", Path(sys.executable).with_name("penstock")
    return f"""
The proxy serves {url}; behind it are {urls[0]} and {urls[1]}.

Try:
  curl -H 'Host: whoami.localhost' {url}/       # both services, three to one
  curl {url}/api/some/path                      # the first one, without /api
  curl -i {url}/nothing                         # no router: 404
  {penstock} status --runtimeDir={folder / "run"}

Change {dynamic_file}
while it runs: a saved change is live at once. Ctrl-C stops everything.
"""


async def run_demo(folder: Path) -> None:
    """Start everything, invite, and stay until cancelled."""
    asked = ports_from_environment("PENSTOCK_QUICKSTART_SERVICE_PORTS", 2)
    ports, or_any = asked or DEFAULT_SERVICE_PORTS, asked is None
    async with (
        running_service("first", ports[0], or_any=or_any) as first,
        running_service("second", ports[1], or_any=or_any) as second,
        trio.open_nursery() as nursery,
    ):
        dynamic_file = write_dynamic_file(folder, [first, second])
        port = choose_proxy_port()
        await nursery.start(run_proxy, port, folder)
        say(invitation(port, [first, second], dynamic_file, folder))


async def main() -> int:
    """Run until a signal. Returns the exit code: 0 after a signal, 1 when something could not be started."""
    exit_code = 0
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        # Under the system's own temporary folder, because the path of a Unix socket is limited to 107 bytes.
        folder = Path(tempfile.mkdtemp(prefix="penstock-"))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_demo, folder)
                await anext(aiter(signals))
                say("stopping")
                nursery.cancel_scope.cancel()
        except* DemoError as failures:
            for error in leaves(failures):
                print(f"quickstart: {error}", file=sys.stderr)
            exit_code = 1
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return exit_code


def leaves(group: BaseExceptionGroup[DemoError]) -> list[DemoError]:
    """The errors in a group, without the groups in it."""
    found: list[DemoError] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


if __name__ == "__main__":
    sys.exit(trio.run(main))
