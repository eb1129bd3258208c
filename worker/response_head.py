"""The head of a response to a client, and how its body is framed. Pure.

The framing follows from the request, the status and the body, never from what a server wrote
(RFC 9112 section 6.3; RFC 9110 section 8.6): none, a length, chunks, or the end of the connection.
"""

from __future__ import annotations

import enum
import functools
import time
from email.utils import formatdate

from shared.headers import Headers
from worker.messages import Request, Response

_BODYLESS = frozenset({204, 304})


class Framing(enum.Enum):
    """How the client learns where the body ends."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


def decide_framing(request: Request, response: Response) -> Framing:
    """The framing of a final response."""
    if request.method == "HEAD" or response.status in _BODYLESS:
        return Framing.NONE
    if response.body.length is not None:
        return Framing.LENGTH
    return Framing.CHUNKED if request.version == "1.1" else Framing.CLOSE


def encode_response_head(
    request: Request, response: Response, framing: Framing, *, keep_alive: bool
) -> bytes:
    """The bytes of a final head.

    Args:
        request: what is answered.
        response: its hop-by-hop and framing fields are gone already.
        framing: from ``decide_framing``.
        keep_alive: whether the connection goes on; never with ``Framing.CLOSE``.
    """
    lines = [_status_line(response.status, response.reason)]
    if framing is not Framing.CHUNKED and request.method != "HEAD":
        response.headers.remove(b"Trailer")  # it announces what only chunks can carry
    lines += [b"%b: %b" % field for field in response.headers]
    if b"date" not in response.headers:
        lines.append(b"Date: " + date_field(int(time.time())))
    if framing is Framing.CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    elif _shows_length(response, framing):
        lines.append(b"Content-Length: %d" % (response.body.length or 0))
    if not keep_alive:
        lines.append(b"Connection: close")
    elif request.version == "1.0":
        lines.append(b"Connection: keep-alive")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def encode_interim_head(status: int, reason: bytes, headers: Headers) -> bytes:
    """The bytes of a 1xx head."""
    return (
        b"\r\n".join([_status_line(status, reason), *(b"%b: %b" % field for field in headers)]) + b"\r\n\r\n"
    )


def encode_chunk(data: bytes) -> bytes:
    """One chunk; ``data`` is not empty, as an empty chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def encode_last_chunk(trailers: Headers | None) -> bytes:
    """The end of a chunked body."""
    lines = [b"0", *(b"%b: %b" % field for field in trailers or ())]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _status_line(status: int, reason: bytes) -> bytes:
    return b"HTTP/1.1 %d %b" % (status, reason)


def _shows_length(response: Response, framing: Framing) -> bool:
    """Also for HEAD and 304, where it is the length a GET would have had; of ours that is not known."""
    if framing is Framing.LENGTH:
        return True
    if response.status == 204 or response.body.length is None or framing is not Framing.NONE:
        return False
    return response.status != 304 or response.from_upstream


@functools.lru_cache(maxsize=1)
def date_field(now: int) -> bytes:
    """The value of Date."""
    return formatdate(now, usegmt=True).encode("ascii")
