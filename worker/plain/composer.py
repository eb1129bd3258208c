"""Plans for heads that were never seen, of parts that were: lines, and what goes with a Host. Pure.

Clients that ask for something new each time still repeat most lines of their heads. A line that the general
lane only passes on (its name is none of ``LOOKED_AT``) is read once by that lane's grammar and then known by
its bytes. What the lane adds for a peer and a Host, and in which order, is found by sending a request without
other lines through the general lane's own functions. A target is taken as it stands if normalising it would
change nothing, which one expression decides.

Whatever else stands in a head, nothing is composed, and the general lane's functions read the whole
(``plan.make_plan``). A property test holds both against each other.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from shared.errors import DownstreamError
from shared.headers import FoldedField, Headers
from worker.exchange import Exchange
from worker.fields import MalformedFields, parse_fields
from worker.forward import build_headers
from worker.forwarded import HOP_BY_HOP, is_managed, note_peer
from worker.messages import Request
from worker.request_head import MAX_FIELDS, Peer, parse_request
from worker.routes import Routes
from worker.server import Server
from worker.state import Entrance

MAX_HEAD_BYTES = 8_192
"""Longer heads are not plain: they are rare, and memory is for the many. A kernel takes one of this size at
once."""
MAX_LINES = 16_384
"""Header lines known per worker (about 8 MB of usual ones)."""
MAX_LINE_BYTES = 512
"""Longer lines are read each time: they are cookies and tokens, and seldom the same for long."""
MAX_FRAMES = 4_096
"""Peers and hosts known per worker."""

LOOKED_AT = frozenset({*HOP_BY_HOP, b"host", b"content-length", b"expect", b"trailer"})
"""Names that the general lane does more with than to pass them on; so are those that ``is_managed``."""

_NAME = re.compile(rb"[A-Za-z0-9\-]+")
_START = re.compile(
    rb"(GET|HEAD|OPTIONS|DELETE) "
    rb"((/|(?:/(?!\.)[A-Za-z0-9\-._~!$&'()*+,=:@]+)+/?)"
    rb"(?:\?([A-Za-z0-9\-._~!$&'()*+,=:@/?%]*))?) HTTP/1\.1\r\n"
)
"""A start line whose path is in normal form: no escapes, no empty or dotted segments, nothing to escape."""


class Line(NamedTuple):
    """A header line that is passed on as it is.

    Attributes:
        field: its folded name, its name and its value.
        sent: the line as servers get it.
    """

    field: FoldedField
    sent: bytes


class Host(NamedTuple):
    """A Host line; whether its value can be used is for a frame to find out."""

    value: bytes


class Dropped(NamedTuple):
    """A line that says what goes without saying (``Connection: keep-alive``)."""


Known = Line | Host | Dropped | None
"""What is known of a line; None if only the whole head says what it means."""


class Frame:
    """What a request without other lines becomes, for one peer, entrypoint and Host.

    Attributes:
        exchange: that request's.
        fields: what the lane added to it.
    """

    __slots__ = ("_parts", "client_host", "exchange", "fields")

    def __init__(self, exchange: Exchange, client_host: bytes) -> None:
        self.exchange = exchange
        self.client_host = client_host
        self.fields = exchange.request.headers.folded()
        self._parts: dict[Server, tuple[bytes, bytes]] = {}

    def around(self, server: Server) -> tuple[bytes, bytes]:
        """What stands before and behind the client's own lines in the head for this server."""
        known = self._parts.get(server)
        if known is None:
            host, *others = (b"%b: %b\r\n" % field for field in build_headers(self.exchange, server))
            known = self._parts[server] = (host, b"".join(others) + b"\r\n")
        return known


class Composition(NamedTuple):
    """A request put together: the exchange to run the chain on, and what its head is made of."""

    exchange: Exchange
    frame: Frame
    lines: bytes


class Composer:
    """Composes for one generation of routes after the other."""

    def __init__(self) -> None:
        self._lines: dict[bytes, Known] = {}
        self._frames: dict[tuple[str, bool, str, str, bytes], Frame | None] = {}
        self._routes: Routes | None = None

    def compose(
        self, raw_head: bytes, entrance: Entrance, peer: Peer, routes: Routes, generation: int
    ) -> Composition | None:
        """The exchange of a whole head without a body; None if the head has to be read as a whole."""
        start = _START.match(raw_head)
        if start is None or not entrance.keeps_fields:
            return None
        if len(raw_head) > min(MAX_HEAD_BYTES, entrance.rules.max_bytes):
            return None
        host: bytes | None = None
        fields: list[FoldedField] = []
        sent: list[bytes] = []
        lines = raw_head[start.end() : -4].split(b"\r\n")
        for line in lines:
            known = self._lines.get(line, _UNKNOWN)
            if known is _UNKNOWN:
                known = self._learn(line)
            if type(known) is Line:
                fields.append(known.field)
                sent.append(known.sent)
            elif type(known) is Host and host is None:
                host = known.value
            elif type(known) is not Dropped:
                return None
        if host is None or len(lines) > MAX_FIELDS:
            return None
        frame = self._frame(host, entrance, peer, routes)
        if frame is None:
            return None
        request = _request(start, fields, frame)
        exchange = Exchange(request, entrance.name, entrance.settings, tls=entrance.tls)
        exchange.generation = generation
        return Composition(exchange, frame, b"\r\n".join([*sent, b""]))

    def _learn(self, line: bytes) -> Known:
        known = read_line(line)
        if len(line) <= MAX_LINE_BYTES:
            if len(self._lines) >= MAX_LINES:
                self._lines.clear()
            self._lines[line] = known
        return known

    def _frame(self, host: bytes, entrance: Entrance, peer: Peer, routes: Routes) -> Frame | None:
        if routes is not self._routes or len(self._frames) >= MAX_FRAMES:
            self._frames.clear()  # servers belong to a generation
            self._routes = routes
        key = (entrance.name, entrance.tls, peer.ip, peer.scheme, host)
        if key not in self._frames:
            self._frames[key] = make_frame(host, entrance, peer)
        return self._frames[key]


_UNKNOWN = Dropped()


def read_line(line: bytes) -> Known:
    """What a header line is, by the general lane's grammar."""
    try:
        ((name, value),) = parse_fields([line])
    except MalformedFields:
        return None
    folded = name.lower()
    if folded == b"host":
        return Host(value)
    if folded == b"connection" and value.lower() == b"keep-alive":
        return Dropped()
    if folded in LOOKED_AT or is_managed(folded) or _NAME.fullmatch(name) is None:
        return None
    return Line((folded, name, value), b"%b: %b" % (name, value))


def make_frame(host: bytes, entrance: Entrance, peer: Peer) -> Frame | None:
    """What the general lane makes of a request that has nothing but a Host; None if that is refused."""
    try:
        head = parse_request(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host, entrance.rules, peer)
    except DownstreamError:
        return None
    note_peer(head.request, entrance.trust)
    exchange = Exchange(head.request, entrance.name, entrance.settings, tls=entrance.tls)
    return Frame(exchange, head.request.headers.get(b"x-forwarded-for") or peer.ip.encode())


def _request(start: re.Match[bytes], fields: list[FoldedField], frame: Frame) -> Request:
    """The request of a start line in normal form."""
    pattern = frame.exchange.request
    path = start[3].decode("ascii")
    query = start[4].decode("ascii") if start[4] else None
    return Request(
        method=start[1].decode("ascii"),
        received_target=start[2].decode("ascii"),
        path=path,
        query=query,
        headers=Headers.of_folded(fields + frame.fields),
        host_header=pattern.host_header,
        host=pattern.host,
        routing_path=path,
        decoded_path=path,
        client_ip=pattern.client_ip,
        client_port=pattern.client_port,
        scheme=pattern.scheme,
    )
