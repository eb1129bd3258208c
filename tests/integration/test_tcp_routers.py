"""TCP routers in the installed program: who gets a connection, what is told about it, how it ends."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.clients import exchange, request_bytes
from tests.support.origins import echo, running_origin
from tests.support.proxy import running_proxy
from tests.support.tls import Authority, client_context
from tests.support.vectors import vectors

pytestmark = pytest.mark.integration

TIMEOUT_S = 20.0
SHARING = vectors("v2", "tcp.sharing")
SSL_REQUEST = bytes.fromhex("0000000804d2162f")


def greeting(text):
    """Speaks first, then sends back what comes until the other side ends, and only then ends itself."""

    def serve(connection):
        connection.send(text)
        while data := connection.socket.recv(65_536):
            connection.send(data)

    return serve


def reporting(connection):
    """Says what it has got once the other side has ended."""
    data = b""
    while more := connection.socket.recv(65_536):
        data += more
    connection.send(b"got " + data)


class Late:
    """Would answer once the other side has ended, but waits until it is let."""

    def __init__(self):
        self.may_answer = threading.Event()

    def __call__(self, connection):
        while connection.socket.recv(65_536):
            pass
        assert self.may_answer.wait(TIMEOUT_S)


def service(*origins, **options):
    servers = [{"address": f"127.0.0.1:{each.address[1]}"} for each in origins]
    return {"loadBalancer": {"servers": servers, **options}}


def router(entrypoint, name, **more):
    return {"entryPoints": [entrypoint], "rule": "HostSNI(`*`)", "service": name, **more}


@contextmanager
def connected(address):
    with socket.create_connection(address, TIMEOUT_S) as sock:
        yield sock


def read_all(sock):
    data = b""
    while more := sock.recv(65_536):
        data += more
    return data


def is_closed(sock):
    """Whether the other side ends the connection without a byte."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """One proxy of two workers with an entrypoint for each subject."""
    folder = tmp_path_factory.mktemp("tcp")
    names = (
        *("greet", "report", "cut", "told1", "told2", "near", "far", "few", "empty", "dead", "peer", "http"),
        *("shared", "ended", "strict", "both", "pg", *(vector.values[0]["id"] for vector in SHARING)),
    )
    authority = Authority()
    own = authority.issue("db.test", "db.test")
    with ExitStack() as stack:

        def start(serve):
            return stack.enter_context(running_origin(serve))

        late = Late()
        greet, report, web = start(greeting(b"hello ")), start(reporting), start(echo("web"))
        postgres = start(_postgres(authority, folder))
        dead = socket.create_server(("127.0.0.1", 0))
        dead_port = dead.getsockname()[1]
        dead.close()
        tcp = {
            "routers": {
                "greet": router("greet", "greet"),
                "report": router("report", "report"),
                "cut": router("cut", "cut"),
                "told1": router("told1", "told1"),
                "told2": router("told2", "told2"),
                "near": router("near", "greet", middlewares=["loopback"]),
                "far": router("far", "greet", middlewares=["elsewhere"]),
                "few": router("few", "greet", middlewares=["few"]),
                "empty": router("empty", "empty"),
                "dead": router("dead", "dead"),
                "peer": router("peer", "greet", rule="ClientIP(`203.0.113.9`)"),
                "both": router("both", "greet", rule="ClientIP(`203.0.113.9`)"),
                "ended": router("ended", "greet", rule="HostSNI(`db.test`)", tls={}),
                "strict": router("strict", "greet", rule="HostSNI(`db.test`)", tls={"options": "strict"}),
                "pg-ended": router("pg", "greet", rule="HostSNI(`db.test`)", tls={}),
                "pg-passed": router("pg", "pg", rule="HostSNI(`raw.test`)", tls={"passthrough": True}),
            },
            "services": {
                "greet": service(greet),
                "report": service(report, serversTransport="patient"),
                "cut": service(start(late), terminationDelay=0),
                "told1": service(report, proxyProtocol={"version": 1}, terminationDelay=-1),
                "told2": service(report, serversTransport="telling"),
                "empty": service(),
                "dead": {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{dead_port}"}]}},
                "pg": service(postgres),
            },
            "serversTransports": {
                "patient": {"terminationDelay": "20s"},
                "telling": {"terminationDelay": "-1s", "proxyProtocol": {}},
            },
            "middlewares": {
                "loopback": {"ipAllowList": {"sourceRange": ["127.0.0.0/8"]}},
                "elsewhere": {"ipAllowList": {"sourceRange": ["203.0.113.0/24"]}},
                "few": {"inFlightConn": {"amount": 2}},
            },
        }
        http = {
            "routers": {
                "web": {
                    "entryPoints": ["http", "shared", "peer"],
                    "rule": "PathPrefix(`/`)",
                    "service": "web",
                },
                "web-tls": {
                    "entryPoints": ["http", "both"],
                    "rule": "Host(`db.test`)",
                    "service": "web",
                    "tls": {},
                },
            },
            "services": {"web": {"loadBalancer": {"servers": [{"url": web.url}]}}},
        }
        for vector in SHARING:
            _add_sharing(vector.values[0], tcp, http)
        config = {
            "tcp": tcp,
            "http": http,
            "tls": {
                "certificates": [{"certFile": own.certificate, "keyFile": own.key}],
                "options": {"strict": {"minVersion": "VersionTLS13", "alpnProtocols": ["mqtt"]}},
            },
        }
        proxy = stack.enter_context(
            running_proxy(folder, static=_static, dynamic=json.dumps(config), entrypoints=names)
        )
        proxy.authority, proxy.late = authority, late
        yield proxy


def _static(ports):
    trusting = {"trustedIPs": ["127.0.0.1"]}
    lines = {name: {"address": f"127.0.0.1:{port}"} for name, port in ports.items()}
    for name in ("peer", "http", "both"):
        lines[name]["proxyProtocol"] = trusting
    lines["shared"]["proxyProtocol"] = {"trustedIPs": ["203.0.113.1"]}
    return json.dumps(
        {
            "entryPoints": lines,
            "providers": {"providersThrottleDuration": "100ms", "file": {"directory": "dynamic"}},
            "log": {"level": "INFO"},
        }
    )


def _add_sharing(vector, tcp, http):
    name, config = vector["id"], vector["config"]
    if "http" in config or "https" in config:
        rule = config.get("https") or config["http"]
        entry = {"entryPoints": [name], "rule": rule, "service": "web"}
        http["routers"][name] = {**entry, "tls": {}} if "https" in config else entry
    if "tcp" in config:
        tcp["routers"][name] = router(name, "greet", rule=config["tcp"])
    if "tcpTLS" in config:
        tcp["routers"][name] = router(name, "greet", rule=config["tcpTLS"], tls={})


@pytest.mark.parametrize("vector", SHARING)
def test_tcp_and_http_share_an_entrypoint(stage, vector):
    client, wanted = vector["request"]["client"], vector["expect"]["handledBy"]
    with connected(stage.address(vector["id"])) as sock:
        inside = sock
        if client.startswith("tls"):
            name = client.partition("sni=")[2] or None
            inside = client_context().wrap_socket(sock, server_hostname=name)
        with inside:
            inside.sendall(request_bytes("GET", "/", host="a.test", fields=(("Connection", "close"),)))
            said = inside.recv(65_536)
    if wanted == "tcp":
        assert said.startswith(b"hello ")
    elif "404" in wanted:
        assert said.startswith(b"HTTP/1.1 404 ")
    else:
        assert said.startswith(b"HTTP/1.1 200 ")


def test_servers_may_speak_first_and_each_side_may_end_first(stage):
    with connected(stage.address("greet")) as sock:
        assert sock.recv(6) == b"hello "
        sock.sendall(b"x" * 100)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"x" * 100
    with connected(stage.address("report")) as sock:
        sock.sendall(b"all of it")
        sock.shutdown(socket.SHUT_WR)  # the server answers only now: the other direction goes on
        assert read_all(sock) == b"got all of it"


def test_much_goes_both_ways_at_once(stage):
    size, block = 32 * 1_048_576, bytes(range(256)) * 4096

    def send(sock):
        for _ in range(size // len(block)):
            sock.sendall(block)
        sock.shutdown(socket.SHUT_WR)

    with connected(stage.address("greet")) as sock:
        assert sock.recv(6) == b"hello "
        sender = threading.Thread(target=send, args=(sock,))
        sender.start()
        got = 0
        while data := sock.recv(1_048_576):
            start = got % len(block)
            assert data == (block * 3)[start : start + len(data)]
            got += len(data)
        sender.join()
    assert got == size


def test_without_patience_the_other_direction_is_cut(stage):
    with connected(stage.address("cut")) as sock:
        sock.sendall(b"all of it")
        sock.shutdown(socket.SHUT_WR)
        assert is_closed(sock)
    stage.late.may_answer.set()


def test_a_server_is_told_who_the_client_is(stage):
    for name in ("told1", "told2"):
        with connected(stage.address(name)) as sock:
            here, there = sock.getsockname(), sock.getpeername()
            sock.sendall(b"and more")
            sock.shutdown(socket.SHUT_WR)
            said = read_all(sock)
        if name == "told1":
            assert said == f"got PROXY TCP4 127.0.0.1 127.0.0.1 {here[1]} {there[1]}\r\nand more".encode()
        else:
            addresses = socket.inet_aton("127.0.0.1") * 2 + struct.pack("!HH", here[1], there[1])
            assert said == b"got \r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + addresses + b"and more"


def test_only_some_addresses_pass(stage):
    with connected(stage.address("near")) as sock:
        assert sock.recv(6) == b"hello "
    with connected(stage.address("far")) as sock:
        assert is_closed(sock)


def test_so_many_connections_at_a_time_over_all_workers(stage):
    with ExitStack() as stack:
        held = []
        for _ in range(2):
            sock = stack.enter_context(connected(stage.address("few")))
            assert sock.recv(6) == b"hello "
            held.append(sock)
        for _ in range(8):  # the kernel spreads them over both workers
            with connected(stage.address("few")) as sock:
                assert is_closed(sock)
        held[0].shutdown(socket.SHUT_WR)
        assert read_all(held[0]) == b""
    for _ in range(200):  # the worker learns of the end a moment after us
        with connected(stage.address("few")) as sock:
            if sock.recv(6) == b"hello ":
                return
    raise AssertionError("the places were not given back")


@pytest.mark.parametrize("name", ["empty", "dead"])
def test_without_a_server_the_connection_is_closed(stage, name):
    with connected(stage.address(name)) as sock:
        assert is_closed(sock)


V1 = b"PROXY TCP4 203.0.113.9 198.51.100.7 4000 443\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    + socket.inet_aton("203.0.113.9")
    + socket.inet_aton("198.51.100.7")
    + struct.pack("!HH", 4000, 443)
)


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("cut", [0, 1, 15, 30])
def test_a_trusted_peer_says_who_the_client_is(stage, header, cut):
    with connected(stage.address("peer")) as sock:  # a rule of a TCP router goes by it
        sock.sendall(header[:cut])
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(header[cut:])
        assert sock.recv(6) == b"hello "
    fields = _fields_told(stage.address("http"), header)  # and so does HTTP
    assert fields["x-real-ip"] == fields["x-forwarded-for"] == "203.0.113.9"


@pytest.mark.parametrize("entrypoint", ["http", "both"])
@pytest.mark.parametrize("header", [V1, V2, b""], ids=["v1", "v2", "none"])
def test_tls_may_follow_the_header(stage, entrypoint, header):
    with connected(stage.address(entrypoint)) as sock:
        sock.sendall(header)
        with client_context(stage.authority).wrap_socket(sock, server_hostname="db.test") as inside:
            inside.sendall(request_bytes("GET", "/", host="db.test", fields=(("Connection", "close"),)))
            content = read_all(inside).partition(b"\r\n\r\n")[2]
    fields = {name.lower(): value for name, value in json.loads(content)["headers"]}
    assert fields["x-real-ip"] == ("203.0.113.9" if header else "127.0.0.1")
    assert fields["x-forwarded-proto"] == "https"


def test_a_trusted_peer_need_not_say_it(stage):
    assert _fields_told(stage.address("http"), b"")["x-real-ip"] == "127.0.0.1"


def test_a_broken_header_of_a_trusted_peer_ends_the_connection(stage):
    with connected(stage.address("http")) as sock:
        sock.sendall(b"PROXY TCP4 no such address\r\n" + request_bytes("GET", "/", host="a.test"))
        assert is_closed(sock)


def test_the_header_of_a_stranger_is_part_of_the_data(stage):
    with connected(stage.address("shared")) as sock:
        sock.sendall(V1 + request_bytes("GET", "/", host="a.test"))
        assert sock.recv(65_536).startswith(b"HTTP/1.1 400 ")


def test_tls_that_ends_here_is_half_closed_too(stage):
    with connected(stage.address("ended")) as sock:
        context = client_context(stage.authority)
        with context.wrap_socket(sock, server_hostname="db.test") as inside:
            assert inside.recv(6) == b"hello "
            inside.sendall(b"y" * 300_000)
            got = b""
            while len(got) < 300_000:
                got += inside.recv(65_536)
            assert got == b"y" * 300_000
            inside.unwrap()


def test_a_router_has_its_own_tls_options(stage):
    context = client_context(stage.authority, protocols=("mqtt", "h2"))
    with connected(stage.address("strict")) as sock, secured(sock, context) as inside:
        assert inside.recv(6) == b"hello "
        assert (inside.version(), inside.selected_alpn_protocol()) == ("TLSv1.3", "mqtt")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connected(stage.address("ended")) as sock, secured(sock, context) as inside:
        assert inside.recv(6) == b"hello "  # the default options take it
    with connected(stage.address("strict")) as sock, pytest.raises(ssl.SSLError):
        secured(sock, context)


def secured(sock, context):
    return context.wrap_socket(sock, server_hostname="db.test")


@pytest.mark.parametrize(("name", "said"), [("db.test", b"hello "), ("raw.test", b"real ")])
def test_tls_in_the_way_of_postgresql(stage, name, said):
    with connected(stage.address("pg")) as sock:
        sock.sendall(SSL_REQUEST)
        assert sock.recv(1) == b"S"
        with client_context().wrap_socket(sock, server_hostname=name) as inside:
            assert inside.recv(6).startswith(said)


def test_a_client_in_the_way_of_postgresql_that_nobody_wants(stage):
    with connected(stage.address("pg")) as sock:
        sock.sendall(SSL_REQUEST)
        assert sock.recv(1) == b"S"
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            client_context().wrap_socket(sock, server_hostname="nobody.test")


def _postgres(authority, folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("raw.test", "raw.test").write(folder, "pg"))

    def serve(connection):
        asked = connection.socket.recv(8)
        connection.send(b"S" if asked == SSL_REQUEST else b"N")
        with context.wrap_socket(connection.socket, server_side=True) as inside:
            inside.sendall(b"real server")
            inside.recv(1)

    return serve


def test_a_tunnel_outlives_reloads_and_is_cut_after_the_grace(tmp_path):
    static = """
entryPoints:
  db: {address: "127.0.0.1:{db}", transport: {lifeCycle: {graceTimeOut: 3s}}}
  patient: {address: "127.0.0.1:{patient}", transport: {lifeCycle: {graceTimeOut: 60s}}}
providers: {providersThrottleDuration: 100ms, file: {directory: dynamic}}
log: {level: INFO}
"""
    with ExitStack() as stack:
        origins = [stack.enter_context(running_origin(greeting(text))) for text in (b"one ", b"two ")]

        def config(origin):
            everywhere = router("db", "s", entryPoints=["db", "patient"])
            return json.dumps({"tcp": {"routers": {"r": everywhere}, "services": {"s": service(origin)}}})

        proxy = stack.enter_context(
            running_proxy(
                tmp_path,
                static=static,
                dynamic=config(origins[0]),
                entrypoints=("db", "patient"),
                workers=1,
            )
        )
        old = stack.enter_context(connected(proxy.address("db")))
        patient = stack.enter_context(connected(proxy.address("patient")))
        assert [sock.recv(4) for sock in (old, patient)] == [b"one ", b"one "]
        proxy.write("dynamic.yml", config(origins[1]))
        proxy.reload()
        with connected(proxy.address("db")) as new:
            assert new.recv(4) == b"two "
        assert echoed(old, b"still there")
        proxy.write("dynamic.yml", json.dumps({"tcp": {}}))
        proxy.reload()
        assert echoed(old, b"and now")
        stopping = threading.Thread(target=proxy.command, args=("stop",))
        stopping.start()
        proxy.wait_for_log("draining")
        assert echoed(old, b"in the grace")
        assert is_closed(old)
        assert echoed(patient, b"each entrypoint has its own")
        patient.shutdown(socket.SHUT_WR)
        assert read_all(patient) == b""
        stopping.join()
        assert proxy.wait() == 0


def echoed(sock, data):
    sock.sendall(data)
    return sock.recv(64) == data


def test_the_first_dialect_has_the_proxy_protocol_too(tmp_path):
    with running_origin(echo("web")) as web:
        static = f"""
defaultEntryPoints = ["web"]
[entryPoints.web]
address = "127.0.0.1:{{web}}"
  [entryPoints.web.proxyProtocol]
  trustedIPs = ["127.0.0.1"]
[file]
[frontends.f]
backend = "b"
  [frontends.f.routes.r]
  rule = "PathPrefix:/"
[backends.b.servers.s]
url = "{web.url}"
"""
        with running_proxy(tmp_path, static=static, static_name="penstock.toml", workers=1) as proxy:
            assert _fields_told(proxy.address("web"), V1)["x-real-ip"] == "203.0.113.9"


def _fields_told(address, header):
    """The fields that an HTTP server gets of a request behind this header."""
    answer = exchange(address, header + request_bytes("GET", "/", host="a.test"))
    assert answer.status == 200
    return {name.lower(): value for name, value in answer.json()["headers"]}
