"""HTTP/2 to servers: in the clear by ``h2c``, over TLS by ALPN, one connection for many exchanges."""

import json
import os
import socket
import sys
import threading
from contextlib import contextmanager

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame

from master.admin_client import AdminClient
from master.runtime_directory import RuntimeDirectory
from tests.support.authority import Authority
from tests.support.clients import ClientConnection, exchange
from tests.support.http2 import H2Client, echo_request, http2, http2_echo
from tests.support.origins import echo, running_origin, upgrading
from tests.support.ports import reserve_port
from tests.support.proxy import running_proxy
from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.integration


def document(url, transport=None):
    balancer = {"servers": [{"url": url}]}
    http = {
        "routers": {"r": {"rule": "PathPrefix(`/`)", "service": "s"}},
        "services": {"s": {"loadBalancer": balancer}},
    }
    if transport is not None:
        balancer["serversTransport"] = "t"
        http["serversTransports"] = {"t": transport}
    return json.dumps({"http": http})


def h2c(origin):
    return origin.url.replace("http://", "h2c://")


def get(proxy, target="/", method="GET", rest=""):
    head = f"{method} {target} HTTP/1.1\r\nHost: a.test\r\n{rest}\r\n".encode()
    return exchange(proxy.address(), head)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One proxy for all tests; each has its own configuration and servers."""
    with running_proxy(
        tmp_path_factory.mktemp("proxy"), dynamic=document("h2c://127.0.0.1:1"), workers=1
    ) as proxy:
        yield proxy


@contextmanager
def configured(proxy, text):
    """The proxy with this configuration live."""
    proxy.write("dynamic.yml", text)
    AdminClient(RuntimeDirectory(proxy.runtime_dir)).change("/reload")
    yield proxy


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def test_an_h2c_server_gets_what_the_client_sent(shared):
    with (
        running_origin(http2_echo("h2c")) as origin,
        configured(shared, document(h2c(origin))) as proxy,
    ):
        answer = get(proxy, "/a?b=c", rest="X-Own: 1\r\nConnection: x-own\r\nTE: trailers\r\n")
        assert (answer.status, answer.header("X-Origin")) == (200, "h2c")
        fields = dict(answer.json()["headers"])
        assert (fields[":method"], fields[":path"], fields[":scheme"]) == ("GET", "/a?b=c", "http")
        assert fields[":authority"] == "a.test"
        assert fields["te"] == "trailers"
        assert not {"host", "connection", "x-own", "transfer-encoding"} & fields.keys()
        head = get(proxy, method="HEAD")
        assert (head.status, head.content) == (200, b"")
        assert int(head.header("Content-Length")) > 0
        assert get(proxy).json()["connection"] == answer.json()["connection"]


def test_bodies_and_trailers_go_both_ways(shared):
    def respond(connection, request):
        connection.answer(
            request.stream_id, 200, request.content, trailers=[(b"x-sum", b"1"), *request.trailers]
        )

    with (
        running_origin(http2(respond)) as origin,
        configured(shared, document(h2c(origin))) as proxy,
        ClientConnection(proxy.address()) as client,
    ):
        content = b"abc" * 15_000
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"%x\r\n%b\r\n0\r\nX-End: 2\r\n\r\n" % (len(content), content))
        answer = client.receive()
        assert answer.content == content
        assert {(name.lower(), value) for name, value in answer.body.trailers} == {
            (b"x-sum", b"1"),
            (b"x-end", b"2"),
        }


def test_tls_chooses_and_one_connection_serves_many_at_once(shared, tmp_path, authority):
    release, arrived = threading.Event(), threading.Semaphore(0)
    waiting = []

    def respond(connection, request):
        waiting.append(request)
        arrived.release()
        if len(waiting) == 5:  # all five are here before the first is answered
            for each in waiting:
                echo_request(connection, each)
            release.set()

    context = authority.issue("localhost").server_context("h2", "http/1.1")
    transport = {"rootCAs": [authority.pem]}
    with (
        running_origin(http2(respond), context) as origin,
        configured(shared, document(origin.url, transport)) as proxy,
        H2Client.connect(proxy.address()) as client,
    ):
        streams = [client.start(f"/{number}") for number in range(5)]
        answers = [client.finish(each) for each in streams]
        assert [each.status for each in answers] == [200] * 5
        assert release.is_set()
        assert dict(answers[0].json()["headers"])[":scheme"] == "https"
        assert origin.connections == 1


def test_a_transport_may_leave_http2_out(shared, tmp_path, authority):
    context = authority.issue("localhost").server_context("h2", "http/1.1")
    transport = {"rootCAs": [authority.pem], "disableHTTP2": True}
    with (
        running_origin(echo("one"), context) as origin,
        configured(shared, document(origin.url, transport)) as proxy,
    ):
        assert get(proxy).json()["version"] == "HTTP/1.1"


def test_a_change_of_protocol_is_asked_for_in_http1(shared, tmp_path, authority):
    context = authority.issue("localhost").server_context("h2", "http/1.1")
    seen = []

    def serve(connection):
        seen.append(connection.socket.selected_alpn_protocol())
        (http2_echo() if seen[-1] == "h2" else upgrading())(connection)

    with (
        running_origin(serve, context) as origin,
        configured(shared, document(origin.url, {"rootCAs": [authority.pem]})) as proxy,
        ClientConnection(proxy.address()) as client,
    ):
        assert get(proxy).status == 200
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert client.receive().status == 101
        client.send(b"ping")
        assert client.reader.read_some() == b"ping"
        client.finish_sending()
        assert client.reader.read_some() == b""
    assert seen == ["h2", "http/1.1"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("how", ["refused", "goodbye"])
def test_what_a_server_has_not_looked_at_is_sent_again(shared, tmp_path, how, method):
    tries = []

    def respond(connection, request):
        tries.append(connection.number)
        if len(tries) > 1:
            echo_request(connection, request)
        elif how == "refused":
            connection.reset(request.stream_id, ErrorCodes.REFUSED_STREAM)
        else:
            connection.connection.send(GoAwayFrame(0, last_stream_id=0).serialize())

    with (
        running_origin(http2(respond)) as origin,
        configured(shared, document(h2c(origin))) as proxy,
    ):
        assert get(proxy, method=method).status == 200
        assert tries == [0, 1]


def test_a_goodbye_lets_open_exchanges_end(shared):
    def respond(connection, request):
        connection.connection.send(GoAwayFrame(0, last_stream_id=request.stream_id).serialize())
        echo_request(connection, request)

    with (
        running_origin(http2(respond)) as origin,
        configured(shared, document(h2c(origin))) as proxy,
    ):
        assert [get(proxy).json()["connection"] for _ in range(3)] == [0, 1, 2]


def test_a_reset_is_a_bad_gateway_before_the_head_and_a_cut_after_it(shared):
    def respond(connection, request):
        if request.header(":path") == "/late":
            connection.state.send_headers(request.stream_id, [(b":status", b"200")])
            connection.state.send_data(request.stream_id, b"some")
            connection.flush()
        connection.reset(request.stream_id, ErrorCodes.INTERNAL_ERROR)

    with (
        running_origin(http2(respond)) as origin,
        configured(shared, document(h2c(origin))) as proxy,
        H2Client.connect(proxy.address()) as client,
    ):
        assert get(proxy, method="POST").status == 502
        late = client.get("/late")
        assert (late.status, late.reset) == (200, ErrorCodes.INTERNAL_ERROR)
        assert client.get("/early").status == 502
        assert origin.connections == 1


def test_a_client_that_leaves_ends_its_stream_alone(shared):
    started, reset = threading.Event(), threading.Event()

    class Watching(list):
        def append(self, stream_id):
            super().append(stream_id)
            reset.set()

    def respond(connection, request):
        connection.resets = connection.resets if isinstance(connection.resets, Watching) else Watching()
        if request.header(":path") == "/slow":
            started.set()
        else:
            echo_request(connection, request)

    with (
        running_origin(http2(respond)) as origin,
        configured(shared, document(h2c(origin))) as proxy,
        H2Client.connect(proxy.address()) as client,
    ):
        slow = client.start("/slow")
        assert started.wait(20)
        client.state.reset_stream(slow, ErrorCodes.CANCEL)
        client.flush()
        assert reset.wait(20)
        assert client.get("/other").status == 200
        assert origin.connections == 1


def test_without_kept_connections_each_exchange_has_its_own(shared):
    with (
        running_origin(http2_echo()) as origin,
        configured(shared, document(h2c(origin), {"maxIdleConnsPerHost": -1})) as proxy,
    ):
        assert [get(proxy).json()["connection"] for _ in range(3)] == [0, 1, 2]
        origin.wait_for(lambda: not origin._open, "all connections are closed")


def test_a_silent_server_is_asked_whether_it_is_there(shared):
    def deaf(connection):
        connection.send(b"\0\0\0\x04\0\0\0\0\0")  # SETTINGS, and no word after that
        while connection.socket.recv(65_536):
            pass

    timeouts = {"readIdleTimeout": "100ms", "pingTimeout": "100ms"}
    with (
        running_origin(deaf) as origin,
        configured(shared, document(h2c(origin), {"forwardingTimeouts": timeouts})) as proxy,
    ):
        assert get(proxy, method="POST").status == 502
        proxy.wait_for_log("does not answer a ping")


APPLICATION = """
async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    fields = [(b"x-version", scope["http_version"].encode()), (b"x-size", b"%d" % size)]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    for _ in range(50):
        await send({"type": "http.response.body", "body": bytes(10_000), "more_body": True})
    await send({"type": "http.response.body", "body": b""})
"""


@pytest.mark.parametrize("scheme", ["h2c", "https"])
def test_hypercorn(shared, tmp_path, authority, scheme):
    (tmp_path / "served.py").write_text(APPLICATION)
    pair = authority.issue("localhost", file="hypercorn")
    tls = ["--certfile", str(pair.certificate), "--keyfile", str(pair.key)] if scheme == "https" else []
    with reserve_port() as port:

        def answers():
            with socket.create_connection(("127.0.0.1", port.number), 1):
                return True

        command = [
            sys.executable,
            "-m",
            "hypercorn",
            "--worker-class",
            "trio",
            "--bind",
            f"127.0.0.1:{port.number}",
        ]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        server = ServerProcess([*command, *tls, "served:application"], tmp_path / "log", answers, environment)
        server.start()
        try:
            url = f"{scheme}://localhost:{port.number}"
            transport = {"rootCAs": [authority.pem]} if tls else None
            with configured(shared, document(url, transport)) as proxy:
                body = bytes(300_000)
                for _ in range(3):
                    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
                    response = exchange(proxy.address(), head + body)
                    assert (response.header("X-Version"), response.header("X-Size")) == ("2", "300000")
                    assert len(response.content) == 500_000
        finally:
            server.stop()
