"""redirectRegex: sends the client to a rewritten URL.

The expression is searched in scheme, Host as sent and request target; the scheme is the connection's,
whatever headers say (spec v2 section 4.2).
"""

from __future__ import annotations

from shared.config.middlewares import RedirectRegex
from shared.patterns import compile_pattern
from worker.exchange import Exchange
from worker.messages import Response
from worker.middlewares import redirection
from worker.pipeline import SyncStep


class RedirectRegexStep(SyncStep):
    """Replaces every match in the URL; no match, or nothing changed, lets the request pass."""

    __slots__ = ("_pattern", "_permanent", "_replacement")
    is_pure = True

    def __init__(self, options: RedirectRegex) -> None:
        self._pattern = compile_pattern(options.regex)
        self._replacement = options.replacement
        self._permanent = options.permanent

    def on_request(self, exchange: Exchange) -> Response | None:
        """Redirect, unless the URL stays as it is."""
        request = exchange.request
        current = f"{request.scheme}://{request.host_header}{request.redirect_target}"
        target = self._pattern.replace_all(current, self._replacement)
        if target == current:
            return None
        return redirection.answer(exchange, target, permanent=self._permanent)
