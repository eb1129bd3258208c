"""redirectScheme: sends the client to another scheme or port.

The target has the request's host without its port, and the configured port unless that is the scheme's own.
A request that is already there passes, so a redirect cannot loop (spec v2 section 4.2).
"""

from __future__ import annotations

from shared.config.middlewares import RedirectScheme
from worker.exchange import Exchange
from worker.messages import Request, Response
from worker.middlewares import redirection
from worker.pipeline import SyncStep


class RedirectSchemeStep(SyncStep):
    """Compares where the request went with where it should go."""

    __slots__ = ("_permanent", "_port", "_scheme")
    is_pure = True

    def __init__(self, options: RedirectScheme) -> None:
        self._scheme = options.scheme
        is_default = not options.port or redirection.DEFAULT_PORTS.get(options.scheme) == options.port
        self._port = "" if is_default else f":{options.port}"
        self._permanent = options.permanent

    def on_request(self, exchange: Exchange) -> Response | None:
        """Redirect, unless the request is already at the target."""
        request = exchange.request
        host, _ = redirection.split_host_port(request.host_header)
        target = f"{self._scheme}://{host}{self._port}{request.redirect_target}"
        if target == _current_url(request):
            return None
        return redirection.answer(exchange, target, permanent=self._permanent)


def _current_url(request: Request) -> str:
    scheme = redirection.scheme_with_forwarded(request)
    host, port = redirection.split_host_port(request.host_header)
    if not port or redirection.DEFAULT_PORTS[scheme] == port:
        return f"{scheme}://{host}{request.redirect_target}"
    return f"{scheme}://{host}:{port}{request.redirect_target}"
