"""A real ZooKeeper from Debian's package, run by calling java: the package's scripts have a wrong class path."""

from __future__ import annotations

import glob
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from tests.support.ports import reserve_port

JARS = "/usr/share/java"
NEEDED = (
    *(
        "zookeeper*",
        "slf4j-api",
        "slf4j-nop",
        "netty*",
        "metrics-core",
        "snappy-java",
        "jackson*",
        "commons-io",
    ),
)
MAIN = "org.apache.zookeeper.server.ZooKeeperServerMain"
START_WAIT_S = 60.0
CONFIG = """tickTime=500
dataDir={folder}/data
clientPort={port}
clientPortAddress=127.0.0.1
admin.enableServer=false
maxClientCnxns=0
4lw.commands.whitelist=*
"""


def require_zookeeper() -> None:
    """Skip the test when the package is not installed."""
    if shutil.which("java") is None or not glob.glob(f"{JARS}/zookeeper.jar"):
        pytest.skip("ZooKeeper is not installed (apt: zookeeper default-jre-headless)")


class ZooKeeper:
    """A server on a port of its own, and a client of the test's."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.address = f"127.0.0.1:{port}"
        (folder / "data").mkdir(parents=True)
        self._config = folder / "zoo.cfg"
        self._config.write_text(CONFIG.format(folder=folder, port=port))
        self._log = folder / "zookeeper.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it serves."""
        jars = [jar for name in NEEDED for jar in glob.glob(f"{JARS}/{name}.jar")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["java", "-Xmx256m", "-cp", ":".join(jars), MAIN, str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        with self.client():
            pass

    def stop(self) -> None:
        """End it; data stay."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def client(self, auth: tuple[str, str] | None = None) -> Iterator[KazooClient]:
        """A connected client."""
        client = KazooClient(hosts=self.address, auth_data=[auth] if auth else None)
        try:
            client.start(timeout=START_WAIT_S)
            yield client
        finally:
            client.stop()
            client.close()

    def put(self, pairs: dict[str, str | bytes]) -> None:
        """Write nodes, one after the other."""
        with self.client() as client:
            for path, value in pairs.items():
                put_node(client, path, value)


def put_node(client: KazooClient, path: str, value: str | bytes) -> None:
    """Create or change a node; parents are made."""
    data = value.encode() if isinstance(value, str) else value
    path = f"/{path.strip('/')}"
    if client.exists(path):
        client.set(path, data)
    else:
        client.create(path, data, makepath=True)


@contextmanager
def running_zookeeper(folder: Path) -> Iterator[ZooKeeper]:
    """A server for the length of a with block."""
    require_zookeeper()
    with ExitStack() as stack:
        port = stack.enter_context(reserve_port())
        server = ZooKeeper(folder, port.number)
        stack.callback(server.stop)
        server.start()
        yield server
