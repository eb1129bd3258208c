"""What the worker's connections make of bytes: the messages they read, and the error that ended it.

The real ``Downstream`` and ``UpstreamConnection`` run over a scripted stream: it gives out exactly the
pieces it was given, while sockets and memory streams may join them. Any exception that is not one of ours
comes out: that is a finding.
"""

from __future__ import annotations

import trio

from shared.errors import DownstreamError, UpstreamError
from shared.headers import Headers
from tests.support.strict_reader import MalformedError, UnfinishedError, read_request
from tests.support.strict_reader import read_response as read_response_strictly
from worker.departures import Presence
from worker.downstream import Downstream
from worker.request_head import HeadRules, Peer, parse_request
from worker.upstream import UpstreamConnection

RULES = HeadRules(max_bytes=65_536)
MAX_MESSAGES = 5
END = "end"


def requests_in(pieces):
    """See ``read_requests``."""
    return trio.run(read_requests, pieces)


def response_in(pieces, method="GET"):
    """See ``read_response``."""
    return trio.run(read_response, pieces, method)


def requests_read_strictly(data):
    """What the strict reader makes of the same bytes, in the same form as far as both say it."""
    seen, at = [], 0
    while at < len(data) and len(seen) < MAX_MESSAGES:
        try:
            message, at = read_request(data, at)
        except (MalformedError, UnfinishedError):
            break
        seen.append((message.method.decode(), message.body, message.trailers))
    return seen


def response_read_strictly(data, method="GET"):
    """The body and trailers that the strict reader finds; None if it refuses."""
    try:
        message, _ = read_response_strictly(data, 0, method.encode(), ended=True)
    except (MalformedError, UnfinishedError):
        return None
    return message.status, message.body, message.trailers


def lowered(fields):
    """Fields with their names folded."""
    return [(name.lower(), value) for name, value in fields]


class ScriptedStream:
    """A connection whose peer said ``pieces`` and then finished; takes every byte it is given.

    Stands for its own socket, too.
    """

    def __init__(self, pieces):
        self._pieces = [piece for piece in pieces if piece][::-1]
        self.socket = self

    async def receive_some(self, max_bytes):
        """The next piece; empty at the end."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return self._pieces.pop() if self._pieces else b""

    async def send_all(self, data):
        """Take it."""
        await trio.lowlevel.checkpoint_if_cancelled()

    async def send(self, data):
        """Take it."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return len(data)

    def fileno(self):
        """A descriptor that is registered and never asked about: no exchange here waits idle in a pool."""
        return 0

    def close(self):
        """Nothing to close."""


async def read_requests(pieces):
    """What a client's connection says, message by message; last the name of the error that ended it."""
    presence = Presence(-1, lambda: None)
    downstream = Downstream(ScriptedStream(pieces), presence, read_timeout_s=0, write_timeout_s=0)
    seen = []
    try:
        for _ in range(MAX_MESSAGES):
            head = parse_request(await downstream.read_head(RULES.max_bytes), RULES, Peer("192.0.2.1", 1))
            request = head.request
            meaning = [request.method, request.target, request.host_header, list(request.headers)]
            body = downstream.open_body(head)
            content = await read_whole(body)
            seen.append([*meaning, head.keep_alive, content, fields_of(body.trailers)])
        seen.append(END)
    except DownstreamError as error:
        seen.append(type(error).__name__)
    return seen


async def read_response(pieces, method):
    """What a server's connection says: interim answers, head, body, trailers, and how it ended."""
    link = UpstreamConnection(ScriptedStream(pieces), lambda link, is_usable: None)
    link.is_lent = True
    seen = []

    async def note_interim(status, reason, headers):
        seen.append((status, reason, list(headers)))

    try:
        link.begin(method, "/", Headers([(b"Host", b"a")]))
        await link.send_end(None)
        head = await link.read_head(note_interim)
        seen.append((head.status, head.reason, list(head.headers), head.announced_length))
        if head.status == 101:
            seen += [b"", []]
        else:
            body = link.open_body(head)
            content = await read_whole(body)
            seen += [content, fields_of(body.trailers)]
        seen.append(END)
    except UpstreamError as error:
        seen.append(type(error).__name__)
    return seen


async def read_whole(body):
    """All of a body."""
    content = b""
    while chunk := await body.receive():
        content += chunk
    return content


def fields_of(trailers):
    """A list, also without trailers."""
    return list(trailers) if trailers is not None else []
