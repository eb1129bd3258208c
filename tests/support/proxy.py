"""The installed program, started for a test and stopped after it, with proof that nothing was left behind.

The proxy runs as ``penstock start`` in a process of its own, on reserved ports, with a runtime directory of
a short path (a Unix socket's path is limited to 107 bytes, and pytest's folders are long).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.support.ports import ReservedPort, reserve_port
from tests.support.processes import ProcessMark

PENSTOCK = Path(sys.executable).with_name("penstock")
READY = re.compile(r"\bready workers=")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
COMMAND_TIMEOUT_S = 60.0
REAP_TIMEOUT_S = 5.0
MAX_LOG_LINES_SHOWN = 200


class ProxyFailedError(AssertionError):
    """The proxy did something no test asked for; the text ends with its log."""


class RunningProxy:
    """A proxy that runs. Made by ``running_proxy``.

    Attributes:
        folder: where its files are: ``static.yml`` and ``dynamic/``.
        runtime_dir: its runtime directory.
    """

    def __init__(
        self, folder: Path, runtime_dir: Path, ports: Mapping[str, ReservedPort], workers: int
    ) -> None:
        self.folder = folder
        self.runtime_dir = runtime_dir
        self.static_file = folder / "static.yml"
        self.dynamic_folder = folder / "dynamic"
        self._ports = ports
        self._workers = workers
        self._mark = ProcessMark()
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._exit_expected = False
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """The master's process id."""
        return self._running().pid

    @property
    def log(self) -> str:
        """What it wrote so far, on both outputs."""
        with self._changed:
            return "".join(self._lines)

    def address(self, entrypoint: str = "web") -> tuple[str, int]:
        """Where an entrypoint listens."""
        return ("127.0.0.1", self._ports[entrypoint].number)

    def url(self, entrypoint: str = "web") -> str:
        """The entrypoint's URL without a path."""
        host, port = self.address(entrypoint)
        return f"http://{host}:{port}"

    def start(self, flags: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> None:
        """Start it and wait until it says that all workers serve."""
        command = [
            str(PENSTOCK),
            "start",
            *([f"--configFile={self.static_file}"] if self.static_file.exists() else []),
            f"--workers={self._workers}",
            f"--runtimeDir={self.runtime_dir}",
            *flags,
        ]
        if self._reader is not None:
            self._reader.join(REAP_TIMEOUT_S)  # of an earlier run, whose end is not that of this one
        self._ended, self._exit_expected = False, False
        said_before = self.log_length  # by an earlier run
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env={**os.environ, **(environment or {}), **self._mark.environment},
            start_new_session=True,
        )
        self._reader = threading.Thread(
            target=self._read, args=(self._process,), name="proxy log", daemon=True
        )
        self._reader.start()
        self.wait_for_log(READY, START_TIMEOUT_S, said_before)

    def wait_for_log(
        self, pattern: str | re.Pattern[str], timeout_s: float = START_TIMEOUT_S, after: int = 0
    ) -> str:
        """Wait for a line that fits; returns it. ``after`` skips that many lines (see ``log_length``)."""
        wanted = re.compile(pattern)
        found: list[str] = []

        def look() -> bool:
            found[:] = [line for line in self._lines[after:] if wanted.search(line)][:1]
            return bool(found) or self._ended

        with self._changed:
            in_time = self._changed.wait_for(look, timeout_s)
        if found:
            return found[0]
        why = f"not within {timeout_s:g} s" if not in_time else "it ended before"
        raise self._failure(f"no line like {wanted.pattern!r}: {why}")

    @property
    def log_length(self) -> int:
        """How many lines were written so far."""
        with self._changed:
            return len(self._lines)

    def write(self, name: str, text: str) -> Path:
        """Write a dynamic file in one step, as the proxy may be watching. Returns its path."""
        path = self.dynamic_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = path.with_name(f".{path.name}.new")
        hidden.write_text(text)
        hidden.replace(path)
        return path

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``penstock ARGUMENTS`` against this proxy; with ``check`` it has to succeed."""
        done = subprocess.run(
            [str(PENSTOCK), *arguments, f"--runtimeDir={self.runtime_dir}"],
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            cwd=self.folder,
            env={**os.environ, **self._mark.environment},
            check=False,
        )
        if check and done.returncode != 0:
            shown = f"{done.stdout}{done.stderr}"
            raise self._failure(f"penstock {' '.join(arguments)} exited with {done.returncode}: {shown}")
        return done

    def reload(self) -> None:
        """Reload; on return every worker serves the new table."""
        self.command("reload")

    def status(self) -> dict[str, Any]:
        """What ``penstock status --json`` says."""
        return json.loads(self.command("status", "--json").stdout)

    def signal(self, number: signal.Signals) -> None:
        """Send the master a signal."""
        os.kill(self.pid, number)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait until it has ended by itself; returns its exit code. From here on its end is no failure."""
        self._exit_expected = True
        try:
            return self._running().wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise self._failure(f"still running after {timeout_s:g} s") from None

    def processes(self) -> list[psutil.Process]:
        """All its processes: master, workers, and what they started."""
        return self._mark.processes()

    def finish(self) -> None:
        """Stop it if it runs.

        Raises:
            ProxyFailedError: it had died, did not stop when asked, or left processes behind.
        """
        process = self._running()
        died = process.poll() is not None and not self._exit_expected
        problem = f"died with exit code {process.returncode}" if died else ""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                problem = f"did not stop within {STOP_TIMEOUT_S:g} s of TERM"
        left = self._mark.kill_after(0 if problem else REAP_TIMEOUT_S)
        if left and not problem:
            problem = f"left processes behind: {', '.join(left)}"
        process.wait()
        if self._reader is not None:
            self._reader.join(REAP_TIMEOUT_S)
        if problem:
            raise self._failure(problem)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise AssertionError("the proxy was not started")
        return self._process

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        with process.stdout as stream:  # type: ignore[union-attr]  # made with stdout=PIPE above
            for line in stream:
                with self._changed:
                    self._lines.append(line.decode("utf-8", "replace"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _failure(self, problem: str) -> ProxyFailedError:
        lines = self.log.splitlines()[-MAX_LOG_LINES_SHOWN:]
        return ProxyFailedError(
            "\n".join([f"the proxy: {problem}; its log:", *(f"  {line}" for line in lines)])
        )


@contextmanager
def running_proxy(
    tmp_path: Path,
    *,
    static: str | Callable[[Mapping[str, int]], str] | None = None,
    static_name: str = "static.yml",
    dynamic: str | Mapping[str, str] = "",
    workers: int = 2,
    entrypoints: Sequence[str] = ("web",),
    flags: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunningProxy]:
    """A proxy for the length of a with block, ready to serve.

    Args:
        tmp_path: the test's folder; the files are written there.
        static: the static file as YAML; ``{web}`` stands for the port reserved for entrypoint ``web``, or a
            function from ports to text. By default the entrypoints and a watched folder ``dynamic``; with
            an empty text there is no static file and ``flags`` say everything.
        static_name: the static file's name, which decides its format.
        dynamic: the text of ``dynamic/dynamic.yml``, or texts by file name.
        workers: worker processes.
        entrypoints: names to reserve a port for.
        flags: more arguments for ``penstock start``.
        environment: more environment variables.

    Raises:
        ProxyFailedError: it did not start, died, did not stop or left processes; with its log.
    """
    with ExitStack() as stack:
        ports = {name: stack.enter_context(reserve_port()) for name in entrypoints}
        runtime_dir = Path(tempfile.mkdtemp(prefix="pst-", dir="/tmp"))
        stack.callback(shutil.rmtree, runtime_dir, ignore_errors=True)
        proxy = RunningProxy(tmp_path, runtime_dir, ports, workers)
        numbers = {name: port.number for name, port in ports.items()}
        proxy.static_file = tmp_path / static_name
        text = _static_text(static, numbers)
        if text:
            proxy.static_file.write_text(text)
        flags = [_with_ports(flag, numbers) for flag in flags]
        proxy.dynamic_folder.mkdir(exist_ok=True)
        for name, text in ({"dynamic.yml": dynamic} if isinstance(dynamic, str) else dynamic).items():
            if text:
                proxy.write(name, text)
        try:
            proxy.start(flags, environment)
            yield proxy
        except BaseException as failure:
            failure.add_note(f"the proxy's log:\n{proxy.log}")
            _finish_quietly(proxy, failure)
            raise
        proxy.finish()


def _finish_quietly(proxy: RunningProxy, failure: BaseException) -> None:
    """Stop the proxy of a test that failed already; what goes wrong now is a note to that failure."""
    try:
        proxy.finish()
    except ProxyFailedError as second:
        failure.add_note(str(second).splitlines()[0])


def _with_ports(text: str, ports: Mapping[str, int]) -> str:
    for name, number in ports.items():
        text = text.replace("{" + name + "}", str(number))
    return text


def _static_text(static: str | Callable[[Mapping[str, int]], str] | None, ports: Mapping[str, int]) -> str:
    if callable(static):
        return static(ports)
    if static is not None:
        return _with_ports(static, ports)
    lines = ["entryPoints:"]
    for name, number in ports.items():
        lines += [f"  {name}:", f'    address: "127.0.0.1:{number}"']
    lines += [
        "providers:",
        "  providersThrottleDuration: 100ms",
        "  file:",
        "    directory: dynamic",
        "    watch: true",
    ]
    lines += ["log:", "  level: INFO"]
    return "\n".join(lines) + "\n"
