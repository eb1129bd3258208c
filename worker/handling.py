"""From an exchange to its response: match, check, run the chain. The same for clients and for ``explain``."""

from __future__ import annotations

from shared.errors import ExchangeError, Misdirected, NoRoute
from shared.table.streams import DEFAULT_OPTIONS
from worker import replies
from worker.exchange import Exchange
from worker.messages import Response
from worker.request_head import RefusedField, RefusedTarget, check_escapes
from worker.routes import Route, Routes
from worker.state import Entrance


async def handle(exchange: Exchange, entrance: Entrance, routes: Routes | None) -> Response:
    """The response of the chain.

    Args:
        exchange: its peer has been noted.
        entrance: where it came in.
        routes: in force; None before the first table.

    Raises:
        ExchangeError: there is none; ``reply_to`` says what the client gets.
    """
    route = routes.match(entrance.name, entrance.tls, exchange.request) if routes is not None else None
    if route is None:
        raise NoRoute("no router matches")
    exchange.route = route
    check_escapes(exchange.request, entrance.rules)
    check_options(exchange, route)
    return await route.handler(exchange)


def check_options(exchange: Exchange, route: Route) -> None:
    """Refuse a request whose connection was made under other TLS options than its router asks for.

    Raises:
        Misdirected: so it is (spec v2 section 7, domain fronting).
    """
    session = exchange.session
    if session is not None and session.options != (route.entry.tls_options or DEFAULT_OPTIONS):
        raise Misdirected("other TLS options than those of the connection")


def reply_to(error: ExchangeError) -> Response:
    """What a client gets instead of a response, changed by the steps that the error has passed."""
    response = _plain_reply_to(error)
    for change in error.on_reply:
        change(response)
    return response


def _plain_reply_to(error: ExchangeError) -> Response:
    if isinstance(error, RefusedTarget):
        return replies.empty(error.status)
    if isinstance(error, RefusedField):
        return replies.http_error(error.status, "Bad Request")
    return replies.for_error(error)
