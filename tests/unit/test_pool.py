"""The pool: lent once, limits hold, nothing dead is lent, nothing is lost when somebody is cancelled."""

from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from shared.config.dynamic import ForwardingTimeouts, ServersTransport
from shared.errors import ConnectFailed
from shared.headers import Headers
from worker.pool import DEFAULT_MAX_IDLE, Pools, make_settings
from worker.upstream import Origin

HOST = Headers([(b"Host", b"a")])


@asynccontextmanager
async def pool_of(transport=None, *, close_after_answer=False):
    transport = transport or ServersTransport(max_idle_conns_per_host=2)
    accepted = []
    with trio.fail_after(10_000):  # the clock is virtual: this is a deadlock, not a slow machine
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

            async def serve(stream):
                accepted.append(stream)
                async with stream:
                    try:
                        while await stream.receive_some():
                            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                            if close_after_answer:
                                return
                    except trio.BrokenResourceError:
                        return

            nursery.start_soon(trio.serve_listeners, serve, [listener])
            pools = Pools()
            origin = Origin("http", "127.0.0.1", listener.socket.getsockname()[1])
            pool = pools.get(origin, "t", transport)
            try:
                yield pool, pools, accepted
            finally:
                pools.close()
                nursery.cancel_scope.cancel()
            listener.socket.close()


async def exchange(link):
    link.begin("GET", "/", HOST)
    await link.send_end(None)
    head = await link.read_head(None)
    body = link.open_body(head)
    assert await body.receive() == b""


def run(scenario, **options):
    trio.run(scenario, **options)


def test_settings_follow_the_transport():
    assert make_settings(ServersTransport()).max_idle == DEFAULT_MAX_IDLE
    assert make_settings(ServersTransport(max_idle_conns_per_host=-1)).max_idle == 0
    timeouts = ForwardingTimeouts(dial_timeout=0, response_header_timeout=1, idle_conn_timeout=2)
    settings = make_settings(ServersTransport(max_idle_conns_per_host=7, forwarding_timeouts=timeouts))
    assert (settings.max_idle, settings.response_header_timeout_s, settings.idle_timeout_s) == (7, 1, 2)
    assert settings.dial_timeout_s == float("inf")


def test_the_connection_used_last_is_lent_first_and_the_limit_holds():
    async def scenario():
        async with pool_of() as (pool, _, accepted):
            links = [await pool.acquire() for _ in range(3)]
            assert (pool.lent, pool.idle_count) == (3, 0)
            for link in links:
                await exchange(link)
            assert (pool.lent, pool.idle_count) == (0, 2)
            assert [link.is_closed for link in links] == [False, False, True]
            again = await pool.acquire()
            assert again is links[1]
            assert again.is_reused
            assert len(accepted) == 3
            again.close()
            again.close()
            assert (pool.lent, pool.idle_count) == (0, 1)

    run(scenario)


def test_a_connection_that_ended_while_idle_is_not_lent():
    async def scenario():
        async with pool_of(close_after_answer=True) as (pool, _, accepted):
            link = await pool.acquire()
            await exchange(link)
            while link.is_alive():
                await trio.lowlevel.checkpoint()
            other = await pool.acquire()
            assert other is not link
            assert link.is_closed
            assert (pool.lent, pool.idle_count, len(accepted)) == (1, 0, 2)
            other.close()

    run(scenario)


def test_the_reaper_closes_what_is_old():
    async def scenario():
        transport = ServersTransport(forwarding_timeouts=ForwardingTimeouts(idle_conn_timeout=5))
        async with pool_of(transport) as (pool, pools, _):
            link = await pool.acquire()
            await exchange(link)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pools.run_reaper)
                await trio.sleep(4)
                assert not link.is_closed
                await trio.sleep(4)
                assert link.is_closed
                assert pool.idle_count == 0
                nursery.cancel_scope.cancel()

    run(scenario, clock=MockClock(autojump_threshold=0.05))


def test_pools_are_shared_by_transport_and_origin():
    pools = Pools()
    origin = Origin("http", "a", 80)
    pool = pools.get(origin, "t", ServersTransport())
    assert pools.get(Origin("http", "a", 80), "t", ServersTransport()) is pool
    assert pools.get(origin, "t", ServersTransport(max_idle_conns_per_host=3)) is not pool
    assert pools.get(origin, "u", ServersTransport()) is not pool


def test_failures_to_connect_lend_nothing():
    async def scenario():
        pools = Pools()
        with trio.socket.socket() as unused:
            await unused.bind(("127.0.0.1", 0))
            pool = pools.get(Origin("http", "127.0.0.1", unused.getsockname()[1]), "t", ServersTransport())
            with pytest.raises(ConnectFailed):
                await pool.acquire()
        secure = pools.get(Origin("https", "127.0.0.1", 1), "t", ServersTransport())
        with pytest.raises(ConnectFailed):
            await secure.acquire()
        assert (pool.lent, secure.lent) == (0, 0)

    run(scenario)
