"""replacePath: one path in place of all; and what both path-replacing steps share.

A new path is taken as escaped text. If it holds characters that a path cannot (a blank, ``?``), it is
decoded and escaped anew, so the query can never be reached from here. The old path goes along in
X-Replaced-Path (spec v2 section 4.1).
"""

from __future__ import annotations

import re

from shared.config.middlewares import ReplacePath
from shared.paths import decoded_path, escape_path
from worker import replies
from worker.exchange import Exchange
from worker.messages import Response
from worker.pipeline import SyncStep

REPLACED_PATH = b"X-Replaced-Path"
_PATH_TEXT = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@\[\]/%]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)


class ReplacePathStep(SyncStep):
    """Sends every request to the same path; the query is kept."""

    __slots__ = ("_bad_escape", "_path")
    is_pure = True

    def __init__(self, options: ReplacePath) -> None:
        self._bad_escape = bad_escape_in(options.path)
        self._path = "" if self._bad_escape else as_escaped_path(options.path)

    def on_request(self, exchange: Exchange) -> Response | None:
        """Change the path; a path with a bad escape answers 500, as the original does at this moment."""
        if self._bad_escape:
            return refuse_bad_escape(self._bad_escape)
        put_path(exchange, self._path)
        return None


def put_path(exchange: Exchange, path: str) -> None:
    """Make ``path`` (escaped) the request's and add the old one as X-Replaced-Path."""
    request = exchange.request
    request.headers.add(REPLACED_PATH, request.path.encode("utf-8", "surrogateescape"))
    request.path = path


def bad_escape_in(text: str) -> str | None:
    """The first ``%`` that no two hex digits follow, with what follows it; None if there is none."""
    found = _BAD_ESCAPE.search(text)
    return None if found is None else found.group()


def refuse_bad_escape(escape: str) -> Response:
    """The answer when a configured replacement makes a path that cannot be decoded."""
    return replies.http_error(500, f'invalid URL escape "{escape}"')


def as_escaped_path(text: str) -> str:
    """A path that may be sent, from text whose escapes are good; always with a leading slash."""
    escaped = text if _PATH_TEXT.fullmatch(text) else escape_path(decoded_path(text))
    return escaped if escaped.startswith("/") else f"/{escaped}"
