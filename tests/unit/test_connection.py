"""One connection cancelled at every await: the pool stays consistent and no descriptor is left open.

An instrument counts the steps of the connection's task and of all tasks below it (uploads, both ways of a
tunnel, waits for threads) and cancels the connection at the N-th, for N from 1 until the exchange completes
without being cancelled. So every await of the lane is the place of the cancellation in one run.
"""

import contextlib
import gc
import os
import socket

import pytest
import trio

from shared.config.dynamic import LoadBalancer, Server, ServersTransport
from shared.config.middlewares import BasicAuth, InFlightReq, Retry
from shared.config.static import EntryPoint
from shared.table.entries import TransportEntry
from worker.blocks import Blocks
from worker.conduct import Context
from worker.connection import Connection, Opening
from worker.departures import Departures
from worker.forward import forward
from worker.middlewares.basic_auth import ThreadedBasicAuthStep
from worker.middlewares.in_flight_req import InFlightReqStep
from worker.middlewares.retry import RetryStep
from worker.middlewares.state import StepState
from worker.pipeline import compose
from worker.pool import MAX_LENT, Pools
from worker.request_head import Peer
from worker.server import make_server
from worker.state import Counts, Generations, Lifetime, make_entrance
from worker.upstream import UpstreamConnection

MAX_STEPS = 300
"""More than any exchange here takes; a walk that does not end before is a failure."""
PATIENCE_S = 100
ENDED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PASSWORD = b"dXNlcjpzZWNyZXQ="  # user:secret
USER = "user:$2b$04$gsFMn9Sq5mZ0LobozPgYXuhP1tuOUZgPT855crfavDlRvQbH3jjRG"


def post(rest):
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + rest


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = post(b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")


class OneRoute:
    """Stands for ``Routes``: every request goes through these steps to one server."""

    name = "r@file"
    service_name = "s@file"
    is_internal = False

    def __init__(self, server, steps):
        self.handler = compose(steps, lambda exchange: forward(exchange, server))

    def match(self, entrypoint, tls, request):
        return self


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope before the N-th step of the tasks below one task.

    Args:
        scope: what to cancel.
        root: the task whose descendants are counted.
        steps: N.
    """

    def __init__(self, scope, root, steps):
        self._scope, self._root = scope, root
        self.left = steps

    def before_task_step(self, task):
        if not self._is_below_root(task):
            return
        self.left -= 1
        if self.left == 0:
            self._scope.cancel()

    def _is_below_root(self, task):
        while task.parent_nursery is not None:
            task = task.parent_nursery.parent_task
            if task is self._root:
                return True
        return False


# --- the servers of the scenarios


async def answer_chunked(stream):
    await read_head(stream)
    await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
    await stream.send_all(b"0\r\n\r\n")
    await stream.receive_some()


async def answer_early(stream):
    await read_head(stream)
    await stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n" + ENDED)
    await stream.receive_some()


async def ask_for_the_body(stream):
    await read_head(stream)
    await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
    await stream.receive_some()
    await stream.send_all(ENDED)
    await stream.receive_some()


async def switch(stream):
    await read_head(stream)
    await stream.send_all(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhi")
    await stream.send_eof()
    while await stream.receive_some():
        pass


async def keep_and_die(stream):
    """Answer once and die with the next request."""
    await read_head(stream)
    await stream.send_all(ENDED)
    await read_head(stream)


async def answer_busy(stream):
    """Answer all requests of a connection with what is tried again."""
    while await read_through(stream, b"abc"):
        await stream.send_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno")


async def read_head(stream):
    await read_through(stream, b"\r\n\r\n")


async def read_through(stream, end):
    data = b""
    while end not in data:
        more = await stream.receive_some()
        if not more:
            return False
        data += more
    return True


SCENARIOS = {
    "get": (GET, answer_chunked),
    "two requests": (GET * 2, answer_early),
    "upload": (CHUNKED, answer_chunked),
    "expect": (post(b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc"), ask_for_the_body),
    "early answer": (post(b"Content-Length: 999999999\r\n\r\nabc"), answer_early),
    "upgrade": (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nyo", switch),
    "retry": (GET * 2, keep_and_die),
    "basic auth": (b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic " + PASSWORD + b"\r\n\r\n", None),
    "dial failed": (GET, "refuse"),
    "tried again": (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", answer_busy),
    "dialled again": (GET, "refuse"),
}
AGAIN = ("tried again", "dialled again")
"""Those that have a retry, and a limit of one request at a time in front of it: a place that is not given
back makes the next run, and so the last one, a 429."""


def steps_of(name, blocks):
    if name == "basic auth":
        return [ThreadedBasicAuthStep(BasicAuth(users=(USER,)))]
    if name not in AGAIN:
        return []
    state = StepState("limit", blocks)
    state.keyed().own(b"")  # mapping its table for the first time opens a descriptor that stays
    limit = InFlightReqStep(InFlightReq(amount=1), state)
    return [limit, RetryStep(Retry(attempts=2, status=("503",), initial_interval=0.001))]


async def serve_cancelled(request, origin, middlewares, steps):
    """Serve a request and cancel at a step.

    Returns:
        Whether the exchange ended before, and what the client got.
    """
    before = set(os.listdir("/proc/self/fd"))
    pools, departures, counts, generations = Pools(), Departures(), Counts(), Generations()
    context = Context(generations, Lifetime(), counts, departures, None)
    ours, theirs = socket.socketpair()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        if origin == "refuse":
            await listener.aclose()
        else:
            nursery.start_soon(serve_origin, listener, origin or answer_chunked)
        nursery.start_soon(departures.run)
        options = Server(url=f"http://127.0.0.1:{port}")
        server = make_server(options, LoadBalancer(), TransportEntry("t", ServersTransport()), pools)
        generations.install(1, OneRoute(server, middlewares))
        ours.sendall(request)
        if b"999999999" in request:
            nursery.start_soon(finish_sending_once_answered, ours)
        else:
            ours.shutdown(socket.SHUT_WR)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        connection = Connection(
            stream,
            Peer("127.0.0.1", 5),
            make_entrance("web", EntryPoint(), "gate"),
            context,
            Opening(trio.current_time()),
        )
        with trio.CancelScope() as scope:
            instrument = CancelAtStep(scope, trio.lowlevel.current_task(), steps)
            async with trio.open_nursery() as inner:
                trio.lowlevel.add_instrument(instrument)
                inner.start_soon(connection.serve)
        trio.lowlevel.remove_instrument(instrument)
        theirs.close()
        check_pool(server.pool)
        assert counts.in_flight == 0
        pools.close()
        assert server.pool.idle_count == 0
        nursery.cancel_scope.cancel()
    departures.close()
    answer = received(ours)
    listener.socket.close()
    assert set(os.listdir("/proc/self/fd")) == before
    return not scope.cancelled_caught and instrument.left > 0, answer


async def serve_origin(listener, serve):
    async def serve_quietly(stream):
        with contextlib.suppress(trio.BrokenResourceError):
            async with stream:
                await serve(stream)

    await trio.serve_listeners(serve_quietly, [listener])


def check_pool(pool):
    """Nothing is lent; the places of what was lent are back; nothing that waits is closed."""
    assert pool.lent == 0
    assert pool._room.value == MAX_LENT
    for link in pool._idle:
        assert isinstance(link, UpstreamConnection)
        assert not link.is_closed
        assert not link.is_lent
        assert link._stream.socket.fileno() >= 0


async def finish_sending_once_answered(sock):
    await trio.lowlevel.wait_readable(sock)
    sock.shutdown(socket.SHUT_WR)


def received(sock):
    sock.setblocking(False)
    answer = b""
    with contextlib.suppress(BlockingIOError, ConnectionResetError):
        while data := sock.recv(65_536):
            answer += data
    sock.close()
    return answer


@pytest.mark.parametrize("name", SCENARIOS)
def test_cancelling_at_every_await_leaves_nothing_behind(name):
    request, origin = SCENARIOS[name]
    middlewares = steps_of(name, Blocks())

    async def walk():
        with trio.fail_after(PATIENCE_S):
            for steps in range(1, MAX_STEPS):
                is_through, answer = await serve_cancelled(request, origin, middlewares, steps)
                if is_through:
                    return steps, answer
        raise AssertionError(f"not through after {MAX_STEPS} steps")

    gc.collect()  # what earlier tests left must not go while we count
    steps, answer = trio.run(walk)
    expected = {"upgrade": 101, "dial failed": 502, "dialled again": 502, "tried again": 503}
    assert b"HTTP/1.1 %d " % expected.get(name, 200) in answer
    assert steps > 5
