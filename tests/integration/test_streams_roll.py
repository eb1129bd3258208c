"""New workers take over under load: no TCP connection is lost, and hardly a datagram."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from tests.support.origins import running_origin
from tests.support.proxy import running_proxy

pytestmark = pytest.mark.integration

TIMEOUT_S = 20.0
UDP_TIMEOUT_S = 2.0
MAX_LOST = 5
"""Datagrams that may be lost when a socket changes hands: networks may do that, proxies seldom should."""
STATIC = """
entryPoints: {db: {address: "127.0.0.1:{db}"}, dns: {address: "127.0.0.1:{dns}/udp"}}
providers: {providersThrottleDuration: 100ms, file: {directory: dynamic}}
log: {level: INFO}
"""


def echo(connection):
    while data := connection.socket.recv(65_536):
        connection.send(data)


class Load:
    """Clients that go on until told to stop."""

    def __init__(self):
        self.stop = threading.Event()
        self.connections = self.datagrams = self.lost = 0
        self.failures = []
        self._threads = []

    def start(self, serve, *args):
        thread = threading.Thread(target=serve, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def finish(self):
        self.stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S)

    def connect(self, address):
        while not self.stop.is_set():
            try:
                with socket.create_connection(address, TIMEOUT_S) as sock:
                    sock.sendall(b"hello")
                    answer = sock.recv(10)
                if answer != b"hello":
                    self.failures.append(answer)
            except OSError as error:
                self.failures.append(repr(error))
            self.connections += 1

    def ask(self, address):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(UDP_TIMEOUT_S)
            sock.connect(address)
            while not self.stop.is_set():
                sock.send(b"?")
                try:
                    sock.recv(10)
                    self.datagrams += 1
                except TimeoutError:
                    self.lost += 1


def test_a_roll_of_all_workers(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, running_origin(echo) as origin:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]

        def answer():
            while True:
                data, client = server.recvfrom(100)
                if data == b"stop":
                    return
                server.sendto(data, client)

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        config = {
            "tcp": {
                "routers": {"r": {"entryPoints": ["db"], "rule": "HostSNI(`*`)", "service": "s"}},
                "services": {
                    "s": {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{origin.address[1]}"}]}}
                },
            },
            "udp": {
                "routers": {"r": {"entryPoints": ["dns"], "service": "s"}},
                "services": {"s": {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{port}"}]}}},
            },
        }
        load = Load()
        with running_proxy(
            tmp_path, static=STATIC, dynamic=json.dumps(config), entrypoints=("db", "dns")
        ) as proxy:
            for _ in range(2):
                load.start(load.connect, proxy.address("db"))
                load.start(load.ask, proxy.address("dns"))
            text = proxy.static_file.read_text()
            proxy.static_file.write_text(text.replace('/udp"}', '/udp", udp: {timeout: 4s}}'))
            seen = proxy.log_length
            proxy.command("reload")
            proxy.wait_for_log("rolled: every worker serves", after=seen)
            load.finish()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"stop", ("127.0.0.1", port))
        answering.join(TIMEOUT_S)
    assert load.failures == []
    assert load.connections > 50
    assert load.datagrams > 50
    assert load.lost <= MAX_LOST
