"""No exchange of HTTP/2 is lost by reloads, a roll of all workers, or a stop.

The clients do what the protocol asks of them and no more: after a GOAWAY they go to a new connection, and
what was refused or lies above its last stream they send again (RFC 9113 sections 6.8 and 8.7).
"""

from __future__ import annotations

import signal
import threading

import pytest
from h2.errors import ErrorCodes

from tests.support.http2 import H2Client
from tests.support.origins import echo, running_origin
from tests.support.proxy import running_proxy

pytestmark = pytest.mark.integration

CLIENTS = 2
AT_ONCE = 5
RELOADS = 3
STATIC = """
entryPoints:
  web: {address: "127.0.0.1:{web}", transport: {lifeCycle: {graceTimeOut: 20s}}}
providers: {file: {directory: dynamic}}
log: {level: INFO}
"""


def rules(url, change):
    return f"""
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", service: origin}}
    change: {{rule: "Host(`{change}.test`)", service: origin}}
  services:
    origin: {{loadBalancer: {{servers: [{{url: "{url}"}}]}}}}
"""


class Storm:
    """Clients that send requests, several at once on each connection, until told to stop."""

    def __init__(self, address):
        self.address = address
        self.done = 0
        self.farewells = 0
        self.lost = []
        self.stopping = threading.Event()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]

    def start(self):
        for each in self._threads:
            each.start()

    def wait_for_more(self):
        """Wait until every kind of client had time to do something."""
        with self._changed:
            wanted = self.done + 20 * CLIENTS
            assert self._changed.wait_for(lambda: self.done >= wanted or self.lost, 60)

    def join(self):
        for each in self._threads:
            each.join(60)
            assert not each.is_alive()

    def _run(self):
        while not self.stopping.is_set() and not self.lost:
            try:
                client = H2Client.connect(self.address)
            except OSError as error:
                if not self.stopping.is_set():
                    self.lost.append(repr(error))
                return
            with client:
                self._use(client)

    def _use(self, client):
        """Ask on one connection until it is to go."""
        while not client.farewells and not self.stopping.is_set():
            try:
                streams = [client.start("/a") for _ in range(AT_ONCE)]
            except OSError:
                return  # the proxy closed meanwhile; nothing was asked of it
            while any(not self._is_over(client, each) for each in streams):
                if not client.read_some():
                    break
            for each in streams:
                self._note(client, each)
        self.farewells += bool(client.farewells)

    def _is_over(self, client, stream):
        response = client.streams[stream]
        return response.has_ended or response.reset is not None or self._is_untouched(client, stream)

    def _is_untouched(self, client, stream):
        return any(stream > each.last_stream_id for each in client.farewells)

    def _note(self, client, stream):
        response = client.streams[stream]
        if response.has_ended and response.status == 200:
            with self._changed:
                self.done += 1
                self._changed.notify_all()
        elif response.reset != ErrorCodes.REFUSED_STREAM and not self._is_untouched(client, stream):
            self.lost.append(f"stream {stream}: {response}, farewells {client.farewells}")
            with self._changed:
                self._changed.notify_all()


def test_no_exchange_is_lost(tmp_path):
    with (
        running_origin(echo()) as origin,
        running_proxy(tmp_path, static=STATIC, dynamic=rules(origin.url, 0)) as proxy,
    ):
        storm = Storm(proxy.address())
        storm.start()
        storm.wait_for_more()
        for change in range(1, RELOADS + 1):
            proxy.write("dynamic.yml", rules(origin.url, change))
            proxy.reload()
            storm.wait_for_more()
        assert storm.farewells == 0, "a reload ends no connection"
        seen = proxy.log_length
        text = proxy.static_file.read_text().replace("20s", "21s")
        proxy.static_file.write_text(text)
        proxy.signal(signal.SIGHUP)
        proxy.wait_for_log(r"\brolled\b", 60.0, seen)
        storm.wait_for_more()
        assert storm.lost == []
        storm.stopping.set()
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        storm.join()
    assert storm.lost == []
    assert storm.farewells >= CLIENTS - 1, "the roll asked clients to go"
