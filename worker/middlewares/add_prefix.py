"""addPrefix: text in front of the path.

The prefix is decoded text and is escaped once, here; the request's own path keeps its escapes. Slashes are
not collapsed (spec v2 section 4.1).
"""

from __future__ import annotations

from shared.config.middlewares import AddPrefix
from shared.paths import escape_path
from worker.exchange import Exchange
from worker.pipeline import SyncStep


class AddPrefixStep(SyncStep):
    """Puts the prefix in front of every path but ``*``."""

    __slots__ = ("_prefix",)
    is_pure = True

    def __init__(self, options: AddPrefix) -> None:
        escaped = escape_path(options.prefix)
        self._prefix = escaped if escaped.startswith("/") else f"/{escaped}"

    def on_request(self, exchange: Exchange) -> None:
        """Change the path."""
        request = exchange.request
        if request.path != "*":
            request.path = self._prefix + request.path
