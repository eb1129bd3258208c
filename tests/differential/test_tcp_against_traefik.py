"""Who gets a connection: Penstock and Traefik 3.7.15 decide the same at entrypoints that TCP and HTTP share.

Each entrypoint has its own draw of TCP routers (plain, terminating, passing through) and HTTP routers (with
and without TLS). Every origin says who it is and what reached it, so the answer tells which router won and in
which mode. Drawn from a fixed seed; ``PENSTOCK_DIFFERENTIAL_SEED`` draws others.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import time
from contextlib import ExitStack
from random import Random

import pytest

from tests.support import traefik
from tests.support.origins import answer, running_origin
from tests.support.proxy import running_proxy
from tests.support.tls import Authority, client_context
from tests.support.traefik import running_traefik

SEED = os.environ.get("PENSTOCK_DIFFERENTIAL_SEED", "penstock")
ENTRYPOINTS = 24
TIMEOUT_S = 10.0
LIVE_TIMEOUT_S = 20.0
PAUSE_S = 0.05
HANDSHAKE = b"\x16"
REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"

TCP_TERMS = (
    *("HostSNI(`a.test`)", "HostSNI(`b.test`)", "HostSNI(`*.test`)", "HostSNI(`*.sub.test`)"),
    *("HostSNIRegexp(`^a`)", "HostSNIRegexp(`^$`)", "HostSNIRegexp(`[b-z].test$`)"),
    *("ALPN(`mqtt`)", "ALPN(`http/1.1`)", "!ALPN(`mqtt`)", "!HostSNI(`a.test`)"),
    *("ClientIP(`127.0.0.0/8`)", "ClientIP(`10.0.0.0/8`)", "!ClientIP(`127.0.0.1`)"),
)
HTTP_RULES = (
    *("Host(`a.test`)", "Host(`*.test`)", "Host(`b.test`) || Host(`x.sub.test`)", "PathPrefix(`/`)"),
    *("HostRegexp(`^[a-z]`)", "Host(`c.test`) && PathPrefix(`/`)", "!Host(`a.test`)"),
)
SERVER_NAMES = (None, "a.test", "b.test", "B.TEST", "x.sub.test", "other.example")
PROTOCOLS = ((), ("http/1.1",), ("mqtt", "http/1.1"))

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("integration"),
    pytest.mark.skipif(bool(traefik.missing()), reason=traefik.missing()),
]


def test_the_same_router_wins(tmp_path):
    random = Random(f"{SEED} tcp")
    names = tuple(f"e{number}" for number in range(ENTRYPOINTS))
    with ExitStack() as stack:
        services = _start_origins(stack, tmp_path)
        config = _draw_all(random, names, services)
        text = json.dumps(config)
        theirs = stack.enter_context(running_traefik(tmp_path / "traefik", _static, text, entrypoints=names))
        ours = stack.enter_context(running_proxy(tmp_path, dynamic=text, entrypoints=names, workers=1))
        _wait_until_live(theirs, config)
        assert _served_by_ours(ours) == _served_by_theirs(theirs)
        differences, kinds = [], set()
        for name in names:
            for case in _cases():
                wanted = _probe(theirs.address(name), *case)
                found = _probe(ours.address(name), *case)
                kinds.add(wanted.split(" ")[0])
                if found != wanted:
                    routers = {
                        kind: {
                            key: each
                            for key, each in config[kind]["routers"].items()
                            if name in each["entryPoints"]
                        }
                        for kind in ("tcp", "http")
                    }
                    differences.append((name, case, f"ours: {found}", f"theirs: {wanted}", routers))
    shown = "\n\n".join(str(each) for each in differences[:5])
    assert not differences, f"{len(differences)} differences, the first ones:\n{shown}"
    assert kinds == {"raw", "secure", "http", "404", "closed"}, "the draw shows every kind of outcome"


def _cases():
    yield ("plain", None, ())
    for server_name in SERVER_NAMES:
        for protocols in PROTOCOLS:
            yield ("tls", server_name, protocols)


def _start_origins(stack, folder):
    """Services by kind: TCP ones that see bytes, TCP ones that end TLS themselves, HTTP ones."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority().issue("origin", "origin").write(folder, "origin"))
    context.set_alpn_protocols(["mqtt", "http/1.1"])

    def raw(name):
        def serve(connection):
            first = connection.socket.recv(1)
            what = "tls" if first == HANDSHAKE else "plain"
            connection.send(f"raw {name} {what}".encode())

        return serve

    def secure(name):
        def serve(connection):
            if connection.socket.recv(1, socket.MSG_PEEK) != HANDSHAKE:
                connection.send(f"secure {name} without tls".encode())
                return
            with context.wrap_socket(connection.socket, server_side=True) as inside:
                inside.recv(1)
                inside.sendall(f"secure {name}".encode())

        return serve

    def http(name):
        def serve(connection):
            if connection.receive_request() is not None:
                connection.send(answer(200, f"http {name}".encode(), fields=(("Connection", "close"),)))

        return serve

    found = {"raw": [], "secure": [], "http": []}
    for kind, make in (("raw", raw), ("secure", secure), ("http", http)):
        for number in range(3):
            name = f"{kind}{number}"
            found[kind].append((name, stack.enter_context(running_origin(make(name)))))
    return found


def _draw_all(random, names, services):
    tcp_services = {
        name: {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{origin.address[1]}"}]}}
        for kind in ("raw", "secure")
        for name, origin in services[kind]
    }
    tcp_services["nobody"] = {"loadBalancer": {"servers": []}}
    http_services = {
        name: {"loadBalancer": {"servers": [{"url": origin.url}]}} for name, origin in services["http"]
    }
    tcp_routers, http_routers = {}, {}
    for name in names:
        for number in range(random.randint(1, 5)):
            tcp_routers[f"{name}t{number}"] = _draw_tcp(random, name, number)
        for number in range(random.choice((0, 1, 2))):
            router = {
                "entryPoints": [name],
                "rule": random.choice(HTTP_RULES),
                "service": f"http{random.randrange(3)}",
                "priority": 10 + number,
            }
            if random.random() < 0.75:
                router["tls"] = {}
            http_routers[f"{name}h{number}"] = router
    return {
        "tcp": {"routers": tcp_routers, "services": tcp_services},
        "http": {"routers": http_routers, "services": http_services},
    }


def _draw_tcp(random, entrypoint, number):
    mode = random.choice(("plain", "terminate", "passthrough", "passthrough"))
    rule = "HostSNI(`*`)" if random.random() < 0.3 else _draw_rule(random)
    router = {"entryPoints": [entrypoint], "rule": rule, "service": f"raw{random.randrange(3)}"}
    if mode != "plain":
        router["tls"] = {"passthrough": True} if mode == "passthrough" else {}
    if mode == "passthrough":
        router["service"] = f"secure{random.randrange(3)}"
    if random.random() < 0.1:
        router["service"] = "nobody"
    # Equal priorities are won by chance in Traefik, so they differ; a catch-all may have none.
    if rule != "HostSNI(`*`)" or number != 0 or random.random() < 0.3:
        router["priority"] = random.randint(1, 1000) * 10 + number
    return router


def _draw_rule(random):
    first, second = random.choice(TCP_TERMS), random.choice(TCP_TERMS)
    return random.choice(
        (first, first, f"{first} && {second}", f"{first} || {second}", f"!({first} || {second})")
    )


def _static(ports):
    return {
        "entryPoints": {
            name: {"address": f"127.0.0.1:{port}"} for name, port in ports.items() if name.startswith("e")
        },
        "providers": {"file": {"directory": "dynamic", "watch": True}},
    }


def _wait_until_live(theirs, config):
    wanted = {f"{name}@file" for name in config["tcp"]["routers"]}
    deadline = time.monotonic() + LIVE_TIMEOUT_S
    while wanted - {each["name"] for each in theirs.ask("/api/tcp/routers?per_page=1000")}:
        assert not theirs.ends_within(PAUSE_S)
        assert time.monotonic() < deadline, "Traefik does not know its routers"


def _served_by_theirs(theirs):
    found = theirs.ask("/api/tcp/routers?per_page=1000")
    return {each["name"] for each in found if each["status"] != "disabled"}


def _served_by_ours(ours):
    found = json.loads(ours.command("routes", "--json").stdout)
    return {each["name"] for each in found if each["protocol"] == "tcp" and each["status"] == "enabled"}


def _probe(address, kind, server_name, protocols):
    """Which origin answered, and how: ``closed`` if none."""
    try:
        with socket.create_connection(address, TIMEOUT_S) as sock:
            if kind == "plain":
                return _ask(sock)
            context = client_context(protocols=protocols)
            with context.wrap_socket(sock, server_hostname=server_name) as inside:
                return _ask(inside)
    except (ConnectionError, ssl.SSLError):
        return "closed"


def _ask(sock):
    sock.sendall(REQUEST)
    said = b""
    while data := sock.recv(65_536):
        said += data
    if said.startswith(b"HTTP/1.1 404"):
        return "404"
    return said.rpartition(b"\r\n\r\n")[2].decode() or "closed"
