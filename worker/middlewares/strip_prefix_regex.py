"""stripPrefixRegex: removes the first fitting expression from the start of the path.

An expression fits when its leftmost match is not empty and the path starts with the text it matched; the
match itself need not stand at the start (spec v2 section 4.1). What is cut, and what is refused, is as in
``strip_prefix``.
"""

from __future__ import annotations

from shared.config.middlewares import StripPrefixRegex
from shared.paths import decoded_path
from shared.patterns import compile_pattern
from worker.exchange import Exchange
from worker.messages import Response
from worker.middlewares.strip_prefix import cut_prefix
from worker.pipeline import SyncStep


class StripPrefixRegexStep(SyncStep):
    """Cuts what the first fitting expression, in the order of the list, has matched."""

    __slots__ = ("_overwrite", "_patterns")
    is_pure = True

    def __init__(self, options: StripPrefixRegex) -> None:
        self._patterns = tuple(compile_pattern(text.strip()) for text in options.regex)
        self._overwrite = options.overwrite_header

    def on_request(self, exchange: Exchange) -> Response | None:
        """Change the path, or refuse what would be left of it."""
        decoded = decoded_path(exchange.request.path)
        for pattern in self._patterns:
            found = pattern.leftmost(decoded)
            if found is not None and found[1] and decoded.startswith(found[1]):
                return cut_prefix(exchange, found[1], overwrite_header=self._overwrite)
        return None
