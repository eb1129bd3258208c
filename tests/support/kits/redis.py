"""A real Redis."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hiredis

from tests.support.kits import keys
from tests.support.kits.base import Kit, Route
from tests.support.ports import reserve_port
from tests.support.server_process import ServerProcess

ADMIN_PASSWORD = "admin-pass"
USER = "proxy"


def missing_redis() -> str:
    """Why Redis cannot be used here; empty if it can."""
    return "" if shutil.which("redis-server") else "Redis (apt install redis-server)"


class RedisServer:
    """A Redis that keeps what it holds over restarts.

    Args:
        options: more of the command line.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = reserve_port()
        command = [
            *("redis-server", "--port", str(self.port.number), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--appendonly", "yes", "--notify-keyspace-events", "KA", *options),
        ]
        self.process = ServerProcess(command, folder / "log", self._answers)
        self.admin: tuple[str, ...] = ()

    def ask(self, *commands: tuple[str, ...]) -> list[Any]:
        """Send commands on one connection and return their replies, which must not be errors."""
        login = [("AUTH", *self.admin)] if self.admin else []
        return self.ask_at(self.port.number, *login, *commands)[len(login) :]

    @staticmethod
    def ask_at(port: int, *commands: tuple[str, ...]) -> list[Any]:
        """The same, of whatever speaks Redis's language at a port."""
        reader, replies = hiredis.Reader(), []
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"".join(hiredis.pack_command(each) for each in commands))
            while len(replies) < len(commands):
                reply = reader.gets()
                if reply is False:
                    data = connection.recv(65_536)
                    assert data, "Redis closed the connection"
                    reader.feed(data)
                    continue
                assert not isinstance(reply, hiredis.ReplyError), reply
                replies.append(reply)
        return replies

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port.number), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def close(self) -> None:
        self.process.stop()
        self.port.release()


class RedisKit(Kit):
    """v2's layout; v1 has none in Redis."""

    provider = "redis"
    layout = keys.V2
    root = "traefik"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = RedisServer(folder)

    @classmethod
    def missing(cls) -> str:
        return missing_redis()

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.server.port.number

    def start(self) -> None:
        if not self.server.process.is_running:
            self.server.process.start()

    def stop(self) -> None:
        self.server.process.stop()

    def close(self) -> None:
        self.server.close()

    def clear(self) -> None:
        self.server.ask(("FLUSHALL",), ("ACL", "SETUSER", "default", "on", "nopass", "+@all", "~*", "&*"))
        self.server.admin = ()

    def settings(self, host: str, port: int, password: str = "") -> str:
        user = f'username = "{USER}"\npassword = "{password}"\n' if password else ""
        return f'[providers.redis]\nendpoints = ["{host}:{port}"]\n{user}'

    def write(self, routes: Sequence[Route]) -> None:
        self.put(keys.pairs_of(self.layout, self.root, routes))

    def remove(self, routes: Sequence[Route]) -> None:
        gone = list(keys.pairs_of(self.layout, self.root, routes))
        gone += [f"{self.root}/{self.layout.spoilt(each)[0]}" for each in routes]
        self.server.ask(("DEL", *gone))

    def spoil(self, route: Route) -> str:
        key, value = self.layout.spoilt(route)
        self.put({f"{self.root}/{key}": value})
        return f"{self.root}/{key}"

    def write_half(self, route: Route) -> None:
        self.put(dict(keys.half_of(self.layout, self.root, route)))

    def set_password(self, password: str) -> None:
        """Make the user afresh, which ends its connections; strangers may do nothing."""
        user = ("ACL", "SETUSER", USER, "on", f">{password}", "+@all", "~*", "&*")
        admin = ("ACL", "SETUSER", "admin", "on", f">{ADMIN_PASSWORD}", "+@all", "~*", "&*")
        self.server.ask(admin, ("ACL", "DELUSER", USER), user, ("ACL", "SETUSER", "default", "off"))
        self.server.admin = ("admin", ADMIN_PASSWORD)

    def make_impatient(self, set_constant: Callable[[str, float], None]) -> None:
        set_constant("providers.redis.CHECK_S", 0.3)
        set_constant("providers.redis.ANSWER_S", 1.0)

    def put(self, pairs: dict[str, str]) -> None:
        """Write pairs in one command."""
        self.server.ask(("MSET", *(text for pair in pairs.items() for text in pair)))
