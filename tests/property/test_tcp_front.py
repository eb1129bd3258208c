"""Whatever a client sends first, and however it is cut: one owner, the same one, and nothing of it is lost.

What belongs to the client's protocol stays unread, but for a PROXY header that is believed and PostgreSQL's
request for TLS.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config.trust import ProxyProtocolTrust
from shared.rules.predicates import compile_predicate
from shared.rules.tcp import read_tcp_rule
from shared.table.stream_routes import TcpEntrance, TcpRouterEntry
from worker.proxy_protocol import ProxyTrust
from worker.request_head import Peer
from worker.state import Lifetime
from worker.tcp.arrival import Arrival
from worker.tcp.front import Front
from worker.tcp.routes import TcpRoute, TcpRoutes

V1 = b"PROXY TCP4 203.0.113.9 198.51.100.7 4000 443\r\n"
V2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes([203, 0, 113, 9, 198, 51, 100, 7, 15, 160, 1, 187])
POSTGRES = bytes.fromhex("0000000804d2162f")


def hello(name, *protocols):
    """A real ClientHello."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if protocols:
        context.set_alpn_protocols(protocols)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def route(name, rule, tls="plain", priority=1):
    read = read_tcp_rule(rule, "v3")
    entry = TcpRouterEntry(name, rule, read.condition, priority, tls, "", read.is_catch_all, (), 0)
    return TcpRoute(entry, compile_predicate(read.condition), (), None)


SHARED = TcpRoutes(
    TcpEntrance("web", (), https_hosts=("https.test",), has_https=True),
    [
        route("mqtt", "ALPN(`mqtt`)", "passthrough"),
        route("db", "HostSNI(`db.test`)", "terminate"),
        route("nine", "ClientIP(`203.0.113.9`)"),
    ],
)
PLAIN = TcpRoutes(TcpEntrance("web", ()), [route("nine", "ClientIP(`203.0.113.9`)")])


async def offer(pieces, tcp, *, is_trusted=False, ends=True):
    """Send pieces one after the other; returns who got the connection and what it can still read."""
    owners = []

    class Tunnels:
        async def serve(self, arrival, found, *, is_postgres=False):
            owners.append((found.name, is_postgres, read_rest(arrival.sock)))

    def seat(arrival, *, is_tls):
        owners.append(("https" if is_tls else "http", arrival.peer.ip, read_rest(arrival.sock)))
        arrival.sock.close()

    def read_rest(sock):
        data = b""
        with contextlib.suppress(BlockingIOError):
            while more := sock.recv(65_536):
                data += more
        return data

    timeouts = SimpleNamespace(read_timeout=5.0)
    entrance = SimpleNamespace(
        name="web",
        settings=SimpleNamespace(transport=SimpleNamespace(responding_timeouts=timeouts)),
        proxy_trust=ProxyTrust(ProxyProtocolTrust(insecure=True)) if is_trusted else None,
    )
    generations = SimpleNamespace(routes=SimpleNamespace(tcp={"web": tcp}))
    released = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    accepted.setblocking(False)
    place = SimpleNamespace(release=lambda: released.append(True))
    arrival = Arrival(accepted, entrance, Peer("127.0.0.1", 1), place)
    front = Front(generations, Lifetime(), Tunnels(), seat)
    with client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(front.receive, arrival)
            for piece in pieces:
                if piece and not owners:
                    with contextlib.suppress(OSError):  # closed by now
                        client.sendall(piece)
                    await trio.testing.wait_all_tasks_blocked()
            if ends and not owners:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_WR)
    assert accepted.fileno() == -1, "it is closed, or somebody's"
    assert len(owners) <= 1
    assert bool(released) != (bool(owners) and owners[0][0] in ("http", "https"))
    return owners[0] if owners else ("closed", None, b"")


def run(pieces, tcp=SHARED, **options):
    async def limited():
        with trio.fail_after(20):
            return await offer(pieces, tcp, **options)

    return trio.run(limited)


CASES = [
    (b"GET / HTTP/1.1\r\n", False, ("http", "127.0.0.1")),
    (b"\x00\x00\x00\x08\x04\xd2\x16\x30 no postgres", False, ("http", "127.0.0.1")),
    (hello("https.test"), False, ("https", "127.0.0.1")),
    (hello("nobody.test"), False, ("https", "127.0.0.1")),
    (hello("DB.test"), False, ("db", False)),
    (hello("https.test", "mqtt"), False, ("https", "127.0.0.1")),
    (hello("x.test", "mqtt", "h2"), False, ("mqtt", False)),
    (POSTGRES + hello("db.test"), False, ("db", True)),
    (POSTGRES + hello("https.test"), False, ("closed", None)),
    (V1 + b"GET / HTTP/1.1\r\n", False, ("http", "127.0.0.1")),
    (V1 + b"GET / HTTP/1.1\r\n", True, ("nine", False)),
    (V2 + b"GET / HTTP/1.1\r\n", True, ("nine", False)),
    (V2 + hello("https.test"), True, ("https", "203.0.113.9")),
    (V1 + POSTGRES + hello("db.test"), True, ("db", True)),
    (b"PROXY nonsense\r\n" + hello("db.test"), True, ("closed", None)),
    (b"\x80\x2e\x01\x00\x02 an SSL 2 hello", False, ("closed", None)),
    (hello("db.test")[:-1], False, ("closed", None)),
    (b"", False, ("closed", None)),
]


def unread(data, is_trusted):
    """What is left of it for whoever has the connection."""
    if is_trusted:
        data = data.removeprefix(V1).removeprefix(V2)
    return data.removeprefix(POSTGRES)


@pytest.mark.parametrize(("data", "is_trusted", "expected"), CASES)
def test_who_gets_it_whole_and_byte_by_byte(data, is_trusted, expected):
    found = run([data], is_trusted=is_trusted)
    assert found[:2] == expected
    if expected[0] != "closed":
        assert found[2] == unread(data, is_trusted)
    step = max(len(data) // 40, 1)
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    again = run(pieces, is_trusted=is_trusted)
    assert again[:2] == expected
    assert unread(data, is_trusted).startswith(again[2])  # the owner may be found before the last byte


def test_without_tls_nothing_is_awaited():
    """The server may speak first: no byte has come, none is needed."""
    assert run([], PLAIN, ends=False) == ("http", "127.0.0.1", b"")


@settings(deadline=None, max_examples=250)
@given(
    begin=st.sampled_from([b"", V1, V2, POSTGRES, hello("db.test"), V1[:20], V2[:14], b"\x16\x03\x01"]),
    change=st.tuples(st.integers(0, 250), st.binary(max_size=3)),
    rest=st.binary(max_size=60),
    cuts=st.lists(st.integers(0, 300), max_size=3),
    is_trusted=st.booleans(),
)
def test_any_bytes_have_one_owner_however_they_are_cut(begin, change, rest, cuts, is_trusted):
    place, replacement = change
    data = begin[:place] + replacement + begin[place + len(replacement) :] + rest
    places = sorted({min(cut, len(data)) for cut in cuts})
    pieces = [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
    assert run(pieces, is_trusted=is_trusted)[:2] == run([data], is_trusted=is_trusted)[:2]
