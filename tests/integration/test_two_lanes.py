"""The rule of the plain lane: it declines, or both lanes send the same bytes both ways.

Two workers in this process serve the same table, one of them with the general lane only. Every message of the
attack corpus, and generated conversations cut anywhere, go to both; what the servers and the clients saw is
compared byte for byte, but for the clock and the ids of errors.
"""

from __future__ import annotations

import itertools
import os
import re
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from master.compiler.default_certificate import default_certificate, ticket_secret
from shared import control
from shared.config.dynamic import LoadBalancer, Server, Service
from shared.config.middlewares import AddPrefix, Headers, Middleware, StripPrefix
from shared.rules.conditions import HostIs, PathStarts
from shared.table.entries import MiddlewareEntry, RouterEntry, RouterList, ServiceEntry
from shared.table.streams import Streams, TlsContent, TlsOptionsEntry
from tests.support.corpus import read_corpus
from tests.support.lanes import lane, table
from worker.app import GENERAL_LANE_ONLY
from worker.plain.lane import PlainLane

DATE = b"Date: Sat, 21 Nov 2026 03:30:00 GMT\r\n"
ANSWERS = {
    b"/empty": b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 0\r\n\r\n",
    b"/204": b"HTTP/1.1 204 No Content\r\n" + DATE + b"\r\n",
    b"/304": b"HTTP/1.1 304 Not Modified\r\n" + DATE + b"ETag: x\r\nContent-Length: 9\r\n\r\n",
    b"/chunked": b"HTTP/1.1 200 OK\r\n"
    + DATE
    + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n",
    b"/early": b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\n"
    + DATE
    + b"Content-Length: 2\r\n\r\nok",
    b"/nodate": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"/long": b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000,
    b"/bad": b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    b"/500": b"HTTP/1.1 500 Oops\r\n"
    + DATE
    + b"Set-Cookie: a=1\r\nset-cookie: b=2\r\nContent-Length: 2\r\n\r\nno",
    b"/hop": b"HTTP/1.1 200 OK\r\n"
    + DATE
    + b"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok",
}
CLOSING = {
    b"/close": b"HTTP/1.1 200 OK\r\n" + DATE + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
    b"/untilend": b"HTTP/1.1 200 OK\r\n" + DATE + b"\r\nok",
    b"/short": b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 9\r\n\r\nshort",
    b"/nothing": b"",
}
PLAIN = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_VOLATILE = re.compile(rb"(Date: |X-Penstock-Error: )[^\r]*")
_PORT = re.compile(rb":\d{4,5}(?=\r\n)")
_SETTLE_S = 15
BATCH = 60
WARM = b"GET /warm HTTP/1.1\r\nHost: a\r\n\r\n"


class Side:
    """One worker with its server, and what that server received."""

    def __init__(self, secure=False):
        self.secure = secure
        self.received = []
        self.lane = None

    async def serve(self, wire):
        while True:
            head = await wire.through(b"\r\n\r\n")
            names = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2] if b": " in line)
            body = b""
            if names.get(b"transfer-encoding") == b"chunked":
                while (size := int((line := await wire.through(b"\r\n")).split(b";")[0], 16)) != 0:
                    body += line + await wire.exactly(size + 2)
                body += line
                while (line := await wire.through(b"\r\n")) != b"\r\n":
                    body += line
            elif b"content-length" in names:
                body = await wire.exactly(int(names[b"content-length"]))
            self.received.append(head + body)
            path = b"/" + head.split(b" ")[1].split(b"?")[0].rpartition(b"/")[2]
            if path in CLOSING:
                await wire.send(CLOSING[path])
                return
            answer = ANSWERS.get(path, PLAIN)
            await wire.send(_heads_of(answer) if head.startswith(b"HEAD ") else answer)

    async def converse(self, pieces):
        """All that comes back for these bytes, until the worker closes."""
        client = await (self.lane.connect_tls() if self.secure else self.lane.connect())
        try:
            with trio.fail_after(_SETTLE_S):
                try:
                    for piece in pieces:
                        await client.send(piece)
                        await trio.testing.wait_all_tasks_blocked()
                    await client.stream.send_eof()
                except trio.BrokenResourceError:
                    pass  # refused in the middle: what was said before counts
                try:
                    return _VOLATILE.sub(rb"\1*", await client.rest())
                except trio.BrokenResourceError:
                    return _VOLATILE.sub(rb"\1*", client.buffer) + b" [reset]"
        finally:
            await client.aclose()


def _heads_of(answer):
    """The heads of an answer, interim ones too, without the body."""
    interim, mark, rest = answer.rpartition(b"HTTP/1.1 ")
    return interim + mark + rest.split(b"\r\n\r\n")[0] + b"\r\n\r\n"


def content(port):
    """Routers for both: plain, with pure steps, and one that is never plain."""
    servers = LoadBalancer(servers=(Server(url=f"http://127.0.0.1:{port}"),))
    made = table(
        routers=(
            RouterEntry("steps@file", "", PathStarts("/steps"), 9, (0, 1, 2), 0),
            RouterEntry("host@file", "", HostIs("only.test"), 5, (), 0),
            RouterEntry("all@file", "", PathStarts("/"), 1, (), 0),
        ),
        services=(ServiceEntry("s@file", Service(load_balancer=servers), (), 0),),
    )
    steps = (
        Middleware(strip_prefix=StripPrefix(prefixes=("/steps",))),
        Middleware(add_prefix=AddPrefix(prefix="/in")),
        Middleware(
            headers=Headers(custom_request_headers={"X-In": "1"}, custom_response_headers={"X-Out": "2"})
        ),
    )
    entries = tuple(MiddlewareEntry(f"m{number}@file", each) for number, each in enumerate(steps))
    certificates = (default_certificate(),)
    tls = TlsContent(certificates, (), 0, (TlsOptionsEntry("default"),), ticket_secret=ticket_secret())
    lists = (*made.lists, RouterList("web", True, made.lists[0].routers))
    return type(made)(made.routers, entries, made.services, made.transports, lists, Streams(tls=tls))


@asynccontextmanager
async def side(secure=False):
    """A worker with its server, ready."""
    made = Side(secure)
    async with lane() as made.lane:
        port = await made.lane.origin(made.serve)
        assert isinstance(await made.lane.install(1, content(port)), control.Installed)
        assert (await made.lane.master.receive())[0] == control.Ready(1)
        yield made


async def compare(conversations, secure=False):
    """Run each conversation through both lanes."""
    async with side(secure) as plain:
        os.environ[GENERAL_LANE_ONLY] = "1"
        general_side = side(secure)
        try:
            general = await general_side.__aenter__()
        finally:
            del os.environ[GENERAL_LANE_ONLY]
        try:
            for pieces in conversations:
                seen = []
                for each in (plain, general):
                    each.received.clear()
                    answer = await each.converse(pieces)
                    seen.append((answer, [_PORT.sub(b":0", one) for one in each.received]))
                assert seen[0] == seen[1], pieces
        finally:
            await general_side.__aexit__(None, None, None)


def in_pieces(raw, cuts):
    places = sorted({cut % (len(raw) + 1) for cut in cuts} | {0, len(raw)})
    return [raw[one:other] for one, other in itertools.pairwise(places) if one != other]


HEADS = [
    *(b"Host: a", b"Host: only.test:80", b"Accept: */*", b"User-Agent: \xe9", b"Cookie: a=b", b"X-A: 1"),
    *(b"X-Forwarded-For: 6.6.6.6", b"x_forwarded_for: 7.7.7.7", b"Origin: http://o.test", b"TE: trailers"),
    *(b"Connection: keep-alive", b"Connection: close", b"Connection: X-A, close", b"Upgrade: x"),
    *(b"Expect: 100-continue", b"Content-Length: 0", b"Bad Header: 1", b"X-Nul: a\0b"),
]
PATHS = [
    *ANSWERS,
    *CLOSING,
    b"/",
    b"/a?b=1;c",
    b"/steps/x",
    b"/steps",
    b"/a//b/../c",
    b"/%2e%2e/x",
    b"/%zz",
    b"*",
]
METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"get", b"CONNECT"]

requests = st.builds(
    lambda method, path, version, fields, body: (
        method
        + b" "
        + path
        + b" HTTP/"
        + version
        + b"\r\n"
        + b"".join(field + b"\r\n" for field in fields)
        + b"\r\n"
        + body
    ),
    st.sampled_from(METHODS),
    st.sampled_from(PATHS),
    st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0", b"2.0"]),
    st.lists(st.sampled_from(HEADS), max_size=5).map(lambda found: [b"Host: a", *found] if found else found),
    st.sampled_from([b"", b"", b"", b"x=1"]),
)
plain_requests = st.sampled_from(PATHS).map(lambda path: b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
conversations = st.builds(
    lambda found, cuts: in_pieces(b"".join(found), cuts),
    st.lists(st.one_of(plain_requests, requests), min_size=1, max_size=4),
    st.lists(st.integers(0, 2_000), max_size=4),
)


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(st.lists(conversations, min_size=10, max_size=10))
def test_generated_conversations_are_the_same_in_both_lanes(found):
    trio.run(compare, found)


def test_every_message_of_the_corpus_is_the_same_in_both_lanes():
    warm = [b"GET /warm HTTP/1.1\r\nHost: a\r\n\r\n"]
    entries = [entry.raw for entry in read_corpus("requests") if len(entry.raw) < 20_000]
    for start in range(0, len(entries), BATCH):
        batch = [in_pieces(raw, []) for raw in entries[start : start + BATCH]]
        trio.run(compare, [warm, warm, *(piece for piece in batch if piece)])


def test_separate_requests_on_one_connection_are_the_same_in_both_lanes():
    """One piece per request, so that the plain lane takes what is plain."""
    for path in PATHS:
        for method in (b"GET", b"HEAD", b"POST", b"DELETE"):
            one = method + b" " + path + b" HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n"
            trio.run(compare, [[WARM], [WARM, one, one, WARM]])


@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(st.lists(conversations, min_size=10, max_size=10))
def test_generated_conversations_are_the_same_in_both_lanes_over_tls(found):
    trio.run(compare, found, True)


def test_separate_requests_over_tls_are_the_same_in_both_lanes():
    for path in PATHS:
        one = b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n"
        trio.run(compare, [[WARM], [WARM, one, one, WARM]], True)


@pytest.mark.parametrize("secure", [False, True])
def test_ordinary_exchanges_are_finished_in_the_plain_lane(monkeypatch, secure):
    """So that the comparison compares two lanes, and not one with itself."""
    finished = []
    finish = PlainLane.finish
    monkeypatch.setattr(PlainLane, "finish", lambda lane, client: (finished.append(1), finish(lane, client)))
    trio.run(compare, [[WARM], [WARM] * 5], secure)
    assert len(finished) == 5
