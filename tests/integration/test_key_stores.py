"""What is peculiar to one store of keys, beyond the contract that all fulfil."""

import contextlib
import functools
import logging

import pytest
import trio

from master import provider_feed
from providers import etcd_v3
from tests.support.following import following
from tests.support.kits.base import Route
from tests.support.kits.consul import ConsulKit
from tests.support.kits.etcd import EtcdV2Kit, EtcdV3Kit
from tests.support.kits.redis import RedisKit, RedisServer, missing_redis
from tests.support.ports import reserve_port
from tests.support.server_process import ServerProcess

A = Route("a", "a.test", "http://127.0.0.1:8001")
B = Route("b", "b.test", "http://127.0.0.1:8002")
TOKEN_LIFE_S = 1.0


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No long delays between attempts."""
    monkeypatch.setattr(provider_feed, "FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(provider_feed, "MAX_RETRY_S", 0.3)
    monkeypatch.setattr("providers.consul.WAIT_S", 0.3)


def started(kind, folder):
    missing = kind.missing()
    if missing:
        pytest.skip(missing)
    kit = kind(folder)
    kit.start()
    return kit


@pytest.fixture
def consul(tmp_path):
    kit = started(ConsulKit, tmp_path)
    yield kit
    kit.close()


def do(function, *args, **options):
    return trio.to_thread.run_sync(functools.partial(function, *args, **options))


def routes_of(*routes):
    return {each.host: [each.url] for each in routes}


# --------------------------------------------------------------------------------------------- Consul


def test_an_index_that_falls_starts_anew(consul, tmp_path):
    """A wiped cluster counts from the beginning; with the old index nothing would be seen for long."""

    async def main():
        for _ in range(5):
            await do(consul.write, [A])
            await do(consul.remove, [A])
        await do(consul.write, [A])
        async with following(consul.settings(*consul.address), tmp_path) as provider:
            await provider.until_routes(routes_of(A))
            await do(consul.server.table.wipe)
            await do(consul.write, [B])
            await provider.until_routes(routes_of(B))
            await do(consul.server.table.forget_deletions)
            await do(consul.write, [A])
            await provider.until_routes(routes_of(A, B))
            assert provider.feed.restarts == 0

    trio.run(main)


def test_keys_that_are_hidden_are_not_gone(consul, tmp_path):
    """A token that may not read sees no keys and no error."""

    async def main():
        await do(consul.write, [A])
        consul.server.tokens = {"t": (consul.root,)}
        async with following(consul.settings(*consul.address, "t"), tmp_path) as provider:
            await provider.until_routes(routes_of(A))
            consul.server.tokens = {"t": ("elsewhere",)}
            assert "Permission denied" in await provider.until_failed()
            assert await provider.routes() == routes_of(A)
            consul.server.tokens = {"t": (consul.root,)}
            await do(consul.write, [B])
            await provider.until_routes(routes_of(A, B))

    trio.run(main)


def test_no_leader_is_a_failure_in_its_words(consul, tmp_path):
    async def main():
        await do(consul.write, [A])
        async with following(consul.settings(*consul.address), tmp_path) as provider:
            await provider.until_routes(routes_of(A))
            consul.server.has_leader = False
            assert "No cluster leader" in await provider.until_failed()
            consul.server.has_leader = True
            await do(consul.write, [B])
            await provider.until_routes(routes_of(A, B))

    trio.run(main)


def test_a_server_that_is_killed_within_a_query(consul, tmp_path):
    async def main():
        await do(consul.write, [A])
        async with following(consul.settings(*consul.address), tmp_path) as provider:
            await provider.until_routes(routes_of(A))
            await do(consul.server.stop, gracefully=False)
            assert await provider.until_failed()
            await do(consul.start)
            await do(consul.write, [B])
            await provider.until_routes(routes_of(A, B))

    trio.run(main)


def test_an_alias_that_leads_nowhere_is_an_error(consul, tmp_path):
    async def main():
        await do(consul.write, [A])
        async with following(consul.settings(*consul.address), tmp_path) as provider:
            await provider.until_routes(routes_of(A))
            await do(consul.put, {"traefik/alias": "nowhere"})
            await provider.until_problem("consul:nowhere: the alias leads here, where there is nothing")
            assert await provider.routes() == routes_of(A)
            await do(consul.put, {"nowhere/http/routers/b/rule": "Host(`b.test`)", "traefik/alias": ""})
            await provider.until_sound(routes_of(A))

    trio.run(main)


def test_the_next_endpoint_is_tried(consul, tmp_path):
    async def main():
        await do(consul.write, [A])
        with reserve_port() as closed:
            host, port = consul.address
            settings = f'[providers.consul]\nendpoints = ["{host}:{closed.number}", "{host}:{port}"]\n'
            async with following(settings, tmp_path) as provider:
                await provider.until_routes(routes_of(A))
                assert provider.feed.restarts == 0
                await do(consul.stop)
                failure = await provider.until_failed()
                assert f"{host}:{closed.number}: Connection refused; {host}:{port}: " in failure or (
                    f"{host}:{port}: " in failure
                    and f"; {host}:{closed.number}: Connection refused" in failure
                )

    trio.run(main)


def test_a_user_in_the_endpoint_is_used_and_not_shown(consul, tmp_path, caplog):
    """``http://user:password@host`` is basic authentication, as for the original's clients."""
    caplog.set_level(logging.DEBUG)

    async def main():
        await do(consul.write, [A])
        host, port = consul.address
        settings = f'[providers.consul]\nendpoints = ["http://me:s3cret@{host}:{port}"]\n'
        async with following(settings, tmp_path) as provider:
            await provider.until_routes(routes_of(A))
            await do(consul.stop)
            assert "s3cret" not in await provider.until_failed()

    trio.run(main)
    assert "s3cret" not in caplog.text


QUOTING = {
    "consul": 'token = "s3cret"\n',
    "etcd": 'username = "me"\npassword = "s3cret"\n',
    "redis": 'password = "s3cret"\n',
}


@pytest.mark.parametrize("name", sorted(QUOTING))
def test_a_server_that_quotes_what_it_was_sent(name, tmp_path, caplog):
    """Its words are part of messages, secrets are not."""
    caplog.set_level(logging.DEBUG)

    async def quote(stream):
        with contextlib.suppress(trio.BrokenResourceError):
            async with stream:
                said = await stream.receive_some(65_536)
                if name == "redis":
                    await stream.send_all(b"-ERR unknown command: " + b" ".join(said.split()) + b"\r\n")
                    return
                while b"s3cret" not in said:
                    said += await stream.receive_some(65_536)
                head = b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n"
                words = (
                    b'{"error": "you said ' + said[-120:].replace(b'"', b"'").replace(b"\r\n", b" ") + b'"}'
                )
                await stream.send_all(head % len(words) + words)

    async def main():
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listener.socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, quote, [listener])
            settings = f'[providers.{name}]\nendpoints = ["127.0.0.1:{port}"]\n{QUOTING[name]}'
            async with following(settings, tmp_path) as provider:
                assert "***" in await provider.until_failed()
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert "s3cret" not in caplog.text


def test_each_namespace_is_asked_for_by_its_name(consul, tmp_path):
    """Namespaces are the Enterprise server's; the stand-in ignores them, so what was asked is looked at."""

    async def main():
        place = "other/http/routers/a"
        pairs = {f"{place}/rule": "Host(`a.test`)", f"{place}/service": "a", "traefik/alias": "other"}
        await do(consul.put, {**pairs, "other/http/services/a/loadBalancer/servers/0/url": A.url})
        host, port = consul.address
        settings = f'[providers.consul]\nendpoints = ["{host}:{port}"]\nnamespaces = ["team"]\n'
        async with following(settings, tmp_path) as provider:
            await provider.until_routes(routes_of(A))
            assert provider.feed.name == "consul-team"
        targets, bodies = zip(*consul.server.asked, strict=True)
        assert all("ns=team" in each for each in targets if each.startswith("/v1/kv/"))
        assert [b'"Namespace":"team"' in body for body in bodies if b"get-tree" in body] == [True]

    trio.run(main)


# ----------------------------------------------------------------------------------------------- etcd


@pytest.mark.parametrize("kind", [EtcdV2Kit, EtcdV3Kit])
def test_without_watching_only_a_reread_looks_again(kind, tmp_path):
    kit = started(kind, tmp_path)

    async def main():
        host, port = kit.address
        api = "true" if kind is EtcdV3Kit else "false"
        settings = f'[etcd]\nendpoint = "{host}:{port}"\nwatch = false\nuseAPIV3 = {api}\n'
        await do(kit.write, [A])
        async with following(settings, tmp_path) as provider:
            await provider.until_routes(routes_of(A))
            await do(kit.write, [B])
            await provider.feed.reread()
            await provider.until_routes(routes_of(A, B))
            assert len(provider.history) == 2

    try:
        trio.run(main)
    finally:
        kit.close()


def test_a_token_that_expires_is_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr("providers.etcd_v3.EtcdV3Store.check_s", 1_000.0)
    kit = started(EtcdV3Kit, tmp_path)
    kit.server.process._command += ["--auth-token-ttl", "1"]

    async def main():
        await do(kit.write, [A])
        await do(kit.set_password, "right")
        async with following(kit.settings(*kit.address, "right"), tmp_path) as provider:
            await provider.until_routes(routes_of(A))
            await trio.sleep(3 * TOKEN_LIFE_S)  # etcd's own clock; using the token would keep it alive
            await do(kit._log_in)
            await do(kit.write, [B])
            await provider.until_routes(routes_of(A, B))
            assert provider.feed.restarts == 0
        (first,) = [each for each in expired if each]
        assert "token" in first

    expired = []
    refused = etcd_v3._TokenRefusedError.__init__
    monkeypatch.setattr(
        etcd_v3._TokenRefusedError,
        "__init__",
        lambda self, provider, reason: (expired.append(reason), refused(self, provider, reason))[1],
    )
    try:
        trio.run(main)
    finally:
        kit.close()


def test_v1_falls_back_on_the_v3_api_where_there_is_no_v2(tmp_path):
    kit = started(EtcdV3Kit, tmp_path)
    kit.server.process.stop()
    kit.server.process._command.remove("--enable-v2")

    async def main():
        await do(kit.start)
        await do(kit.write, [A])
        host, port = kit.address
        settings = f'[etcd]\nendpoint = "{host}:{port}"\nprefix = "/traefik"\n'
        async with following(settings, tmp_path) as provider:
            await provider.until_routes(routes_of(A))

    try:
        trio.run(main)
    finally:
        kit.close()


# ---------------------------------------------------------------------------------------------- Redis


def test_without_notifications_the_keys_are_read_often(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("providers.redis.POLL_S", 0.2)
    kit = started(RedisKit, tmp_path)

    async def main():
        await do(kit.server.ask, ("CONFIG", "SET", "notify-keyspace-events", ""))
        await do(kit.write, [A])
        async with following(kit.settings(*kit.address), tmp_path) as provider:
            await provider.until_routes(routes_of(A))
            await do(kit.write, [B])
            await provider.until_routes(routes_of(A, B))

    try:
        trio.run(main)
    finally:
        kit.close()
    assert "sends no keyspace notifications" in caplog.text


def test_a_database_of_another_number_and_keys_of_other_types(tmp_path):
    kit = started(RedisKit, tmp_path)
    odd = Route("x*[y]?", "odd.test", "http://127.0.0.1:8003")

    async def main():
        pairs = [f"traefik/{key}" for key in kit.layout.pairs(odd)]
        values = list(kit.layout.pairs(odd).values())
        words = [word for pair in zip(pairs, values, strict=True) for word in pair]
        await do(kit.server.ask, ("SELECT", "3"), ("MSET", *words), ("HSET", "traefik/http/x", "f", "v"))
        host, port = kit.address
        settings = f'[providers.redis]\nendpoints = ["{host}:{port}"]\ndb = 3\n'
        async with following(settings, tmp_path) as provider:
            await provider.until_sound(routes_of(odd))
            await do(kit.server.ask, ("SELECT", "3"), ("DEL", *pairs))
            await provider.until_routes({})

    try:
        trio.run(main)
    finally:
        kit.close()


SENTINEL = """port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor shop 127.0.0.1 {master} 1
sentinel down-after-milliseconds shop 500
"""


def test_sentinels_name_the_server(tmp_path):
    missing = missing_redis()
    if missing:
        pytest.skip(missing)
    folders = [tmp_path / name for name in ("master", "replica", "sentinel")]
    for each in folders:
        each.mkdir()
    kit = RedisKit(folders[0])
    kit.start()
    replica = RedisServer(folders[1], "--replicaof", f"127.0.0.1 {kit.address[1]}")
    replica.process.start()
    with reserve_port() as port:
        config = folders[2] / "sentinel.conf"
        config.write_text(SENTINEL.format(port=port.number, folder=folders[2], master=kit.address[1]))

        def knows_the_replica():
            (found,) = RedisServer.ask_at(port.number, ("SENTINEL", "REPLICAS", "shop"))
            return any(b"ok" in each for each in found)

        sentinel = ServerProcess(
            ["redis-server", str(config), "--sentinel"], folders[2] / "log", knows_the_replica
        )

        async def follow(strategy):
            """Whether the master was asked, of the two servers."""
            line = f"{strategy} = true\n" if strategy else ""
            settings = f'[providers.redis]\nendpoints = ["127.0.0.1:{port.number}"]\n'
            settings += f'[providers.redis.sentinel]\nmasterName = "shop"\n{line}'
            async with following(settings, tmp_path) as provider:
                await do(kit.write, [A])
                await provider.until_routes(routes_of(A))
                await do(kit.write, [B])
                await provider.until_routes(routes_of(A, B))
                (clients,) = await do(kit.server.ask, ("CLIENT", "LIST", "TYPE", "pubsub"))
                await do(kit.remove, [A, B])
            return b"psubscribe" in clients

        async def main():
            assert await follow("")
            assert not await follow("replicaStrategy")
            await follow("randomStrategy")
            await follow("latencyStrategy")

        try:
            sentinel.start()
            trio.run(main)
        finally:
            sentinel.stop()
            replica.close()
            kit.close()
