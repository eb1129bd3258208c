"""Chains with gates (rateLimit, inFlightReq, retry, circuitBreaker, basicAuth) in both lanes.

The answers are the same, and no exchange pays twice on its way from one lane to the other.
"""

from __future__ import annotations

import base64
import itertools
import socket
import struct
import threading
import time

import pytest

from tests.support.clients import ClientConnection, request_bytes
from tests.support.origins import running_origin
from tests.support.proxy import running_proxy
from worker.app import GENERAL_LANE_ONLY

HOST = "a.test"
BURST = 7
PATIENCE_S = 20
DATE = b"Date: Mon, 23 Nov 2026 20:00:00 GMT\r\n"
DYNAMIC = """
http:
  routers:
    limited: {{rule: "PathPrefix(`/limited`)", service: origin, middlewares: [limit]}}
    closed: {{rule: "PathPrefix(`/closed`)", service: origin, middlewares: [users]}}
    both: {{rule: "PathPrefix(`/both`)", service: origin, middlewares: [strip, users, limit, named]}}
    inside: {{rule: "PathPrefix(`/inside`)", service: origin, middlewares: [one, breaker]}}
    again: {{rule: "PathPrefix(`/again`)", service: origin, middlewares: [strip, retry]}}
    failing: {{rule: "PathPrefix(`/failing`)", service: origin, middlewares: [breaker]}}
    twice: {{rule: "PathPrefix(`/twice`)", service: origin, middlewares: [limit, other]}}
  middlewares:
    limit: {{rateLimit: {{average: 1, period: 10h, burst: {burst}}}}}
    other: {{rateLimit: {{average: 1, period: 10h, burst: 2}}}}
    one: {{inFlightReq: {{amount: 1}}}}
    retry: {{retry: {{attempts: 3, status: ["500-599"]}}}}
    breaker: {{circuitBreaker: {{expression: "ResponseCodeRatio(500, 600, 0, 600) > 0.9"}}}}
    users: {{basicAuth: {{users: ["test:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/"], headerField: X-User}}}}
    strip: {{stripPrefix: {{prefixes: [/both]}}}}
    named: {{headers: {{customResponseHeaders: {{X-Named: "yes"}}}}}}
  services:
    origin: {{loadBalancer: {{servers: [{{url: "{url}"}}]}}}}
"""


class Script:
    """Kept connections, but ``/last`` is the last answer of one, and ``/undated`` has no Date.

    ``/held`` waits until it is told to answer, ``/again`` fails twice of three times, ``/failing`` always.
    """

    def __init__(self):
        self.is_asked = threading.Event()
        self.go_on = threading.Event()
        self.tries = itertools.count(1)

    def serve(self, connection):
        while (request := connection.receive_request()) is not None:
            name = request.target.rpartition("/")[2]
            status = 200
            if name == "held":
                self.is_asked.set()
                assert self.go_on.wait(PATIENCE_S)
            elif name == "failing" or (name == "again" and next(self.tries) % 3):
                status = 503
            body = f"{request.target} {request.header('X-User')}".encode()
            fields = (b"" if name == "undated" else DATE) + (
                b"Connection: close\r\n" if name == "last" else b""
            )
            connection.send(
                b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, fields, len(body), body)
            )
            if name == "last":
                return


def login(password):
    return [("Authorization", "Basic " + base64.b64encode(f"test:{password}".encode()).decode())]


@pytest.fixture(params=["both lanes", "general lane"])
def proxy(request, tmp_path):
    environment = {GENERAL_LANE_ONLY: "1"} if request.param == "general lane" else {}
    script = Script()
    with running_origin(script.serve) as origin:
        rules = DYNAMIC.format(url=origin.url, burst=BURST)
        with running_proxy(tmp_path, dynamic=rules, workers=1, environment=environment) as running:
            running.script = script
            yield running
            script.go_on.set()


@pytest.mark.parametrize(
    "targets", [["/limited"], ["/limited/last"], ["/limited/undated", "/limited/last", "/limited"]]
)
def test_every_exchange_takes_one_token(proxy, targets):
    with ClientConnection(proxy.address()) as client:
        statuses = [
            client.request("GET", targets[number % len(targets)], host=HOST).status
            for number in range(BURST + 3)
        ]
    assert statuses == [200] * BURST + [429] * 3


def test_of_two_limits_the_tighter_one_decides(proxy):
    with ClientConnection(proxy.address()) as client:
        statuses = [client.request("GET", "/twice", host=HOST).status for _ in range(BURST + 3)]
    assert statuses == [200, 200] + [429] * (BURST + 1)


def test_a_password_is_asked_for_every_time(proxy):
    with ClientConnection(proxy.address()) as client:
        for password, status in [("bad", 401), ("test", 200), ("test", 200), ("bad", 401), ("test", 200)]:
            response = client.request("GET", "/closed", host=HOST, fields=login(password))
            assert response.status == status
            if status == 200:
                assert response.content == b"/closed test"
        assert client.request("GET", "/closed", host=HOST).status == 401


def test_a_whole_chain_of_them(proxy):
    with ClientConnection(proxy.address()) as client:
        seen = [client.request("GET", "/both/x", host=HOST, fields=login("test")) for _ in range(BURST + 1)]
    assert [each.status for each in seen] == [200] * BURST + [429]
    assert {each.content for each in seen[:-1]} == {b"/x test"}
    assert {each.header("X-Named") for each in seen[:-1]} == {"yes"}


def test_a_place_is_given_back_with_the_answer_and_with_the_client(proxy):
    with ClientConnection(proxy.address()) as client:
        assert [client.request("GET", "/inside", host=HOST).status for _ in range(5)] == [200] * 5
        with ClientConnection(proxy.address()) as inside:
            inside.send(request_bytes("GET", "/inside/held", host=HOST))
            assert proxy.script.is_asked.wait(PATIENCE_S)
            assert client.request("GET", "/inside", host=HOST).status == 429
            inside.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        deadline = time.monotonic() + PATIENCE_S
        while client.request("GET", "/inside", host=HOST).status == 429:
            assert time.monotonic() < deadline, "the place of a client that left is still taken"
        proxy.script.go_on.set()
        assert [client.request("GET", "/inside", host=HOST).status for _ in range(5)] == [200] * 5


def test_an_answer_that_is_not_final_is_tried_again(proxy):
    with ClientConnection(proxy.address()) as client:
        assert [client.request("GET", "/again", host=HOST).status for _ in range(4)] == [200] * 4
    assert next(proxy.script.tries) == 13


def test_a_breaker_hears_of_every_answer(proxy):
    with ClientConnection(proxy.address()) as client:
        assert client.request("GET", "/failing/well", host=HOST).status == 200
        deadline = time.monotonic() + PATIENCE_S
        while client.request("GET", "/failing/well", host=HOST).status == 200:
            assert time.monotonic() < deadline, "the breaker never opens"
            assert {client.request("GET", "/failing", host=HOST).status for _ in range(40)} == {503}
