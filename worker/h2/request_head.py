"""The fields of a request stream in, a ``Request`` or a ``BadRequest`` out. Pure.

As strict as for HTTP/1: one reading, nothing repaired. What is malformed ends its stream only, so that a
client that speaks for many others does not lose all of their requests to one of them.

Source: RFC 9113 sections 8.1 to 8.3; spec v2 section 5.3.
"""

from __future__ import annotations

import re

from shared.errors import BadRequest, HeadersTooLarge, MethodNotImplemented, UriTooLong
from shared.headers import Headers
from worker.fields import TOKEN, MalformedFields, check_fields, parse_length
from worker.request_head import (
    MAX_FIELDS,
    MAX_TARGET_BYTES,
    HeadRules,
    Peer,
    RefusedTarget,
    RequestHead,
    check_authority,
    make_request,
    split_target,
)

VERSION = "2.0"

_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
CONNECTION_FIELDS = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
"""Fields of HTTP/1 that have no place here (RFC 9113 section 8.2.2)."""
_UPPER = re.compile(rb"[A-Z]")
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")


def parse_request(
    fields: list[tuple[bytes, bytes]], rules: HeadRules, peer: Peer, *, has_body: bool
) -> RequestHead:
    """Read a head.

    Args:
        fields: as decoded, pseudo-fields first.
        rules: of the entrypoint.
        peer: the client.
        has_body: whether the stream goes on behind the head.

    Raises:
        DownstreamError: the head is malformed, ambiguous, too large, or asks for what we do not do.
    """
    if len(fields) > MAX_FIELDS + len(_PSEUDO):
        raise HeadersTooLarge(f"{len(fields)} header fields are over {MAX_FIELDS}")
    if sum(len(name) + len(value) + 4 for name, value in fields) > rules.max_bytes:
        raise HeadersTooLarge(f"the head is over {rules.max_bytes} bytes")
    pseudo, regular = _split(fields)
    headers = Headers(_with_one_cookie(regular))
    method, target, authority = _parse_pseudo(pseudo)
    host = _parse_host(headers, authority)
    raw_path, query = split_target(method, target, host)
    length = _parse_length(headers, has_body=has_body)
    request = make_request(method, target, VERSION, headers, host, raw_path, query, rules, peer)
    expects = length != 0 and headers.tokens(b"expect") == [b"100-continue"]
    return RequestHead(request, length, keep_alive=True, expects_continue=expects)


def _split(fields: list[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], list[tuple[bytes, bytes]]]:
    pseudo: dict[bytes, bytes] = {}
    regular: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        if name[:1] != b":":
            regular.append((name, value))
        elif regular or name in pseudo or name not in _PSEUDO:
            raise BadRequest("a pseudo-field is unknown, repeated or late")
        else:
            pseudo[name] = value
    for name, value in regular:
        if _UPPER.search(name):
            raise BadRequest("a field name is not lower-case")
        if name in CONNECTION_FIELDS or (name == b"te" and value.strip().lower() != b"trailers"):
            raise BadRequest("a connection-specific field")
    try:
        check_fields(regular)
    except MalformedFields as error:
        raise BadRequest("a malformed header field") from error
    return pseudo, regular


def _parse_pseudo(pseudo: dict[bytes, bytes]) -> tuple[str, bytes, bytes | None]:
    """Method, target and authority (RFC 9113 section 8.3.1)."""
    method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if TOKEN.fullmatch(method) is None:
        raise BadRequest("malformed method")
    if method == b"CONNECT":
        raise MethodNotImplemented("CONNECT")
    if len(target) > MAX_TARGET_BYTES:
        raise UriTooLong(f"request target of {len(target)} bytes is over {MAX_TARGET_BYTES}")
    if pseudo.get(b":scheme", b"").lower() not in (b"http", b"https"):
        raise BadRequest("the scheme is neither http nor https")
    if _TARGET.fullmatch(target) is None or (target[:1] != b"/" and target != b"*"):
        raise BadRequest("malformed path")
    if b"#" in target:
        raise RefusedTarget("a fragment in the request target")
    return method.decode("ascii"), target, pseudo.get(b":authority")


def _parse_host(headers: Headers, authority: bytes | None) -> bytes:
    """The one host that the request names; two that differ are refused (RFC 9113 section 8.3.1)."""
    hosts = headers.get_all(b"host")
    if len(hosts) > 1:
        raise BadRequest("repeated Host")
    if authority is not None:
        check_authority(authority)
        if not authority or (hosts and hosts[0].lower() != authority.lower()):
            raise BadRequest("Host differs from the authority")
        return authority
    if not hosts:
        raise BadRequest("neither an authority nor a Host")
    check_authority(hosts[0])
    return hosts[0]


def _parse_length(headers: Headers, *, has_body: bool) -> int | None:
    lengths = headers.get_all(b"content-length")
    if len(lengths) > 1:
        raise BadRequest("repeated Content-Length")
    try:
        announced = parse_length(lengths[0]) if lengths else None
    except MalformedFields as error:
        raise BadRequest(str(error)) from error
    if not has_body and announced:
        raise BadRequest("the content is not as long as announced")
    return announced if has_body else 0


def _with_one_cookie(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Cookies may come in crumbs; servers want one line (RFC 9113 section 8.2.3)."""
    crumbs = [value for name, value in fields if name == b"cookie"]
    if len(crumbs) < 2:
        return fields
    kept = [each for each in fields if each[0] != b"cookie"]
    return [*kept, (b"cookie", b"; ".join(crumbs))]
