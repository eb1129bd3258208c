"""The Consul catalog against a stand-in: health, maintenance, rights that are lost, and falling indexes."""

import functools

import pytest
import trio

from master import provider_feed
from tests.support.consul.server import ConsulStandIn
from tests.support.following import following
from tests.support.ports import reserve_port

pytestmark = pytest.mark.integration

TOKEN = "00000000-0000-4000-8000-0000000000bb"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(provider_feed, "FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(provider_feed, "MAX_RETRY_S", 0.3)


@pytest.fixture
def consul():
    with reserve_port() as port:
        server = ConsulStandIn(port.number)
        server.start()
        yield server
        server.stop(gracefully=False)


def register(consul, name, port, status="passing", **more):
    check = {"CheckID": f"check-{name}-{port}", "TTL": "10m", "Status": status}
    definition = {"ID": f"{name}-{port}", "Name": name, "Address": "127.0.0.1", "Port": port, "Check": check}
    consul.catalog.register({**definition, "Tags": ["traefik.enable=true"], **more})


def settings(consul, more="", endpoint=""):
    return (
        "[providers.consulCatalog]\nwatch = true\nexposedByDefault = false\n"
        'defaultRule = "Host(`{{ .Name }}.test`)"\n'
        f'{more}[providers.consulCatalog.endpoint]\naddress = "127.0.0.1:{consul.port}"\n{endpoint}'
    )


def v1_settings(consul):
    return (
        f'[consulCatalog]\nendpoint = "127.0.0.1:{consul.port}"\ndomain = "test"\nexposedByDefault = false\n'
    )


def do(function, *args):
    return trio.to_thread.run_sync(functools.partial(function, *args))


def served(*ports):
    return {"shop.test": [f"http://127.0.0.1:{port}" for port in ports]} if ports else {}


@pytest.mark.parametrize(("make", "with_warning"), [(settings, True), (v1_settings, False)], ids=["v2", "v1"])
def test_health_decides_who_is_served(consul, tmp_path, make, with_warning):
    async def main():
        register(consul, "shop", 8001)
        register(consul, "shop", 8002)
        async with following(make(consul), tmp_path) as provider:
            await provider.until_routes(served(8001, 8002))
            await do(consul.catalog.set_check, "check-shop-8001", "critical")
            await provider.until_routes(served(8002))
            await do(consul.catalog.set_check, "check-shop-8001", "passing")
            await provider.until_routes(served(8001, 8002))
            await do(consul.catalog.set_maintenance, "shop-8002", True)
            await provider.until_routes(served(8001))
            await do(consul.catalog.set_maintenance, "shop-8002", False)
            await do(consul.catalog.set_check, "check-shop-8001", "warning")
            await provider.until_routes(served(8001, 8002) if with_warning else served(8002))
            await do(consul.catalog.set_check, "check-shop-8002", "critical")
            await provider.until_routes(served(8001) if with_warning else served())

    trio.run(main)


def test_only_passing_instances_when_asked_for(consul, tmp_path):
    async def main():
        register(consul, "shop", 8001, "warning")
        register(consul, "shop", 8002)
        async with following(settings(consul, 'strictChecks = ["passing"]\n'), tmp_path) as provider:
            await provider.until_routes(served(8002))

    trio.run(main)


def test_a_token_that_lost_its_rights_takes_no_routes(consul, tmp_path):
    async def main():
        consul.tokens = {TOKEN: ()}
        register(consul, "shop", 8001)
        async with following(settings(consul, endpoint=f'token = "{TOKEN}"\n'), tmp_path) as provider:
            await provider.until_routes(served(8001))
            # The stand-in says {} to who has no rights: here by taking its own name out of the list, too.
            names = consul.catalog.names
            consul.catalog.names = dict
            await do(register, consul, "shop", 8002)
            failure = await provider.until_failed()
            assert "may the token still read services" in failure
            assert TOKEN not in failure
            assert await provider.routes() == served(8001)
            consul.catalog.names = names
            await provider.until_routes(served(8001, 8002))

    trio.run(main)


def test_a_cluster_that_starts_again_low_is_followed(consul, tmp_path):
    async def main():
        for _ in range(50):
            register(consul, "shop", 8001)
        async with following(settings(consul), tmp_path) as provider:
            await provider.until_routes(served(8001))
            await do(consul.stop)
            consul.catalog.services.clear()
            consul.table.wipe()
            consul.catalog.names_index = consul.catalog.checks_index = consul.table.index = 5
            await do(consul.start)
            await do(register, consul, "shop", 8003)
            await provider.until_routes(served(8003))
            await do(register, consul, "shop", 8004)
            await provider.until_routes(served(8003, 8004))

    trio.run(main)


def test_no_leader_is_a_failure(consul, tmp_path):
    async def main():
        register(consul, "shop", 8001)
        async with following(settings(consul), tmp_path) as provider:
            await provider.until_routes(served(8001))
            consul.has_leader = False
            await do(register, consul, "shop", 8002)
            assert "500 No cluster leader" in await provider.until_failed()
            assert await provider.routes() == served(8001)
            consul.has_leader = True
            await provider.until_routes(served(8001, 8002))

    trio.run(main)
