"""HTTP/1.1 connections through the proxy: versions, half-close, reuse, upgrades, limits."""

import socket

import pytest
import trio
import trio.testing

from shared import control
from shared.config.dynamic import ForwardingTimeouts, ServersTransport
from shared.config.static import ForwardedHeaders, RespondingTimeouts, Transport
from tests.support.lanes import OK, answering, fields, lane, run, static, status, table
from worker import admission, departures, downstream, pool
from worker.upstream import UpstreamConnection

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


# --- versions


def test_an_http_1_0_client_without_keep_alive_is_closed_after_its_answer():
    async def scenario():
        async with lane(answering()) as running:
            client = await running.connect()
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            answer = await client.rest()
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"Connection: close\r\n" in answer
            assert answer.endswith(b"\r\n\r\nok")

    run(scenario)


def test_an_http_1_0_client_gets_no_chunks_even_with_keep_alive():
    async def scenario():
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
        async with lane(answering(answer)) as running:
            client = await running.connect()
            await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            received = await client.rest()
            assert b"Connection: close\r\n" in received
            assert b"chunked" not in received
            assert received.endswith(b"\r\n\r\nok")
            assert running.accepted == 1

    run(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_connections_of_servers_that_end_them_are_not_used_again(answer):
    async def scenario():
        async with lane(answering(answer)) as running:
            client = await running.connect()
            for expected in (1, 2):
                await client.send(GET)
                head, body = await client.message()
                assert (status(head), body) == (200, b"ok")
                assert b"connection" not in dict(fields(head))  # the hop to the client goes on
                assert running.accepted == expected

    run(scenario)


# --- pipelining and half-close


def test_a_pipelining_client_may_finish_sending_and_gets_all_its_answers():
    async def scenario():
        async with lane(answering()) as running:
            client = await running.connect()
            await client.send(GET + POST + b"Content-Length: 1\r\n\r\nx" + GET)
            await client.stream.send_eof()
            for _ in range(3):
                assert (await client.message())[1] == b"ok"
            assert await client.rest() == b""

    run(scenario)


def test_pipelined_requests_wait_for_each_other():
    async def scenario():
        seen = []
        go_on = trio.Event()

        async def script(wire):
            while True:
                seen.append((await wire.message())[0])
                await go_on.wait()
                await wire.send(OK)

        async with lane(script) as running:
            client = await running.connect()
            await client.send(GET * 2)
            while not seen:
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert len(seen) == 1  # order is kept because the second is not begun
            go_on.set()
            await client.message()
            await client.message()
            assert len(seen) == 2

    run(scenario)


def keep_alive_of(running, port):
    """The probing of the accepted socket whose peer has this port: idle seconds before the first probe."""
    for presence in running.worker._context.departures._watched.values():
        sock = socket.socket(fileno=presence._fd)
        try:
            if sock.getpeername()[1] == port:
                return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        finally:
            sock.detach()
    return None


def test_a_half_closed_client_is_served_however_long_it_takes_and_its_kernel_is_probed():
    async def scenario():
        asked, go_on = trio.Event(), trio.Event()

        async def script(wire):
            await wire.message()
            asked.set()
            await go_on.wait()
            await wire.send(OK)

        async with lane(script) as running:
            client = await running.connect()
            port = client.stream.socket.getsockname()[1]
            await client.send(GET)
            await asked.wait()
            assert keep_alive_of(running, port) > departures.PROBE_S
            await client.stream.send_eof()
            while keep_alive_of(running, port) != departures.PROBE_S:
                await trio.lowlevel.checkpoint()
            go_on.set()
            assert (await client.rest()).endswith(b"\r\n\r\nok")

    run(scenario)


def test_a_client_that_closed_is_noticed_when_its_kernel_says_so():
    async def scenario():
        asked, go_on, cut = trio.Event(), trio.Event(), trio.Event()

        async def script(wire):
            await wire.message()
            asked.set()
            await go_on.wait()
            await wire.send(b"HTTP/1.1 200 OK\r\n\r\nevent")
            await wire.rest()  # as long as we are connected
            cut.set()

        async with lane(script) as running:
            client = await running.connect()
            await client.send(GET)
            await asked.wait()
            await client.aclose()
            go_on.set()  # what we send it now is answered with a reset
            await cut.wait()

    run(scenario)


# --- reuse races


def died_unseen(monkeypatch):
    """Idle connections look alive: as when the server's reset arrives right after we looked."""
    monkeypatch.setattr(UpstreamConnection, "is_alive", lambda link: True)


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET,
        POST + b"Content-Length: 0\r\n\r\n",  # nothing was written: the method does not matter
        b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_a_request_of_which_nothing_was_written_is_sent_again(monkeypatch, request_bytes):
    async def scenario():
        gone = trio.Event()

        async def script(wire):
            await wire.message()
            await wire.send(OK)
            if running.accepted == 1:
                wire.reset()
                gone.set()
            await wire.rest()

        async with lane(script) as running:
            died_unseen(monkeypatch)
            await running.ask()
            await gone.wait()
            assert status((await running.ask(request_bytes))[0]) == 200
            assert running.accepted == 2

    run(scenario)


def test_an_upload_whose_body_is_untouched_is_sent_again_when_nothing_was_written(monkeypatch):
    async def scenario():
        gone = trio.Event()
        seen = []

        async def script(wire):
            seen.append(await wire.message())
            await wire.send(OK)
            if running.accepted == 1:
                wire.reset()
                gone.set()
            await wire.rest()

        async with lane(script) as running:
            died_unseen(monkeypatch)
            await running.ask()
            await gone.wait()
            client = await running.connect()
            await client.send(POST + b"Content-Length: 3\r\n\r\n")
            while running.accepted < 2:
                await trio.lowlevel.checkpoint()
            await client.send(b"abc")
            assert status((await client.message())[0]) == 200
            assert (running.accepted, seen[1][1]) == (2, b"abc")

    run(scenario)


@pytest.mark.parametrize(
    "request_bytes",
    [POST + b"Content-Length: 0\r\n\r\n", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"],
)
def test_a_request_that_the_server_may_have_seen_is_not_sent_again(request_bytes):
    async def scenario():
        seen = []

        async def script(wire):
            await wire.message()
            await wire.send(OK)
            seen.append(await wire.through(b"\r\n\r\n"))
            wire.reset()

        async with lane(script) as running:
            await running.ask()
            assert status((await running.ask(request_bytes))[0]) == 502
            assert (running.accepted, len(seen)) == (1, 1)

    run(scenario)


def test_a_safe_request_is_sent_again_once_and_only_on_a_reused_connection():
    async def scenario():
        seen = []

        async def script(wire):
            if running.accepted == 1:
                await wire.message()
                await wire.send(OK)
            seen.append(await wire.through(b"\r\n\r\n"))

        async with lane(script) as running:
            await running.ask()
            assert status((await running.ask())[0]) == 502
            assert (running.accepted, len(seen)) == (2, 2)
            assert (
                status((await running.ask())[0]) == 502
            )  # a fresh connection that dies is the server's word
            assert (running.accepted, len(seen)) == (3, 3)

    run(scenario)


# --- upgrades

UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "


def test_a_server_that_does_not_switch_is_heard_and_the_connection_goes_on():
    async def scenario():
        async with lane(answering(b"HTTP/1.1 426 No\r\nContent-Length: 0\r\n\r\n")) as running:
            client = await running.connect()
            for _ in range(2):
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"\r\n")
                assert status((await client.message())[0]) == 426
            assert running.accepted == 1

    run(scenario)


def test_bytes_behind_an_upgrade_stay_here_until_the_server_switched():
    async def scenario():
        async def script(wire):
            assert (await wire.message())[1] == b""
            await trio.testing.wait_all_tasks_blocked(0.02)
            with trio.move_on_after(0):
                await wire.exactly(1)
                pytest.fail("the server got bytes of another protocol before it switched")
            await wire.send(SWITCHED + b"websocket\r\n\r\n")
            assert await wire.exactly(5) == b"frame"
            await wire.send(b"reply")

        async with lane(script) as running:
            client = await running.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"\r\nframe")
            assert status(await client.through(b"\r\n\r\n")) == 101
            assert await client.rest() == b"reply"

    run(scenario)


@pytest.mark.parametrize("agreed", [b"h2c\r\n\r\n", b"websocket, h2c\r\n\r\n", b"\r\n\r\n"])
def test_a_switch_to_what_was_not_offered_is_502(agreed):
    async def scenario():
        async with lane(answering(SWITCHED + agreed)) as running:
            head, _ = await running.ask(b"GET / HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"\r\n")
            assert status(head) == 502

    run(scenario)


def test_a_switch_before_the_whole_request_is_502():
    async def scenario():
        async def script(wire):
            await wire.through(b"\r\n\r\n")
            await wire.send(SWITCHED + b"websocket\r\n\r\n")
            await wire.rest()

        async with lane(script) as running:
            client = await running.connect()
            await client.send(POST + UPGRADE + b"Content-Length: 5\r\n\r\nab")
            assert status((await client.message())[0]) == 502

    run(scenario)


def test_an_upgrade_may_have_a_body_that_comes_first():
    async def scenario():
        async def script(wire):
            assert (await wire.message())[1] == b"abc"
            await wire.send(SWITCHED + b"websocket\r\n\r\nhi")

        async with lane(script) as running:
            client = await running.connect()
            await client.send(POST + UPGRADE + b"Content-Length: 3\r\n\r\nabc")
            assert status(await client.through(b"\r\n\r\n")) == 101
            assert await client.rest() == b"hi"

    run(scenario)


# --- limits


def test_a_head_deadline_holds_where_no_read_timeout_does(monkeypatch):
    monkeypatch.setattr(downstream, "HEAD_DEADLINE_S", 0.05)

    async def scenario():
        none = static(transport=Transport(responding_timeouts=RespondingTimeouts(read_timeout=0)))
        async with lane(answering(), none) as running:
            slow, silent = await running.connect(), await running.connect()
            await slow.send(b"GET / HT")
            assert status((await slow.message())[0]) == 408
            assert await silent.rest() == b""

    run(scenario)


def test_a_body_and_a_reader_that_stall_end_where_no_timeout_is_set(monkeypatch):
    monkeypatch.setattr(downstream, "STALL_S", 0.05)

    async def scenario():
        async def script(wire):
            await wire.message()
            await wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                await wire.send(b"x" * 65_536)

        none = static(transport=Transport(responding_timeouts=RespondingTimeouts(read_timeout=0)))
        async with lane(script, none) as running:
            body = await running.connect()
            await body.send(POST + b"Content-Length: 5\r\n\r\nab")
            assert status((await body.message())[0]) == 408
            reader = await running.connect()
            await reader.send(GET)
            await reader.through(b"\r\n\r\n")  # and reads no more
            await lane_is_empty(running)

    run(scenario)


async def lane_is_empty(running):
    in_flight = 1
    while in_flight:  # ends, or the test's patience does
        await running.master.send(control.Ping(1))
        in_flight = (await running.master.receive())[0].in_flight


def test_a_dial_that_takes_too_long_is_504():
    async def scenario():
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            with socket.create_connection(full.getsockname()):  # the queue is full: nobody gets through
                timeouts = ForwardingTimeouts(dial_timeout=0.1)
                async with lane() as running:
                    transport = ServersTransport(forwarding_timeouts=timeouts)
                    url = f"http://127.0.0.1:{full.getsockname()[1]}"
                    await running.install(1, table(url, transport=transport))
                    await running.master.receive()
                    head, body = await running.ask()
        assert (status(head), body) == (504, b"Gateway Timeout")

    run(scenario)


def test_a_pool_that_has_lent_all_it_may_makes_others_wait_and_then_503(monkeypatch):
    monkeypatch.setattr(pool, "MAX_LENT", 1)
    monkeypatch.setattr(pool, "POOL_WAIT_S", 0.1)

    async def scenario():
        go_on = trio.Event()

        async def script(wire):
            while True:
                await wire.message()
                await go_on.wait()
                await wire.send(OK)

        async with lane(script) as running:
            first = await running.connect()
            await first.send(GET)
            while not running.accepted:
                await trio.lowlevel.checkpoint()
            assert status((await running.ask())[0]) == 503
            monkeypatch.setattr(pool, "POOL_WAIT_S", 10)
            third = await running.connect()
            await third.send(GET)
            go_on.set()
            for client in (first, third):
                assert (await client.message())[1] == b"ok"
            assert running.accepted == 1

    run(scenario)


def test_one_address_gets_its_share_of_connections_and_trusted_peers_what_they_want(monkeypatch):
    monkeypatch.setattr("worker.app.connection_limit", lambda: 4)

    async def scenario(settings, expected):
        async with lane(answering(), settings) as running:
            clients = []
            for _ in range(4):
                client = await running.connect()
                await client.send(GET)
                try:
                    clients.append(status((await client.message())[0]))
                except (EOFError, trio.BrokenResourceError):
                    clients.append("closed")
            assert clients == expected

    assert int(4 * admission.ADDRESS_SHARE) == 3
    trio.run(scenario, static(), [200, 200, 200, "closed"])
    trusting = static(forwarded_headers=ForwardedHeaders(trusted_ips=("127.0.0.1",)))
    trio.run(scenario, trusting, [200] * 4)
