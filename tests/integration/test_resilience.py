"""Retries, breakers and limits of the installed program: the same with four workers as with one."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import threading
import time
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from tests.support.clients import ClientConnection, get, request_bytes
from tests.support.origins import answer, running_origin
from tests.support.ports import reserve_port
from tests.support.proxy import running_proxy

STATIC = """
entryPoints:
  web: {address: "127.0.0.1:{web}"}
providers:
  providersThrottleDuration: 10ms
  file: {directory: dynamic}
log: {level: INFO}
"""
HOST = "shop.test"
RATE = 100
BURST = 500
"""Bridges moments in which a busy machine lets none of our clients run: tokens wait for them here."""
LIMIT_RUN_S = 8.0
LIMIT_CHANGES = 4
OVERLOAD, LEAST_OVERLOAD = 10, 2
"""Requests for each one that is let through; the least is for machines on which we get next to no time."""
CLIENTS = 8
PIPELINED = 16
START = b"HTTP/1.1 "
PAUSE_S = 0.01
"""Client ``n`` rests ``n`` times as long: the first one never."""
PATIENCE_S = 60.0


def rules(middleware, *urls, change=0):
    servers = ", ".join(f'{{url: "{url}"}}' for url in urls)
    return f"""
http:
  routers:
    shop: {{rule: "Host(`{HOST}`)", middlewares: [m], service: shop}}
    change: {{rule: "Host(`{change}.test`)", service: shop}}
  middlewares:
    m: {{{middleware}}}
  services:
    shop: {{loadBalancer: {{servers: [{servers}]}}}}
"""


def answering(status):
    def serve(connection):
        while connection.receive_request() is not None:
            connection.send(answer(status, b"ok"))

    return serve


def dying(connection):
    """Reads a whole request, and is gone."""
    if connection.receive_request() is not None:
        connection.reset()


@contextmanager
def proxied(tmp_path, middleware, *serve, workers=4, dead=0):
    """A proxy with one middleware before servers; ``dead`` ones refuse connections."""
    with ExitStack() as stack:
        origins = [stack.enter_context(running_origin(each)) for each in serve]
        urls = [f"http://127.0.0.1:{stack.enter_context(reserve_port()).number}" for _ in range(dead)]
        urls += [origin.url for origin in origins]
        text = rules(middleware, *urls)
        proxy = stack.enter_context(running_proxy(tmp_path, static=STATIC, dynamic=text, workers=workers))
        proxy.urls = urls
        yield proxy, origins


def reload(proxy, middleware, change):
    proxy.write("dynamic.yml", rules(middleware, *proxy.urls, change=change))
    proxy.reload()


def kill_a_worker(proxy):
    """End one at once, and wait until another serves in its place."""
    said = proxy.log_length
    worker = max(
        (each for each in psutil.Process(proxy.pid).children() if "spawn_main" in " ".join(each.cmdline())),
        key=lambda each: each.pid,
    )
    os.kill(worker.pid, signal.SIGKILL)
    proxy.wait_for_log("accepting connections", after=said)


@pytest.mark.parametrize("body", [b"order", b""])
def test_a_post_that_a_server_has_read_is_never_sent_again(tmp_path, body):
    middleware = 'retry: {attempts: 4, status: ["500-599"]}'
    with proxied(tmp_path, middleware, dying, dying, workers=1) as (proxy, origins):
        with ClientConnection(proxy.address()) as client:
            assert client.request("POST", "/buy", host=HOST, body=body).status == 502
        assert sum(len(origin.requests) for origin in origins) == 1
        with ClientConnection(proxy.address()) as client:  # the control: what may be repeated is
            assert client.request("GET", "/look", host=HOST).status == 502
        assert sum(len(origin.requests) for origin in origins) == 1 + 4


def test_a_server_that_cannot_be_reached_costs_no_request(tmp_path):
    with (
        proxied(tmp_path, "retry: {attempts: 2}", answering(200), dead=1, workers=1) as (proxy, (origin,)),
        ClientConnection(proxy.address()) as client,
    ):
        statuses = [client.request("POST", "/", host=HOST, body=b"x").status for _ in range(20)]
        assert statuses == [200] * 20
        assert len(origin.requests) == 20


def test_a_breaker_opens_once_for_all_workers_and_stays_open(tmp_path):
    middleware = 'circuitBreaker: {expression: "ResponseCodeRatio(500, 600, 0, 600) > 0.5"}'
    with (
        proxied(tmp_path, middleware, answering(500)) as (proxy, (origin,)),
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(ClientConnection(proxy.address())) for _ in range(16)]
        # The outcome counts once the answer is out, so the next request might come before it.
        assert clients[0].request("GET", "/", host=HOST).status == 500
        proxy.wait_for_log("circuit breaker .* opens")
        assert {client.request("GET", "/", host=HOST).status for client in clients} == {503}
        kill_a_worker(proxy)
        reload(proxy, middleware, 1)
        assert {get(proxy.address(), "/", host=HOST).status for _ in range(16)} == {503}
        assert len(origin.requests) == 1
        assert len(re.findall("circuit breaker .* opens", proxy.log)) == 1


def test_a_rate_is_that_of_the_proxy_whatever_happens_to_workers(tmp_path):
    """Between two moments at which the bucket is empty, as many requests arrive as tokens came into it."""
    middleware = f"rateLimit: {{average: {RATE}, burst: {BURST}}}"
    with proxied(tmp_path, middleware, answering(200)) as (proxy, (origin,)):
        stop = threading.Event()
        answers = [0] * CLIENTS
        threads = [
            threading.Thread(target=hammer, args=(proxy.address(), stop, answers, number))
            for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        began, before = at_a_refusal(proxy, origin)
        answered_before = sum(answers)

        def overload():
            return (sum(answers) - answered_before) / (len(origin.requests) - before)

        for change in range(LIMIT_CHANGES):
            kill_a_worker(proxy)
            reload(proxy, middleware, change)
            stop.wait(max(0.0, began + (change + 1) * LIMIT_RUN_S / LIMIT_CHANGES - time.monotonic()))
        while overload() < OVERLOAD and time.monotonic() < began + PATIENCE_S / 2:
            stop.wait(LIMIT_RUN_S / 10)
        assert overload() > LEAST_OVERLOAD
        ended, after = at_a_refusal(proxy, origin)
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
    assert after - before == pytest.approx(RATE * (ended - began), rel=0.02)


def at_a_refusal(proxy, origin):
    """A moment at which the bucket is empty, and how many requests had arrived by then."""
    with ClientConnection(proxy.address()) as client:
        deadline = time.monotonic() + PATIENCE_S
        while client.request("GET", "/", host=HOST).status != 429:
            assert time.monotonic() < deadline, "nothing is refused"
    return time.monotonic(), len(origin.requests)


def hammer(address, stop, answers, number):
    """Ask again and again, some more often than others; a worker that is killed cuts us off.

    Heads are counted and not read: on a busy machine most of it should be the proxy's.
    """
    batch = request_bytes("GET", "/", host=HOST) * PIPELINED
    while not stop.is_set():
        try:
            with ClientConnection(address) as client:
                while not stop.is_set():
                    client.send(batch)
                    data = b""
                    while data.count(START) < PIPELINED and not stop.is_set():
                        more = client.socket.recv(65_536)
                        if not more:
                            raise ConnectionResetError
                        data += more
                    answers[number] += data.count(START)
                    stop.wait(PAUSE_S * number)
        except (TimeoutError, ConnectionError):
            continue


@pytest.mark.parametrize(
    ("middleware", "status", "before", "after"),
    [
        ("rateLimit: {average: 1, period: 1h, burst: 3}", 200, [200] * 3 + [429], [429] * 4),
        ('circuitBreaker: {expression: "RequestThreshold() > 4"}', 404, [404] * 4, [404, 503]),
    ],
)
def test_what_a_worker_counted_outlives_it(tmp_path, middleware, status, before, after):
    """With one worker nobody else knows it: the next one starts from what the master kept."""
    with proxied(tmp_path, middleware, answering(status), workers=1) as (proxy, _):
        assert [get(proxy.address(), "/", host=HOST).status for _ in before] == before
        # An outcome counts once its answer is out: the worker is through with it when it answers others.
        assert {get(proxy.address(), "/", host="nobody.test").status for _ in range(3)} == {404}
        kill_a_worker(proxy)
        first = get(proxy.address(), "/", host=HOST).status
        if after[0] != after[1]:
            proxy.wait_for_log("circuit breaker .* opens")  # it counts once the answer is out
        assert [first, *(get(proxy.address(), "/", host=HOST).status for _ in after[1:])] == after


def test_so_many_requests_at_a_time_over_all_workers(tmp_path):
    release = threading.Event()

    def slow(connection):
        while connection.receive_request() is not None:
            assert release.wait(PATIENCE_S)
            connection.send(answer(200, b"ok"))

    middleware = "inFlightReq: {amount: 3}"
    with proxied(tmp_path, middleware, slow) as (proxy, (origin,)), ExitStack() as stack:
        request = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        running = [stack.enter_context(ClientConnection(proxy.address())) for _ in range(3)]
        for number, client in enumerate(running):
            client.send(request)
            origin.wait_for_requests(number + 1)
        refused = get(proxy.address(), "/", host=HOST)
        assert (refused.status, refused.content) == (429, b"max connections reached: 3")
        assert {get(proxy.address(), "/", host=HOST).status for _ in range(12)} == {429}
        reload(proxy, middleware, 1)
        assert {get(proxy.address(), "/", host=HOST).status for _ in range(12)} == {429}
        gone = running.pop()  # a client that leaves gives its place back
        gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
        running.append(enter(stack, proxy, request, origin, 4))
        assert get(proxy.address(), "/", host=HOST).status == 429
        release.set()
        assert [client.receive().status for client in running] == [200] * 3
        assert get(proxy.address(), "/", host=HOST).status == 200


def enter(stack, proxy, request, origin, count):
    """A client whose request gets through, as soon as there is a place."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        client = stack.enter_context(ClientConnection(proxy.address()))
        client.send(request)
        try:
            origin.wait_for(lambda: len(origin._requests) >= count, "a place", timeout_s=0.3)
        except AssertionError:
            assert client.receive().status == 429
            continue
        return client
    raise AssertionError("the place was not given back")
