"""A real bbolt file, written by Go's own library in a process that holds its lock all the time."""

from __future__ import annotations

import atexit
import base64
import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.kits import keys
from tests.support.kits.base import Kit, Route

SOURCE = Path(__file__).parent.parent / "bolt_writer.go"
GO_SOURCES = Path("/usr/share/gocode")
BUILD_TIMEOUT_S = 240
STOP_TIMEOUT_S = 20
BATCH = 1_000


def missing_go() -> str:
    """What this machine lacks to write bbolt files."""
    if shutil.which("go") is None:
        return "go (apt install golang-go golang-github-coreos-bbolt-dev)"
    if not (GO_SOURCES / "src/go.etcd.io/bbolt").exists():
        return "bbolt for Go (apt install golang-github-coreos-bbolt-dev)"
    return ""


@functools.cache
def writer_program() -> Path:
    """The writer, compiled once per test process."""
    folder = Path(tempfile.mkdtemp(prefix="pst-bolt-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return build_go(SOURCE, folder)


def build_go(source: Path, folder: Path | None = None) -> Path:
    """Compile a Go program with the packages of the system; returns where it is."""
    program = (folder or source.parent) / f"{source.stem}.bin"
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": str(GO_SOURCES),
        "GOFLAGS": "",
        "CGO_ENABLED": "0",
        "GOCACHE": str(Path(tempfile.gettempdir()) / f"penstock-test-go-{os.getuid()}"),
    }
    done = subprocess.run(
        ["go", "build", "-o", str(program), str(source)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return program


class BoltWriter:
    """A process that holds a file open and changes it, one transaction per order."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [writer_program(), str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def order(self, **wanted: Any) -> None:
        """One transaction; returns when it is in the file."""
        assert self._process.stdin is not None
        print(json.dumps(wanted), file=self._process.stdin, flush=True)
        self.wait()

    def wait(self) -> None:
        """Wait until it has done what it was asked."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ok\n"

    def put(self, pairs: dict[str, str]) -> None:
        """Write pairs in one transaction."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in pairs.items()}
        self.order(put=encoded)

    def close(self) -> None:
        """Close the file and end the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class BoltKit(Kit):
    """v1's layout in a file."""

    provider = "boltdb"
    has_network = False
    has_passwords = False
    root = "/traefik"
    many = 2_500
    """10,000 keys."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / "rules.db"
        self._writer: BoltWriter | None = None
        self._known: dict[str, Route] = {}

    @classmethod
    def missing(cls) -> str:
        return missing_go()

    @property
    def address(self) -> tuple[str, int]:
        return str(self.path), 0

    @property
    def writer(self) -> BoltWriter:
        assert self._writer is not None, "started before"
        return self._writer

    def start(self) -> None:
        if self._writer is None:
            self._writer = BoltWriter(self.path)

    def stop(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def clear(self) -> None:
        self.writer.order(drop=True)

    def settings(self, host: str, port: int, password: str = "") -> str:
        return f'[boltdb]\nendpoint = "{host}"\nprefix = "{self.root}"\n'

    def write(self, routes: Sequence[Route]) -> None:
        for batch in keys.batches(keys.pairs_of(keys.V1, self.root, routes), BATCH):
            self.writer.put(batch)

    def remove(self, routes: Sequence[Route]) -> None:
        spoilt = [f"{self.root}/{keys.V1.spoilt(each)[0]}" for each in routes]
        self.writer.order(delete=[*keys.pairs_of(keys.V1, self.root, routes), *spoilt])

    def spoil(self, route: Route) -> str:
        key, value = keys.V1.spoilt(route)
        self.writer.put({f"{self.root}/{key}": value})
        return f"{self.root}/{key}"

    def write_half(self, route: Route) -> None:
        self.writer.put(dict(keys.half_of(keys.V1, self.root, route)))

    def put(self, pairs: Mapping[str, str]) -> None:
        """Write pairs in one transaction."""
        self.writer.put(dict(pairs))

    def make_impatient(self, set_constant: Callable[[str, float], None]) -> None:
        set_constant("providers.boltdb.POLL_S", 0.05)
