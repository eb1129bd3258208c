"""The pool over HTTP/2: one connection for many, another where it is full, and nothing lost in between."""

import contextlib
from contextlib import asynccontextmanager

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import pytest
import trio
import trio.testing

from shared.config.dynamic import ServersTransport
from shared.errors import ConnectFailed, UpstreamError
from shared.headers import Headers
from worker.h2.stream_link import StreamLink
from worker.pool import MAX_LENT, Pools
from worker.upstream import Origin, UpstreamConnection

HOST = Headers([(b"Host", b"a")])


class Server:
    """Answers every request once ``release`` is set, and takes so many streams at once."""

    def __init__(self, most_streams=100):
        self.most_streams = most_streams
        self.connections = 0
        self.release = trio.Event()
        self.listening = trio.Event()

    async def serve(self, stream):
        self.connections += 1
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        state.local_settings = h2.settings.Settings(
            client=False, initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.most_streams}
        )
        state.initiate_connection()
        await stream.send_all(state.data_to_send())
        try:
            while data := await stream.receive_some():
                for event in state.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        await self.release.wait()
                        with contextlib.suppress(h2.exceptions.ProtocolError):  # given up meanwhile
                            state.send_headers(event.stream_id, [(":status", "200")], end_stream=True)
                await stream.send_all(state.data_to_send())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


@asynccontextmanager
async def pool_of(server, transport=ServersTransport()):  # noqa: B008 - it is frozen
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, server.serve, [listener])
            pools = Pools()
            nursery.start_soon(pools.run_reaper)
            await trio.testing.wait_all_tasks_blocked()
            yield pools.get(Origin("h2c", "127.0.0.1", listener.socket.getsockname()[1]), "t", transport)
            nursery.cancel_scope.cancel()


async def ask(link):
    link.begin("GET", "/", HOST)
    await link.send_end(None)
    head = await link.read_head(lambda *_: None)
    await link.open_body(head).receive()
    return head.status


def free_places(pool):
    return pool._room.value


def test_exchanges_that_come_together_share_the_connection_that_the_first_one_makes():
    async def scenario():
        server = Server()
        server.release.set()
        async with pool_of(server) as pool:
            statuses = []

            async def exchange():
                statuses.append(await ask(await pool.acquire()))

            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(exchange)
            assert statuses == [200] * 10
            assert server.connections == 1
            assert (pool.lent, free_places(pool)) == (0, MAX_LENT)

    trio.run(scenario)


def test_a_full_connection_is_joined_by_another():
    async def scenario():
        server = Server(most_streams=1)
        async with pool_of(server) as pool:
            first = await pool.acquire()
            assert isinstance(first, StreamLink)
            first.begin("GET", "/", HOST)
            await first.send_end(None)
            with trio.move_on_after(20):
                while first._wire.state.remote_settings.max_concurrent_streams != 1:
                    await trio.testing.wait_all_tasks_blocked(0.01)
            second = await pool.acquire()
            assert second._wire is not first._wire
            for link in (first, second):
                link.close()
            assert (pool.lent, free_places(pool)) == (0, MAX_LENT)

    trio.run(scenario)


def test_who_waits_for_a_connection_fails_with_it():
    async def scenario():
        pools = Pools()
        with trio.socket.socket() as unused:
            await unused.bind(("127.0.0.1", 0))
            pool = pools.get(Origin("h2c", "127.0.0.1", unused.getsockname()[1]), "t", ServersTransport())
            failures = []

            async def fail():
                with pytest.raises(ConnectFailed) as failure:
                    await pool.acquire()
                failures.append(str(failure.value))

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(fail)
        assert len(set(failures)) == 1
        assert (pool.lent, free_places(pool)) == (0, MAX_LENT)

    trio.run(scenario)


@pytest.mark.parametrize("steps", range(12))
def test_a_cancellation_anywhere_gives_the_place_back(steps):
    async def scenario():
        server = Server()
        async with pool_of(server) as pool:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def exchange():
                        link = await pool.acquire()
                        try:
                            await ask(link)
                        finally:
                            link.close()

                    nursery.start_soon(exchange)
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            assert (pool.lent, free_places(pool)) == (0, MAX_LENT)
            server.release.set()
            assert await ask(await pool.acquire()) == 200

    trio.run(scenario)


def test_a_change_of_protocol_has_a_connection_of_its_own():
    async def scenario():
        async with pool_of(Server()) as pool:
            link = await pool.acquire(needs_http1=True)
            assert isinstance(link, UpstreamConnection)
            link.close()

    trio.run(scenario)


def test_without_a_worker_there_is_no_shared_connection():
    async def scenario():
        async with pool_of(Server()) as pool:
            lonely = Pools().get(pool.origin, "t", ServersTransport())
            with pytest.raises(UpstreamError, match="no more connections"):
                await lonely.acquire()
            assert (lonely.lent, free_places(lonely)) == (0, MAX_LENT)

    trio.run(scenario)
