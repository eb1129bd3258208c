"""The ``redirect`` of a v1 entrypoint: 302 whatever the method, and the port is always written.

``X-Forwarded-Proto: https``, exactly so, counts as https. The original read the Host by expressions that
failed for hosts without a port, with capitals, underscores or as IPv6 literals; here it is parsed (spec v1
section 2.1, advice). An expression that does not match lets the request pass, as from v1.3 on.
"""

from __future__ import annotations

from shared.config.middlewares import EntryPointRedirect
from shared.patterns import Pattern, compile_pattern
from worker.exchange import Exchange
from worker.messages import Request, Response
from worker.middlewares import redirection
from worker.pipeline import SyncStep


class EntryPointRedirectStep(SyncStep):
    """Redirects to another entrypoint (scheme and port) or by expression; the entrypoint wins over it."""

    __slots__ = ("_pattern", "_port", "_replacement", "_scheme", "_status")
    is_pure = True

    def __init__(self, options: EntryPointRedirect) -> None:
        self._scheme = options.scheme
        self._port = options.port
        self._pattern: Pattern | None = None if options.scheme else compile_pattern(options.regex)
        self._replacement = options.replacement
        self._status = 301 if options.permanent else 302

    def on_request(self, exchange: Exchange) -> Response | None:
        """Redirect, unless the URL stays as it is."""
        request = exchange.request
        current = _current_url(request)
        if self._pattern is not None:
            target = self._pattern.replace_all(current, self._replacement)
        else:
            host, _ = redirection.split_host_port(request.host_header)
            target = f"{self._scheme}://{host}:{self._port}{request.target}"
        return None if target == current else redirection.answer_with(self._status, target)


def _current_url(request: Request) -> str:
    is_https = request.scheme == "https" or request.headers.get(b"X-Forwarded-Proto") == b"https"
    return f"{'https' if is_https else 'http'}://{request.host_header}{request.target}"
