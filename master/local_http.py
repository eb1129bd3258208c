"""An ASGI application on a Unix socket that only our user can open."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import hypercorn.trio
import trio
from hypercorn.config import Config
from starlette.applications import Starlette

SHUTDOWN_WAIT_S = 2.0
"""For answers on their way when the master ends: ``stop`` is answered then."""


async def serve_local(
    app: Starlette, path: Path, until: Callable[[], Awaitable[None]], task_status: trio.TaskStatus[None]
) -> None:
    """Serve until cancelled, or until ``until`` returns and running requests had a moment to end.

    Args:
        app: what answers.
        path: of the socket; it is removed at the end.
        until: waits for the end.
        task_status: told once connections are accepted.
    """
    listener = _listen(str(path))
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = None
    config.graceful_timeout = SHUTDOWN_WAIT_S
    task_status.started()
    try:
        await hypercorn.trio.serve(app, config, shutdown_trigger=until)  # type: ignore[arg-type]  # a Starlette is an ASGI app
    finally:
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - one call on a local directory


def _listen(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # the socket must never exist with wider rights, so not chmod afterwards
    try:
        made.bind(path)
    except BaseException:
        made.close()
        raise
    finally:
        os.umask(before)
    made.listen()
    return made
