"""What every provider owes, shown with its real server (or a stand-in): one suite, one kit per provider.

Routes follow the server; a server that stops, a network that breaks or falls silent, values that make no
sense, trees that are half written and passwords that are wrong cost nothing but what they are about, say so
clearly, and are over by themselves when their cause is.
"""

import contextlib
import functools
import logging

import pytest
import trio

from master import provider_feed
from tests.support.following import following
from tests.support.forwarder import Forwarder
from tests.support.kits import KITS, kit_class
from tests.support.kits.base import Route

IMPATIENT_S = 0.3
SECRET = "s3cret-Passw0rd"

A = Route("a", "a.test", "http://127.0.0.1:8001")
B = Route("b", "b.test", "http://127.0.0.1:8002")
C = Route("c", "c.test", "http://127.0.0.1:8003")


@pytest.fixture(scope="module", params=sorted(KITS))
def running_kit(request, tmp_path_factory):
    kind = kit_class(request.param)
    missing = kind.missing()
    if missing:
        pytest.skip(missing)
    kit = kind(tmp_path_factory.mktemp(request.param))
    try:
        yield kit
    finally:
        kit.close()


@pytest.fixture
def kit(running_kit, monkeypatch):
    """The kit with its server running and empty, and a provider that does not wait long between attempts."""
    monkeypatch.setattr(provider_feed, "FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(provider_feed, "MAX_RETRY_S", IMPATIENT_S)
    running_kit.start()
    running_kit.clear()
    return running_kit


def routes_of(*routes):
    return {each.host: [each.url] for each in routes}


def do(function, *args):
    """Call into a kit, which blocks."""
    return trio.to_thread.run_sync(functools.partial(function, *args))


def run(main):
    trio.run(main)


@contextlib.asynccontextmanager
async def followed(kit, tmp_path, password=""):
    """The provider on the server itself."""
    async with following(kit.settings(*kit.address, password), tmp_path) as provider:
        yield provider


@contextlib.asynccontextmanager
async def followed_over_network(kit, tmp_path):
    """The provider behind a network that can fail."""
    if not kit.has_network:
        pytest.skip(f"{kit.provider}: there is no network to cut")
    network = Forwarder(lambda: kit.address)
    await network.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.run)
        async with following(kit.settings(*network.address), tmp_path) as provider:
            yield provider, network
        nursery.cancel_scope.cancel()


def test_first_sync_then_every_change(kit, tmp_path):
    async def main():
        await do(kit.write, [A, B])
        async with followed(kit, tmp_path) as provider:
            await provider.until_routes(routes_of(A, B))
            assert await provider.problems() == []
            await do(kit.write, [C])
            await provider.until_routes(routes_of(A, B, C))
            moved = A._replace(url="http://127.0.0.1:9001")
            await do(kit.write, [moved])
            await provider.until_routes(routes_of(moved, B, C))
            await do(kit.remove, [B])
            await provider.until_routes(routes_of(moved, C))

    run(main)


def test_an_empty_server_says_nothing_and_a_cleared_one_clears(kit, tmp_path):
    async def main():
        async with followed(kit, tmp_path) as provider:
            await provider.until_routes({})
            assert provider.feed.is_heard
            await do(kit.write, [A])
            await provider.until_routes(routes_of(A))
            await do(kit.remove, [A])
            await provider.until_routes({})

    run(main)


def test_a_server_that_is_away_at_the_start(kit, tmp_path):
    async def main():
        await do(kit.write, [A])
        settings = kit.settings(*kit.address)
        await do(kit.stop)
        async with following(settings, tmp_path) as provider:
            assert await provider.until_failed()
            assert provider.history == []
            await do(kit.start)
            await provider.until_routes(routes_of(A))
            assert provider.feed.failure == ""

    if not kit.has_network:
        pytest.skip(f"{kit.provider}: there is no server to be away")
    run(main)


def test_a_server_that_is_restarted(kit, tmp_path):
    async def main():
        await do(kit.write, [A])
        async with followed(kit, tmp_path) as provider:
            await provider.until_routes(routes_of(A))
            await do(kit.stop)
            assert await provider.until_failed()
            assert await provider.routes() == routes_of(A)
            assert len(provider.history) == 1
            await do(kit.start)
            await do(kit.write, [B])
            await provider.until_routes(routes_of(A, B))
            assert provider.feed.failure == ""

    if not kit.has_network:
        pytest.skip(f"{kit.provider}: there is no server to stop")
    run(main)


def test_a_network_that_is_cut(kit, tmp_path):
    async def main():
        await do(kit.write, [A, B])
        async with followed_over_network(kit, tmp_path) as (provider, network):
            await provider.until_routes(routes_of(A, B))
            network.cut()
            assert await provider.until_failed()
            await do(kit.write, [C])
            await do(kit.remove, [B])
            assert await provider.routes() == routes_of(A, B)
            network.heal()
            await provider.until_routes(routes_of(A, C))
            assert provider.feed.failure == ""

    run(main)


def test_a_network_that_falls_silent(kit, tmp_path, monkeypatch):
    kit.make_impatient(lambda name, seconds: monkeypatch.setattr(name, seconds))

    async def main():
        await do(kit.write, [A])
        async with followed_over_network(kit, tmp_path) as (provider, network):
            await provider.until_routes(routes_of(A))
            network.silence()
            await do(kit.write, [B])
            await provider.until_routes(routes_of(A, B))

    run(main)


def test_a_bad_value_costs_its_own_route_only(kit, tmp_path):
    async def main():
        await do(kit.write, [A, B])
        async with followed(kit, tmp_path) as provider:
            await provider.until_routes(routes_of(A, B))
            said = await do(kit.spoil, B)
            await provider.until_problem(said)
            assert (await provider.routes())[A.host] == [A.url]
            await do(kit.write, [C])
            await provider.until_routes({**await provider.routes(), **routes_of(C)})
            await do(kit.remove, [B])
            await do(kit.write, [B])
            await provider.until_sound(routes_of(A, B, C))

    run(main)


def test_a_tree_that_is_half_written(kit, tmp_path):
    async def main():
        await do(kit.write, [A])
        async with followed(kit, tmp_path) as provider:
            await provider.until_routes(routes_of(A))
            await do(kit.write_half, B)
            await do(kit.write, [C])
            await provider.until_routes(routes_of(A, C))
            await do(kit.write, [B])
            await provider.until_sound(routes_of(A, B, C))

    if not kit.is_written_by_parts:
        pytest.skip(f"{kit.provider}: its routes are written whole")
    run(main)


def test_many_routes(kit, tmp_path):
    many = [
        Route(f"r{number}", f"h{number}.test", f"http://127.0.0.1:{10_000 + number}")
        for number in range(kit.many)
    ]

    async def main():
        await do(kit.write, many)
        async with followed(kit, tmp_path) as provider:
            await provider.until_routes(routes_of(*many))
            changed = many[-1]._replace(url="http://127.0.0.1:9")
            await do(kit.write, [changed])
            await provider.until_routes(routes_of(*many[:-1], changed))

    run(main)


def test_wrong_credentials(kit, tmp_path, caplog):
    async def main():
        await do(kit.write, [A])
        await do(kit.set_password, SECRET)
        async with followed(kit, tmp_path, SECRET) as provider:
            await provider.until_routes(routes_of(A))
            await do(kit.set_password, f"other than {SECRET}")
            failure = await provider.until_failed()
            assert SECRET not in failure
            assert await provider.routes() == routes_of(A)
            assert len(provider.history) == 1
            await do(kit.set_password, SECRET)
            await do(kit.write, [B])
            await provider.until_routes(routes_of(A, B))
        async with followed(kit, tmp_path, "wrong") as provider:
            assert await provider.until_failed()
            assert provider.history == []

    if not kit.has_passwords:
        pytest.skip(f"{kit.provider}: it knows no passwords")
    caplog.set_level(logging.DEBUG)
    run(main)
    assert SECRET not in caplog.text
    assert "wrong" not in [word for record in caplog.records for word in record.getMessage().split()]
