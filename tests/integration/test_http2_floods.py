"""Connections that cost us more than their sender: each gets a GOAWAY, and others are served on.

Source: CVE-2019-9511 to 9518, CVE-2023-44487 (rapid reset), CVE-2024-27316 (CONTINUATION), CVE-2016-6581
(header bombs).
"""

import json
import socket
import struct

import hpack
import pytest
from h2.errors import ErrorCodes

from tests.support.http2 import H2Client
from tests.support.origins import echo, running_origin
from tests.support.proxy import running_proxy

pytestmark = pytest.mark.integration

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PIECES = 400
"""Writes of a flood before a test gives up: none needs as many."""


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def head(*more):
    fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/"), *more]
    return hpack.Encoder().encode(fields, huffman=False)


def resets(number):
    first = 2 * number * 50 + 1
    ids = range(first, first + 100, 2)
    return b"".join(
        frame(HEADERS, END_HEADERS | END_STREAM, each, head()) + frame(RST_STREAM, 0, each, b"\0\0\0\x08")
        for each in ids
    )


def once(data):
    return lambda number: data if not number else b""


def header_bomb():
    """One large field in the table, then named again and again: kilobytes that mean megabytes."""
    encoder = hpack.Encoder()
    large = encoder.encode([(b"x-a", b"a" * 3_900)], huffman=False)
    index = encoder.encode([(b"x-a", b"a" * 3_900)], huffman=False)
    return head() + large + index * 4_000


FLOODS = {
    "ping": lambda number: frame(PING, 0, 0, bytes(8)) * 200,
    "settings": lambda number: frame(SETTINGS) * 200,
    "settings with content": lambda number: frame(SETTINGS, 0, 0, b"\0\x04\0\x01\0\0") * 200,
    "settings acknowledged": lambda number: frame(SETTINGS, ACK) * 200,
    "priority": lambda number: frame(PRIORITY, 0, 1, bytes((0, 0, 0, 0, 1))) * 200,
    "window updates": lambda number: frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\x01") * 200,
    "unknown frames": lambda number: frame(0xFA, 0, 0, b"x") * 200,
    "rapid reset": resets,
    "resets of an old stream": lambda number: (
        resets(0)[:60] if not number else frame(RST_STREAM, 0, 1, b"\0\0\0\x08") * 200
    ),
    "empty data": lambda number: (
        frame(HEADERS, END_HEADERS, 1, head()) if not number else frame(DATA, 0, 1) * 200
    ),
    "continuation": lambda number: (
        frame(HEADERS, 0, 1, head()) if not number else frame(CONTINUATION, 0, 1, b"x")
    ),
    "empty continuation": lambda number: (
        frame(HEADERS, 0, 1, head()) if not number else frame(CONTINUATION, 0, 1) * 200
    ),
    "header bomb": once(
        frame(HEADERS, 0, 1, header_bomb()[:16_000]) + frame(CONTINUATION, 4, 1, header_bomb()[16_000:])
    ),
    "a frame too long": once(b"\x7f\xff\xff" + bytes((DATA, 0)) + struct.pack(">I", 1)),
    "a goodbye without end": lambda number: b"\xff\xff\xff\x07\0\0\0\0\0" if not number else bytes(60_000),
    "a table of another size": once(
        frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x3f\xe1\xff\x7f" + head())
    ),
}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with running_origin(echo("origin")) as origin:
        document = {
            "http": {
                "routers": {"r": {"rule": "PathPrefix(`/`)", "service": "s"}},
                "services": {"s": {"loadBalancer": {"servers": [{"url": origin.url}]}}},
            }
        }
        with running_proxy(
            tmp_path_factory.mktemp("floods"), dynamic=json.dumps(document), workers=1
        ) as running:
            yield running


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_its_connection_and_nothing_else(proxy, name):
    flood = FLOODS[name]
    with H2Client.connect(proxy.address()) as other, H2Client.connect(proxy.address()) as client:
        assert other.get().status == 200
        pour(client, flood)
        farewell = client.wait_for_farewell()
        assert farewell.error_code != ErrorCodes.NO_ERROR
        client.wait_for_end()
        assert other.get().status == 200
    assert "Traceback" not in proxy.log


def pour(client, flood):
    """Send until the proxy has had enough; what it says meanwhile is read."""
    for number in range(PIECES):
        data = flood(number)
        if not data:
            return
        client.socket.setblocking(True)
        try:
            client.send(data)
        except OSError:
            return
        client.socket.settimeout(0.001)
        try:
            if not client.read_some() or client.farewells:
                return
        except TimeoutError:
            continue
        finally:
            client.socket.settimeout(20)


def test_a_preface_that_is_none(proxy):
    with socket.create_connection(proxy.address(), 20) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
        received = b""
        while data := client.recv(65_536):
            received += data
    assert received.endswith(struct.pack(">I", ErrorCodes.PROTOCOL_ERROR))


def test_what_real_clients_do_is_no_flood(proxy):
    """Many requests with window updates and pings between them, and some that are given up."""
    with H2Client.connect(proxy.address()) as client:
        for number in range(600):
            client.state.ping(bytes(8))
            client.state.increment_flow_control_window(1)
            if number % 5 == 0:
                client.state.reset_stream(client.start(), ErrorCodes.CANCEL)
            assert client.get().status == 200
        assert client.farewells == []
