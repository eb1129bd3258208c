"""The test clients and origins against each other: what the integration tests stand on."""

import threading

import pytest

from tests.support.clients import ClientConnection, exchange, get
from tests.support.origins import (
    OriginConnection,
    answer,
    answering_slowly,
    echo,
    running_origin,
    scripted,
    streaming,
    upgrading,
)
from tests.support.ports import reserve_port
from tests.support.wire import WireClosedError

HOST = "test.example"


def test_echo_tells_what_arrived_on_a_kept_connection():
    with running_origin(echo("a")) as origin, ClientConnection(origin.address) as client:
        first = client.request("POST", "/x?y=1", host=HOST, fields=[("X-One", "1")], body=b"hello")
        second = client.request("HEAD", "/", host=HOST)
        assert first.json()["target"] == "/x?y=1"
        assert ["X-One", "1"] in first.json()["headers"]
        assert first.json()["body_size"] == 5
        assert (second.status, second.content, second.header("X-Origin")) == (200, b"", "a")
        assert [request.connection_number for request in origin.requests] == [0, 0]


def test_chunks_and_trailers_are_seen_as_sent():
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw = head + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n"
    with running_origin(echo()) as origin:
        answered = exchange(origin.address, raw).json()
        assert (answered["body_size"], answered["trailers"]) == (5, [["T", "v"]])
        assert origin.requests[0].body.chunks == [b"abc", b"de"]


def test_scripts_follow_the_connection_number_and_the_last_stays():
    with running_origin(scripted(answer(201), OriginConnection.reset, answer(203))) as origin:
        assert get(origin.address, "/", host=HOST).status == 201
        with pytest.raises((WireClosedError, ConnectionError)):
            get(origin.address, "/", host=HOST)
        assert [get(origin.address, "/", host=HOST).status for _ in range(2)] == [203, 203]


def test_a_slow_answer_waits_for_its_release():
    release = threading.Event()
    slow = answering_slowly(release, answer(200, b"late"))
    with running_origin(slow) as origin, ClientConnection(origin.address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        origin.wait_for_requests(1)
        release.set()
        assert client.receive().content == b"late"


def test_a_stream_arrives_chunk_by_chunk():
    go_on = threading.Event()

    def chunks(_request):
        yield b"first"
        assert go_on.wait(10)
        yield b"second"

    with running_origin(streaming(chunks)) as origin, ClientConnection(origin.address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.reader.read_head()
        assert client.reader.read_exactly(10) == b"5\r\nfirst\r\n"
        go_on.set()
        assert client.reader.read_exactly(16) == b"6\r\nsecond\r\n0\r\n\r\n"


def test_an_upgrade_echoes_until_the_client_is_done():
    with running_origin(upgrading()) as origin, ClientConnection(origin.address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x00raw")
        assert client.receive().status == 101
        assert client.reader.read_exactly(4) == b"\x00raw"
        client.finish_sending()
        assert client.is_closed_by_peer()


def test_interim_responses_are_kept_apart():
    with running_origin(echo()) as origin, ClientConnection(origin.address) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        client.send(b"ok")
        response = client.receive(method="POST")
        assert (len(response.interim), response.json()["body_size"]) == (1, 2)


def test_an_origin_reports_the_failure_of_its_function():
    def broken(_connection):
        raise ValueError("broken script")

    def use():
        with running_origin(broken) as origin, ClientConnection(origin.address) as client:
            assert client.is_closed_by_peer()

    with pytest.raises(AssertionError, match="broken script"):
        use()


def test_two_reservations_never_share_a_port():
    with reserve_port() as first, reserve_port() as second:
        assert first.number != second.number
