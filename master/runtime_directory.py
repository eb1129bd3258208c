"""The directory in which a running master can be found: its lock, its admin socket, its last good table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from shared.errors import ConfigError

ENVIRONMENT_VARIABLE = "PENSTOCK_RUNTIME_DIR"

MAX_SOCKET_PATH_BYTES = 107
"""Linux unix(7): sun_path holds 108 bytes with the ending zero."""


class RuntimeDirectory:
    """Names of the files in it. Makes nothing until ``create``.

    Args:
        path: the directory.
        state: where what outlives a reboot goes; the same by default.
    """

    def __init__(self, path: Path, state: Path | None = None) -> None:
        self.path = path
        self.admin_socket = path / "admin.sock"
        self.gateway_socket = path / "gateway.sock"
        self.pid_file = path / "penstock.pid"
        self.log_file = path / "penstock.log"
        self.state = state or path
        self.stored_settings = self.state / "settings.last"
        self.last_good = self.state / "table.last"

    def create(self) -> None:
        """Make the directory, for us alone.

        Raises:
            ConfigError: it cannot be made, belongs to somebody else, or its path is too long for a socket.
        """
        if len(os.fsencode(self.gateway_socket)) > MAX_SOCKET_PATH_BYTES:
            raise ConfigError(
                "runtimeDir",
                f"{self.path} is too long: {self.gateway_socket} is over {MAX_SOCKET_PATH_BYTES} bytes",
            )
        try:
            self.path.mkdir(parents=True, mode=0o700, exist_ok=True)
            status = self.path.stat()
            if status.st_uid != os.geteuid():
                raise ConfigError("runtimeDir", f"{self.path} belongs to user {status.st_uid}, not to us")
            self.path.chmod(0o700)
            self.state.mkdir(parents=True, mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError("runtimeDir", f"cannot use {self.path}: {error.strerror or error}") from error


def find_runtime_directory(
    flag: str | None, environ: Mapping[str, str], state: str | None = None
) -> RuntimeDirectory:
    """The runtime directory: flag, then environment, then the place that the system has for it.

    Args:
        flag: ``--runtimeDir``, if given.
        environ: the environment.
        state: ``--stateDir``, if given.

    Raises:
        ConfigError: nothing was said and the system names no place.
    """
    state_path = Path(state).expanduser().absolute() if state else None
    said = flag or environ.get(ENVIRONMENT_VARIABLE)
    if said:
        return RuntimeDirectory(Path(said).expanduser().absolute(), state_path)
    if os.geteuid() == 0:
        return RuntimeDirectory(Path("/run/penstock"), state_path)
    if base := environ.get("XDG_RUNTIME_DIR"):
        return RuntimeDirectory(Path(base) / "penstock", state_path)
    raise ConfigError(
        "runtimeDir", f"XDG_RUNTIME_DIR is not set; give --runtimeDir=DIRECTORY or {ENVIRONMENT_VARIABLE}"
    )
