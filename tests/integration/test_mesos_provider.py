"""The Mesos provider against stand-ins: leaders and standbys, masters just elected, and ZooKeeper's word."""

import contextlib
import functools
import json

import pytest
import trio

from master import provider_feed
from tests.support.following import following
from tests.support.kits.zookeeper import ZooKeeperKit, ZooKeeperServer
from tests.support.mesos import MesosStandIn, make_task
from tests.support.ports import reserve_port

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(provider_feed, "FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(provider_feed, "MAX_RETRY_S", 0.3)


@contextlib.contextmanager
def masters(number):
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(number):
            master = MesosStandIn(stack.enter_context(reserve_port()).number)
            stack.callback(master.stop)
            master.start()
            found.append(master)
        yield found


def settings(endpoint):
    return f'[mesos]\nendpoint = "{endpoint}"\ndomain = "test"\nrefreshSeconds = 1\n'


def do(function, *args):
    return trio.to_thread.run_sync(functools.partial(function, *args))


A, B = {"a.test": ["http://127.0.0.1:8001"]}, {"b.test": ["http://127.0.0.1:8002"]}


@pytest.mark.parametrize("is_old", [False, True])
def test_the_leader_is_found_from_any_master(tmp_path, is_old):
    async def main():
        with masters(2) as (standby, leader):
            standby.is_old = leader.is_old = is_old
            standby.leader = f"127.0.0.1:{leader.port}"
            leader.tasks["a"] = make_task("a", {}, 8001)
            async with following(settings(f"{standby.url},{leader.url}"), tmp_path) as provider:
                await provider.until_routes(A)
                # The two change their places.
                standby.tasks["b"] = make_task("b", {}, 8002)
                standby.leader, leader.leader = "", f"127.0.0.1:{standby.port}"
                await provider.until_routes(B)

    trio.run(main)


@pytest.mark.parametrize("fault", ["no leader", "just elected", "page"])
def test_a_state_that_is_none_never_means_no_tasks(tmp_path, fault):
    async def main():
        with masters(1) as (one,):
            one.tasks["a"] = make_task("a", {}, 8001)
            async with following(settings(one.url), tmp_path) as provider:
                await provider.until_routes(A)
                one.fault = fault
                await provider.until_failed()
                assert await provider.routes() == A
                one.tasks["b"] = make_task("b", {}, 8002)
                one.fault = ""
                await provider.until_routes(A | B)

    trio.run(main)


@pytest.mark.skipif(bool(ZooKeeperKit.missing()), reason=ZooKeeperKit.missing())
def test_zookeeper_says_who_leads(tmp_path):
    async def main():
        server = ZooKeeperServer(tmp_path)
        try:
            await do(server.start)
            with masters(2) as (one, two):
                one.tasks["a"], two.tasks["b"] = make_task("a", {}, 8001), make_task("b", {}, 8002)
                port = server.port.number
                async with following(settings(f"zk://127.0.0.1:{port}/mesos"), tmp_path) as provider:
                    assert "cannot be asked" in await provider.until_failed()
                    paths = [await do(register, server, each) for each in (one, two)]
                    await provider.until_routes(A)
                    await do(server.client.delete, paths[0])
                    await do(one.stop)
                    await provider.until_routes(B)
        finally:
            await do(server.stop)
            server.port.release()

    trio.run(main)


def register(server, master):
    info = json.dumps({"address": {"hostname": "master", "ip": "127.0.0.1", "port": master.port}}).encode()
    return server.client.create("/mesos/json.info_", info, makepath=True, sequence=True)
