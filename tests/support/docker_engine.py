"""A real Docker engine for tests: apt's dockerd on sockets of its own, with an image made of busybox.

Nothing is pulled and no firewall rule is set; containers answer on ports of 127.0.0.1, never on addresses of
their networks.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

IMAGE = "tiny:1"
START_LIMIT_S = 60.0
STOP_LIMIT_S = 30.0
COMMAND_LIMIT_S = 60.0
BUSYBOX = Path("/bin/busybox")


def missing_part() -> str:
    """What keeps an engine from running here, for a skip; empty if nothing does."""
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        return "dockerd (apt docker.io)"
    if not BUSYBOX.exists():
        return "busybox (apt busybox-static)"
    return "" if os.geteuid() == 0 else "root, which dockerd needs"


class CannotRunError(Exception):
    """dockerd ended instead of answering; the text is what it wrote last."""


class DockerEngine:
    """An engine that runs. Made by ``docker_engine``."""

    def __init__(self, folder: Path, more: tuple[str, ...] = (), live_restore: bool = True) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        # Containers outlive a stop of their engine; swarm does not go with it.
        self._more = (*more, "--live-restore") if live_restore else more
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where it answers, for settings."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it and wait until it answers; nothing if it runs."""
        if self._process is not None:
            return
        folder = self.folder
        command = [
            "dockerd",
            f"--host=unix://{self.socket}",
            *self._more,
            f"--data-root={folder}/root",
            f"--exec-root={folder}/exec",
            f"--pidfile={folder}/pid",
            *("--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"),
            *("--ip-forward=false", "--ip-masq=false", "--log-level=error"),
        ]
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        limit = time.monotonic() + START_LIMIT_S
        while self._try("version").returncode != 0:
            if self._process.poll() is not None:
                self._process = None
                raise CannotRunError((folder / "log").read_text().strip().rpartition("\n")[2])
            assert time.monotonic() < limit, (folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it; containers stop with it. Safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_LIMIT_S)

    def __call__(self, *arguments: str) -> str:
        """Run ``docker ARGUMENTS``; what it prints, without the last newline."""
        done = self._try(*arguments)
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def run(
        self,
        name: str,
        labels: Mapping[str, str],
        *options: str,
        command: tuple[str, ...] = ("/bin/busybox", "sleep", "3600"),
    ) -> str:
        """Start a container; its id."""
        return self("run", "--detach", *_described(name, labels, options), *command)

    def create(self, name: str, labels: Mapping[str, str], *options: str) -> str:
        """Make a container without starting it; its id."""
        return self("create", *_described(name, labels, options), "/bin/busybox", "sleep", "3600")

    def remove(self, *names: str) -> None:
        """Kill and remove containers."""
        if names:
            self("rm", "--force", *names)

    def remove_all(self) -> None:
        """Kill and remove every container, and the networks that were made (their devices are the host's)."""
        self.remove(*self("ps", "--all", "--quiet").split())
        networks = self("network", "ls", "--filter=type=custom", "--filter=driver=bridge", "--quiet").split()
        if networks:
            self("network", "rm", *networks)

    def _try(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", f"--host=unix://{self.socket}", *arguments],
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            env={**os.environ, "DOCKER_CONFIG": str(self.folder)},
            check=False,
        )


def _described(name: str, labels: Mapping[str, str], options: tuple[str, ...]) -> list[str]:
    written = [f"--label={label}={value}" for label, value in labels.items()]
    return ["--stop-timeout=1", f"--name={name}", *written, *options, IMAGE]


@contextlib.contextmanager
def docker_engine(*more: str, live_restore: bool = True) -> Iterator[DockerEngine]:
    """An engine with the image ``IMAGE``, which has ``/bin/busybox`` and an empty page ``/www/index.html``.

    Args:
        more: further options of dockerd.
        live_restore: whether containers go on while the engine is stopped.
    """
    folder = Path(tempfile.mkdtemp(prefix="pd-"))
    engine = DockerEngine(folder, more, live_restore)
    try:
        try:
            engine.start()
        except CannotRunError as error:
            pytest.skip(f"the right to run dockerd ({error})")
        try:
            _make_image(engine)
            yield engine
        finally:
            engine.start()  # a test may have left it stopped; containers can only be removed by it
            engine.remove_all()
    finally:
        engine.stop()
        _unmount(folder)
        shutil.rmtree(folder)


def _unmount(folder: Path) -> None:
    """What dockerd leaves mounted below its folders: its network namespace and, at times, its root."""
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in sorted((each for each in places if each.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", place], check=True, timeout=COMMAND_LIMIT_S)


def _make_image(engine: DockerEngine) -> None:
    root = engine.folder / "image"
    for folder in ("bin", "www", "tmp"):
        (root / folder).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin")
    (root / "bin/sh").symlink_to("busybox")
    (root / "www/index.html").write_text("hello\n")
    archive = engine.folder / "image.tar"
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True, timeout=COMMAND_LIMIT_S)
    engine("import", str(archive), IMAGE)
