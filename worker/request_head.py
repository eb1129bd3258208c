"""A complete request head in, a ``Request`` or a ``DownstreamError`` out. Pure.

One strict reading: whatever two parsers could read in two ways is refused here, before anything else looks
at it. Then the target and the names of fields are brought into the one form that is matched and sent on, in
the order of spec v2 section 5.3.

Source: RFC 9112 sections 2 to 6; RFC 9110 sections 7.1 and 7.2; spec v2 sections 2.4 and 5.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from shared.config.static import AllowedEncodedCharacters, EntryPointHttp
from shared.errors import (
    BadRequest,
    HeadersTooLarge,
    MethodNotImplemented,
    UriTooLong,
    VersionNotSupported,
)
from shared.headers import Field, Headers
from shared.hosts import canonical_host, lower_ascii
from shared.paths import decoded_path, normalise_escapes, routing_path, sanitise, semicolons
from worker.fields import TOKEN, MalformedFields, parse_fields, parse_length
from worker.messages import Request

MAX_TARGET_BYTES = 65_536
"""Longest request target (RFC 9112 section 3 asks for at least 8000)."""
MAX_FIELDS = 256
"""Most fields in one head; browsers send about 20 (haproxy stops at 101)."""
MAX_PORT = 65_535

_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(.*)", re.DOTALL)
_HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)(?::([0-9]{0,5}))?"
)
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_NOT_IN_PATH = re.compile(rb'[\x80-\xff"<>\\^`{|}]')
_PLAIN_NAME = re.compile(rb"[A-Za-z0-9\-]+")

Strategy = Literal["keep", "delete", "reject"]


class RefusedTarget(BadRequest):
    """The target may not be used here; answered without a body (spec v2 sections 2.4 and 5.3)."""


class RefusedField(BadRequest):
    """A field name is an alias of another and the entrypoint rejects those (spec v2 section 1.5)."""


@dataclass(frozen=True, slots=True)
class HeadRules:
    """What an entrypoint asks of heads.

    Attributes:
        max_bytes: longest head, start line included.
        underscores: what happens to fields with ``_`` in the name.
        aliases: what happens to fields whose name holds anything but letters, digits and ``-``.
        sanitise_path, encode_semicolons: see ``shared.paths``.
        refused_escapes: upper-case escapes that a path may not hold.
    """

    max_bytes: int
    underscores: Strategy = "keep"
    aliases: Strategy = "keep"
    sanitise_path: bool = True
    encode_semicolons: bool = False
    refused_escapes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection, and how it came in."""

    ip: str
    port: int
    scheme: str = "http"


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A parsed head.

    Attributes:
        request: the request; its body is still empty.
        body_length: bytes of body, None for chunked.
        keep_alive: whether the client wants the connection to go on.
        expects_continue: whether the client waits for a 100 before it sends the body.
    """

    request: Request
    body_length: int | None
    keep_alive: bool
    expects_continue: bool


def make_rules(http: EntryPointHttp) -> HeadRules:
    """The rules that the settings of an entrypoint mean."""
    return HeadRules(
        max_bytes=http.max_header_bytes,
        underscores=_strategy(http.underscore_headers_strategy),
        aliases=_strategy(http.alias_headers_strategy),
        sanitise_path=http.sanitize_path,
        encode_semicolons=http.encode_query_semicolons,
        refused_escapes=_refused_escapes(http.encoded_characters),
    )


def parse_request(raw_head: bytes, rules: HeadRules, peer: Peer) -> RequestHead:
    """Read a head.

    Args:
        raw_head: from the first byte of the method to the empty line, both included.
        rules: of the entrypoint.
        peer: the client.

    Raises:
        DownstreamError: the head is malformed, ambiguous, too large, or asks for what we do not speak.
    """
    if len(raw_head) > rules.max_bytes:
        raise HeadersTooLarge(f"head of {len(raw_head)} bytes is over {rules.max_bytes}")
    start_line, *lines = raw_head[:-4].split(b"\r\n")
    method, raw_target, version = _parse_start_line(start_line)
    headers = Headers(_parse_section(lines))
    body_length = _parse_framing(headers, version)
    host_header = _parse_host(headers, version)
    raw_path, query = split_target(method, raw_target, host_header)
    host_header = _authority(raw_target) or host_header
    request = make_request(method, raw_target, version, headers, host_header, raw_path, query, rules, peer)
    return RequestHead(request, body_length, _keeps_alive(headers, version), _expects(headers, version))


def make_request(
    method: str,
    raw_target: bytes,
    version: str,
    headers: Headers,
    host_header: bytes,
    raw_path: bytes,
    query: str | None,
    rules: HeadRules,
    peer: Peer,
) -> Request:
    """The one normalised request, from parts whose grammar has been checked. Takes Host out of ``headers``.

    Raises:
        RefusedField: a field name is one that the entrypoint refuses.
    """
    _apply_strategies(headers, rules)
    path = _normalise(raw_path, rules)
    headers.remove(b"host")
    return Request(
        method=method,
        received_target=_text(raw_target),
        path=path,
        query=semicolons(query, rules.encode_semicolons) or None,
        redirect_query=(query.replace(";", "%3B") if query and rules.encode_semicolons else query) or None,
        headers=headers,
        host_header=_text(host_header),
        host=canonical_host(_text(host_header)),
        routing_path=routing_path(path),
        decoded_path=decoded_path(path),
        client_ip=peer.ip,
        client_port=peer.port,
        scheme=peer.scheme,
        version=version,
    )


def check_escapes(request: Request, rules: HeadRules) -> None:
    """Refuse escapes that the entrypoint does not allow; done once a router matched (spec v2 section 3.1).

    Raises:
        RefusedTarget: the path holds one.
    """
    if rules.refused_escapes and any(escape in request.path for escape in rules.refused_escapes):
        raise RefusedTarget("an escape in the path is not allowed at this entrypoint")


def _parse_start_line(line: bytes) -> tuple[str, bytes, str]:
    parts = line.split(b" ")
    if len(parts) != 3:
        raise BadRequest("malformed request line")
    method, target, version = parts
    if len(target) > MAX_TARGET_BYTES:
        raise UriTooLong(f"request target of {len(target)} bytes is over {MAX_TARGET_BYTES}")
    if TOKEN.fullmatch(method) is None or _TARGET.fullmatch(target) is None:
        raise BadRequest("malformed request line")
    if _VERSION.fullmatch(version) is None:
        raise BadRequest("malformed protocol version")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise VersionNotSupported("neither HTTP/1.0 nor HTTP/1.1")
    if method == b"CONNECT":
        raise MethodNotImplemented("CONNECT over HTTP/1")
    if b"#" in target:
        raise RefusedTarget("a fragment in the request target")
    return method.decode("ascii"), target, version[5:].decode("ascii")


def _parse_section(lines: list[bytes]) -> list[Field]:
    if len(lines) > MAX_FIELDS:
        raise HeadersTooLarge(f"{len(lines)} header fields are over {MAX_FIELDS}")
    try:
        return parse_fields(lines)
    except MalformedFields as error:
        raise BadRequest(str(error)) from error


def _parse_framing(headers: Headers, version: str) -> int | None:
    """The length of the body, None for chunked (RFC 9112 section 6.3; the ambiguous is refused)."""
    lengths = headers.get_all(b"content-length")
    codings = headers.get_all(b"transfer-encoding")
    if codings:
        if lengths:
            raise BadRequest("both Content-Length and Transfer-Encoding")
        if version == "1.0":
            raise BadRequest("Transfer-Encoding in HTTP/1.0")
        _check_codings(headers)
        return None
    if not lengths:
        return 0
    if len(lengths) > 1:
        raise BadRequest("repeated Content-Length")
    try:
        return parse_length(lengths[0])
    except MalformedFields as error:
        raise BadRequest(str(error)) from error


def _check_codings(headers: Headers) -> None:
    values = headers.get_all(b"transfer-encoding")
    if len(values) == 1 and values[0].lower() == b"chunked":
        return
    codings = headers.tokens(b"transfer-encoding")
    if len(values) > 1 or codings[-1:] != [b"chunked"] or codings.count(b"chunked") > 1:
        raise BadRequest("Transfer-Encoding is not exactly one final chunked")
    if len(codings) == 1:
        raise BadRequest("malformed Transfer-Encoding")
    raise MethodNotImplemented("a transfer coding before chunked")


def _parse_host(headers: Headers, version: str) -> bytes:
    hosts = headers.get_all(b"host")
    if len(hosts) > 1:
        raise BadRequest("repeated Host")
    if not hosts:
        if version == "1.1":
            raise BadRequest("no Host")
        return b""
    check_authority(hosts[0])
    return hosts[0]


def check_authority(authority: bytes) -> None:
    """Check a host with its port.

    Raises:
        BadRequest: it is malformed.
    """
    found = _HOST.fullmatch(authority)
    if found is None or int(found[1] or b"0") > MAX_PORT:
        raise BadRequest("malformed host")


def _authority(target: bytes) -> bytes:
    found = _ABSOLUTE.fullmatch(target)
    return b"" if found is None else found[1]


def split_target(method: str, target: bytes, host_header: bytes) -> tuple[bytes, str | None]:
    """Raw path and query; the authority of an absolute form must be the one that Host names.

    Raises:
        BadRequest: it is in no known form, or names another host.
    """
    if target == b"*":
        if method != "OPTIONS":
            raise BadRequest("asterisk target without OPTIONS")
        return target, None
    rest = target
    if not target.startswith(b"/"):
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None or not absolute[1]:
            raise BadRequest("request target is in no known form")
        check_authority(absolute[1])
        if host_header and lower_ascii(_text(host_header)) != lower_ascii(_text(absolute[1])):
            raise BadRequest("Host differs from the authority of the target")
        rest = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    raw_path, mark, raw_query = rest.partition(b"?")
    query = _BEYOND_ASCII.sub(_escape, raw_query).decode("ascii") if mark else None
    return raw_path, query


def _normalise(raw_path: bytes, rules: HeadRules) -> str:
    """Steps 3 and 4. What no path may hold is escaped first (RFC 3986 section 3.3).

    So a backslash cannot pass where ``%5C`` is refused, and servers never get to repair a target their way.
    """
    if raw_path == b"*":
        return "*"
    path = normalise_escapes(_NOT_IN_PATH.sub(_escape, raw_path).decode("ascii"))
    return sanitise(path) if rules.sanitise_path else path


def _escape(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]


def _apply_strategies(headers: Headers, rules: HeadRules) -> None:
    if rules.underscores == "keep" and rules.aliases == "keep":
        return
    doomed: list[bytes] = []
    for name in headers.names():
        strategy: Strategy = rules.underscores if b"_" in name else "keep"
        if strategy == "keep" and _PLAIN_NAME.fullmatch(name) is None:
            strategy = rules.aliases
        if strategy == "reject":
            raise RefusedField("a field name that can be taken for another")
        if strategy == "delete":
            doomed.append(name)
    headers.remove(*doomed)


def _keeps_alive(headers: Headers, version: str) -> bool:
    tokens = headers.tokens(b"connection")
    if b"close" in tokens:
        return False
    return version == "1.1" or b"keep-alive" in tokens


def _expects(headers: Headers, version: str) -> bool:
    return version == "1.1" and headers.tokens(b"expect") == [b"100-continue"]


def _strategy(text: str) -> Strategy:
    if text == "delete":
        return "delete"
    return "reject" if text == "reject" else "keep"


def _refused_escapes(allowed: AllowedEncodedCharacters) -> tuple[str, ...]:
    choices = (
        (allowed.allow_encoded_slash, "%2F"),
        (allowed.allow_encoded_back_slash, "%5C"),
        (allowed.allow_encoded_null_character, "%00"),
        (allowed.allow_encoded_semicolon, "%3B"),
        (allowed.allow_encoded_percent, "%25"),
        (allowed.allow_encoded_question_mark, "%3F"),
        (allowed.allow_encoded_hash, "%23"),
    )
    return tuple(escape for is_allowed, escape in choices if not is_allowed)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
