"""Steps and services that note what they do: the real ones run, in a frame that looks before and after.

Nothing leaves the process. Servers are picked by the real balancers, made anew, and what they would be sent
is kept instead of sent. A step that would wait for others (another server, its turn) is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from shared.config.middlewares import Middleware
from shared.errors import ExchangeError
from shared.explanation import ExplainedStep, UpstreamRequest
from shared.table.entries import MiddlewareEntry, RouterEntry, ServiceEntry
from shared.table.reader import Table
from worker.composite_services import Endpoint
from worker.exchange import Exchange
from worker.explaining.texts import header_lines, picture_of, request_changes, response_changes, shown
from worker.forward import build_headers, target_for
from worker.messages import Response
from worker.middlewares.basic_auth import ThreadedBasicAuthStep
from worker.middlewares.registry import build_step
from worker.pipeline import Handler, Step, SyncStep, compose
from worker.pool import Pools
from worker.server import Server
from worker.services import Generation, Services

_RUN_ALONE = (ThreadedBasicAuthStep,)
"""Steps that may wait, but for nobody: they only compute."""


class WatchedChain:
    """Builds watched steps and keeps their notes, in the order in which they were reached."""

    def __init__(self) -> None:
        self.notes: list[ExplainedStep] = []

    def build_step(self, middleware: MiddlewareEntry, router: RouterEntry) -> Step:
        """See ``worker.routes.BuildStep``."""
        return _WatchedStep(middleware, build_step(middleware.options), self.notes)

    def explained(self, table: Table, router: RouterEntry) -> tuple[ExplainedStep, ...]:
        """The whole chain of a router that was run: what was not reached is behind what was."""
        entries = [table.middleware(number) for number in router.middlewares]
        behind = [
            ExplainedStep(each.name, kind_of(each.options), "not reached")
            for each in entries[len(self.notes) :]
        ]
        return (*self.notes, *behind)


class _WatchedStep:
    """An ``AsyncStep`` around any step."""

    def __init__(self, entry: MiddlewareEntry, step: Step, notes: list[ExplainedStep]) -> None:
        self._entry = entry
        self._step = step
        self._notes = notes

    async def __call__(self, exchange: Exchange, call_next: Handler) -> Response:
        place = len(self._notes)
        note = ExplainedStep(self._entry.name, kind_of(self._entry.options), "answered")
        self._notes.append(note)
        if not isinstance(self._step, (SyncStep, *_RUN_ALONE)):
            self._notes[place] = replace(note, outcome="not run")
            return await call_next(exchange)
        before = picture_of(exchange)
        from_behind: Response | None = None

        async def go_on(passed: Exchange) -> Response:
            nonlocal note, from_behind
            changes = request_changes(before, picture_of(passed))
            note = self._notes[place] = replace(note, outcome="passed on", request_changes=changes)
            response = await call_next(passed)
            from_behind = Response(response.status, response.headers.copy())
            return response

        try:
            response = await compose([self._step], go_on)(exchange)
        except ExchangeError as error:
            if note.outcome == "answered":
                self._notes[place] = replace(note, answer=f"{error.status}: {error}")
            raise
        if from_behind is not None:
            changes = response_changes(from_behind.status, from_behind.headers, response)
            self._notes[place] = replace(note, response_changes=changes)
        else:
            self._notes[place] = replace(note, answer=_summary(response))
        return response


class WatchedServices(Services):
    """The services of a fresh worker that sends nothing.

    Args:
        internal: see ``Services``.

    Attributes:
        trail: names of the services that handled the exchange, outermost first.
        sent: what the server would have got.
    """

    def __init__(self, internal: Mapping[str, Handler]) -> None:
        super().__init__(Pools(), internal)
        self.trail: list[str] = []
        self.sent: UpstreamRequest | None = None

    def _make_endpoint(self, entry: ServiceEntry, generation: Generation) -> Endpoint:
        made = super()._make_endpoint(entry, generation)

        async def noted(exchange: Exchange) -> Response:
            self.trail.append(entry.name)
            return await made.handle(exchange)

        return Endpoint(noted, made.is_up, made.takes_new)

    async def _send(self, exchange: Exchange, server: Server) -> Response:
        exchange.server_url = server.url
        self.sent = UpstreamRequest(
            server_url=server.url,
            request_line=shown(f"{exchange.request.method} {target_for(exchange.request, server)} HTTP/1.1"),
            headers=header_lines(build_headers(exchange, server)),
        )
        return Response(200, from_upstream=True)


def kind_of(options: Middleware) -> str:
    """What a middleware is called in configuration."""
    for field in msgspec.structs.fields(Middleware):
        if getattr(options, field.name) is not None:
            return field.encode_name
    return "unknown"


def _summary(response: Response) -> str:
    location = response.headers.get(b"location")
    reason = response.reason.decode("ascii", "replace")
    return f"{response.status} {reason}" + (f", Location: {shown(location)}" if location is not None else "")
