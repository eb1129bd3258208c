"""Tunnels: every byte arrives, ends are passed on, delays hold, and no descriptor is left."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack

import pytest
import trio
import trio.testing

from worker.tcp.relay import Pipes, Tally, relay_sockets, relay_streams


class Stage:
    """Two connected pairs: ``client`` and ``server`` are outside, their other ends the tunnel's."""

    def __init__(self, stack):
        self.client, self.near = (stack.enter_context(each) for each in _pair())
        self.far, self.server = (stack.enter_context(each) for each in _pair())
        self.pipes = Pipes()
        stack.callback(self.pipes.close)
        self.tally = Tally()

    async def relay(self, kind, delay_s=1.0):
        if kind == "sockets":
            await relay_sockets(self.near, self.far, delay_s, self.tally, self.pipes)
        else:
            await relay_streams(_stream(self.near), _stream(self.far), delay_s, self.tally)


def _pair():
    """Over TCP, as splice and resets are looked at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    for each in (one, other):
        each.setblocking(False)
    return one, other


def _stream(sock):
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


async def read_all(sock):
    data = b""
    while True:
        try:
            more = sock.recv(65_536)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            continue
        if not more:
            return data
        data += more


async def send_all(sock, data):
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
    sock.shutdown(socket.SHUT_WR)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def run(test, *args):
    """Run with a limit, and see that nothing stays open."""
    before = descriptors()

    async def limited():
        with trio.fail_after(30), ExitStack() as stack:
            await test(Stage(stack), *args)

    trio.run(limited)
    assert descriptors() == before


@pytest.mark.parametrize("kind", ["sockets", "streams"])
@pytest.mark.parametrize("size", [0, 1, 65_536, 5_000_000])
def test_both_directions_arrive_whole(kind, size):
    async def test(stage):
        up, down = os.urandom(size), os.urandom(size)
        got = {}

        async def receive(name, sock):
            got[name] = await read_all(sock)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.relay, kind, 20.0)
            nursery.start_soon(send_all, stage.client, up)
            nursery.start_soon(send_all, stage.server, down)
            nursery.start_soon(receive, "up", stage.server)
            nursery.start_soon(receive, "down", stage.client)
        assert (got["up"] == up, got["down"] == down) == (True, True)
        assert (stage.tally.bytes_in, stage.tally.bytes_out) == (size, size)

    run(test)


@pytest.mark.parametrize("kind", ["sockets", "streams"])
def test_the_end_of_one_side_leaves_the_other_its_time(kind):
    async def test(stage):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.relay, kind, 20.0)
            await send_all(stage.client, b"question")
            assert await read_all(stage.server) == b"question"
            await send_all(stage.server, b"answer")
            assert await read_all(stage.client) == b"answer"

    run(test)


@pytest.mark.parametrize("kind", ["sockets", "streams"])
@pytest.mark.parametrize("delay_s", [0.0, 0.05])
def test_after_the_delay_a_silent_direction_is_over(kind, delay_s):
    async def test(stage):
        stage.client.shutdown(socket.SHUT_WR)
        await stage.relay(kind, delay_s)  # returns, though the server neither speaks nor ends

    run(test)


@pytest.mark.parametrize("kind", ["sockets", "streams"])
def test_a_reset_of_one_side_ends_both(kind):
    async def test(stage):
        stage.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        stage.client.close()
        await stage.relay(kind, float("inf"))

    run(test)


@pytest.mark.parametrize("kind", ["sockets", "streams"])
def test_a_receiver_that_takes_nothing_holds_the_sender_back(kind):
    async def test(stage):
        sent = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.relay, kind, 1.0)
            with trio.move_on_after(0.5):
                while True:
                    try:
                        sent += stage.client.send(bytes(65_536))
                    except BlockingIOError:
                        await trio.lowlevel.wait_writable(stage.client)
            assert stage.tally.bytes_in <= sent
            nursery.cancel_scope.cancel()
        assert sent < 64 * 1_048_576  # what four kernel buffers and a pipe may hold, with room to spare

    run(test)


def test_a_tunnel_that_is_cut_while_bytes_wait_leaves_no_pipe():
    async def test(stage):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.relay, "sockets")
            with trio.move_on_after(0.3):
                while True:
                    try:
                        stage.client.send(bytes(65_536))
                    except BlockingIOError:
                        await trio.lowlevel.wait_writable(stage.client)
            nursery.cancel_scope.cancel()
        assert len(stage.pipes._spare) <= 2

    run(test)


def test_pipes_with_bytes_in_them_are_not_used_again():
    pipes = Pipes()
    one = pipes.take()
    os.write(one[1], b"left")
    pipes.give_back(one, is_empty=False)
    two = pipes.take()
    pipes.give_back(two, is_empty=True)
    assert pipes.take() == two
    with pytest.raises(BlockingIOError):
        os.read(two[0], 1)
    pipes.give_back(two, is_empty=True)
    pipes.close()
