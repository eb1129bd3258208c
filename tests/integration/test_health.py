"""Health over the installed program: real origins that come and go, two workers, short intervals.

Nothing sleeps: tests wait for what status says, or for an answer to change, with a deadline.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.support.clients import ClientConnection, RawResponse, get, request_bytes
from tests.support.origins import Origin, OriginConnection, running_origin
from tests.support.proxy import RunningProxy, running_proxy
from tests.support.wire import WireClosedError

DEADLINE_S = 20.0
ROUND = 12
"""Requests, each over a new connection: both of two workers get some (all but 1 in 2,000 times)."""


class Flapping:
    """An origin that names itself in its body; tests decide what it answers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.check_status = 200
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        self.held = threading.Semaphore(0)
        self.origin: Origin

    def serve(self, connection: OriginConnection) -> None:
        while (request := connection.receive_request()) is not None:
            is_check = request.target.startswith("/hc")
            if request.target.startswith("/held"):
                self.held.release()
                self.hold.wait(DEADLINE_S)
            status = self.check_status if is_check else self.status
            body = self.name.encode()
            connection.send(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

    @property
    def url(self) -> str:
        return self.origin.url

    @property
    def served(self) -> int:
        """Requests that were no checks."""
        return sum(not each.target.startswith("/hc") for each in self.origin.requests)


@contextmanager
def flapping(*names: str) -> Iterator[list[Flapping]]:
    made = [Flapping(name) for name in names]
    if not made:
        yield made
        return
    with running_origin(made[0].serve) as origin, flapping(*names[1:]) as rest:
        made[0].origin = origin
        try:
            yield [made[0], *rest]
        finally:
            made[0].hold.set()


def service(
    *origins: Flapping, options: str = "healthCheck: {path: /hc, interval: 200ms, timeout: 2s}"
) -> str:
    servers = ", ".join(f'{{url: "{each.url}"}}' for each in origins)
    return f"loadBalancer: {{{options}, servers: [{servers}]}}"


def rules(services: str, rule: str = "PathPrefix(`/`)") -> str:
    return f"http:\n  routers:\n    r: {{rule: {json.dumps(rule)}, service: s}}\n  services:\n{services}"


def proxied(tmp_path, service: str) -> AbstractContextManager[RunningProxy]:
    """A proxy with one service."""
    return running_proxy(tmp_path, dynamic=rules(f"    s: {{{service}}}"))


def ask(proxy: RunningProxy, target: str = "/", **fields: str) -> RawResponse:
    return get(proxy.address(), target, host="x.example", fields=list(fields.items()))


def bodies(proxy: RunningProxy, count: int = ROUND) -> set[str]:
    return {ask(proxy).content.decode() for _ in range(count)}


def wait_for(condition: Callable[[], object], what: str) -> float:
    """Wait; returns how long it took. What is asked takes its time, so this turns no processor hot."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < DEADLINE_S, f"not within {DEADLINE_S:g} s: {what}"
    return time.monotonic() - began


def servers(proxy: RunningProxy) -> dict[str, dict]:
    return {server["url"]: server for service in proxy.status()["services"] for server in service["servers"]}


def is_up(proxy: RunningProxy, origin: Flapping) -> bool:
    return servers(proxy)[origin.url]["is_up"]


def test_a_server_is_removed_and_returned_within_an_interval_everywhere(tmp_path):
    with flapping("a", "b") as (a, b), proxied(tmp_path, service(a, b)) as proxy:
        assert bodies(proxy) == {"a", "b"}
        a.check_status = 503
        before = len(a.origin.requests)
        proxy.wait_for_log("is down: status 503")
        # one interval is one check: the one under way when it fell ill may still have passed
        checks = [each for each in a.origin.requests[before:] if each.target == "/hc"]
        assert len(checks) <= 3
        assert bodies(proxy) == {"b"}
        shown = servers(proxy)
        assert shown[a.url]["reason"] == "status 503"
        assert shown[a.url]["since"] == pytest.approx(time.time(), abs=DEADLINE_S)
        assert shown[b.url]["is_up"]
        assert f"server s@file/{a.url}: down since 20" in proxy.command("status").stdout
        a.check_status = 200
        proxy.wait_for_log("service s@file is up again")
        assert bodies(proxy) == {"a", "b"}


def test_health_stays_through_reloads_and_new_workers(tmp_path):
    with flapping("a", "b") as (a, b):
        options = "healthCheck: {path: /hc, interval: 1h, unhealthyInterval: 1h}"
        text = rules(f"    s: {{{service(a, b, options=options)}}}")
        quick = text.replace("interval: 1h, unhealthyInterval: 1h", "interval: 200ms, unhealthyInterval: 1h")
        with running_proxy(tmp_path, dynamic=quick) as proxy:
            a.check_status = 500
            wait_for(lambda: not is_up(proxy, a), "the server is down")
            since = servers(proxy)[a.url]["since"]
            for number in range(3):
                proxy.write("dynamic.yml", quick.replace("/`", f"/`) || Path(`/{number}`", 1))
                proxy.reload()
                assert bodies(proxy, 6) == {"b"}
            pids = {each["pid"] for each in proxy.status()["workers"]}
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            wait_for(
                lambda: (
                    len(
                        {each["pid"] for each in proxy.status()["workers"] if each["state"] == "ready"} - pids
                    )
                    == 2
                ),
                "two new workers",
            )
            assert bodies(proxy) == {"b"}
            assert servers(proxy)[a.url]["since"] == pytest.approx(since, abs=0.1)
            proxy.write("dynamic.yml", text)  # other settings: what was known is forgotten
            proxy.reload()
            assert is_up(proxy, a)
            assert bodies(proxy) == {"a", "b"}


@pytest.mark.parametrize("dialect", ["v1", "v2"])
def test_all_down(tmp_path, dialect):
    with flapping("a") as (a,):
        v2 = rules(f"    s: {{{service(a)}}}")
        v1 = f"""
[frontends.f]
backend = "b"
[frontends.f.routes.r]
rule = "PathPrefix:/"
[backends.b.healthcheck]
path = "/hc"
interval = "200ms"
[backends.b.servers.s]
url = "{a.url}"
"""
        files = {"dynamic.yml": v2} if dialect == "v2" else {"dynamic.toml": v1}
        a.check_status = 500
        with running_proxy(tmp_path, dynamic=files) as proxy:
            proxy.wait_for_log("is down: status 500")
            answer = ask(proxy)
            assert answer.status == 503
            told = b"no available server\n" if dialect == "v2" else b"Service Unavailable"
            assert answer.content == told
            line = proxy.wait_for_log("cause=all-servers-down")
            assert answer.header("X-Penstock-Error") in line
            assert a.served == 0
            a.check_status = 200
            wait_for(lambda: ask(proxy).status == 200, "the server is back")


def test_v1_checks_at_once_and_takes_no_other_status_than_200(tmp_path):
    with flapping("a", "b") as (a, b):
        text = f"""
[frontends.f]
backend = "b"
[frontends.f.routes.r]
rule = "PathPrefix:/"
[backends.b.healthcheck]
path = "/hc"
interval = "1h"
[backends.b.servers.a]
url = "{a.url}"
[backends.b.servers.b]
url = "{b.url}"
"""
        a.check_status = 204
        with running_proxy(tmp_path, dynamic={"dynamic.toml": text}) as proxy:
            proxy.wait_for_log("is down: status 204, expected 200")
            assert bodies(proxy) == {"b"}


def test_failed_exchanges_put_a_server_out_for_every_worker(tmp_path):
    options = "passiveHealthCheck: {maxFailedAttempts: 2, failureWindow: 8s}"
    with flapping("a", "b") as (a, b), proxied(tmp_path, service(a, b, options=options)) as proxy:
        a.status = 500
        answers = [ask(proxy) for _ in range(2 * ROUND)]
        assert [each.content for each in answers if each.status == 500] == [b"a", b"a"]
        shown = servers(proxy)[a.url]
        assert not shown["is_up"]
        assert shown["reason"] == "too many failed exchanges"
        assert "2 failed exchanges within 8 s" in proxy.log
        a.status = 200
        wait_for(lambda: is_up(proxy, a), "its time is over")
        assert bodies(proxy) == {"a", "b"}


def test_health_travels_up_through_services(tmp_path):
    with flapping("a", "b", "c") as (a, b, c):
        services = "\n".join(
            [
                "    s: {failover: {service: w, fallback: c, healthCheck: {}}}",
                "    w: {weighted: {healthCheck: {}, services: [{name: a}, {name: m}]}}",
                "    m: {mirroring: {service: b, healthCheck: {}}}",
                *(f"    {each.name}: {{{service(each)}}}" for each in (a, b, c)),
            ]
        )
        with running_proxy(tmp_path, dynamic=rules(services)) as proxy:
            assert bodies(proxy) == {"a", "b"}
            b.check_status = 500
            wait_for(lambda: not is_up(proxy, b), "b is down")
            assert bodies(proxy) == {"a"}
            a.check_status = 500
            wait_for(lambda: not is_up(proxy, a), "a is down")
            assert bodies(proxy) == {"c"}
            c.check_status = 500
            wait_for(lambda: not is_up(proxy, c), "c is down")
            answer = ask(proxy)
            assert (answer.status, answer.content) == (503, b"Service Unavailable\n")
            a.check_status = 200
            wait_for(lambda: is_up(proxy, a), "a is back")
            assert bodies(proxy) == {"a"}


def test_a_child_that_does_not_tell_is_a_mistake(tmp_path):
    with flapping("a") as (a,):
        options = "passHostHeader: true"
        services = (
            "    s: {weighted: {healthCheck: {}, services: [{name: a}]}}\n"
            f"    a: {{{service(a, options=options)}}}"
        )
        with running_proxy(tmp_path, dynamic=rules(services)) as proxy:
            assert ask(proxy).status == 404
            assert "healthCheck not enabled in config for this load-balancer service" in proxy.log


def test_draining_keeps_sticky_clients_and_takes_no_others(tmp_path):
    options = "sticky: {cookie: {name: lb}}"
    with flapping("a", "b") as (a, b):
        text = rules(f"    s: {{{service(a, b, options=options)}}}")
        with running_proxy(tmp_path, dynamic=text) as proxy:
            cookies = {}
            while set(cookies) != {"a", "b"}:
                answer = ask(proxy)
                cookies[answer.content.decode()] = answer.header("Set-Cookie").partition(";")[0]
            done = proxy.command("drain", a.url)
            assert done.stdout == f"s@file/{a.url} drains: 0 in flight\n"
            assert bodies(proxy) == {"b"}
            assert {ask(proxy, Cookie=cookies["a"]).content for _ in range(6)} == {b"a"}
            proxy.write("dynamic.yml", text.replace("/`", "/`) || Path(`/x`", 1))
            proxy.reload()
            os.kill(proxy.status()["workers"][0]["pid"], signal.SIGKILL)
            wait_for(lambda: proxy.status()["workers_ready"] == 2, "a new worker")
            assert bodies(proxy) == {"b"}
            assert servers(proxy)[a.url]["is_draining"]
            assert "1 draining" in proxy.command("status").stdout
            assert proxy.command("undrain", f"s/{a.url}").stdout == f"s@file/{a.url} takes new sessions\n"
            assert bodies(proxy) == {"a", "b"}
            assert proxy.status()["services"] == []


def test_drain_waits_until_nothing_is_in_flight(tmp_path):
    with flapping("a", "b") as (a, b), proxied(tmp_path, service(a, b)) as proxy:
        a.hold.clear()
        b.hold.clear()
        with ClientConnection(proxy.address()) as one, ClientConnection(proxy.address()) as two:
            busy = []
            for client in (one, two):
                client.send(request_bytes("GET", "/held", host="x.example"))
            wait_for(
                lambda: sum(each["in_flight"] for each in servers(proxy).values()) == 2, "both in flight"
            )
            busy = [each for each in (a, b) if servers(proxy)[each.url]["in_flight"]]
            late = proxy.command("drain", busy[0].url, "--wait", "--timeout=0.2", check=False)
            assert late.returncode == 1
            assert re.search(r"still in flight after 0\.2 s: [12]; the server goes on draining", late.stderr)
            ended: list[int] = []
            waiting = threading.Thread(
                target=lambda: ended.append(
                    proxy.command("drain", busy[0].url, "--wait", check=False).returncode
                )
            )
            waiting.start()
            a.hold.set()
            b.hold.set()
            assert {one.receive().status, two.receive().status} == {200}
            waiting.join(DEADLINE_S)
            assert ended == [0]


def test_a_server_that_does_not_exist_cannot_drain(tmp_path):
    with flapping("a") as (a,), proxied(tmp_path, service(a)) as proxy:
        for command in ("drain", "undrain"):
            done = proxy.command(command, a.url + "1", check=False)
            assert done.returncode == 2
            assert f'did you mean "{a.url}"' in done.stderr


def test_failures_name_their_cause_in_the_log_and_the_access_record(tmp_path):
    def cut_inside_the_answer(connection: OriginConnection) -> None:
        connection.receive_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        connection.reset()

    def leave_without_an_answer(connection: OriginConnection) -> None:
        connection.receive_request()
        connection.reset()

    def static(ports) -> str:
        return (
            f"entryPoints: {{web: {{address: '127.0.0.1:{ports['web']}'}}}}\n"
            "providers: {file: {directory: dynamic}}\nlog: {level: WARN}\n"
            f"accessLog: {{format: json, filePath: {tmp_path / 'access.log'}}}\n"
        )

    with (
        running_origin(cut_inside_the_answer) as cutting,
        running_origin(leave_without_an_answer) as leaving,
        socket.socket() as bound,
    ):
        bound.bind(("127.0.0.1", 0))
        urls = {
            "reset-after-headers": cutting.url,
            "reset-before-headers": leaving.url,
            "connect-refused": f"http://127.0.0.1:{bound.getsockname()[1]}",
            "no-server": None,
        }
        text = "http:\n  routers:\n"
        for word in urls:
            text += f"    {word}: {{rule: 'Path(`/{word}`)', service: {word}}}\n"
        text += "  services:\n"
        for word, url in urls.items():
            server = f'{{url: "{url}"}}' if url else ""
            text += f"    {word}: {{loadBalancer: {{servers: [{server}]}}}}\n"
        with running_proxy(tmp_path, static=static, dynamic=text) as proxy:
            for word in urls:
                with contextlib.suppress(WireClosedError):
                    ask(proxy, f"/{word}")
                line = proxy.wait_for_log(f"cause={word}")
                assert " WARNING error " in line
        records = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
    assert {each["RouterName"]: each["cause"] for each in records} == {f"{word}@file": word for word in urls}
    assert all(each["errorId"] for each in records)
