"""The published vectors of breakers, retries and in-flight limits, through the installed program."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack

import pytest

from tests.support.clients import ClientConnection, get, request_bytes
from tests.support.origins import answer, answering_slowly, running_origin, scripted
from tests.support.ports import reserve_port
from tests.support.proxy import running_proxy
from tests.support.vectors import vectors

PATIENCE_S = 20
HOST = "same.test"
V1 = """
defaultEntryPoints = ["http"]
{top}
[entryPoints.http]
address = "127.0.0.1:{{http}}"
[accessLog]
filePath = "{log}"
format = "json"
[file]
[backends.b]
{backend}
[frontends.f]
backend = "b"
[frontends.f.routes.r]
rule = "PathPrefix:/"
"""
V2 = """
http:
  routers: {{r: {{rule: "PathPrefix(`/`)", service: s, middlewares: [m]}}}}
  middlewares: {{m: {middleware}}}
  services: {{s: {{loadBalancer: {{servers: [{{url: "{url}"}}]}}}}}}
"""
BREAKERS_V1 = [each for each in vectors("v1", "circuitbreaker") if each.values[0]["config"].get("state")]
PARALLEL = [each for each in vectors("v1", "maxconn") if "parallel" in each.values[0]["request"]]
HEADER_LIMITS = [
    each for each in vectors("v2", "middleware.inFlightReq") if "configError" not in each.values[0]["expect"]
]


def v1_proxy(tmp_path, backend, top=""):
    """A v1 document whose one backend is this; the access log is ``access.log``."""
    text = V1.format(top=top, log=tmp_path / "access.log", backend=backend)
    return running_proxy(tmp_path, static=text, static_name="traefik.toml", entrypoints=("http",), workers=1)


def v2_proxy(tmp_path, vector, url):
    text = V2.format(middleware=json.dumps(vector["config"]), url=url)
    return running_proxy(tmp_path, dynamic=text, workers=1)


def server(name, url):
    return f'[backends.b.servers.{name}]\nurl = "{url}"\n'


def ask_until(address, status):
    """Ask until the status is this one; the answer."""
    deadline = time.monotonic() + PATIENCE_S
    while (response := get(address, "/", host=HOST)).status != status:
        assert time.monotonic() < deadline, f"still {response.status}"
    return response


def attempts_in(log):
    """Tries of each exchange, as the access log has them."""
    return [json.loads(line).get("RetryAttempts", 0) + 1 for line in log.read_text().splitlines()]


@pytest.mark.parametrize("vector", BREAKERS_V1)
def test_an_open_breaker_of_v1(tmp_path, vector):
    with running_origin(scripted(*[answer(500)] * 1000)) as origin:
        expression = '[backends.b.circuitbreaker]\nexpression = "ResponseCodeRatio(500, 600, 0, 600) > 0.5"\n'
        with v1_proxy(tmp_path, expression + server("s", origin.url)) as proxy:
            response = ask_until(proxy.address("http"), vector["expect"]["status"])
            assert response.content.decode().strip() == vector["expect"]["body"]


@pytest.mark.parametrize("vector", vectors("v2", "middleware.circuitBreaker"))
def test_an_open_breaker_of_v2(tmp_path, vector):
    status = 500 if "500" in vector["request"]["upstream"] else None
    with running_origin(scripted(*[answer(status or 502)] * 1000)) as origin, reserve_port() as dead:
        url = origin.url if status else f"http://127.0.0.1:{dead.number}"
        with v2_proxy(tmp_path, vector, url) as proxy:
            response = ask_until(proxy.address(), vector["expect"]["status"])
            assert response.content.decode().strip() == vector["expect"]["body"]


@pytest.mark.parametrize("vector", PARALLEL)
def test_max_conn_of_v1(tmp_path, vector):
    release, limit = threading.Event(), vector["config"]["maxConn"]
    with running_origin(answering_slowly(release, answer(200, b"ok"))) as origin:
        backend = (
            f'[backends.b.maxconn]\namount = {limit["amount"]}\nextractorfunc = "{limit["extractorFunc"]}"\n'
        )
        with (
            v1_proxy(tmp_path, backend + server("s", origin.url)) as proxy,
            ClientConnection(proxy.address("http")) as first,
        ):
            first.send(request_bytes("GET", "/", host=HOST))
            origin.wait_for_requests(1)
            second = get(proxy.address("http"), "/", host=HOST)
            release.set()
            assert [first.receive().status, second.status] == vector["expect"]["statuses"]
            assert second.content.decode() == vector["expect"]["body"]


@pytest.mark.parametrize("vector", HEADER_LIMITS)
def test_in_flight_of_v2(tmp_path, vector):
    release, expected = threading.Event(), vector["expect"]
    with (
        running_origin(answering_slowly(release, answer(200, b"ok"))) as origin,
        v2_proxy(tmp_path, vector, origin.url) as proxy,
        ExitStack() as stack,
    ):
        if "status" in expected:
            response = get(proxy.address(), "/", host=HOST)
            assert (response.status, response.content.decode()) == (expected["status"], expected["body"])
            return
        asked = vector["request"]["concurrent"]
        clients = [stack.enter_context(ClientConnection(proxy.address())) for _ in asked]
        for client, fields in zip(clients, asked, strict=True):
            client.send(request_bytes("GET", "/", host=HOST, fields=fields.items()))
        origin.wait_for_requests(expected["statuses"].count(200))
        release.set()
        assert [client.receive().status for client in clients] == expected["statuses"]


@pytest.mark.parametrize("vector", vectors("v1", "retry"))
def test_retries_of_v1(tmp_path, vector):
    config, expected = vector["config"], vector["expect"]["B"]
    top = "[retry]\n" + "".join(f"{key} = {value}\n" for key, value in config["retry"].items())
    with running_origin(scripted(*[answer(200, b"ok")] * 100)) as origin, reserve_port() as dead:
        urls = {"up": origin.url, "down": f"http://127.0.0.1:{dead.number}"}
        backend = "".join(server(f"s{number}", urls[each]) for number, each in enumerate(config["servers"]))
        with v1_proxy(tmp_path, backend, top) as proxy:
            statuses = {get(proxy.address("http"), "/", host=HOST).status for _ in range(4)}
    assert statuses == {expected["status"]}
    assert max(attempts_in(tmp_path / "access.log")) == expected["tries"]
