"""One health check against real servers, and the vectors of v1's."""

from __future__ import annotations

import socket
import threading

import pytest
import trio

from master.health_probe import MAX_REDIRECTS, Probe, check_url
from shared.config.dynamic import HealthCheck
from tests.support.origins import answering_slowly, echo, running_origin, scripted
from tests.support.vectors import vectors

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def probe(url: str, check: HealthCheck) -> str:
    async def run() -> str:
        made = Probe()
        try:
            return await made.check(url, check)
        finally:
            await made.aclose()

    return trio.run(run)


def status(code: int, location: str = "") -> bytes:
    where = f"Location: {location}\r\n" if location else ""
    return f"HTTP/1.1 {code} X\r\n{where}Content-Length: 0\r\n\r\n".encode()


CHECKS = [
    each for each in vectors("v1", "healthcheck") if "global_interval_s" not in each.values[0]["config"]
]


@pytest.mark.parametrize("vector", CHECKS)
def test_vectors(vector):
    config, expect = vector["config"], vector["expect"]
    if "server" in config:
        check = HealthCheck(path=config["path"], is_v1=True)
        assert f"GET {check_url(config['server'], check)}" == expect["C"]
        return
    check = HealthCheck(path="/", status=200, is_v1=True, timeout=0.05)
    if str(config["answer"]).startswith("timeout"):
        release = threading.Event()
        with running_origin(answering_slowly(release, OK)) as origin:
            failure = probe(origin.url, check)
            release.set()
    else:
        check = HealthCheck(path="/", status=200, is_v1=True)
        with running_origin(scripted(status(config["answer"]))) as origin:
            failure = probe(origin.url, check)
    assert (not failure) == expect["healthy"]


@pytest.mark.parametrize(
    ("server", "settings", "url"),
    [
        ("http://h:1", {"path": "/p?a=1"}, "http://h:1/p?a=1"),
        ("http://h:1", {"path": "p"}, "http://h:1/p"),
        ("http://h:1/base/x", {"path": "p"}, "http://h:1/base/p"),
        ("http://h:1/base/", {"path": "/p"}, "http://h:1/p"),
        ("http://h:1/base", {}, "http://h:1/base"),
        ("http://h:1", {"path": "/p", "port": 9}, "http://h:9/p"),
        ("http://[::1]:1", {"path": "/p", "port": 9}, "http://[::1]:9/p"),
        ("http://u:p@h", {"path": "/p", "port": 9}, "http://u:p@h:9/p"),
        ("http://h:1", {"path": "/p", "scheme": "https"}, "https://h:1/p"),
        ("h2c://h:1", {"path": "/p"}, "http://h:1/p"),
        ("http://h:1/base/", {"path": "/p", "is_v1": True}, "http://h:1/base//p"),
        ("http://h:1", {"path": "/p", "port": 9, "is_v1": True}, "http://h:9/p"),
    ],
)
def test_where_a_check_goes(server, settings, url):
    assert check_url(server, HealthCheck(**settings)) == url


@pytest.mark.parametrize("path", ["http://other/x", "//other/x"])
def test_a_path_that_leads_elsewhere_fails(path):
    with pytest.raises(ValueError, match="relative"):
        check_url("http://h:1", HealthCheck(path=path))
    assert "must be relative" in probe("http://127.0.0.1:9", HealthCheck(path=path))


@pytest.mark.parametrize(
    ("code", "wanted", "healthy"),
    [
        (200, 0, True),
        (204, 0, True),
        (304, 0, True),
        (399, 0, True),
        (400, 0, False),
        (500, 0, False),
        (201, 200, False),
        (500, 500, True),
        (404, 404, True),
    ],
)
def test_which_status_is_healthy(code, wanted, healthy):
    with running_origin(scripted(status(code))) as origin:
        failure = probe(origin.url, HealthCheck(path="/", status=wanted))
    assert (not failure) == healthy
    assert healthy or f"status {code}" in failure


def test_what_is_sent():
    check = HealthCheck(
        path="/h", method="HEAD", hostname="shop.example", headers={"X-Token": "a b", "Host": "no"}
    )
    with running_origin(echo()) as origin:
        assert probe(origin.url, check) == ""
        (request,) = origin.requests
    assert (request.method, request.target) == ("HEAD", "/h")
    assert request.header("Host") == "shop.example"
    assert request.header("X-Token") == "a b"
    assert request.header("Connection") == "close"


def test_the_server_s_own_host_is_asked_by_default():
    with running_origin(echo()) as origin:
        assert probe(origin.url, HealthCheck(path="/")) == ""
        assert origin.requests[0].header("Host") == f"127.0.0.1:{origin.address[1]}"


def test_redirects_are_followed_unless_told_not_to():
    with running_origin(scripted(status(302, "/b"), status(500))) as origin:
        assert probe(origin.url, HealthCheck(path="/a")) == "status 500"
        assert [each.target for each in origin.requests] == ["/a", "/b"]
    with running_origin(scripted(status(302, "/b"), status(500))) as origin:
        assert probe(origin.url, HealthCheck(path="/a", follow_redirects=False)) == ""
        assert [each.target for each in origin.requests] == ["/a"]


def test_redirects_end():
    with running_origin(scripted(*[status(302, "/again")] * (MAX_REDIRECTS + 2))) as origin:
        assert probe(origin.url, HealthCheck(path="/")) == f"more than {MAX_REDIRECTS} redirects"
        assert len(origin.requests) == MAX_REDIRECTS + 1


def test_a_refused_connection():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        assert probe(url, HealthCheck(path="/")).endswith("Connection refused")


def test_no_answer_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert probe(url, HealthCheck(path="/", timeout=0.05)) == "no answer within 0.05 s"


def test_an_endless_answer_is_not_read():
    def pour(connection) -> None:
        connection.receive_request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                connection.send(b"x" * 65_536)
        except OSError:
            return

    with running_origin(pour) as origin:
        assert probe(origin.url, HealthCheck(path="/")) == ""


@pytest.mark.parametrize(
    "check",
    [
        HealthCheck(path="/", headers={"bad name": "x"}),
        HealthCheck(path="/", headers={"X": "a\r\nb: c"}),
        HealthCheck(path="/", method="NO SPACE"),
        HealthCheck(path="/", hostname="a\nb"),
        HealthCheck(path="/", scheme="ftp"),
    ],
)
def test_what_cannot_be_sent_is_a_failure_and_nothing_worse(check):
    with running_origin(echo()) as origin:
        assert probe(origin.url, check) != ""
        assert origin.requests == []


@pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b"HTTP/1.1 200", b""])
def test_an_answer_that_is_none(answer):
    with running_origin(scripted(answer)) as origin:
        assert probe(origin.url, HealthCheck(path="/")) != ""
