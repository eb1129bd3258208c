"""WebSocket conformance: what happens through the proxy is what happens without it.

Every scenario runs twice against one server of the ``websockets`` library, directly and through the installed
program, and must leave the same transcript. Clients are that library's, or frames by hand where a library
would not send them. The same with autobahntestsuite, which needs Python 2: ``test_websocket_autobahn.py``.
"""

import logging
import os
import socket
import struct
import threading
import zlib
from contextlib import contextmanager, suppress

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import serve

from tests.support.proxy import running_proxy
from tests.support.websocket_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameConnection,
    frame,
)
from tests.support.wire import WireClosedError

RULES = """
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", service: origin}}
  services:
    origin: {{loadBalancer: {{servers: [{{url: "{url}"}}]}}}}
"""
LARGEST_BYTES = 1_048_576
MAX_MESSAGE_BYTES = LARGEST_BYTES + 65_536
"""What the server takes: random bytes grow when they are compressed."""
PATIENCE_S = 15.0
BYE = frame(CLOSE, struct.pack("!H", 1000))


class EchoServer:
    """Echoes messages; ``close N`` closes with that code, ``burst N`` sends N messages, ``cut`` resets.

    Attributes:
        ends: the close codes that its connections ended with.
    """

    def __init__(self):
        self.ends = []
        self._ended = threading.Condition()
        self._server = serve(
            self._converse,
            "127.0.0.1",
            0,
            max_size=MAX_MESSAGE_BYTES,
            select_subprotocol=lambda connection, offered: "other" if "other" in offered else None,
            ping_interval=None,
            logger=silent_logger(),
        )
        self.address = self._server.socket.getsockname()
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _converse(self, connection):
        try:
            for message in connection:
                self._answer(connection, message)
        except ConnectionClosed:
            pass
        finally:
            with self._ended:
                self.ends.append(connection.close_code)
                self._ended.notify_all()

    def _answer(self, connection, message):
        word, _, number = message.partition(" ") if isinstance(message, str) else ("", "", "")
        if word == "close":
            connection.close(int(number), "as asked")
        elif word == "burst":
            for each in range(int(number)):
                connection.send(f"message {each}")
        elif word == "cut":
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.socket.shutdown(socket.SHUT_RDWR)
        elif word == "path":
            connection.send(connection.request.path)
        elif word == "fragments":
            connection.send(["one ", "two ", "three"])
        else:
            connection.send(message)

    def wait_for_ends(self, count):
        with self._ended:
            assert self._ended.wait_for(lambda: len(self.ends) >= count, PATIENCE_S)
        return self.ends[count - 1]

    def stop(self):
        self._server.shutdown()
        self._thread.join()


def silent_logger():
    logger = logging.getLogger("websockets.test")
    logger.setLevel(logging.CRITICAL)
    return logger


@pytest.fixture(scope="module")
def server():
    running = EchoServer()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def addresses(server, tmp_path_factory):
    rules = RULES.format(url="http://{}:{}".format(*server.address))
    with running_proxy(tmp_path_factory.mktemp("proxy"), dynamic=rules, workers=1) as proxy:
        yield server.address, proxy.address()


def same_both_ways(addresses, server, scenario):
    """Run a scenario directly and through the proxy; returns the transcript that both must have."""
    transcripts = []
    for address in addresses:
        ended = len(server.ends)
        transcript = scenario(address)
        transcripts.append([*transcript, "server saw the end:", server.wait_for_ends(ended + 1)])
    assert transcripts[0] == transcripts[1]
    return transcripts[0]


@contextmanager
def library(address, **options):
    uri = "ws://{}:{}/chat?room=1".format(*address)
    with connect(uri, max_size=None, proxy=None, ping_interval=None, **options) as client:
        yield client


def shape(message):
    """Large messages are compared by digest."""
    return (type(message).__name__, len(message), hash(message) if len(message) > 100 else message)


# --- with the library


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537, LARGEST_BYTES])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_messages_of_every_size(addresses, server, size, compression):
    payload = os.urandom(size)
    text = "é" * (size // 2)

    def scenario(address):
        with library(address, compression=compression) as client:
            client.send(payload)
            client.send(text)
            return [shape(client.recv(PATIENCE_S)), shape(client.recv(PATIENCE_S))]

    transcript = same_both_ways(addresses, server, scenario)
    assert transcript[:2] == [shape(payload), shape(text)]


def test_a_message_that_is_too_large_is_1009(addresses, server):
    def scenario(address):
        with library(address, compression=None) as client:
            client.send(bytes(MAX_MESSAGE_BYTES + 1))
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(PATIENCE_S)
            return [closed.value.rcvd.code]

    assert same_both_ways(addresses, server, scenario)[0] == 1009


def test_many_small_messages_keep_their_order(addresses, server):
    def scenario(address):
        with library(address) as client:
            client.send("burst 500")
            received = [client.recv(PATIENCE_S) for _ in range(500)]
            for each in range(200):
                client.send(f"{each}")
            return received + [client.recv(PATIENCE_S) for _ in range(200)]

    assert same_both_ways(addresses, server, scenario)[499] == "message 499"


def test_fragments_of_the_server_and_of_the_client(addresses, server):
    def scenario(address):
        with library(address) as client:
            client.send("fragments")
            pieces = list(client.recv_streaming())
            client.send(["a", "", "b", "c" * 70_000])
            return [pieces, shape(client.recv(PATIENCE_S))]

    assert same_both_ways(addresses, server, scenario)[0] == ["one ", "two ", "three", ""]


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1008, 1011, 3000, 4999])
def test_close_codes_from_both_sides(addresses, server, code):
    def closed_by_server(address):
        with library(address) as client:
            client.send(f"close {code}")
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(PATIENCE_S)
            return [closed.value.rcvd.code, closed.value.rcvd.reason]

    def closed_by_client(address):
        with library(address) as client:
            client.close(code, "enough")
            return [client.close_code]

    assert same_both_ways(addresses, server, closed_by_server)[:2] == [code, "as asked"]
    assert same_both_ways(addresses, server, closed_by_client)[-1] == code


def test_pings_are_answered_by_the_other_end(addresses, server):
    def scenario(address):
        with library(address) as client:
            assert client.ping(b"are you there").wait(PATIENCE_S)
            client.send("still here")
            return [client.recv(PATIENCE_S)]

    same_both_ways(addresses, server, scenario)


def test_subprotocol_path_and_compression_are_agreed_end_to_end(addresses, server):
    def scenario(address):
        with library(address, subprotocols=["none", "other"], compression="deflate") as client:
            client.send("path")
            names = [each.name for each in client.protocol.extensions]
            return [client.subprotocol, names, client.recv(PATIENCE_S)]

    transcript = same_both_ways(addresses, server, scenario)
    assert transcript[:3] == ["other", ["permessage-deflate"], "/chat?room=1"]


# --- with frames by hand


FRAMES = {
    "text": ([frame(TEXT, b"hello")], 1),
    "fragments": (
        [
            frame(TEXT, b"one", fin=False),
            frame(CONTINUATION, b"two", fin=False),
            frame(CONTINUATION, b"", fin=True),
        ],
        1,
    ),
    "ping inside fragments": (
        [frame(BINARY, b"a", fin=False), frame(PING, b"now"), frame(CONTINUATION, b"b")],
        2,
    ),
    "pong nobody asked for": ([frame(PONG, b"x"), frame(TEXT, b"y")], 1),
    "largest control frame": ([frame(PING, b"p" * 125)], 1),
    "utf-8 cut by a fragment": ([frame(TEXT, b"\xc3", fin=False), frame(CONTINUATION, b"\xa9")], 1),
    "control frame too long": ([frame(PING, b"p" * 126)], 0),
    "fragmented control frame": ([frame(PING, b"p", fin=False)], 0),
    "reserved bit": ([frame(TEXT, b"x", reserved=4)], 0),
    "reserved opcode": ([frame(0x3, b"x")], 0),
    "reserved control opcode": ([frame(0xB, b"x")], 0),
    "continuation of nothing": ([frame(CONTINUATION, b"x")], 0),
    "new message inside another": ([frame(TEXT, b"x", fin=False), frame(TEXT, b"y")], 0),
    "no mask": ([frame(TEXT, b"x", masked=False)], 0),
    "broken utf-8": ([frame(TEXT, b"\xc3\x28")], 0),
    "close without a code": ([frame(CLOSE, b"")], 0),
    "close with half a code": ([frame(CLOSE, b"\x03")], 0),
    "close with a code nobody may send": ([frame(CLOSE, struct.pack("!H", 1005))], 0),
    "close with broken utf-8": ([frame(CLOSE, struct.pack("!H", 1000) + b"\xff")], 0),
    "data behind the close": ([BYE, frame(TEXT, b"late")], 0),
}
"""Frames, and how many answers to wait for before the client says good-bye; 0 if the server ends it."""


@pytest.mark.parametrize("piece_bytes", [0, 1, 7])
@pytest.mark.parametrize("name", FRAMES)
def test_frames_arrive_as_they_were_sent(addresses, server, name, piece_bytes):
    frames, answers = FRAMES[name]

    def scenario(address):
        client = FrameConnection(address)
        try:
            assert client.head.start_line.startswith(b"HTTP/1.1 101 ")
            with suppress(BrokenPipeError, ConnectionResetError):  # the server need not wait for the rest
                client.send(*frames, piece_bytes=piece_bytes)
            received = [client.receive() for _ in range(answers)]
            if answers:
                client.send(BYE, piece_bytes=piece_bytes)
            return [client.head.get(b"sec-websocket-accept"), received + client.receive_all()]
        finally:
            client.close()

    same_both_ways(addresses, server, scenario)


def test_a_handshake_that_the_server_refuses_is_passed_on(addresses):
    def scenario(address):
        with socket.create_connection(address, PATIENCE_S) as sock:
            sock.sendall(
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 7\r\n\r\n"
            )
            received = b""
            while b"\r\n\r\n" not in received:
                received += sock.recv(65_536)
            return received.split(b"\r\n")[0]

    assert scenario(addresses[0]) == scenario(addresses[1])
    assert scenario(addresses[1]).split(b" ")[1] in (b"400", b"426")


@pytest.mark.parametrize("unread", [False, True])
def test_a_client_that_is_cut_off_is_cut_off_at_the_server(addresses, server, unread):
    def scenario(address):
        client = FrameConnection(address)
        client.send(frame(TEXT, b"one"))
        assert client.receive()[1] == b"one"
        if unread:
            client.send(frame(TEXT, b"never read"))
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        return []

    assert same_both_ways(addresses, server, scenario)[-1] == 1006


def test_a_server_that_cuts_off_is_noticed_by_the_client(addresses, server):
    def scenario(address):
        client = FrameConnection(address)
        client.send(frame(TEXT, b"cut"))
        try:
            with pytest.raises(WireClosedError):
                client.receive()
        finally:
            client.close()
        return []

    same_both_ways(addresses, server, scenario)


def test_a_compressed_frame_passes_byte_for_byte(addresses, server):
    packer = zlib.compressobj(wbits=-15)
    deflated = (packer.compress(b"hello" * 20) + packer.flush(zlib.Z_SYNC_FLUSH))[
        :-4
    ]  # RFC 7692 section 7.2.1

    def scenario(address):
        client = FrameConnection(address, extensions="permessage-deflate; client_no_context_takeover")
        try:
            client.send(frame(TEXT, deflated, reserved=4))
            received = client.receive()
            client.send(BYE)
            return [client.head.get(b"sec-websocket-extensions"), received, client.receive_all()]
        finally:
            client.close()

    first = same_both_ways(addresses, server, scenario)[1]
    assert first[0] == 0xC1  # final, compressed, text
