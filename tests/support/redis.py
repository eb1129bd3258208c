"""A real Redis server with a plain and a TLS port, and its own command-line client."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import reserve_port
from tests.support.server_process import ServerProcess
from tests.support.tls import Authority

COMMAND_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 5.0


def missing() -> str:
    """Why Redis cannot be used here; empty if it can."""
    absent = [name for name in ("redis-server", "redis-cli") if shutil.which(name) is None]
    return f"{' and '.join(absent)} (apt install redis-server)" if absent else ""


class RunningRedis:
    """A server that runs; ``plain`` and ``secure`` are its ports."""

    def __init__(self, plain: int, secure: int, authority_file: Path) -> None:
        self.plain = plain
        self.secure = secure
        self.authority_file = authority_file


@contextmanager
def running_redis(folder: Path, authority: Authority, *names: str) -> Iterator[RunningRedis]:
    """A server for the length of a with block; its certificate is for these names."""
    folder.mkdir(exist_ok=True)
    certificate, key = authority.issue(names[0], *names).write(folder, "redis")
    authority_file = folder / "ca.crt"
    authority_file.write_text(authority.pem)
    with reserve_port() as plain, reserve_port() as secure:
        command = [
            *("redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"),
            *("--port", str(plain.number), "--tls-port", str(secure.number), "--dir", str(folder)),
            *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
            *("--tls-ca-cert-file", str(authority_file), "--tls-auth-clients", "no"),
        ]
        server = ServerProcess(command, folder / "log", lambda: _answers(plain.number))
        server.start()
        try:
            yield RunningRedis(plain.number, secure.number, authority_file)
        finally:
            server.stop()


def redis_cli(
    address: tuple[str, int], *command: str, server_name: str = "", authority_file: Path | None = None
) -> str:
    """What the client prints for one command; over TLS if there is a name to ask for.

    Raises:
        AssertionError: it failed.
    """
    tls = ["--tls", "--sni", server_name, "--cacert", str(authority_file)] if server_name else []
    done = subprocess.run(
        ["redis-cli", "-h", address[0], "-p", str(address[1]), *tls, *command],
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"redis-cli: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def _answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT_S) as sock:
        sock.sendall(b"PING\r\n")
        return sock.recv(16).startswith(b"+PONG")
