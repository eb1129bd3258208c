"""What the redirecting steps share: reading the current URL and answering with another one.

Source: spec v2 section 4.2.
"""

from __future__ import annotations

import re

from worker import replies
from worker.exchange import Exchange
from worker.messages import Request, Response

DEFAULT_PORTS = {"http": "80", "https": "443"}
_SCHEME_OF_PROTO = {b"http": "http", b"ws": "http", b"https": "https", b"wss": "https"}
_URL = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*):)?"
    r"(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)"
    r"(?:\?[^#]*)?"
    r"(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_AUTHORITY = re.compile(r"""(?:[^@\s]*@)?(?:\[[0-9A-Za-z:.%_~\-]+\]|[^\s:@\[\]<>"\\^`{|}]*)(?::[0-9]*)?""")
_SCHEME = re.compile(r"\A[A-Za-z][A-Za-z0-9+.\-]*(?=:)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def scheme_with_forwarded(request: Request) -> str:
    """``http`` or ``https``: what X-Forwarded-Proto says if it names one of them, else the connection's.

    The header is here only if a trusted peer sent it or we wrote it ourselves; ``ws`` and ``wss`` are the
    same connections before their upgrade.
    """
    forwarded = request.headers.get(b"X-Forwarded-Proto")
    if forwarded is None:
        return request.scheme
    return _SCHEME_OF_PROTO.get(forwarded.lower(), request.scheme)


def split_host_port(host_header: str) -> tuple[str, str]:
    """Host (IPv6 in brackets) and port (empty if there is none) of a Host field."""
    host, colon, port = host_header.rpartition(":")
    if not colon or port.endswith("]"):
        return host_header, ""
    return host, port


def answer(exchange: Exchange, location: str, *, permanent: bool) -> Response:
    """Send the client to ``location``: 302 or 301 for GET, 307 or 308 for what must keep its method.

    A location that is not a URL answers 502: the configured replacement made it (observed in Traefik 3.7.15).
    """
    if exchange.request.method == "GET":
        return answer_with(301 if permanent else 302, location)
    return answer_with(308 if permanent else 307, location)


def answer_with(status: int, location: str) -> Response:
    """Send the client to ``location`` with a given status; 502 if it is not a URL."""
    if not is_url(location):
        return replies.plain(502)
    return replies.redirect(status, _SCHEME.sub(lambda scheme: scheme[0].lower(), location))


def is_url(text: str) -> bool:
    """Whether ``text`` is a URL reference that clients can follow (as strict as Go's ``url.Parse``)."""
    parts = _URL.fullmatch(text)
    if not text or parts is None or _CONTROL.search(text):
        return False
    authority, path = parts["authority"], parts["path"]
    if any(_BAD_ESCAPE.search(part) for part in (authority, path, parts["fragment"]) if part):
        return False
    if authority is not None:
        return _AUTHORITY.fullmatch(authority) is not None
    return parts["scheme"] is not None or ":" not in path.partition("/")[0]
