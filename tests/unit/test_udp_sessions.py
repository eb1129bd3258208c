"""UDP sessions: bounded, ended when idle, drained, and moved on when a server is not there."""

from __future__ import annotations

import contextlib
import os
import socket
from contextlib import ExitStack, asynccontextmanager

import pytest
import trio
import trio.testing

from shared.arena import Arena
from shared.cells import ServerCell
from worker.udp.services import UdpRoute, UdpTarget
from worker.udp.sessions import UdpSessions


class Bench:
    """An entrypoint's socket, a server's, and the sessions between them."""

    def __init__(self, stack, timeout_s=60.0, limit=100, host="127.0.0.1"):
        self.listener, self.server = (stack.enter_context(_bound()) for _ in range(2))
        self.stack = stack
        arena = Arena.create(1)
        stack.callback(arena.close)
        self.block = arena.claim("udp-server", "s")
        self.target = UdpTarget(f"{host}:{self.server.getsockname()[1]}", self.block)
        self.route = UdpRoute("r", self)
        self.sessions = UdpSessions(self.listener, "dns", timeout_s, lambda: self.route, limit)

    def choose(self):
        """As an endpoint: always the one server."""
        return self.target

    def client(self):
        sock = self.stack.enter_context(_bound())
        sock.connect(self.listener.getsockname())
        return sock

    @asynccontextmanager
    async def running(self):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sessions.run)
            nursery.start_soon(self.sessions.accept)
            yield nursery
            nursery.cancel_scope.cancel()


def _bound():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


async def receive(sock):
    while True:
        try:
            return sock.recvfrom(65_535)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)


async def until(condition):
    while not condition():  # noqa: ASYNC110  # cells of the arena tell nobody that they changed
        await trio.sleep(0.005)


def descriptors():
    """Sockets and epoll instances that are open; the arena's memory goes when nobody refers to it."""
    found = []
    for each in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found.append(os.readlink(f"/proc/self/fd/{each}"))
    return sorted(each for each in found if "penstock-arena" not in each and "/proc/" not in each)


def run(test, **options):
    before = descriptors()

    async def limited():
        with trio.fail_after(30), ExitStack() as stack:
            await test(Bench(stack, **options))

    trio.run(limited)
    assert descriptors() == before


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_datagrams_go_there_and_back(host):
    async def test(bench):
        async with bench.running():
            client = bench.client()
            for number in range(3):
                client.send(b"q%d" % number)
            for number in range(3):
                data, session = await receive(bench.server)
                assert data == b"q%d" % number
            bench.server.sendto(b"answer", session)
            assert (await receive(client))[0] == b"answer"
            await until(lambda: bench.block.sum(ServerCell.BYTES_OUT) == 6)
            assert bench.sessions.count == 1
            assert bench.block.sum(ServerCell.IN_FLIGHT) == 1
            assert bench.block.sum(ServerCell.BYTES_IN) == 6

    run(test, host=host)


def test_beyond_the_limit_other_clients_are_dropped_and_known_ones_are_served():
    async def test(bench):
        async with bench.running():
            clients = [bench.client() for _ in range(3)]
            for client in clients:
                client.send(b"new")
            for _ in range(2):
                await receive(bench.server)
            clients[0].send(b"again")
            assert (await receive(bench.server))[0] == b"again"
            assert bench.sessions.count == 2

    run(test, limit=2)


def test_a_silent_session_ends_and_its_place_is_free():
    async def test(bench):
        async with bench.running():
            first, second = bench.client(), bench.client()
            first.send(b"1")
            await receive(bench.server)
            await until(lambda: bench.sessions.count == 0)
            second.send(b"2")
            assert (await receive(bench.server))[0] == b"2"
        assert bench.block.sum(ServerCell.IN_FLIGHT) == 0

    run(test, limit=1, timeout_s=0.05)


def test_a_server_that_refuses_ends_the_session():
    async def test(bench):
        async with bench.running():
            bench.server.close()
            client = bench.client()
            client.send(b"1")
            await until(lambda: bench.block.sum(ServerCell.NETWORK_ERRORS) > 0)
            await until(lambda: bench.sessions.count == 0)

    run(test)


def test_without_a_route_or_a_server_datagrams_are_dropped():
    async def test(bench):
        async with bench.running():
            client = bench.client()
            target, bench.target = bench.target, None
            client.send(b"lost")
            await trio.testing.wait_all_tasks_blocked(0.05)
            route, bench.route, bench.target = bench.route, None, target
            client.send(b"lost too")
            await trio.testing.wait_all_tasks_blocked(0.05)
            bench.route = route
            client.send(b"found")
            assert (await receive(bench.server))[0] == b"found"

    run(test)


def test_a_name_without_an_address_ends_the_session():
    async def test(bench):
        bench.target.host = "does-not-exist.invalid"
        async with bench.running():
            bench.client().send(b"1")
            await until(lambda: bench.block.sum(ServerCell.REQUESTS) == 1)
            await until(lambda: bench.sessions.count == 0)

    run(test)


def test_draining_ends_with_the_last_session_and_answers_until_then():
    async def test(bench):
        client = bench.client()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.sessions.run)
            async with trio.open_nursery() as acceptors:
                acceptors.start_soon(bench.sessions.accept)
                client.send(b"q")
                _, session = await receive(bench.server)
                acceptors.cancel_scope.cancel()
            bench.sessions.begin_drain()
            bench.server.sendto(b"late", session)
            assert (await receive(client))[0] == b"late"
        assert bench.sessions.count == 0  # ``run`` returned by itself

    run(test, timeout_s=0.2)


def test_draining_ends_after_the_grace():
    async def test(bench):
        bench.sessions = UdpSessions(bench.listener, "dns", 60.0, lambda: bench.route, 10, 0.05)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.sessions.run)
            async with trio.open_nursery() as acceptors:
                acceptors.start_soon(bench.sessions.accept)
                bench.client().send(b"q")
                await receive(bench.server)
                acceptors.cancel_scope.cancel()
            bench.sessions.begin_drain()
        assert bench.sessions.count == 0

    run(test)


def test_draining_without_sessions_ends_at_once():
    async def test(bench):
        bench.sessions.begin_drain()
        await bench.sessions.run()

    run(test)


@pytest.mark.parametrize(
    ("host", "asked"),
    [("0.0.0.0", "127.0.0.9"), ("::", "127.0.0.9"), ("::", "::1"), ("127.0.0.1", "127.0.0.1")],
)
def test_answers_come_from_the_address_that_was_asked(host, asked):
    async def test(bench):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bench.listener = bench.stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        if host == "::":
            bench.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bench.listener.bind((host, 0))
        bench.listener.setblocking(False)
        bench.sessions = UdpSessions(bench.listener, "dns", 60.0, lambda: bench.route)
        async with bench.running():
            for _ in range(2):
                client = bench.stack.enter_context(
                    socket.socket(socket.AF_INET6 if ":" in asked else socket.AF_INET, socket.SOCK_DGRAM)
                )
                client.setblocking(False)
                client.connect((asked, bench.listener.getsockname()[1]))  # hears nobody else
                client.send(b"q")
                _, session = await receive(bench.server)
                bench.server.sendto(b"a", session)
                assert (await receive(client))[0] == b"a"
            assert bench.sessions.count == 2

    run(test)
