"""The Marathon provider against a stand-in: several masters, redirects, credentials, odd streams, faults."""

import contextlib
import functools
import logging

import pytest
import trio

from master import provider_feed
from tests.support.following import following
from tests.support.marathon import MarathonStandIn, make_app
from tests.support.ports import reserve_port
from tests.support.snapshots import condition_met

pytestmark = pytest.mark.integration

SECRET = "s3cret-Passw0rd"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(provider_feed, "FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(provider_feed, "MAX_RETRY_S", 0.3)


@contextlib.contextmanager
def masters(number):
    """Stand-ins that share their applications, as masters of one cluster do."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(number):
            port = stack.enter_context(reserve_port())
            master = MarathonStandIn(port.number)
            stack.callback(master.stop)
            master.apps = found[0].apps if found else master.apps
            master.start()
            found.append(master)
        yield found


def settings(*masters, more=""):
    endpoints = ",".join([masters[0].url, *(each.url.removeprefix("http://") for each in masters[1:])])
    return f'[marathon]\nendpoint = "{endpoints}"\ndomain = "test"\n{more}'


def do(function, *args):
    return trio.to_thread.run_sync(functools.partial(function, *args))


def routes_of(*names):
    return {f"{name}.test": [f"http://127.0.0.1:{port}"] for name, port in names}


def test_another_master_is_asked_when_one_goes(tmp_path):
    async def main():
        with masters(3) as (one, two, three):
            two.stop()
            one.put(make_app("/a", {}, 8001))
            async with following(settings(one, two, three), tmp_path) as provider:
                await provider.until_routes(routes_of(("a", 8001)))
                await do(one.stop)
                await do(three.put, make_app("/b", {}, 8002))
                await provider.until_routes(routes_of(("a", 8001), ("b", 8002)))
                assert three.streams
                await do(three.stop)
                urls = [each.url for each in (one, two, three)]
                await condition_met(lambda: all(each in provider.feed.failure for each in urls))
                assert await provider.routes() == routes_of(("a", 8001), ("b", 8002))
                await do(two.start)
                await do(two.remove, "/a")
                await provider.until_routes(routes_of(("b", 8002)))

    trio.run(main)


@pytest.mark.parametrize("is_known", [True, False])
def test_the_stream_is_followed_to_the_leader(tmp_path, is_known):
    async def main():
        with masters(2) as (standby, leader):
            standby.leader = leader.url
            known = [standby, leader] if is_known else [standby]
            if is_known:
                standby.credentials = leader.credentials = f"proxy:{SECRET}"
            basic = f'[marathon.basic]\nhttpBasicAuthUser = "proxy"\nhttpBasicPassword = "{SECRET}"\n'
            async with following(settings(*known, more=basic), tmp_path) as provider:
                await provider.until_routes({})
                await do(leader.put, make_app("/a", {}, 8001))
                await provider.until_routes(routes_of(("a", 8001)))
                assert leader.requests == ["/v2/events"]

    trio.run(main)


def test_credentials_are_not_taken_to_a_stranger(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)

    async def main():
        with masters(2) as (standby, stranger):
            standby.leader = stranger.url
            standby.credentials = stranger.credentials = SECRET
            token = f'dcosToken = "{SECRET}"\n'
            async with following(settings(standby, more=token), tmp_path) as provider:
                failure = await provider.until_failed()
                assert "/v2/events: answered 401 (a page)" in failure
                assert SECRET not in failure

    trio.run(main)
    assert SECRET not in caplog.text


@pytest.mark.parametrize("fault", ["no leader", "page"])
def test_an_answer_that_is_none_never_means_no_applications(tmp_path, fault):
    async def main():
        with masters(1) as (one,):
            one.put(make_app("/a", {}, 8001))
            async with following(settings(one), tmp_path) as provider:
                await provider.until_routes(routes_of(("a", 8001)))
                one.fault = fault
                await do(one.end_streams)
                await provider.until_failed()
                assert await provider.routes() == routes_of(("a", 8001))
                one.fault = ""
                await do(one.put, make_app("/b", {}, 8002))
                await provider.until_routes(routes_of(("a", 8001), ("b", 8002)))

    trio.run(main)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"event: status_update_event\r", b"\ndata: {not json\r\n", b"\r", b"\n"],
        [b"event:instance_changed_event\ndata:", b"{}\n\n"],
        [b": comment\n\ndata: {}\n\n"],
    ],
    ids=["broken JSON, cut line ends", "no blanks", "no type"],
)
def test_odd_events_make_it_ask_again(tmp_path, pieces):
    async def main():
        with masters(1) as (one,):
            async with following(settings(one), tmp_path) as provider:
                await provider.until_routes({})
                one.apps["/a"] = make_app("/a", {}, 8001)  # without an event
                for piece in pieces:
                    one.send_raw(piece)
                await provider.until_routes(routes_of(("a", 8001)))

    trio.run(main)


def test_events_that_mean_nothing_cost_nothing(tmp_path):
    async def main():
        with masters(1) as (one,):
            async with following(settings(one), tmp_path) as provider:
                await provider.until_routes({})
                one.apps["/a"] = make_app("/a", {}, 8001)
                asked = one.requests.count("/v2/apps")
                for _ in range(50):
                    one.send("subscribe_event", {})
                one.send("framework_message_event", {})
                one.apps["/b"] = make_app("/b", {}, 8002)
                one.send("deployment_success", {})
                await provider.until_routes(routes_of(("a", 8001), ("b", 8002)))
                assert one.requests.count("/v2/apps") == asked + 1

    trio.run(main)
