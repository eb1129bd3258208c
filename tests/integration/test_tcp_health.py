"""TCP servers that are checked: one that answers wrongly gets no connections until it recovers."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from tests.support.origins import running_origin
from tests.support.proxy import running_proxy

pytestmark = pytest.mark.integration

TIMEOUT_S = 20.0


def answering(name, is_well):
    """Answers PING with PONG while it is well, and everything else with its name."""

    def serve(connection):
        said = connection.socket.recv(100)
        if said == b"PING\r\n":
            connection.send(b"+PONG\r\n" if is_well.is_set() else b"-LOADING\r\n")
        else:
            connection.send(name)

    return serve


def ask(proxy, entrypoint="web"):
    with socket.create_connection(proxy.address(entrypoint), TIMEOUT_S) as sock:
        sock.sendall(b"who")
        try:
            return sock.recv(10)
        except ConnectionResetError:  # closed with what we said unread
            return b""


def test_servers_that_answer_wrongly_get_nothing(tmp_path):
    wells = [threading.Event() for _ in range(2)]
    for well in wells:
        well.set()
    with running_origin(answering(b"a", wells[0])) as a, running_origin(answering(b"b", wells[1])) as b:
        servers = [{"address": f"127.0.0.1:{each.address[1]}"} for each in (a, b)]
        check = {"send": "PING\r\n", "expect": "+PONG\r\n", "interval": "100ms", "timeout": "5s"}
        config = {
            "tcp": {
                "routers": {"r": {"entryPoints": ["web"], "rule": "HostSNI(`*`)", "service": "s"}},
                "services": {"s": {"loadBalancer": {"servers": servers, "healthCheck": check}}},
            }
        }
        with running_proxy(tmp_path, dynamic=json.dumps(config)) as proxy:
            assert {ask(proxy) for _ in range(8)} == {b"a", b"b"}
            wells[0].clear()
            line = proxy.wait_for_log(f"TCP server {servers[0]['address']} of service s@file is down")
            assert "it answered b'-LOADI" in line
            assert {ask(proxy) for _ in range(8)} == {b"b"}
            (status,) = proxy.status()["services"]
            assert [each["is_up"] for each in status["servers"] if each["url"] == servers[0]["address"]] == [
                False
            ]
            wells[1].clear()
            proxy.wait_for_log(f"TCP server {servers[1]['address']} of service s@file is down")
            assert ask(proxy) == b""
            wells[0].set()
            proxy.wait_for_log(f"TCP server {servers[0]['address']} of service s@file is up again")
            assert {ask(proxy) for _ in range(8)} == {b"a"}
            check["expect"] = ""  # other settings: nothing is known of anybody
            proxy.write("dynamic.yml", json.dumps(config))
            proxy.reload()
            assert {ask(proxy) for _ in range(8)} == {b"a", b"b"}
