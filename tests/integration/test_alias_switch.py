"""The alias: whole configurations change at once, whatever is being written beside them."""

import contextlib
import functools
import itertools
import threading
import time

import pytest
import trio
import trio.testing

from providers.etcd_v3 import open_v3
from providers.http_api import open_api
from tests.support.clients import ClientConnection, get
from tests.support.following import following
from tests.support.kits import kit_class
from tests.support.origins import echo, running_origin
from tests.support.proxy import running_proxy
from tests.support.vectors import vectors

STORES = ("boltdb", "consul", "etcd-v2", "etcd-v3", "redis", "zookeeper")
PARTS = 6
SEEN = 6
"""Configurations to be seen; they are written one after the other, by turns in two places, until then."""
CLIENTS = 4
LIMIT_S = 120


@pytest.fixture
def store(request, tmp_path_factory):
    kind = kit_class(request.param)
    missing = kind.missing()
    if missing:
        pytest.skip(missing)
    kit = kind(tmp_path_factory.mktemp(request.param))
    kit.start()
    try:
        yield kit
    finally:
        kit.close()


def parts_of(number):
    return {
        f"http/middlewares/m{part}/headers/customRequestHeaders/X-Tree": str(number) for part in range(PARTS)
    }


def switch_to(kit, number, pairs):
    """Write a configuration key by key beside the one in force, then make it the one in force."""
    place = f"{kit.root}_configurations/{number % 2}"
    for key, value in pairs.items():
        kit.put({f"{place}/{key}": value})
    kit.put({f"{kit.root}/alias": place})


def leaves(tree):
    if isinstance(tree, dict):
        return [leaf for each in tree.values() for leaf in leaves(each)]
    return [tree]


@pytest.mark.parametrize("store", STORES, indirect=True)
def test_no_snapshot_holds_parts_of_two_configurations(store, tmp_path):
    seen = []

    async def main():
        await trio.to_thread.run_sync(switch_to, store, 0, parts_of(0))
        async with following(store.settings(*store.address), tmp_path) as provider:
            with trio.fail_after(LIMIT_S):
                await provider.until_routes({})
                for number in itertools.count(1):
                    write = functools.partial(switch_to, store, number, parts_of(number))
                    await trio.to_thread.run_sync(write)
                    if len(provider.history) >= SEEN:
                        break
                last = [str(number)] * PARTS
                while leaves(provider.feed.latest.documents[0].tree) != last:
                    await trio.testing.wait_all_tasks_blocked(0.01)
            seen.extend(leaves(each.documents[0].tree) for each in provider.history)

    trio.run(main)
    assert [each for each in seen if len(each) != PARTS or len(set(each)) != 1] == []
    assert len(seen) >= SEEN


# ------------------------------------------------------------------------------------------ under load


def configuration(number, origins):
    """A route whose middleware and server both tell which configuration they are of."""
    origin = origins[number % len(origins)]
    host, port = origin.address
    return {
        "http/routers/web/rule": "PathPrefix(`/`)",
        "http/routers/web/middlewares": "mark",
        "http/routers/web/service": "app",
        "http/middlewares/mark/headers/customRequestHeaders/X-Tree": str(number),
        "http/services/app/loadBalancer/servers/0/url": f"http://{host}:{port}",
    }


def ask_until(stop, address, seen, failures):
    """Request after request; what each reply says of its configuration."""
    try:
        with ClientConnection(address) as connection:
            while not stop.is_set():
                reply = connection.request("GET", "/", host="a.test")
                tree = dict(reply.json()["headers"])["X-Tree"] if reply.status == 200 else None
                seen.append((reply.status, tree, reply.header("X-Origin")))
    except Exception as failure:
        failures.append(repr(failure))


@pytest.mark.parametrize("store", ["etcd-v3"], indirect=True)
def test_no_request_sees_parts_of_two_configurations(store, tmp_path):
    with contextlib.ExitStack() as stack:
        origins = [stack.enter_context(running_origin(echo(str(number)))) for number in range(3)]
        switch_to(store, 0, configuration(0, origins))
        static = (
            'providers:\n  providersThrottleDuration: "10ms"\n'
            f'  etcd:\n    endpoints: ["127.0.0.1:{store.address[1]}"]\n'
            'entryPoints:\n  web:\n    address: "127.0.0.1:{web}"\n'
        )
        proxy = stack.enter_context(running_proxy(tmp_path, static=static))
        stop, seen, failures = threading.Event(), [], []
        clients = [
            threading.Thread(target=ask_until, args=(stop, proxy.address(), seen, failures))
            for _ in range(CLIENTS)
        ]
        for each in clients:
            each.start()
        try:
            deadline = time.monotonic() + LIMIT_S
            for number in itertools.count(1):
                switch_to(store, number, configuration(number, origins))
                if len({tree for _, tree, _ in list(seen)}) >= SEEN or time.monotonic() > deadline:
                    break
            wait_for_tree(proxy, number)
        finally:
            stop.set()
            for each in clients:
                each.join()
    assert failures == []
    assert [each for each in seen if each[0] != 200 or int(each[1]) % len(origins) != int(each[2])] == []
    assert len({tree for _, tree, _ in seen}) >= SEEN


def wait_for_tree(proxy, number):
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        reply = get(proxy.address(), "/", host="a.test")
        if dict(reply.json()["headers"])["X-Tree"] == str(number):
            return
    pytest.fail(f"configuration {number} never came into force")


# --------------------------------------------------------------------------------------------- watching


@pytest.mark.parametrize("store", ["etcd-v3"], indirect=True)
@pytest.mark.parametrize(
    "vector", [each for each in vectors("v1", "kv") if each.values[0]["id"] == "kv-alias-watch"]
)
def test_what_is_watched(vector, store):
    """A second watch, on everything, tells when an event has gone out to all watches."""
    prefix = vector["config"]["prefix"]
    reloads = []

    async def main():
        host, port = store.address
        async with (
            open_api("etcd", f"{host}:{port}", None) as one,
            open_api("etcd", f"{host}:{port}", None) as two,
            open_v3(one, prefix, None) as ours,
            open_v3(two, f"{prefix}_configurations", None) as other,
        ):
            for event in vector["request"]["events"]:
                key, _, value = event.removeprefix("put ").partition(" = ")
                await ours.read()
                await other.read()
                await trio.to_thread.run_sync(store.put, {key: value})
                watched = other if key.startswith(f"{prefix}_configurations") else ours
                with trio.fail_after(LIMIT_S):
                    await watched.wait()
                await trio.testing.wait_all_tasks_blocked(0.05)
                reloads.append(ours._changed.is_set())

    trio.run(main)
    assert reloads == vector["expect"]["reload_after"]
