"""Paths and queries of request targets: one normal form that is matched, authorised and sent on.

Every function here is pure. Texts are ``str`` in which bytes that are not UTF-8 stand as surrogate escapes
(PEP 383), so no byte of a target is ever lost. Escapes are decoded in bytes and only then read as text.

Order at the entrypoint: ``normalise_escapes``, ``sanitise`` (if asked for), ``semicolons``; then
``routing_path`` and ``decoded_path`` give what rules look at.

Source: spec v2 sections 2.4 and 5.3; RFC 3986 sections 2 and 5.2.4; Go packages net/url and path.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping

from shared.errors import BadRequest

MAX_QUERY_PARAMETERS = 10_000
"""A query with more parameters has no values at all, as in Go (``urlmaxqueryparams``); bounds matching."""

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_KEPT_FOR_ROUTING = frozenset(b"%%%02X" % byte for byte in b":/?#[]@!$&'()*+,;=%")
_UNESCAPED_IN_PATH = _UNRESERVED | frozenset(b"$&+,/:;=@")


def has_bad_escape(path: str) -> bool:
    """Whether a ``%`` stands without two hexadecimal digits after it."""
    return "%" in path and _BAD_ESCAPE.search(path) is not None


def normalise_escapes(raw_path: str) -> str:
    """Decode the escapes of unreserved characters and upper-case all others (spec v2 section 5.3 step 3).

    Raises:
        BadRequest: an escape is malformed; decoding around it could make a new escape.
    """

    def normal(escape: re.Match[bytes]) -> bytes:
        byte = int(escape[1], 16)
        return bytes([byte]) if byte in _UNRESERVED else escape[0].upper()

    return _replace_escapes(raw_path, normal)


def routing_path(path: str) -> str:
    """The path that v2 and v3 rules see: decoded, but upper-case escapes of reserved characters stay.

    ``/a%2Fb`` stays another path than ``/a/b``, and ``/a%20b`` is ``/a b``.

    Raises:
        BadRequest: an escape is malformed.
    """

    def decoded(escape: re.Match[bytes]) -> bytes:
        return escape[0] if escape[0] in _KEPT_FOR_ROUTING else bytes([int(escape[1], 16)])

    return _replace_escapes(path, decoded)


def decoded_path(path: str) -> str:
    """The path with every escape decoded: what v1 rules and the path middlewares see.

    Raises:
        BadRequest: an escape is malformed.
    """
    return _replace_escapes(path, lambda escape: bytes([int(escape[1], 16)]))


def sanitise(path: str) -> str:
    """Remove dot segments and empty segments; a slash at the end stays (spec v2 section 5.3 step 4).

    Works on the escaped path: ``..%2F`` is one segment and stays. ``*`` (of OPTIONS) stays, an empty path
    becomes ``/``.
    """
    if path == "*":
        return path
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    cleaned = "/" + "/".join(kept)
    return cleaned + "/" if kept and path.endswith("/") else cleaned


def is_clean(path: str) -> bool:
    """Whether ``sanitise`` would change nothing; an empty path is clean (it is sent as ``/``)."""
    rooted = path if path.startswith("/") else "/" + path
    return not path or sanitise(rooted) == rooted


def escape_path(text: str) -> str:
    """Escape a decoded path as Go's ``URL.EscapedPath`` does: one spelling for each decoded path."""
    if text == "*":
        return text
    return "".join(chr(byte) if byte in _UNESCAPED_IN_PATH else f"%{byte:02X}" for byte in _to_bytes(text))


def semicolons(query: str | None, encode: bool) -> str | None:
    """Make ``;`` in a raw query mean one thing: a separator like ``&``, or a plain character (``encode``)."""
    return None if query is None else query.replace(";", "%3B" if encode else "&")


def query_values(query: str | None, key: str) -> list[str]:
    """The decoded values of parameter ``key`` in a raw query, in order.

    A parameter with a malformed escape or with a raw ``;`` is left out, as are all when there are more than
    ``MAX_QUERY_PARAMETERS``.

    Source: Go ``url.ParseQuery``.
    """
    return list(_parse_query(query).get(key, ())) if query else []


# One entry: the rules of many routers ask for the same request's query one after the other.
@functools.lru_cache(maxsize=1)
def _parse_query(query: str) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    if query.count("&") >= MAX_QUERY_PARAMETERS:
        return found
    for pair in query.split("&"):
        if not pair or ";" in pair or has_bad_escape(pair):
            continue
        key, _, value = pair.partition("=")
        found.setdefault(_decode_parameter(key), []).append(_decode_parameter(value))
    return found


def _decode_parameter(text: str) -> str:
    return decoded_path(text.replace("+", " "))


def _replace_escapes(text: str, replacement: Callable[[re.Match[bytes]], bytes]) -> str:
    if "%" not in text:
        return text
    if has_bad_escape(text):
        raise BadRequest("malformed percent-encoding in the request target")
    return _ESCAPE.sub(replacement, _to_bytes(text)).decode("utf-8", "surrogateescape")


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
