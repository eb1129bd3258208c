"""Shares of servers with several workers, of the installed program: whoever has the connections."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager

import pytest

from master.admin_client import AdminClient
from master.runtime_directory import RuntimeDirectory
from tests.support.clients import ClientConnection, request_bytes
from tests.support.origins import answer, running_origin
from tests.support.proxy import running_proxy

WORKERS = 4
WEIGHTS = (3, 2, 1)
REQUESTS = 10_000
BATCH = 50
"""Requests that are on their way on one connection."""
CONNECTIONS = 8
PER_RELOAD = 7
"""Requests between two reloads: no multiple of a round, so that rounds that began anew would show."""
RELOADS, RELOADS_LONG = 40, 1_000
STATIC = """
entryPoints:
  web: {address: "127.0.0.1:{web}"}
providers:
  providersThrottleDuration: 1ms
  file: {directory: dynamic}
"""
HOST = "shares.test"


def rules(urls, weights, change=0):
    servers = ", ".join(
        f'{{url: "{url}", weight: {weight}}}' for url, weight in zip(urls, weights, strict=True)
    )
    return f"""
http:
  routers:
    shares: {{rule: "Host(`{HOST}`)", service: shares}}
    change: {{rule: "Host(`{change}.test`)", service: shares}}
  services:
    shares: {{loadBalancer: {{servers: [{servers}]}}}}
"""


def serve(connection):
    while connection.receive_request() is not None:
        connection.send(answer(200, b"ok"))


@contextmanager
def proxied(tmp_path, weights):
    with ExitStack() as stack:
        origins = [stack.enter_context(running_origin(serve)) for _ in weights]
        urls = [origin.url for origin in origins]
        proxy = stack.enter_context(
            running_proxy(tmp_path, static=STATIC, dynamic=rules(urls, weights), workers=WORKERS)
        )
        yield proxy, origins, urls


def send(client, count):
    """So many requests, in batches on one connection."""
    one = request_bytes("GET", "/", host=HOST)
    while count:
        batch = min(count, BATCH)
        client.send(one * batch)
        for _ in range(batch):
            assert client.receive().status == 200
        count -= batch


def test_shares_hold_however_unevenly_workers_are_used(tmp_path):
    """One connection, and so one worker, has half of all requests; the next one half of the rest."""
    with proxied(tmp_path, WEIGHTS) as (proxy, origins, _), ExitStack() as stack:
        counts = [REQUESTS >> (number + 1) for number in range(CONNECTIONS)]
        counts[0] += REQUESTS - sum(counts)
        clients = [stack.enter_context(ClientConnection(proxy.address())) for _ in counts]
        threads = [threading.Thread(target=send, args=pair) for pair in zip(clients, counts, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        got = [len(origin.requests) for origin in origins]
    assert sum(got) == REQUESTS
    for count, weight in zip(got, WEIGHTS, strict=True):
        assert count == pytest.approx(REQUESTS * weight / sum(WEIGHTS), rel=0.01)


def test_reloads_do_not_bias_the_round(tmp_path, request):
    """Chi-square over the picks between reloads that each change the table; 1,000 of them with --long."""
    reloads = RELOADS_LONG if request.config.getoption("--long") else RELOADS
    weights = (1, 1, 1)
    with proxied(tmp_path, weights) as (proxy, origins, urls), ExitStack() as stack:
        clients = [stack.enter_context(ClientConnection(proxy.address())) for _ in range(CONNECTIONS)]
        admin = AdminClient(RuntimeDirectory(proxy.runtime_dir))
        before = generation(proxy)
        for number in range(reloads):
            proxy.write("dynamic.yml", rules(urls, weights, change=number + 1))
            admin.change("/reload")
            send(clients[number % CONNECTIONS], PER_RELOAD)
        got = [len(origin.requests) for origin in origins]
        assert generation(proxy) >= before + reloads
    expected = reloads * PER_RELOAD / len(weights)
    assert sum(got) == reloads * PER_RELOAD
    assert sum((count - expected) ** 2 / expected for count in got) < 13.8  # 2 degrees of freedom, p = 0.001


def generation(proxy):
    return proxy.status()["generation"]
