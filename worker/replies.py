"""Our own answers: everything the proxy says that no server said.

Four forms exist, and each kind of failure has exactly one (spec v2 sections 4 and 5.4): *plain* is the
status text without newline and without Content-Type; *http error* is Go's ``http.Error``; *server error*
is what Go's HTTP server says before any handler runs; *redirect* is a plain answer with a Location. A
client never learns the text of an error.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from shared.errors import (
    ClientGone,
    ContentTooLarge,
    DownstreamError,
    ExchangeError,
    Misdirected,
    NoRoute,
    NoServerAvailable,
)
from shared.headers import Headers
from shared.status_texts import CLIENT_CLOSED_REQUEST, status_text
from worker.messages import BytesBody, Response

NOT_FOUND_TEXT = "404 page not found"
NO_SERVER_TEXT = "no available server"

_PLAIN_TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
_BODYLESS = frozenset({204, 205, 304})
_VISIBLE_ASCII = "".join(map(chr, range(0x21, 0x7F)))
_NOT_IN_PATH = '"<>\\^`{|}'
_PATH_SAFE = "".join(char for char in _VISIBLE_ASCII if char not in _NOT_IN_PATH)
_BEFORE_QUERY = re.compile(r"[^?#]*")


def for_error(error: ExchangeError) -> Response:
    """The answer to an exchange that failed."""
    match error:
        case NoRoute():
            return http_error(error.status, NOT_FOUND_TEXT)
        case Misdirected():
            return http_error(error.status, _words(error.status))
        case NoServerAvailable(is_v1=True):
            return plain(error.status)
        case NoServerAvailable():
            return http_error(error.status, NO_SERVER_TEXT)
        case ClientGone() | ContentTooLarge():
            return plain(error.status)
        case DownstreamError():
            return server_error(error.status)
        case _:
            return plain(error.status)


def plain(status: int, text: str = "") -> Response:
    """The status text, or another one, without newline and without Content-Type."""
    return Response(status, body=_body(status, text or _words(status)))


def empty(status: int) -> Response:
    """No body at all."""
    return Response(status)


def http_error(status: int, text: str) -> Response:
    """``text`` and a newline, marked as plain text that browsers must not guess about."""
    headers = Headers([_PLAIN_TEXT, (b"X-Content-Type-Options", b"nosniff")])
    return Response(status, headers, _body(status, f"{text}\n"))


def server_error(status: int) -> Response:
    """Number and text of the status: the answer to a message that is not proper HTTP."""
    headers = Headers([_PLAIN_TEXT])
    return Response(status, headers, _body(status, f"{status} {_words(status)}"))


def redirect(status: int, location: str) -> Response:
    """A plain answer that names another place."""
    response = plain(status)
    response.headers.add(b"Location", location_value(location))
    return response


def location_value(url: str) -> bytes:
    """``url`` as the value of Location: what a URL may not hold is escaped, so no line can be smuggled in."""
    head = _BEFORE_QUERY.match(url)
    path_end = head.end() if head else 0
    escaped = quote(url[:path_end], safe=_PATH_SAFE, errors="surrogateescape")
    return (escaped + quote(url[path_end:], safe=_VISIBLE_ASCII, errors="surrogateescape")).encode("ascii")


def _words(status: int) -> str:
    return "Client Closed Request" if status == CLIENT_CLOSED_REQUEST else status_text(status)


def _body(status: int, text: str) -> BytesBody:
    return BytesBody() if status in _BODYLESS else BytesBody(text.encode("utf-8"))
