"""The admin socket: what the commands talk to. JSON over HTTP on a Unix socket that only our user can open.

    GET  /status         everything a person asks first
    GET  /routes         every router and how it fares
    GET  /table          the live table as text
    POST /reload         answers when the change is live everywhere, or is not
    POST /scale/{n}      answers when n workers serve
    POST /explain        a Question as JSON; what would become of that request, by the table that is live
    POST /drain          a DrainOrder as JSON; answers when the servers drain, or are empty if asked to wait
    POST /undrain        the same back
    POST /stop           answers when the last worker is gone

A request that could not be fulfilled is answered 409 with ``{"reason": ...}``, one that makes no sense 400.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from master import drains, status
from master.local_http import serve_local
from shared.config.static import StaticConfig
from shared.errors import UsageError
from shared.explanation import Explanation, Question
from shared.table.listing import describe
from shared.table.reader import open_table

if TYPE_CHECKING:
    from master.app import Master  # the app imports this module

FAILED = 409
NONSENSE = 400
MAX_EXPLANATIONS = 1
"""At a time: each may look at every router, in a thread of the process that also supervises the workers."""


async def serve_admin(master: Master, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve the admin socket until cancelled."""
    app = Starlette(routes=_routes(master))
    await serve_local(app, master.runtime.admin_socket, master.supervisor.wait_finished, task_status)


def _routes(master: Master) -> list[Route]:
    explainers = trio.CapacityLimiter(MAX_EXPLANATIONS)

    async def get_status(_: Request) -> Response:
        return _json(status.describe_master(master))

    async def get_routes(_: Request) -> Response:
        compiled = master.reloader.compiled
        return _json({"routers": compiled.routers if compiled is not None else ()})

    async def get_table(_: Request) -> Response:
        table = master.reloader.live_table
        text = await trio.to_thread.run_sync(lambda: describe(open_table(table))) if table else ""
        return PlainTextResponse(text)

    async def reload(_: Request) -> Response:
        outcome = await master.reload()
        return _json(outcome, failed=bool(outcome.reason))

    async def scale(request: Request) -> Response:
        wanted = int(request.path_params["wanted"])
        reason = await master.scale(wanted)
        return _json({"workers": master.supervisor.state.wanted, "reason": reason}, failed=bool(reason))

    async def explain(request: Request) -> Response:
        try:
            question = msgspec.json.decode(await request.body(), type=Question)
            table, static = master.reloader.live_table, master.static
            if not table:
                return _json({"reason": "no table is live yet"}, failed=True)
            found = await trio.to_thread.run_sync(_explain, table, static, question, limiter=explainers)
        except (UsageError, msgspec.MsgspecError) as error:
            return JSONResponse({"reason": str(error)}, status_code=NONSENSE)
        return _json(found)

    async def drain(request: Request) -> Response:
        try:
            order = msgspec.json.decode(await request.body(), type=drains.DrainOrder)
            outcome = await drains.drain(master.health, order)
        except (UsageError, msgspec.MsgspecError) as error:
            return JSONResponse({"reason": str(error)}, status_code=NONSENSE)
        return _json(outcome, failed=bool(outcome.reason))

    async def undrain(request: Request) -> Response:
        try:
            order = msgspec.json.decode(await request.body(), type=drains.DrainOrder)
            return _json(drains.undrain(master.health, order))
        except (UsageError, msgspec.MsgspecError) as error:
            return JSONResponse({"reason": str(error)}, status_code=NONSENSE)

    async def stop(_: Request) -> Response:
        await master.stop()
        return _json({"reason": ""})

    return [
        Route("/status", get_status),
        Route("/routes", get_routes),
        Route("/table", get_table),
        Route("/reload", reload, methods=["POST"]),
        Route("/scale/{wanted:int}", scale, methods=["POST"]),
        Route("/explain", explain, methods=["POST"]),
        Route("/drain", drain, methods=["POST"]),
        Route("/undrain", undrain, methods=["POST"]),
        Route("/stop", stop, methods=["POST"]),
    ]


def _explain(table: bytes, static: StaticConfig, question: Question) -> Explanation:
    from worker.main import explain_request  # a master that is never asked does without the data plane

    return explain_request(table, static, question)


def _json(content: object, failed: bool = False) -> Response:
    return JSONResponse(msgspec.to_builtins(content), status_code=FAILED if failed else 200)
