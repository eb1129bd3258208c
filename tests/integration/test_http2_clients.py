"""HTTP/2 from clients: real ones, and one that sends what a test says."""

import json
import re
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import contextmanager

import pytest
from h2.errors import ErrorCodes

from master.admin_client import AdminClient
from master.runtime_directory import RuntimeDirectory
from tests.support.authority import Authority
from tests.support.http2 import H2Client
from tests.support.origins import answer, echo, running_origin, streaming
from tests.support.proxy import running_proxy

pytestmark = pytest.mark.integration

HEAD = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/")]


def document(url, **more):
    return json.dumps(
        {
            "http": {
                "routers": {
                    "plain": {"rule": "PathPrefix(`/`)", "service": "s"},
                    "secure": {"rule": "PathPrefix(`/`)", "service": "s", "tls": {}},
                },
                "services": {"s": {"loadBalancer": {"servers": [{"url": url}]}}},
            },
            **more,
        }
    )


ENTRY_POINTS = {
    "web": {},
    "few": {"http2": {"maxConcurrentStreams": 2}},
    "small": {"http": {"maxHeaderBytes": 2_000}},
    "idle": {"transport": {"respondingTimeouts": {"idleTimeout": "200ms"}}},
    "hurried": {"transport": {"respondingTimeouts": {"readTimeout": "300ms"}}},
    "counting": {"transport": {"keepAliveMaxRequests": 2}},
}


def static():
    points = {name: {"address": f"127.0.0.1:{{{name}}}", **more} for name, more in ENTRY_POINTS.items()}
    providers = {"file": {"directory": "dynamic"}}
    return json.dumps(
        {"entryPoints": points, "providers": providers, "log": {"level": "INFO"}, "accessLog": {}}
    )


@contextmanager
def behind(proxy, origin):
    """Another server behind the proxy for a while."""
    admin = AdminClient(RuntimeDirectory(proxy.runtime_dir))
    before = (proxy.dynamic_folder / "dynamic.yml").read_text()
    proxy.write("dynamic.yml", document(origin.url))
    admin.change("/reload")
    yield
    proxy.write("dynamic.yml", before)
    admin.change("/reload")


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("http2")
    authority = Authority(folder)
    pair = authority.issue("localhost")
    tls = {"certificates": [{"certFile": str(pair.certificate), "keyFile": str(pair.key)}]}
    with (
        running_origin(echo("origin")) as origin,
        running_proxy(
            folder,
            static=static(),
            entrypoints=tuple(ENTRY_POINTS),
            dynamic=document(origin.url, tls=tls),
            workers=1,
        ) as running,
    ):
        running.authority, running.origin = authority, origin
        yield running


@pytest.fixture
def client(proxy):
    with H2Client.connect(proxy.address()) as made:
        yield made


# ------------------------------------------------------------------------------------------- real clients


def curl(*arguments):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = ["curl", "--silent", "--show-error", "--max-time", "20", *arguments]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


VERSION = ["--write-out", "\n%{http_version} %{http_code}"]


def test_curl_in_the_clear(proxy):
    content, _, status = curl("--http2-prior-knowledge", *VERSION, f"{proxy.url()}/a?b").rpartition(b"\n")
    assert status == b"2 200"
    assert json.loads(content)["target"] == "/a?b"
    assert curl("--http2-prior-knowledge", "--head", *VERSION, proxy.url()).endswith(b"\n2 200")
    assert curl("--http2", *VERSION, f"{proxy.url()}/a").endswith(b"\n1.1 200"), (
        "Upgrade: h2c is not answered"
    )


def test_curl_over_tls(proxy):
    url = proxy.url().replace("http://127.0.0.1", "https://localhost")
    trust = ["--cacert", str(proxy.authority.certificate)]
    content, _, status = curl("--http2", *trust, *VERSION, f"{url}/a").rpartition(b"\n")
    assert status == b"2 200"
    assert ["X-Forwarded-Proto", "https"] in json.loads(content)["headers"]
    assert curl("--http1.1", *trust, *VERSION, url).endswith(b"\n1.1 200")


def test_curl_uploads_and_gets_it_back(proxy, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 8_000)
    received = json.loads(curl("--http2-prior-knowledge", "--data-binary", f"@{file}", proxy.url()))
    assert received["body_size"] == 2_048_000


def test_a_light_run_of_h2load(proxy):
    if shutil.which("h2load") is None:
        pytest.skip("h2load is not installed (nghttp2-client)")
    command = ["h2load", "-n", "600", "-c", "3", "-m", "50", proxy.url()]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout
    assert "600 succeeded, 0 failed, 0 errored, 0 timeout" in shown


# ------------------------------------------------------------------------------------------------- messages


def test_what_the_server_gets(client, proxy):
    fields = [(b"te", b"trailers"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-own", b"1")]
    received = client.get("/p%61th/../q?x=%2f", host="Shop.Test:81", fields=fields).json()
    sent = {name.lower(): value for name, value in received["headers"]}
    assert (received["version"], received["target"]) == ("HTTP/1.1", "/q?x=%2f")
    assert sent["host"] == sent["x-forwarded-host"] == "Shop.Test:81"
    assert (sent["cookie"], sent["te"], sent["x-own"]) == ("a=1; b=2", "trailers", "1")
    assert "content-length" not in sent
    proxy.wait_for_log(r'"GET /p%61th/../q\?x=%2f HTTP/2.0" 200')


@pytest.mark.parametrize("announced", [True, False])
def test_bodies_of_both_kinds(client, announced):
    content = bytes(range(256)) * 4_000
    fields = [(b"content-length", b"%d" % len(content))] if announced else []
    received = client.post("/", content, fields=fields).json()
    assert received["body_size"] == len(content)
    framing = {name.lower() for name, _ in received["headers"]} & {"content-length", "transfer-encoding"}
    assert framing == ({"content-length"} if announced else {"transfer-encoding"})


def test_trailers_of_the_client_reach_the_server(client):
    stream = client.start(method="POST", end=False)
    client.send_data(stream, b"abc")
    client.state.send_headers(stream, [(b"x-sum", b"6"), (b"host", b"b.test")], end_stream=True)
    client.flush()
    assert client.finish(stream).json()["trailers"] == [["x-sum", "6"]]


def test_trailers_interim_answers_and_lengths_of_the_server(proxy):
    def serve(connection):
        while (request := connection.receive_request()) is not None:
            match request.target:
                case "/trailers":
                    connection.send(
                        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                    )
                    connection.send(b"3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n")
                case "/hints":
                    connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(200, b"abc"))
                case "/empty":
                    connection.send(b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n")
                case "/head":
                    connection.send(answer(200, size=77))

    with (
        running_origin(serve) as origin,
        behind(proxy, origin),
        H2Client.connect(proxy.address()) as client,
    ):
        trailers = client.get("/trailers")
        assert (trailers.content, trailers.trailers) == (b"abc", [(b"x-sum", b"6")])
        hints = client.get("/hints")
        assert [dict(each)[b"link"] for each in hints.interim] == [b"</a>"]
        assert (hints.content, hints.header("content-length")) == (b"abc", "3")
        empty = client.get("/empty")
        assert (empty.status, empty.header("connection"), empty.content) == (204, "", b"")
        head = client.get("/head", method="HEAD")
        assert (head.status, head.header("content-length"), head.content) == (200, "77", b"")


def test_a_client_that_expects_it_is_told_to_continue(client):
    stream = client.start(method="POST", fields=[(b"expect", b"100-continue")], end=False)
    response = client.streams[stream]
    while not response.interim:
        assert client.read_some()
    assert response.interim[0] == [(b":status", b"100")]
    client.send_data(stream, b"abc", end=True)
    assert client.finish(stream).json()["body_size"] == 3


def test_an_answer_before_the_end_of_the_request_ends_both(client):
    stream = client.start("/x", host="", method="POST", fields=[(b"host", b"a")], end=False)
    response = client.finish(stream)
    assert response.status == 400
    while response.reset is None:
        assert client.read_some()
    assert response.reset == ErrorCodes.NO_ERROR
    assert client.get().status == 200


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([*HEAD[:2], HEAD[3], (b"host", b"a.test")], 200),
        ([*HEAD, (b"host", b"A.test")], 200),
        ([*HEAD, (b"host", b"b.test")], 400),
        ([*HEAD, (b"host", b"a.test"), (b"host", b"a.test")], 400),
        ([*HEAD[:2], HEAD[3]], 400),
        ([*HEAD[:2], (b":authority", b"user@a.test"), HEAD[3]], 400),
        ([*HEAD, (b":path", b"/b")], 400),
        ([*HEAD, (b"x-a", b"1"), (b":path", b"/b")], 400),
        ([*HEAD[:3], (b"x-a", b"1"), HEAD[3]], 400),
        ([*HEAD, (b":status", b"200")], 400),
        (HEAD[1:], 400),
        (HEAD[:3], 400),
        ([*HEAD[:3], (b":path", b"")], 400),
        ([*HEAD[:3], (b":path", b"a")], 400),
        ([*HEAD[:3], (b":path", b"*")], 400),
        ([*HEAD[:3], (b":path", b"/a b")], 400),
        ([*HEAD[:3], (b":path", b"/a#b")], 400),
        ([*HEAD[:3], (b":path", b"http://a.test/")], 400),
        ([*HEAD[:1], (b":scheme", b"ftp"), *HEAD[2:]], 400),
        ([(b":method", b"CONNECT"), *HEAD[1:]], 501),
        ([(b":method", b"G ET"), *HEAD[1:]], 400),
        ([*HEAD, (b"X-Upper", b"1")], 400),
        ([*HEAD, (b"x a", b"1")], 400),
        ([*HEAD, (b"", b"1")], 400),
        ([*HEAD, (b"x-a", b"1\r\nx-b: 2")], 400),
        ([*HEAD, (b"x-a", b"1\0")], 400),
        ([*HEAD, (b"x-a", b" 1")], 400),
        ([*HEAD, (b"connection", b"close")], 400),
        ([*HEAD, (b"connection", b"upgrade"), (b"upgrade", b"websocket")], 400),
        ([*HEAD, (b"transfer-encoding", b"chunked")], 400),
        ([*HEAD, (b"keep-alive", b"1")], 400),
        ([*HEAD, (b"proxy-connection", b"1")], 400),
        ([*HEAD, (b"te", b"gzip")], 400),
        ([*HEAD, (b"content-length", b"5")], 400),
        ([*HEAD, *[(b"x-a", b"1")] * 300], 431),
        ([*HEAD[:3], (b":path", b"/" + b"a" * 70_000)], 414),
    ],
)
def test_a_malformed_head_costs_its_stream_and_no_other(client, proxy, fields, status):
    before = len(proxy.origin.requests)
    assert client.finish(client.start_with(fields)).status == status
    assert client.get().status == 200
    assert len(proxy.origin.requests) - before == (2 if status == 200 else 1)


def test_a_content_length_that_is_not_kept_is_never_taken_for_a_request(client, proxy):
    stream = client.start(method="POST", fields=[(b"content-length", b"5")], end=False)
    client.state.send_data(stream, b"zyx", end_stream=True)
    client.flush()
    client.wait_for_farewell()
    assert all(b"zyx" not in each.body.content for each in proxy.origin.requests)


def test_h2c_is_not_passed_on_as_an_upgrade(proxy):
    shown = curl("--http2", f"{proxy.url()}/up")
    names = {name.lower() for name, _ in json.loads(shown)["headers"]}
    assert "http2-settings" not in names


# --------------------------------------------------------------------------------------- streams and limits


def test_streams_beyond_the_limit_are_refused_and_may_come_again(proxy):
    release = threading.Event()

    def serve(connection):
        while connection.receive_request() is not None:
            release.wait(20)
            connection.send(answer(200))

    with (
        running_origin(serve) as origin,
        behind(proxy, origin),
        H2Client.connect(proxy.address("few")) as client,
    ):
        first = [client.start() for _ in range(3)]  # the proxy's settings have not come yet
        refused = client.finish(first[2])
        assert refused.reset == ErrorCodes.REFUSED_STREAM
        assert client.state.remote_settings.max_concurrent_streams == 2
        release.set()
        assert [client.finish(each).status for each in first[:2]] == [200, 200]
        assert client.get().status == 200


def test_a_client_that_takes_nothing_holds_the_server_back(proxy):
    size, chunk = 32 << 20, bytes(65_536)
    sent = []
    asked = threading.Event()

    def chunks(request):
        for _ in range(size // len(chunk)):
            sent.append(len(chunk))
            yield chunk

    def serve(connection):
        if asked.is_set():
            echo()(connection)
            return
        asked.set()
        streaming(chunks)(connection)

    with (
        running_origin(serve) as origin,
        behind(proxy, origin),
        H2Client.connect(proxy.address(), window=10_000) as client,
    ):
        client.start("/large")
        assert asked.wait(20)
        # Other streams go on meanwhile; what the first one has sent by then is bounded by buffers.
        for _ in range(20):
            assert client.get("/small").status == 200
        assert sum(sent) < size / 2


def test_the_head_is_bounded_by_the_entrypoints_setting(proxy):
    with (
        H2Client.connect(proxy.address("small")) as client,
    ):
        assert client.get(fields=[(b"x-a", b"1" * 3_000)]).status == 431
        assert client.get(fields=[(b"x-a", b"1" * 1_000)]).status == 200


def test_an_idle_connection_is_asked_to_go(proxy):
    with (
        H2Client.connect(proxy.address("idle")) as client,
    ):
        assert client.get().status == 200
        assert client.wait_for_farewell().error_code == ErrorCodes.NO_ERROR
        client.wait_for_end()


def test_a_head_that_does_not_end_has_a_deadline(proxy):
    with (
        H2Client.connect(proxy.address("hurried")) as client,
        H2Client.connect(proxy.address("hurried")) as stalled,
    ):
        client.send(b"\0\0\x01\x01\x00\0\0\0\x01\x82")  # HEADERS without END_HEADERS
        client.wait_for_farewell()
        stream = stalled.start(method="POST", end=False)
        assert stalled.finish(stream).status == 408


def test_so_many_requests_on_one_connection(proxy):
    with (
        H2Client.connect(proxy.address("counting")) as client,
    ):
        assert [client.get().status for _ in range(2)] == [200, 200]
        assert client.wait_for_farewell().error_code == ErrorCodes.NO_ERROR
        client.wait_for_end()


def test_draining_lets_open_streams_end_and_refuses_new_ones(tmp_path):
    arrived, release = threading.Event(), threading.Event()

    def serve(connection):
        while connection.receive_request() is not None:
            arrived.set()
            release.wait(20)
            connection.send(answer(200, b"late"))

    with (
        running_origin(serve) as origin,
        running_proxy(
            tmp_path,
            static=static(),
            entrypoints=tuple(ENTRY_POINTS),
            dynamic=document(origin.url),
            workers=1,
        ) as proxy,
        H2Client.connect(proxy.address()) as client,
    ):
        open_one = client.start()
        assert arrived.wait(20)
        proxy._exit_expected = True
        proxy.signal(signal.SIGTERM)
        first = client.wait_for_farewell()
        assert (first.error_code, first.last_stream_id) == (ErrorCodes.NO_ERROR, 2**31 - 1)
        while len(client.farewells) < 2:
            assert client.read_some()
        assert client.farewells[1].last_stream_id == open_one
        assert client.finish(client.start()).reset == ErrorCodes.REFUSED_STREAM
        release.set()
        assert client.finish(open_one).content == b"late"
        client.wait_for_end()
        proxy.wait()


def test_the_log_names_the_client_that_gave_up(proxy):
    assert re.search(r"Traceback", proxy.log) is None


@pytest.mark.parametrize("piece", [1, 5, 23, 24, 25])
def test_a_beginning_in_pieces(proxy, piece):
    """The plain lane sees the first bytes and hands them on, wherever they are cut."""
    with socket.create_connection(proxy.address(), 20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = H2Client(Pieces(sock, piece))
        assert client.get("/pieces").json()["target"] == "/pieces"


class Pieces:
    """A socket that sends a few bytes at a time."""

    def __init__(self, sock, piece):
        self._sock, self._piece = sock, piece
        self.settimeout, self.recv = sock.settimeout, sock.recv

    def sendall(self, data):
        for begin in range(0, len(data), self._piece):
            self._sock.sendall(data[begin : begin + self._piece])
