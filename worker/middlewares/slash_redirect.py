"""The slash redirect of v1's ``Path`` rules: 301 to the form of the slash that the rule was written with.

The Location is path and query only. A path that begins with several slashes would name another host there,
so they are reduced to one (spec v1 section 3.4).
"""

from __future__ import annotations

import html

from shared.config.middlewares import SlashRedirect
from shared.headers import Headers
from shared.patterns import compile_pattern
from worker import replies
from worker.exchange import Exchange
from worker.messages import BytesBody, Request, Response
from worker.pipeline import SyncStep

_STATUS = 301


class SlashRedirectStep(SyncStep):
    """Adds or removes the slash at the end of paths that an expression matches."""

    __slots__ = ("_with_slash", "_without_slash")
    is_pure = True

    def __init__(self, options: SlashRedirect) -> None:
        self._with_slash = tuple(compile_pattern(text) for text in options.with_slash)
        self._without_slash = tuple(compile_pattern(text) for text in options.without_slash)

    def on_request(self, exchange: Exchange) -> Response | None:
        """Redirect if the path has the other form."""
        request = exchange.request
        path, matched = request.path, request.decoded_path
        if path.endswith("/"):
            if path == "/" or not any(pattern.found_in(matched) for pattern in self._without_slash):
                return None
            return _moved(request, path.removesuffix("/"))
        if any(pattern.found_in(matched) for pattern in self._with_slash):
            return _moved(request, f"{path}/")
        return None


def _moved(request: Request, path: str) -> Response:
    # Browsers read a backslash as a slash.
    local = "/" + path.lstrip("/\\")
    location = replies.location_value(local if request.query is None else f"{local}?{request.query}")
    response = Response(_STATUS, Headers([(b"Location", location)]))
    if request.method in {"GET", "HEAD"}:
        response.headers.add(b"Content-Type", b"text/html; charset=utf-8")
    if request.method == "GET":
        link = html.escape(location.decode("ascii")).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
        response.body = BytesBody(f'<a href="{link}">Moved Permanently</a>.\n\n'.encode("ascii"))
    return response
