"""Exchanges that failed: what the client is told, and what the log says under the same id.

A client learns the status and a short id (``X-Penstock-Error``), never the cause. The log has the cause: one
line per failure, but only so many per second and level, because whoever can send requests can cause failures.
What was left out is counted in the next line. Nothing is worked out for a line that is not written.
"""

from __future__ import annotations

import logging
import random
import time
from itertools import islice

from shared.errors import ExchangeError, NoRoute, TableError
from shared.rules.explain import explain, reason
from worker import replies
from worker.causes import cause_of
from worker.exchange import Exchange
from worker.explaining.judging import Judgement, nearest
from worker.explaining.texts import shown
from worker.handling import reply_to
from worker.messages import Request, Response
from worker.routes import Routes
from worker.state import Entrance

logger = logging.getLogger(__name__)

ERROR_ID_FIELD = b"X-Penstock-Error"
MAX_LINES_PER_S = 5
"""Lines per level and second in one worker: a flood of 404s then costs under 2 % of it."""
MAX_ROUTERS_LOOKED_AT = 100
"""Routers that a 404's line may judge, those that the index offers first: 3 ms (2026-11, 2 loaded cores)."""
NEAREST_NAMED = 3
MAX_SHOWN_CHARS = 200
"""Of a host or a path in a line."""
_ID_BITS = 40


class LineBudget:
    """So many lines per second, and a count of those that were too many."""

    def __init__(self, lines_per_s: int) -> None:
        self._lines_per_s = lines_per_s
        self._second = -1
        self._left = 0
        self._missed = 0

    def spend(self, now_s: float) -> int | None:
        """None if there is no line left, else how many were missed since the last one."""
        if int(now_s) != self._second:
            self._second, self._left = int(now_s), self._lines_per_s
        if not self._left:
            self._missed += 1
            return None
        self._left -= 1
        missed, self._missed = self._missed, 0
        return missed


class Failures:
    """Answers failed exchanges of one worker."""

    def __init__(self) -> None:
        self._budgets = {
            level: LineBudget(MAX_LINES_PER_S) for level in (logging.INFO, logging.WARNING, logging.ERROR)
        }

    def answer(
        self, error: ExchangeError, exchange: Exchange, entrance: Entrance, routes: Routes | None
    ) -> Response:
        """What the client gets for an error; the exchange remembers it with its id."""
        response = reply_to(error)
        self._note(error, exchange, response, entrance, routes)
        return response

    def note(self, error: ExchangeError, exchange: Exchange, response: Response) -> None:
        """A service answered for an error: the answer gets an id and the log the cause."""
        self._note(error, exchange, response, None, None)

    def _note(
        self,
        error: ExchangeError,
        exchange: Exchange,
        response: Response,
        entrance: Entrance | None,
        routes: Routes | None,
    ) -> None:
        _marked(response, exchange, error)
        level = logging.WARNING if error.status >= 500 else logging.INFO
        missed = self._may_say(level)
        if missed is not None:
            cause = f"{type(error).__name__}: {shown(str(error))}"
            if isinstance(error, NoRoute) and entrance is not None:
                cause = f"no router matches{_nearest_routers(exchange.request, entrance, routes)}"
            via = f", server {exchange.server_url}" if exchange.server_url else ""
            _say(level, exchange, error.status, f"{cause}{via}", missed)

    def note_cut(self, error: ExchangeError, exchange: Exchange) -> None:
        """The answer broke off after its head was sent: nobody can be told, but the log."""
        exchange.cause, exchange.error_id = cause_of(error, after_headers=True), _new_id()
        missed = self._may_say(logging.WARNING) if error.side == "upstream" else None
        if missed is not None:
            via = f", server {exchange.server_url}" if exchange.server_url else ""
            cause = f"cut inside the answer: {type(error).__name__}: {shown(str(error))}{via}"
            _say(logging.WARNING, exchange, exchange.status, cause, missed)

    def answer_defect(self, error: Exception, exchange: Exchange) -> Response:
        """What the client gets when our own code failed."""
        failure = ExchangeError(f"{type(error).__name__}: {error}")
        response = replies.http_error(failure.status, "Internal Server Error")
        _marked(response, exchange, failure)
        missed = self._may_say(logging.ERROR)
        if missed is not None:
            _say(logging.ERROR, exchange, failure.status, "a handler failed", missed, defect=error)
        return response

    def refuse(self, error: ExchangeError, entrance: Entrance, peer_ip: str) -> Response:
        """What the client gets for a head that cannot become a request."""
        response = reply_to(error)
        error_id = _new_id()
        response.headers.add(ERROR_ID_FIELD, error_id.encode())
        missed = self._may_say(logging.INFO)
        if missed is not None:
            logger.info(
                "error %s: %d at entrypoint %s: refused a request head from %s: %s%s",
                error_id, error.status, entrance.name, peer_ip, shown(str(error)), _more(missed),
            )  # fmt: skip
        return response

    def _may_say(self, level: int) -> int | None:
        if not logger.isEnabledFor(level):
            return None
        return self._budgets[level].spend(time.monotonic())


def _marked(response: Response, exchange: Exchange, error: ExchangeError) -> Response:
    exchange.error = error
    exchange.cause = cause_of(error)
    exchange.error_id = _new_id()
    response.headers.add(ERROR_ID_FIELD, exchange.error_id.encode())
    return response


def _new_id() -> str:
    """Ten digits to look for; not a secret."""
    return f"{random.getrandbits(_ID_BITS):010x}"


def _say(
    level: int, exchange: Exchange, status: int, cause: str, missed: int, defect: Exception | None = None
) -> None:
    request = exchange.request
    router = f", router {exchange.route.name}" if exchange.route is not None else ""
    logger.log(
        level,
        "error %s: %d at entrypoint %s for %s %s%s%s: %s%s",
        exchange.error_id,
        status,
        exchange.entrypoint_name,
        shown(request.method),
        _cut(request.host),
        _cut(request.received_target.partition("?")[0]),
        router,
        cause,
        _more(missed),
        exc_info=defect,
        extra={"fields": _fields(exchange)},
    )


def _fields(exchange: Exchange) -> dict[str, object]:
    """For programs: from configuration, and the one word."""
    route = exchange.route
    known = {
        "cause": exchange.cause,
        "router": route.name if route is not None else "",
        "service": route.service_name if route is not None else "",
        "server": exchange.server_url,
    }
    return {name: value for name, value in known.items() if value}


def _more(missed: int) -> str:
    return f" ({missed} more failures were not logged)" if missed else ""


def _cut(text: str) -> str:
    return shown(text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}...")


def _nearest_routers(request: Request, entrance: Entrance, routes: Routes | None) -> str:
    """Which routers came closest and what they missed, without values of fields or of the query."""
    if routes is None:
        return "; there is no table yet"
    table = routes.table
    try:
        offered = table.candidates(entrance.name, entrance.tls, request)
        first = table.routers_of(entrance.name, entrance.tls)[:MAX_ROUTERS_LOOKED_AT]
        numbers = islice(dict.fromkeys((*offered, *first)), MAX_ROUTERS_LOOKED_AT)
        looked_at = [table.router(number) for number in numbers]
    except TableError as error:
        return f"; {error}"
    judged = [
        Judgement(rank, router, explain(router.condition, request)) for rank, router in enumerate(looked_at)
    ]
    named = [
        f"{each.router.name} ({_missed_condition(each, request)})"
        for each in nearest(judged, request, NEAREST_NAMED)
    ]
    return f"; nearest: {', '.join(named)}" if named else "; this entrypoint has no routers"


def _missed_condition(judgement: Judgement, request: Request) -> str:
    evidence = judgement.verdict.evidence
    return reason(evidence[0], request, with_values=False) if evidence else "no condition can hold"
