"""Where workers bring requests that the master answers (``worker.internal_services.make_gateway``).

Who may ask was decided on the way: by the entrypoint, the router and the middlewares in front of the internal
service. Nothing of the admin socket can be reached through here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from master.api.rest import rest_routes
from master.local_http import serve_local

if TYPE_CHECKING:
    from master.app import Master  # the app imports this module

NOT_FOUND = "404 page not found\n"


async def serve_gateway(
    master: Master, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve the workers until cancelled."""
    app = Starlette(routes=rest_routes(master), exception_handlers={404: _not_found, 405: _wrong_method})
    await serve_local(app, master.runtime.gateway_socket, master.supervisor.wait_finished, task_status)


async def _not_found(_: Request, __: Exception) -> Response:
    return PlainTextResponse(NOT_FOUND, status_code=404)


async def _wrong_method(_: Request, error: Exception) -> Response:
    allowed = error.headers if isinstance(error, HTTPException) else None
    return Response(status_code=405, headers=dict(allowed or {}))
