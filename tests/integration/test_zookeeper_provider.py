"""ZooKeeper: readings are of one moment while others write, and an alias switches whole trees."""

import contextlib
import logging
import threading

import pytest
import trio

from providers.zookeeper import ZooKeeperConnector
from shared.config.static_providers import ZooKeeperSettings
from tests.support.following import following
from tests.support.kits.zookeeper import ZooKeeperKit, ZooKeeperServer
from tests.support.ports import reserve_port

KEYS = ("http/routers/a/rule", "http/services/b/loadBalancer/servers/0/url", "tls/options/z/minVersion")
READINGS = 40
SWITCHES = 15


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if ZooKeeperKit.missing():
        pytest.skip(ZooKeeperKit.missing())
    made = ZooKeeperServer(tmp_path_factory.mktemp("zookeeper"))
    made.start()
    try:
        yield made
    finally:
        made.stop()
        made.port.release()


@pytest.fixture
def zookeeper(server):
    for root in ("/traefik", "/configs"):
        server.delete(root)
    return server


def put(server, pairs):
    server.put(pairs)


@contextlib.asynccontextmanager
async def store(server, **settings):
    chosen = ZooKeeperSettings(**settings)
    async with ZooKeeperConnector(chosen).connect(f"127.0.0.1:{server.port.number}") as made:
        with trio.fail_after(120):
            yield made


@contextlib.contextmanager
def writing(step):
    """Somebody who calls ``step(number)`` without pause."""
    stop, failures = threading.Event(), []

    def write():
        number = 0
        try:
            while not stop.is_set():
                number += 1
                step(number)
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failures, failures


def transact(server, pairs):
    change = server.client.transaction()
    for path, value in pairs.items():
        change.set_data(path, value.encode())
    assert all(not isinstance(each, Exception) for each in change.commit())


def test_a_reading_is_of_one_moment_while_others_write(zookeeper):
    """Every transaction gives all keys one number."""
    put(zookeeper, {f"/traefik/{key}": "0" for key in KEYS})

    async def main():
        seen = set()
        with writing(lambda number: transact(zookeeper, {f"/traefik/{key}": str(number) for key in KEYS})):
            async with store(zookeeper) as reader:
                for _ in range(READINGS):
                    tree = await reader.read()
                    assert tree.pairs.keys() == set(KEYS)
                    (number,) = set(tree.pairs.values())
                    seen.add(number)
        assert len(seen) > 2

    trio.run(main)


def test_an_alias_switches_trees_and_what_is_not_in_force_is_not_watched(zookeeper):
    """One tree is rewritten key by key while the other is in force, then the alias moves."""
    for name in ("one", "two"):
        put(zookeeper, {f"/configs/{name}/{key}": name for key in KEYS})
    put(zookeeper, {"/traefik/alias": "/configs/one/", "/traefik/http/routers/x/rule": "ignored"})

    async def main():
        async with store(zookeeper) as reader:
            assert set((await reader.read()).pairs.values()) == {b"one"}
            for switch in range(SWITCHES):
                old, new = ("one", "two") if switch % 2 == 0 else ("two", "one")
                for key in KEYS:
                    await trio.to_thread.run_sync(put, zookeeper, {f"/configs/{new}/{key}": f"{new}{switch}"})
                    tree = await reader.read()
                    assert {value.decode()[:3] for value in tree.pairs.values()} == {old}
                await trio.to_thread.run_sync(put, zookeeper, {"/traefik/alias": f"/configs/{new}/"})
                await reader.wait()
                tree = await reader.read()
                while tree.root != f"/configs/{new}":
                    await reader.wait()
                    tree = await reader.read()
                assert set(tree.pairs.values()) == {f"{new}{switch}".encode()}
                assert tree.is_aliased

    trio.run(main)


def test_what_changes_below_the_alias_comes_into_force_with_it(zookeeper):
    put(zookeeper, {f"/configs/one/{key}": "old" for key in KEYS})
    put(zookeeper, {"/traefik/alias": "/configs/one"})

    async def main():
        async with store(zookeeper) as reader:
            await reader.read()
            await trio.to_thread.run_sync(put, zookeeper, {f"/configs/one/{key}": "new" for key in KEYS})
            with trio.move_on_after(0.5) as waiting:
                await reader.wait()
            assert waiting.cancelled_caught
            await trio.to_thread.run_sync(put, zookeeper, {"/traefik/alias": "/configs/one"})
            await reader.wait()
            assert set((await reader.read()).pairs.values()) == {b"new"}

    trio.run(main)


def test_writing_without_pause_into_the_tree_that_is_not_in_force_delays_nothing(zookeeper):
    put(zookeeper, {f"/configs/{name}/{key}": name for name in ("one", "two") for key in KEYS})
    put(zookeeper, {"/traefik/alias": "/configs/one"})

    def scribble(number):
        zookeeper.client.set(f"/configs/two/{KEYS[number % 3]}", b"%d" % number)

    async def main():
        with writing(scribble):
            async with store(zookeeper) as reader:
                assert set((await reader.read()).pairs.values()) == {b"one"}
                with trio.move_on_after(0.5) as waiting:
                    await reader.wait()
                assert waiting.cancelled_caught

    trio.run(main)


def test_nodes_come_and_go_anywhere(zookeeper):
    async def main():
        async with store(zookeeper) as reader:
            assert (await reader.read()).pairs == {}  # there is no root
            changes = [
                {"/traefik/http/routers/a/rule": "1"},
                {"/traefik/http/routers/a/middlewares": "m"},
                {"/traefik/http/routers/a/middlewares/0": "n"},  # below what was a leaf
                {"/traefik/entrypoints/web/address": ":80"},  # static settings are not ours
                {"/traefik/http/middlewares/h/headers/customRequestHeaders/X-Gone": ""},
            ]
            for pairs in changes:
                await trio.to_thread.run_sync(put, zookeeper, pairs)
            expected = {
                "http/routers/a/rule": b"1",
                "http/routers/a/middlewares": b"m",
                "http/routers/a/middlewares/0": b"n",
                "http/middlewares/h/headers/customRequestHeaders/X-Gone": b"",
            }
            while (await reader.read()).pairs != expected:
                await reader.wait()
            await trio.to_thread.run_sync(zookeeper.delete, "/traefik/http/routers")
            while (await reader.read()).pairs.keys() != {list(expected)[-1]}:
                await reader.wait()
            await trio.to_thread.run_sync(zookeeper.delete, "/traefik")
            while (await reader.read()).pairs:
                await reader.wait()
            await trio.to_thread.run_sync(put, zookeeper, {"/traefik/alias": "/nowhere"})
            while not (await reader.read()).is_aliased:
                await reader.wait()

    trio.run(main)


def test_v1_layout_of_the_v1_section(zookeeper, tmp_path):
    pairs = {
        "/traefik/backends/b/servers/s/url": "http://127.0.0.1:8001",
        "/traefik/frontends/f/backend": "b",
        "/traefik/frontends/f/routes/r/rule": "Host:a.test",
    }
    put(zookeeper, pairs)
    settings = f'[zookeeper]\nendpoint = "127.0.0.1:{zookeeper.port.number}"\nprefix = "/traefik"\n'

    async def main():
        async with following(settings, tmp_path) as provider:
            await provider.until_routes({"a.test": ["http://127.0.0.1:8001"]})
            moved = {"/traefik/backends/b/servers/s/url": "http://127.0.0.1:8002"}
            await trio.to_thread.run_sync(put, zookeeper, moved)
            await provider.until_routes({"a.test": ["http://127.0.0.1:8002"]})

    trio.run(main)


def test_any_server_of_the_ensemble_will_do(zookeeper, tmp_path):
    pairs = {
        "/traefik/http/routers/a/rule": "Host(`a.test`)",
        "/traefik/http/routers/a/service": "a",
        "/traefik/http/services/a/loadBalancer/servers/0/url": "http://127.0.0.1:8001",
    }
    put(zookeeper, pairs)

    async def main():
        with reserve_port() as nobody:
            servers = f'"127.0.0.1:{nobody.number}", "127.0.0.1:{zookeeper.port.number}"'
            async with following(f"[providers.zooKeeper]\nendpoints = [{servers}]\n", tmp_path) as provider:
                await provider.until_routes({"a.test": ["http://127.0.0.1:8001"]})

    trio.run(main)


def test_the_client_library_logs_nothing_of_ours(zookeeper, caplog):
    caplog.set_level(logging.DEBUG)

    async def main():
        async with store(zookeeper, username="proxy", password="s3cret") as reader:
            await reader.read()

    trio.run(main)
    assert "s3cret" not in caplog.text
