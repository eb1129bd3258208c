"""replacePathRegex: rewrites the escaped path by expression.

Nothing happens unless the expression matches. A result that is not clean is refused, for the same reason as
in ``strip_prefix`` (spec v2 section 4.1).
"""

from __future__ import annotations

from shared.config.middlewares import ReplacePathRegex
from shared.paths import is_clean
from shared.patterns import compile_pattern
from worker import replies
from worker.exchange import Exchange
from worker.messages import Response
from worker.middlewares.replace_path import as_escaped_path, bad_escape_in, put_path, refuse_bad_escape
from worker.pipeline import SyncStep


class ReplacePathRegexStep(SyncStep):
    """Replaces every match in the escaped path; the query is neither matched nor changed."""

    __slots__ = ("_pattern", "_replacement")
    is_pure = True

    def __init__(self, options: ReplacePathRegex) -> None:
        self._pattern = compile_pattern(options.regex.strip())
        self._replacement = options.replacement.strip()

    def on_request(self, exchange: Exchange) -> Response | None:
        """Change the path if it matches, or refuse what it would become."""
        path = exchange.request.path
        if not self._pattern.found_in(path):
            return None
        replaced = self._pattern.replace_all(path, self._replacement)
        bad_escape = bad_escape_in(replaced)
        if bad_escape is not None:
            return refuse_bad_escape(bad_escape)
        new_path = as_escaped_path(replaced)
        if not is_clean(new_path):
            return replies.http_error(400, "Bad Request")
        put_path(exchange, new_path)
        return None
