"""TLS entrypoints of the installed program: certificates, options, client certificates, sessions."""

import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import ExitStack

import pytest

from tests.support.clients import ClientConnection, get, request_bytes
from tests.support.origins import answer, echo, running_origin, scripted, upgrading
from tests.support.proxy import running_proxy
from tests.support.tls import Authority, TlsConnection, client_context
from tests.support.vectors import vectors
from tests.support.wire import WireClosedError


def indented(text, spaces):
    """PEM text as a YAML block."""
    return "".join(f"{' ' * spaces}{line}\n" for line in text.splitlines())


def certificates(*pairs):
    """``tls.certificates`` with PEM text in it."""
    text = "tls:\n  certificates:\n"
    for pair in pairs:
        text += f"    - certFile: |\n{indented(pair.certificate, 8)}      keyFile: |\n{indented(pair.key, 8)}"
    return text


def routers(url, **rules):
    """Routers with TLS, by name: their rule and, after ``!``, their options."""
    lines = ["http:", "  routers:"]
    for name, text in rules.items():
        rule, _, options = text.partition("!")
        tls = f"{{options: {options}}}" if options else "{}"
        lines += [f"    {name}:", f"      rule: {rule}", "      service: origin", f"      tls: {tls}"]
    lines += [
        "  services:",
        "    origin:",
        "      loadBalancer:",
        "        servers:",
        f"          - url: {url}",
    ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def origin():
    with running_origin(echo("one")) as running:
        yield running


def test_a_request_over_tls(tmp_path, authority, origin):
    pair = authority.issue("a.test", "a.test")
    dynamic = routers(origin.url, a="Host(`a.test`)") + certificates(pair)
    with running_proxy(tmp_path, dynamic=dynamic) as proxy:
        with TlsConnection(proxy.address(), "a.test", client_context(authority)) as client:
            for _ in range(3):
                answer = client.request("GET", "/x", host="a.test")
                assert answer.status == 200
                told = dict(answer.json()["headers"])
                assert told["X-Forwarded-Proto"] == "https"
                assert told["X-Forwarded-Port"] == "443"
        # Routers with TLS see no plain requests, and the other way round.
        assert get(proxy.address(), "/x", host="a.test").status == 404
        with TlsConnection(proxy.address(), "b.test") as client:
            assert client.certificate_name == "TRAEFIK DEFAULT CERT"
            assert client.request("GET", "/", host="b.test").status == 404


def test_certificates_come_from_files_and_are_renewed_by_a_reload(tmp_path, authority, origin):
    authority.issue("first", "a.test").write(tmp_path, "a")
    text = "tls:\n  certificates:\n    - {certFile: a.crt, keyFile: a.key}\n"
    dynamic = routers(origin.url, a="Host(`a.test`)") + text
    with running_proxy(tmp_path, dynamic=dynamic) as proxy:
        for name in ("first", "second"):
            authority.issue(name, "a.test").write(tmp_path, "a")
            proxy.reload()
            with TlsConnection(proxy.address(), "a.test", client_context(authority)) as client:
                assert client.certificate_name == name


def test_tls_is_refused_where_it_cannot_be_had_and_only_there(tmp_path, authority, origin):
    """Broken options, and sniStrict without a certificate."""
    options = "  options:\n    broken: {cipherSuites: [NONE]}\n    strict: {sniStrict: true}\n"
    rules = routers(
        origin.url,
        a="Host(`a.test`)",
        broken="Host(`broken.test`)!broken",
        strict="Host(`strict.test`) || Host(`a2.test`)!strict",
    )
    pair = authority.issue("a2.test", "a2.test")
    with running_proxy(tmp_path, dynamic=rules + certificates(pair) + options) as proxy:
        with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
            TlsConnection(proxy.address(), "broken.test")
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            TlsConnection(proxy.address(), "strict.test")
        for name in ("a.test", "a2.test"):
            with TlsConnection(proxy.address(), name) as client:
                assert client.request("GET", "/", host=name).status == 200
        assert "PRIVATE KEY" not in proxy.log


@pytest.mark.parametrize("lane", ["plain", "general"])
def test_a_request_for_a_router_with_other_options_is_misdirected(tmp_path, origin, lane):
    rules = routers(origin.url, a="Host(`a.test`)", b="Host(`b.test`)", c="Host(`c.test`)!other")
    environment = {"PENSTOCK_GENERAL_LANE_ONLY": "1"} if lane == "general" else {}
    dynamic = rules + "tls:\n  options:\n    other: {}\n"
    with running_proxy(tmp_path, dynamic=dynamic, environment=environment) as proxy:
        with TlsConnection(proxy.address(), "a.test") as client:
            assert [client.request("GET", "/", host=f"{name}.test").status for name in "abab"] == [200] * 4
            refused = client.request("GET", "/", host="c.test")
            assert (refused.status, refused.content) == (421, b"Misdirected Request\n")
            assert client.request("GET", "/", host="a.test").status == 200
        with TlsConnection(proxy.address(), "c.test") as client:
            assert [client.request("GET", "/", host=f"{name}.test").status for name in "cac"] == [
                200,
                421,
                200,
            ]


def test_client_certificates(tmp_path, authority, origin):
    """Hosts that want them in several ways, and a server that is told about them."""
    (tmp_path / "ca.pem").write_text(authority.pem)
    mine = authority.issue("me").write(tmp_path, "me")
    theirs = Authority("Stranger").issue("me").write(tmp_path, "stranger")
    options = """tls:
  options:
    mutual: {clientAuth: {caFiles: [ca.pem]}}
    given: {clientAuth: {caFiles: [ca.pem], clientAuthType: VerifyClientCertIfGiven}}
    any: {clientAuth: {clientAuthType: RequireAnyClientCert}}
    asked: {clientAuth: {clientAuthType: RequestClientCert}}
"""
    wanted = ("open", "mutual", "given", "any", "asked")
    rules = {name: f"Host(`{name}.test`)" + (f"!{name}" if name != "open" else "") for name in wanted}
    text = routers(origin.url, **rules).replace("      service: origin\n", f"      service: origin\n{TELL}")
    text += "  middlewares:\n    tell: {passTLSClientCert: {info: {subject: {commonName: true}}}}\n"
    good = {
        "open": {None, mine, theirs},
        "mutual": {mine},
        "given": {None, mine},
        "any": {mine, theirs},
        "asked": {None, mine, theirs},
    }
    with running_proxy(tmp_path, dynamic=text + options) as proxy:
        for name, expected in good.items():
            served = {
                own
                for own in (None, mine, theirs)
                if is_served(proxy.address(), f"{name}.test", client_context(own=own))
            }
            assert served == expected, name
        with TlsConnection(proxy.address(), "mutual.test", client_context(own=mine)) as client:
            for _ in range(3):  # the later ones through the plain lane
                told = dict(client.request("GET", "/", host="mutual.test").json()["headers"])
                assert told["X-Forwarded-Tls-Client-Cert-Info"] == "Subject%3D%22CN%3Dme%22"
        with TlsConnection(proxy.address(), "open.test", client_context(own=mine)) as client:
            assert client.request("GET", "/", host="mutual.test").status == 421
            told = dict(client.request("GET", "/", host="open.test").json()["headers"])
            assert "X-Forwarded-Tls-Client-Cert-Info" not in told


TELL = "      middlewares: [tell]\n"


def is_served(address, name, context=None):
    """Whether a request is answered; with TLS 1.3 a client learns of its refusal after its handshake."""
    try:
        with TlsConnection(address, name, context) as client:
            return client.request("GET", "/", host=name).status == 200
    except (OSError, WireClosedError):
        return False


def openssl(*arguments, text=b""):
    done = subprocess.run(["openssl", *arguments], input=text, capture_output=True, timeout=30, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def test_any_worker_resumes_a_session(tmp_path, origin):
    """A session of one worker, taken up until every worker has served; with openssl as the client."""
    rules = routers(origin.url, a="Host(`a.test`)")
    with running_proxy(tmp_path, dynamic=rules, workers=3) as proxy:
        request = b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"
        where = "{}:{}".format(*proxy.address())
        for version in ("-tls1_2", "-tls1_3"):
            session = tmp_path / f"session{version}"
            client = ("s_client", "-connect", where, "-servername", "a.test", "-ign_eof", version)
            first = openssl(*client, "-sess_out", str(session), text=request)
            assert "New, TLSv" in first
            for _ in range(12):  # of three workers all are met, but for one in 43 runs, which proves as much
                again = openssl(*client, "-sess_in", str(session), text=request)
                assert "Reused, TLSv" in again
                assert "HTTP/1.1 200 " in again


REPLACEMENTS = 100
NUMBERED_STATIC = """
entryPoints:
  web: {address: "127.0.0.1:{web}"}
providers:
  providersThrottleDuration: 10ms
  file: {directory: dynamic, watch: true}
log: {level: INFO}
"""


def numbered(url, pair, number):
    """Routes that say their generation's number in every answer, and a certificate that is called by it."""
    text = routers(url, a="Host(`a.test`)")
    text = text.replace("      service: origin\n", "      service: origin\n      middlewares: [number]\n", 1)
    step = f"  middlewares:\n    number: {{headers: {{customResponseHeaders: {{X-Number: '{number}'}}}}}}\n"
    return text + step + certificates(pair)


def test_certificates_are_replaced_under_load(tmp_path, authority, origin):
    """No handshake fails, and a certificate never shows before its generation's routes are in force.

    The routes may be newer than the certificate: a request belongs to the generation in which it begins, and
    that may have come between it and the handshake.
    """
    pairs = [authority.issue(str(number), "a.test") for number in range(REPLACEMENTS + 1)]
    written = 0
    over = threading.Event()
    problems, exchanges, shown = [], [0], set()

    def load(address):
        context = client_context(authority)
        while not over.is_set():
            try:
                with TlsConnection(address, "a.test", context) as client:
                    certificate = int(client.certificate_name)
                    for _ in range(2):
                        answer = client.request("GET", "/", host="a.test")
                        routes = int(answer.header("X-Number"))
                        if answer.status != 200 or not certificate <= routes <= written:
                            problems.append((certificate, routes, written, answer.status))
                    exchanges[0] += 1
                    shown.add(certificate)
            except Exception as error:
                problems.append(repr(error))

    text = numbered(origin.url, pairs[0], 0)
    with running_proxy(tmp_path, static=NUMBERED_STATIC, dynamic=text) as proxy:
        threads = [threading.Thread(target=load, args=(proxy.address(),)) for _ in range(3)]
        for each in threads:
            each.start()
        try:
            for number in range(1, REPLACEMENTS + 1):
                written = number
                before = proxy.log_length
                proxy.write("dynamic.yml", numbered(origin.url, pairs[number], number))
                proxy.wait_for_log(r"table \d+ is live everywhere", after=before)
        finally:
            over.set()
            for each in threads:
                each.join()
        with TlsConnection(proxy.address(), "a.test", client_context(authority)) as client:
            assert client.certificate_name == str(REPLACEMENTS)
    assert problems == []
    assert exchanges[0] > REPLACEMENTS
    assert len(shown) > REPLACEMENTS / 4


@pytest.mark.parametrize("vector", vectors("v2", "tls.misdirected"))
def test_misdirected_vectors(tmp_path, vector):
    config = vector["config"]["routers"]
    options = {each["tls"]["options"]: {} for each in config.values() if each["tls"].get("options")}
    with ExitStack() as stack:
        services = {}
        for name in config:
            url = stack.enter_context(running_origin(echo(name))).url
            services[name] = {"loadBalancer": {"servers": [{"url": url}]}}
        rules = {name: {**each, "service": name} for name, each in config.items()}
        document = {"http": {"routers": rules, "services": services}, "tls": {"options": options}}
        proxy = stack.enter_context(running_proxy(tmp_path, dynamic=json.dumps(document), workers=1))
        with TlsConnection(proxy.address(), vector["request"]["sni"]) as client:
            answer = client.request("GET", "/", host=vector["request"]["host"])
        assert answer.status == vector["expect"]["status"]
        if "router" in vector["expect"]:
            assert answer.header("X-Origin") == vector["expect"]["router"]


V1_STATIC = """
defaultEntryPoints = ["http", "https"]
[entryPoints.http]
address = "127.0.0.1:{http}"
  [entryPoints.http.redirect]
  entryPoint = "https"
[entryPoints.https]
address = "127.0.0.1:{https}"
  [entryPoints.https.tls]
  minVersion = "VersionTLS12"
  clientCAFiles = ["ca.pem"]
    [[entryPoints.https.tls.certificates]]
    certFile = "one.crt"
    keyFile = "one.key"
    [[entryPoints.https.tls.certificates]]
    certFile = '''
{certificate}'''
    keyFile = '''
{key}'''
[file]
directory = "dynamic"
"""
V1_RULES = """
[frontends.all]
backend = "one"
[frontends.all.routes.r]
rule = "PathPrefix:/"
[backends.one.servers.s]
url = "{url}"
"""


def test_a_v1_entrypoint(tmp_path, authority, origin):
    """As seed 002 has it: a redirect to https, certificates as files and as text, client certificates."""
    (tmp_path / "ca.pem").write_text(authority.pem)
    authority.issue("one", "one.test").write(tmp_path, "one")
    two = authority.issue("two", "*.two.test")
    own = authority.issue("me").write(tmp_path, "me")
    text = V1_STATIC.replace("{certificate}", two.certificate).replace("{key}", two.key)
    with running_proxy(
        tmp_path,
        static=text,
        static_name="traefik.toml",
        dynamic={"rules.toml": V1_RULES.replace("{url}", origin.url)},
        entrypoints=("http", "https"),
    ) as proxy:
        redirect = get(proxy.address("http"), "/x?a=1", host="foo.bar:80")
        where = f"https://foo.bar:{proxy.address('https')[1]}/x?a=1"
        assert (redirect.status, redirect.header("Location")) == (302, where)
        for name, shown in (
            ("one.test", "one"),
            ("a.two.test", "two"),
            ("nobody.test", "one"),
            (None, "one"),
        ):
            with TlsConnection(proxy.address("https"), name, client_context(own=own)) as client:
                assert client.certificate_name == shown
                served = client.request("GET", "/x", host=name or "x.test")
                assert served.status == 200
                assert dict(served.json()["headers"])["X-Forwarded-Proto"] == "https"
        assert not is_served(proxy.address("https"), "one.test")


def test_a_client_that_does_not_finish_its_handshake_is_let_go(tmp_path, origin):
    """Half a ClientHello, nothing at all, and a hello that is none; the entrypoint serves on."""
    static = "entryPoints:\n  web:\n    address: 127.0.0.1:{web}\n"
    static += (
        "    transport: {respondingTimeouts: {readTimeout: 1s}}\nproviders: {file: {directory: dynamic}}\n"
    )
    rules = routers(origin.url, a="Host(`a.test`)")
    with running_proxy(tmp_path, static=static, dynamic=rules, workers=1) as proxy, ExitStack() as stack:
        clients = [stack.enter_context(ClientConnection(proxy.address())) for _ in range(3)]
        clients[0].send(b"\x16\x03\x01\x02\x00\x01\x00")
        clients[2].send(b"\x16\x03\x01\x00\x04\xff\x00\x00\x00")
        assert is_served(proxy.address(), "a.test")
        for client in clients:
            assert client.is_closed_by_peer()


def test_large_bodies_both_ways(tmp_path, origin):
    """More than a record, a socket buffer and a write; and a body that comes in pieces."""
    rules = routers(origin.url, a="Host(`a.test`)")
    body = bytes(range(256)) * 20_000
    with (
        running_proxy(tmp_path, dynamic=rules, workers=1) as proxy,
        running_origin(scripted(answer(200, body))) as big,
    ):
        proxy.write("big.yml", routers(big.url, big="Host(`big.test`)").replace("origin", "big"))
        proxy.reload()
        with TlsConnection(proxy.address(), "big.test") as client:
            assert client.request("GET", "/", host="big.test").content == body
        with TlsConnection(proxy.address(), "a.test") as client:
            sent = client.request("POST", "/", host="a.test", body=body).json()
            assert sent["body_sha256"] == hashlib.sha256(body).hexdigest()


def test_an_answer_that_is_cut_does_not_end_properly(tmp_path):
    """Whoever reads to the end of the connection can tell it from the end of the answer, by close_notify."""
    until_end = b"HTTP/1.1 200 OK\r\n\r\nall of it"
    broken = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot all of it"
    with ExitStack() as stack:
        origin = stack.enter_context(running_origin(scripted(until_end, broken)))
        rules = routers(origin.url, a="Host(`a.test`)")
        proxy = stack.enter_context(running_proxy(tmp_path, dynamic=rules, workers=1))
        assert how_it_ends(proxy.address()) == "well"
        assert how_it_ends(proxy.address()) == "cut"


def how_it_ends(address):
    """The end of a connection whose only request is answered: said, or simply there."""
    raw = socket.create_connection(address, 30)
    with client_context().wrap_socket(raw, server_hostname="a.test", suppress_ragged_eofs=False) as tls:
        tls.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        try:
            while tls.recv(65_536):
                pass
        except (ssl.SSLEOFError, ConnectionError):
            return "cut"
        return "well"


def test_a_websocket_over_tls(tmp_path):
    with ExitStack() as stack:
        origin = stack.enter_context(running_origin(upgrading()))
        rules = routers(origin.url, a="Host(`a.test`)")
        proxy = stack.enter_context(running_proxy(tmp_path, dynamic=rules, workers=1))
        client = stack.enter_context(TlsConnection(proxy.address(), "a.test"))
        fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
        client.send(request_bytes("GET", "/", host="a.test", fields=fields))
        assert client.receive().status == 101
        for size in (1, 70_000):
            client.send(b"x" * size)
            assert client.reader.read_exactly(size) == b"x" * size


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(tmp_path, authority, origin):
    """A real client that checks the certificate, over HTTP/1.1, twice on one connection."""
    (tmp_path / "ca.pem").write_text(authority.pem)
    dynamic = routers(origin.url, a="Host(`a.test`)") + certificates(authority.issue("a.test", "a.test"))
    with running_proxy(tmp_path, dynamic=dynamic) as proxy:
        host, port = proxy.address()
        url = f"https://a.test:{port}/"
        where = ("--resolve", f"a.test:{port}:{host}", "--cacert", str(tmp_path / "ca.pem"))
        shown = "%{http_code} %{num_connects} %{ssl_verify_result}\\n"
        command = ["curl", "--http1.1", "-sS", "-m", "30", *where, "-w", shown, "-o", "/dev/null", url]
        done = subprocess.run([*command, "-o", "/dev/null", url], capture_output=True, text=True, check=True)
        assert done.stdout.split("\n")[:2] == ["200 1 0", "200 0 0"]
