"""A real ZooKeeper from Debian's package. Its scripts have a wrong class path, so java is called."""

from __future__ import annotations

import glob
import logging
import shutil
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError, NoNodeError
from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl

from tests.support.kits import keys
from tests.support.kits.base import Kit, Route
from tests.support.ports import reserve_port
from tests.support.server_process import ServerProcess

JARS = "/usr/share/java"
NEEDED = ("zookeeper*", "slf4j-api", "slf4j-nop", "netty*", "metrics-core", "snappy-java", "jackson*")
MAIN = "org.apache.zookeeper.server.ZooKeeperServerMain"
quiet = logging.getLogger(__name__)
quiet.setLevel(logging.CRITICAL)
ADMIN, USER = ("admin", "admin-pass"), "proxy"
CONNECT_WAIT_S = 60.0
AT_ONCE = 500
CONFIG = """tickTime=500
dataDir={data}
clientPort={port}
clientPortAddress=127.0.0.1
admin.enableServer=false
maxClientCnxns=0
4lw.commands.whitelist=*
"""


class ZooKeeperServer:
    """A server of its own, and a client that may do everything."""

    def __init__(self, folder: Path) -> None:
        self.port = reserve_port()
        config = folder / "zoo.cfg"
        config.write_text(CONFIG.format(data=folder / "data", port=self.port.number))
        jars = [jar for name in (*NEEDED, "commons-io") for jar in glob.glob(f"{JARS}/{name}.jar")]
        command = ["java", "-Xmx256m", "-Dzookeeper.forceSync=no", "-cp", ":".join(jars), MAIN, str(config)]
        self.process = ServerProcess(command, folder / "zookeeper.log", self._is_healthy)
        self.client: KazooClient | None = None

    def start(self) -> None:
        """Start it, unless it runs."""
        if not self.process.is_running:
            self.process.start()
            who = ("digest", ":".join(ADMIN))
            hosts = f"127.0.0.1:{self.port.number}"
            self.client = KazooClient(hosts=hosts, auth_data=[who], logger=quiet)
            self.client.start(timeout=CONNECT_WAIT_S)

    def stop(self) -> None:
        """Stop it; nothing if it does not run."""
        if self.client is not None:
            self.client.stop()
            self.client.close()
            self.client = None
        self.process.stop()

    def ask_for(self, password: str, root: str) -> list[Any]:
        """Let only this user (and the admin) at what is below a root; returns the rights of new nodes."""
        rights = OPEN_ACL_UNSAFE
        if password:
            rights = [make_digest_acl(*ADMIN, all=True), make_digest_acl(USER, password, all=True)]
        assert self.client is not None
        rest = deque([root])
        while rest:
            path = rest.popleft()
            rest.extend(f"{path}/{name}" for name in self.client.get_children(path))
            self.client.set_acls(path, rights)
            self.client.set(path, self.client.get(path)[0])  # a change of rights alone fires no watch
        return rights

    def put(self, pairs: Mapping[str, str], rights: list[Any] | None = None) -> None:
        """Create or change nodes, many at a time."""
        assert self.client is not None
        made: set[str] = set()
        folders = [
            "/".join(parts[: size + 1])
            for parts in (path.split("/") for path in pairs)
            for size in range(1, len(parts))
        ]
        self._all([(path, b"") for path in folders if not (path in made or made.add(path))], rights)
        self._all([(path, value.encode()) for path, value in pairs.items()], rights, change=True)

    def _all(self, nodes: list[tuple[str, bytes]], rights: list[Any] | None, change: bool = False) -> None:
        assert self.client is not None
        for start in range(0, len(nodes), AT_ONCE):
            part = nodes[start : start + AT_ONCE]
            asked = [self.client.create_async(path, value, acl=rights) for path, value in part]
            for (path, value), created in zip(part, asked, strict=True):
                try:
                    created.get(timeout=CONNECT_WAIT_S)
                except NodeExistsError:
                    if change:
                        self.client.set(path, value)

    def delete(self, path: str) -> None:
        """Remove a node with all below it."""
        assert self.client is not None
        try:
            self.client.delete(path, recursive=True)
        except NoNodeError:
            return  # it was not there

    def _is_healthy(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port.number), 5) as probe:
            probe.sendall(b"ruok")
            return probe.recv(4) == b"imok"


class ZooKeeperKit(Kit):
    """``providers.zooKeeper``, in v2's layout."""

    provider = "zookeeper"
    layout = keys.V2
    root = "/traefik"
    many = 1_250
    """10,000 nodes: each route is eight."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = ZooKeeperServer(folder)
        self._rights = OPEN_ACL_UNSAFE

    @classmethod
    def missing(cls) -> str:
        if shutil.which("java") is None or not glob.glob(f"{JARS}/zookeeper.jar"):
            return "ZooKeeper is not installed (apt: zookeeper default-jre-headless)"
        return ""

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.server.port.number

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def close(self) -> None:
        super().close()
        self.server.port.release()

    def clear(self) -> None:
        self.server.delete(self.root)
        self._rights = OPEN_ACL_UNSAFE

    def settings(self, host: str, port: int, password: str = "") -> str:
        who = f'username = "{USER}"\npassword = "{password}"\n' if password else ""
        return f'[providers.zooKeeper]\nendpoints = ["{host}:{port}"]\n{who}'

    def write(self, routes: Sequence[Route]) -> None:
        self.server.put(keys.pairs_of(self.layout, self.root, routes), self._rights)

    def remove(self, routes: Sequence[Route]) -> None:
        for route in routes:
            for folder in self.layout.folders(route):
                self.server.delete(f"{self.root}/{folder}".rstrip("/"))

    def spoil(self, route: Route) -> str:
        key, value = self.layout.spoilt(route)
        self.server.put({f"{self.root}/{key}": value}, self._rights)
        return key

    def write_half(self, route: Route) -> None:
        self.server.put(keys.half_of(self.layout, self.root, route), self._rights)

    def put(self, pairs: Mapping[str, str]) -> None:
        """Write nodes."""
        self.server.put(pairs)

    def set_password(self, password: str) -> None:
        self._rights = self.server.ask_for(password, self.root)

    def make_impatient(self, set_constant: Callable[[str, float], None]) -> None:
        set_constant("providers.zookeeper.SESSION_TIMEOUT_S", 2.0)
