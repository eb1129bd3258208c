"""Looking at a ClientHello that arrives in pieces, without taking it and without spinning."""

import socket
from contextlib import asynccontextmanager

import pytest
import trio
import trio.lowlevel
import trio.testing

from tests.unit.test_client_hello import hello_of
from worker.tls.client_hello import BadClientHello, ClientHello
from worker.tls.peeking import peek_client_hello


class Counting:
    """A socket that counts how often it is looked at."""

    def __init__(self, sock):
        self.sock = sock
        self.looks = 0

    def fileno(self):
        return self.sock.fileno()

    def setsockopt(self, *arguments):
        self.sock.setsockopt(*arguments)

    def recv(self, *arguments):
        self.looks += 1
        return self.sock.recv(*arguments)


@asynccontextmanager
async def connected():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    server.setblocking(False)
    with client, server, trio.fail_after(20):
        yield client, Counting(server)


async def keep(found, sock):
    try:
        found.append(await peek_client_hello(sock))
    except BadClientHello as error:
        found.append(error)


async def watch_hello(pieces, ends=False):
    hello = hello_of("a.test", ["http/1.1"])
    step = len(hello) // pieces + 1
    found = []
    async with connected() as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep, found, server)
            for at in range(0, len(hello) - step if ends else len(hello), step):
                await trio.testing.wait_all_tasks_blocked(0.02)
                assert found == []
                client.sendall(hello[at : at + step])
            if ends:
                client.shutdown(socket.SHUT_WR)
        if not ends:
            assert found == [ClientHello("a.test", ("http/1.1",))]
            assert server.recv(len(hello)) == hello
        assert server.looks <= pieces + 3
    return found[0]


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_a_hello_in_pieces(pieces):
    trio.run(watch_hello, pieces)


def test_a_hello_that_does_not_come_to_its_end():
    assert isinstance(trio.run(watch_hello, 4, True), BadClientHello)


def test_what_is_no_hello_is_refused_at_once():
    async def scenario():
        async with connected() as (client, server):
            client.sendall(b"GET / HTTP/1.1\r\n")
            with pytest.raises(BadClientHello):
                await peek_client_hello(server)

    trio.run(scenario)
