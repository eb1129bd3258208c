"""What every program has to do, how it is written down for it, and how it is started and stopped.

All of them forward to the same upstreams, say to them who the client was, and, where the setup says so, write
an access log to a file on the same disk.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from scripts.bench.machine import ALL_CPUS, PROXY_CPUS, on_cpus
from scripts.bench.waiting import (
    LONG_START_LIMIT_S,
    MANY_ROUTERS,
    START_LIMIT_S,
    wait_until_it_answers,
)
from tests.support.ports import reserve_port
from tests.support.processes import ProcessMark
from tests.support.tls import Authority

STOP_TIMEOUT_S = 15.0
VERSION_TIMEOUT_S = 20.0
MAX_LOG_SHOWN = 1_500
USER, PASSWORD = "bench", "bench"
PASSWORD_SHA = (
    "{SHA}5cicUp3MubQnFvTZEY1hB5yIPZ4="  # of PASSWORD: what all of nginx, Traefik and Penstock read
)
AUTHORIZATION = "Basic YmVuY2g6YmVuY2g="
PREFIX = "/api"
CERTIFICATE, KEY = "bench.crt", "bench.key"
TLS_NAME = "bench.test"


@dataclass(frozen=True)
class Setup:
    """What a program is started for.

    Attributes:
        upstreams: ports of 127.0.0.1, in turn.
        routers: each with a host of its own and ``PREFIX``; 0 for one that takes everything.
        has_chain: strip ``PREFIX``, add a header each way, ask for a password, limit the rate.
        workers: processes or threads that serve.
        is_pinned: to the CPU of the program under test.
        has_tls: clients speak TLS; the certificate is in the folder (``CERTIFICATE``, ``KEY``).
    """

    upstreams: tuple[int, ...]
    routers: int = 0
    has_access_log: bool = True
    has_chain: bool = False
    workers: int = 1
    is_pinned: bool = True
    has_tls: bool = False

    @property
    def probe(self) -> tuple[str, str, str]:
        """Path, host and fields of a request that succeeds once it serves."""
        fields = f"Authorization: {AUTHORIZATION}\r\n" if self.has_chain else ""
        if self.routers:
            return f"{PREFIX}/x", host_of(self.routers - 1), fields
        return f"{PREFIX}/x", "bench.test", fields


def host_of(router: int) -> str:
    """The host of a router by its number; all of one length, so that no program sorts them by that."""
    return f"host-{router:06}.test"


class Program:
    """One program; subclasses say how it is found and written to. Made once, started as often as needed."""

    command_name = ""
    version_flags = ("-v",)
    package = ""
    can_change = False
    """Whether ``change`` is there."""
    can_tls = False
    """Whether ``prepare`` knows ``has_tls``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find(self) -> str:
        """Where it is installed; empty if it is not."""
        return shutil.which(self.command_name) or shutil.which(self.command_name, path="/usr/sbin") or ""

    def missing(self) -> str:
        """Why it is left out; empty if it is there."""
        return "" if self.find() else f"not installed ({self.package})"

    def version(self) -> str:
        """What it says of its version."""
        said = subprocess.run(
            [self.find(), *self.version_flags], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S
        )
        found = re.search(r"\d+(\.\d+)+\S*", said.stdout + said.stderr)
        return found[0] if found else "?"

    def cannot(self, setup: Setup) -> str:
        """Why it cannot do this at all; empty if it can."""
        return "not set up for TLS here" if setup.has_tls and not self.can_tls else ""

    def prepare(self, setup: Setup, folder: Path, port: int) -> list[str]:
        """Write its files. Returns its command."""
        raise NotImplementedError

    def environment(self, folder: Path) -> dict[str, str]:
        """More environment variables."""
        return {}

    def change(self, setup: Setup, running: RunningProgram, path: str) -> None:
        """Let the first router take ``path`` only, as an operator would. Returns when that was asked for."""
        raise NotImplementedError


@dataclass
class RunningProgram:
    """A program that runs and answers."""

    program: Program
    port: int
    folder: Path
    process: subprocess.Popen[bytes]
    mark: ProcessMark
    start_s: float
    """From its start to its first answer."""

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    def processes(self) -> list[psutil.Process]:
        """All of them, workers included. By descent, as nginx overwrites its environment."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]


@contextmanager
def running(program: Program, setup: Setup) -> Iterator[RunningProgram]:
    """A program for the length of a with block.

    Raises:
        RuntimeError: it does not start, or does not answer as it should; with the end of its log.
    """
    mark = ProcessMark()
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="pbench-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        port = stack.enter_context(reserve_port()).number
        if setup.has_tls:
            pair = Authority().issue(TLS_NAME, TLS_NAME)
            (folder / CERTIFICATE).write_text(pair.certificate)
            (folder / KEY).write_text(pair.key)
        command = program.prepare(setup, folder, port)
        log = stack.enter_context((folder / "output.log").open("wb"))
        began = time.monotonic()
        with on_cpus(PROXY_CPUS if setup.is_pinned else ALL_CPUS):
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={"PATH": os.environ["PATH"], **program.environment(folder), **mark.environment},
                start_new_session=True,
            )
        stack.callback(_stop, process, mark)
        path, host, fields = setup.probe
        limit_s = LONG_START_LIMIT_S if setup.routers >= MANY_ROUTERS else START_LIMIT_S
        try:
            wait_until_it_answers(port, process, path, host, fields, limit_s, has_tls=setup.has_tls)
        except RuntimeError as error:
            tail = (folder / "output.log").read_text(errors="replace")[-MAX_LOG_SHOWN:]
            raise RuntimeError(f"{program.name}: {error}; its output ends with:\n{tail}") from None
        yield RunningProgram(program, port, folder, process, mark, time.monotonic() - began)


def _stop(process: subprocess.Popen[bytes], mark: ProcessMark) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    mark.kill_after(0)
