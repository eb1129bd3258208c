"""A real PostgreSQL server with TLS, and its own client. It refuses to run as root: then as its own user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import reserve_port
from tests.support.server_process import ServerProcess
from tests.support.tls import Authority

COMMAND_TIMEOUT_S = 60.0
USER = "postgres"
PACKAGE = "postgresql"


def _programs() -> Path | None:
    """The folder of the newest server that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    return found[-1].parent if found else None


def missing() -> str:
    """Why PostgreSQL cannot be used here; empty if it can."""
    if _programs() is None or shutil.which("psql") is None:
        return f"PostgreSQL (apt install {PACKAGE})"
    if os.geteuid() == 0 and (shutil.which("setpriv") is None or not _has_user()):
        return f"setpriv and the user {USER}, as PostgreSQL does not run as root"
    return ""


def _has_user() -> bool:
    return any(each.pw_name == USER for each in pwd.getpwall())


def _unprivileged() -> list[str]:
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if os.geteuid() == 0 else []


@contextmanager
def running_postgres(authority: Authority, *names: str) -> Iterator[int]:
    """A server for the length of a with block; yields its port. Its certificate is for these names."""
    programs = _programs()
    assert programs is not None, "the test is skipped without it"
    # Not the test's folder: that one is closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="pst-pg-", dir="/tmp"))
    try:
        certificate, key = authority.issue(names[0], *names).write(folder, "server")
        key.chmod(0o600)
        if os.geteuid() == 0:
            for path in (folder, certificate, key):
                shutil.chown(path, USER, USER)
        data = folder / "data"
        _run([*_unprivileged(), str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", USER, "-N"])
        with reserve_port() as port:
            settings = {
                "listen_addresses": "127.0.0.1",
                "unix_socket_directories": "",
                "fsync": "off",
                "ssl": "on",
                "ssl_cert_file": str(certificate),
                "ssl_key_file": str(key),
            }
            options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
            command = [str(programs / "postgres"), "-D", str(data), "-p", str(port.number), *options]
            server = ServerProcess(
                [*_unprivileged(), *command],
                folder / "log",
                lambda: psql(f"hostaddr=127.0.0.1 port={port.number}", "select 1", check=False) == "1",
            )
            server.start()
            try:
                yield port.number
            finally:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def psql(connection: str, query: str, *, check: bool = True) -> str:
    """What the client prints for one query.

    Args:
        connection: as libpq takes it, without user and database.
        query: one statement.
        check: fail the test if the client fails.
    """
    where = f"{connection} user={USER} dbname=postgres connect_timeout=20"
    done = subprocess.run(
        ["psql", "-X", "-A", "-t", "-d", where, "-c", query],
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0 or not check, f"psql: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False, cwd="/"
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
