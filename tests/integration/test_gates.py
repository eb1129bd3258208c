"""Chains with gates (rateLimit, basicAuth) in both lanes: the same answers, and nobody pays twice."""

from __future__ import annotations

import base64

import pytest

from tests.support.clients import ClientConnection
from tests.support.origins import running_origin
from tests.support.proxy import running_proxy
from worker.app import GENERAL_LANE_ONLY

HOST = "a.test"
BURST = 7
DATE = b"Date: Mon, 23 Nov 2026 20:00:00 GMT\r\n"
DYNAMIC = """
http:
  routers:
    limited: {{rule: "PathPrefix(`/limited`)", service: origin, middlewares: [limit]}}
    closed: {{rule: "PathPrefix(`/closed`)", service: origin, middlewares: [users]}}
    both: {{rule: "PathPrefix(`/both`)", service: origin, middlewares: [strip, users, limit, named]}}
    twice: {{rule: "PathPrefix(`/twice`)", service: origin, middlewares: [limit, other]}}
  middlewares:
    limit: {{rateLimit: {{average: 1, period: 10h, burst: {burst}}}}}
    other: {{rateLimit: {{average: 1, period: 10h, burst: 2}}}}
    users: {{basicAuth: {{users: ["test:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/"], headerField: X-User}}}}
    strip: {{stripPrefix: {{prefixes: [/both]}}}}
    named: {{headers: {{customResponseHeaders: {{X-Named: "yes"}}}}}}
  services:
    origin: {{loadBalancer: {{servers: [{{url: "{url}"}}]}}}}
"""


def serve(connection):
    """Kept connections, but ``/…/last`` is the last answer of one, and ``/…/undated`` has no Date."""
    while (request := connection.receive_request()) is not None:
        is_last = request.target.endswith("/last")
        body = f"{request.target} {request.header('X-User')}".encode()
        date = b"" if request.target.endswith("/undated") else DATE
        close = b"Connection: close\r\n" if is_last else b""
        connection.send(
            b"HTTP/1.1 200 OK\r\n%b%bContent-Length: %d\r\n\r\n%b" % (date, close, len(body), body)
        )
        if is_last:
            return


def login(password):
    return [("Authorization", "Basic " + base64.b64encode(f"test:{password}".encode()).decode())]


@pytest.fixture(params=["both lanes", "general lane"])
def proxy(request, tmp_path):
    environment = {GENERAL_LANE_ONLY: "1"} if request.param == "general lane" else {}
    with running_origin(serve) as origin:
        rules = DYNAMIC.format(url=origin.url, burst=BURST)
        with running_proxy(tmp_path, dynamic=rules, workers=1, environment=environment) as running:
            yield running


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
