"""The general lane as clients and servers see it: worker.app in this process, real loopback sockets.

Servers are scripted byte for byte, so that what is tested is our reading of them and not a library's.
"""

import os
import socket

import pytest
import trio

from shared import control
from shared.config.dynamic import (
    ForwardingTimeouts,
    LoadBalancer,
    Server,
    ServersTransport,
    Service,
    Weighted,
    WeightedChild,
)
from shared.config.static import (
    AccessLog,
    EntryPointHttp,
    ForwardedHeaders,
    Ping,
    RespondingTimeouts,
    Transport,
)
from shared.rules.conditions import Always, PathStarts
from shared.table.entries import RouterEntry, ServiceEntry
from tests.support.lanes import OK, answering, fields, lane, run, static, status, table

CHUNKS = b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"


# --- the ordinary exchange


def test_a_request_reaches_the_server_in_its_normal_form_and_keeps_order_and_case():
    async def scenario():
        seen = []
        async with lane(answering(seen=seen)) as running:
            head, body = await running.ask(
                b"GET /a/./b//c%7e?x=1;y HTTP/1.1\r\nHost: Shop.Test:8080\r\nX-oNe: 1\r\n"
                b"Connection: x-drop\r\nX-Drop: 1\r\nAccept: */*\r\nx-one: 2\r\nTE: trailers\r\n\r\n"
            )
        assert (status(head), body) == (200, b"ok")
        assert dict(fields(head))[b"date"].endswith(b"GMT")
        request = seen[0][0]
        assert request.startswith(
            b"GET /a/b/c~?x=1&y HTTP/1.1\r\nHost: Shop.Test:8080\r\nX-oNe: 1\r\nAccept: */*\r\nx-one: 2\r\n"
        )
        sent = dict(fields(request))
        assert sent[b"x-forwarded-for"] == sent[b"x-real-ip"] == b"127.0.0.1"
        assert sent[b"x-forwarded-port"] == b"8080"
        assert sent[b"te"] == b"trailers"
        assert not {b"x-drop", b"connection", b"user-agent", b"transfer-encoding"} & set(sent)

    run(scenario)


def test_connections_are_kept_on_both_sides():
    async def scenario():
        async with lane(answering()) as running:
            client = await running.connect()
            for _ in range(3):
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert status((await client.message())[0]) == 200
            assert running.accepted == 1

    run(scenario)


def test_pipelined_requests_are_answered_in_order():
    async def scenario():
        async def script(wire):
            while True:
                head, body = await wire.message()
                path = head.split(b" ")[1]
                await wire.send(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path + body), path + body)
                )

        async with lane(script) as running:
            client = await running.connect()
            await client.send(
                b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
                b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                b"\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n"
            )
            assert [(await client.message())[1] for _ in range(3)] == [b"/1", b"/2abc", b"/3"]

    run(scenario)


def test_bytes_may_arrive_one_by_one():
    async def scenario():
        seen = []
        async with lane(answering(seen=seen)) as running:
            client = await running.connect()
            head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            for byte in head + b"3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n":
                await client.send(bytes([byte]))
            assert status((await client.message())[0]) == 200
        assert seen[0][1].replace(b"\r\n", b"|").endswith(b"0|X-T: 1||")
        lines = seen[0][1].split(b"\r\n")
        assert b"".join(lines[1 : lines.index(b"0") : 2]) == b"abc"  # chunks may be cut anew

    run(scenario)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS, CHUNKS),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 404 Nope\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nno", b"no"),
    ],
)
def test_answers_are_passed_on(answer, body):
    async def scenario():
        async with lane(answering(answer)) as running:
            for _ in range(2):
                head, received = await running.ask()
                assert head.split(b"\r\n")[0] == answer.split(b"\r\n")[0]
                assert received == body
            assert running.accepted == 1

    run(scenario)


def test_head_and_304_show_the_length_and_send_nothing():
    async def scenario():
        async def script(wire):
            while True:
                head = await wire.through(b"\r\n\r\n")
                code = b"200 OK" if head.startswith(b"HEAD") else b"304 Not Modified"
                await wire.send(b"HTTP/1.1 " + code + b"\r\nContent-Length: 7\r\n\r\n")

        async with lane(script) as running:
            client = await running.connect()
            for method in (b"HEAD", b"GET", b"HEAD"):
                await client.send(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
                head = await client.through(b"\r\n\r\n")
                assert b"Content-Length: 7\r\n" in head
                assert client.buffer == b""
            assert running.accepted == 1

    run(scenario)


def test_a_body_until_the_end_of_the_connection_becomes_chunks():
    async def scenario():
        async def script(wire):
            await wire.message()
            await wire.send(b"HTTP/1.0 200 OK\r\n\r\nall of it")

        async with lane(script) as running:
            head, body = await running.ask()
            assert b"Transfer-Encoding: chunked" in head
            assert b"all of it" in body
            old = await running.connect()
            await old.send(b"GET / HTTP/1.0\r\n\r\n")
            answer = await old.rest()
            assert answer.endswith(b"Connection: close\r\n\r\nall of it")
            assert b"chunked" not in answer

    run(scenario)


def test_http_1_0_clients_may_keep_the_connection():
    async def scenario():
        async with lane(answering()) as running:
            client = await running.connect()
            for _ in range(2):
                await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                head, _ = await client.message()
                assert b"Connection: keep-alive\r\n" in head

    run(scenario)


def test_event_streams_are_not_held_back():
    async def scenario():
        go_on = trio.Event()

        async def script(wire):
            await wire.message()
            await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            await go_on.wait()
            await wire.send(b"4\r\nlast\r\n0\r\n\r\n")

        async with lane(script) as running:
            client = await running.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.through(b"first\r\n")
            go_on.set()
            await client.through(b"last\r\n0\r\n\r\n")

    run(scenario)


# --- request bodies


def test_expect_continue_is_answered_when_the_server_wants_the_body():
    async def scenario():
        async def script(wire):
            head = await wire.through(b"\r\n\r\n")
            assert b"Expect: 100-continue" in head
            await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert await wire.exactly(3) == b"abc"
            await wire.send(OK)

        async with lane(script) as running:
            client = await running.connect()
            await client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
            )
            assert await client.through(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(b"abc")
            assert status((await client.message())[0]) == 200

    run(scenario)


def test_a_server_that_refuses_an_expected_body_never_gets_it():
    async def scenario():
        async def script(wire):
            await wire.through(b"\r\n\r\n")
            await wire.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
            assert await wire.rest() == b""

        async with lane(script) as running:
            client = await running.connect()
            await client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
            )
            head, _ = await client.message()
            assert status(head) == 413
            assert b"Connection: close" in head  # whether the body comes cannot be known
            assert await client.rest() == b""

    run(scenario)


def test_an_early_answer_stops_the_upload_and_the_connection_ends_cleanly():
    async def scenario():
        async def script(wire):
            await wire.through(b"\r\n\r\n")
            await wire.send(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
            await wire.rest()

        async with lane(script) as running:
            client = await running.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nabc")
            assert (await client.message())[1] == b"no"
            assert await client.rest() == b""

    run(scenario)


def test_a_server_may_answer_while_it_reads():
    async def scenario():
        async def script(wire):
            await wire.through(b"\r\n\r\n")
            await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(3):
                assert await wire.through(b"ping\r\n")
                await wire.send(b"4\r\npong\r\n")
            await wire.through(b"0\r\n\r\n")
            await wire.send(b"0\r\n\r\n")

        async with lane(script) as running:
            client = await running.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(3):
                await client.send(b"4\r\nping\r\n")
                await client.through(b"pong\r\n")
            await client.send(b"0\r\n\r\n")
            await client.through(b"0\r\n\r\n")

    run(scenario)


def test_large_bodies_pass_both_ways_whole():
    async def scenario():
        size = 3_000_000
        payload = os.urandom(size)

        async def script(wire):
            _, body = await wire.message()
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        async with lane(script) as running:
            client = await running.connect()
            async with trio.open_nursery() as nursery:
                head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
                nursery.start_soon(client.send, head + payload)
                assert (await client.message())[1] == payload

    run(scenario)


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n",
        b"3\r\nabcX\r\n",
        b"-1\r\n",
        b"3\nabc\n0\n\n\r\n",
        b"0\r\nA B: 1\r\n\r\n",
        b"0\r\nX: \x01\r\n\r\n",
    ],
)
def test_a_malformed_body_is_400_and_the_server_sees_no_complete_request(body):
    async def scenario():
        ends = []

        async def script(wire):
            try:
                await wire.rest()
            finally:
                ends.append(wire.buffer)

        async with lane(script) as running:
            client = await running.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
            head, _ = await client.message()
            assert status(head) == 400
            assert b"Connection: close" in head
            assert await client.rest() == b""
            while running.accepted and not ends:
                await trio.lowlevel.checkpoint()
        assert not any(end.endswith(b"0\r\n\r\n") for end in ends)

    run(scenario)


def test_a_client_that_leaves_inside_its_body_cuts_the_server_off():
    async def scenario():
        cut = trio.Event()

        async def script(wire):
            await wire.through(b"\r\n\r\n")
            try:
                await wire.exactly(100)
            except (EOFError, trio.BrokenResourceError):
                cut.set()

        async with lane(script) as running:
            client = await running.connect()
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
            await client.aclose()
            await cut.wait()

    run(scenario)


# --- what is refused


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
        (b"GET /" + b"a" * 70_000, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 300 + b"\r\n", 431),
        (b"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
)
def test_heads_that_are_refused(request_bytes, code):
    async def scenario():
        async with lane(answering()) as running:
            client = await running.connect()
            await client.send(request_bytes)
            head, body = await client.message()
            assert status(head) == code
            assert b"Connection: close" in head
            if b"#" in request_bytes:
                assert body == b""
            assert await client.rest() == b""
            assert running.accepted == 0

    run(scenario)


def test_a_head_over_the_configured_limit_is_431():
    async def scenario():
        settings = static(http=EntryPointHttp(max_header_bytes=200))
        async with lane(answering(), settings) as running:
            assert status((await running.ask())[0]) == 200
            head, _ = await running.ask(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 200 + b"\r\n\r\n")
            assert status(head) == 431

    run(scenario)


# --- servers that fail


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", 502),
        (b"HTTP/1.1 200", 502),
        (b"NOPE\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nBad Header: 1\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 502),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", 502),
    ],
)
def test_servers_that_do_not_answer_properly(answer, code):
    async def scenario():
        async def script(wire):
            await wire.message()
            if answer:
                await wire.send(answer)

        async with lane(script) as running:
            client = await running.connect()
            for _ in range(2):  # the client's connection is not to blame
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                head, body = await client.message()
                assert (status(head), body) == (code, b"Bad Gateway")
                assert b"content-type" not in dict(fields(head))

    run(scenario)


def test_a_refused_connection_is_502():
    async def scenario():
        async with lane() as running:
            with socket.socket() as closed:
                closed.bind(("127.0.0.1", 0))
                await running.install(1, table(f"http://127.0.0.1:{closed.getsockname()[1]}"))
                await running.master.receive()
                head, body = await running.ask()
        assert (status(head), body) == (502, b"Bad Gateway")

    run(scenario)


def test_no_server_is_503_and_no_router_is_404():
    async def scenario():
        async with lane() as running:
            routers = (RouterEntry("r@file", "", PathStarts("/in"), 1, (), 0),)
            await running.install(1, table(routers=routers))
            await running.master.receive()
            head, body = await running.ask(b"GET /in HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (status(head), body) == (503, b"no available server\n")
            head, body = await running.ask()
            assert (status(head), body) == (404, b"404 page not found\n")

    run(scenario)


def test_the_response_header_timeout_is_504():
    async def scenario():
        async def script(wire):
            await wire.rest()

        timeouts = ForwardingTimeouts(response_header_timeout=0.05)
        transport = ServersTransport(forwarding_timeouts=timeouts)
        async with lane(script, transport=transport) as running:
            for request in (
                b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
            ):
                head, body = await running.ask(request)
                assert (status(head), body) == (504, b"Gateway Timeout")

    run(scenario)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 10\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
)
def test_a_body_that_breaks_off_does_not_look_complete(framing):
    async def scenario():
        async def script(wire):
            await wire.message()
            await wire.send(b"HTTP/1.1 200 OK\r\n" + framing)

        async with lane(script) as running:
            client = await running.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await client.message()

    run(scenario)


def test_a_kept_connection_that_died_is_replaced_without_the_client_noticing():
    async def scenario():
        async def script(wire):
            await wire.message()
            await wire.send(OK)
            await wire.through(b"\r\n")  # dies with the next request under way
            wire.reset()

        async with lane(script) as running:
            for expected in (1, 2, 3):
                assert status((await running.ask())[0]) == 200
                assert running.accepted == expected

    run(scenario)


def test_a_request_that_must_not_be_repeated_is_not():
    async def scenario():
        async def script(wire):
            await wire.message()
            await wire.send(OK)
            await wire.through(b"\r\n")
            wire.reset()

        async with lane(script) as running:
            assert status((await running.ask())[0]) == 200
            head, _ = await running.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            assert status(head) == 502
            assert running.accepted == 1

    run(scenario)


def test_bytes_behind_a_complete_answer_poison_the_connection():
    async def scenario():
        async with lane(answering(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")) as running:
            for expected in (1, 2):
                assert (await running.ask())[1] == b"ok"
                assert running.accepted == expected

    run(scenario)


def test_no_idle_connections_means_one_per_request():
    async def scenario():
        seen = []
        transport = ServersTransport(max_idle_conns_per_host=-1)
        async with lane(answering(seen=seen), transport=transport) as running:
            for expected in (1, 2):
                assert status((await running.ask())[0]) == 200
                assert running.accepted == expected
        assert all(b"Connection: close\r\n" in head for head, _ in seen)

    run(scenario)


# --- clients that leave


def test_a_client_that_resets_ends_the_exchange_at_the_server():
    async def scenario():
        asked, cut = trio.Event(), trio.Event()

        async def script(wire):
            await wire.message()
            asked.set()
            await wire.rest()
            cut.set()

        async with lane(script) as running:
            client = await running.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await asked.wait()
            client.reset()
            await cut.wait()

    run(scenario)


def test_a_client_that_only_finished_sending_gets_its_answer():
    async def scenario():
        async with lane(answering()) as running:
            client = await running.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.stream.send_eof()
            assert (await client.rest()).endswith(b"ok")

    run(scenario)


# --- 1xx and upgrades


def test_early_hints_are_passed_on():
    async def scenario():
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        async with lane(answering(hints + OK)) as running:
            client = await running.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await client.through(b"\r\n\r\n") == hints
            assert (await client.message())[1] == b"ok"

    run(scenario)


UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def test_an_upgrade_becomes_a_tunnel_with_half_close():
    async def scenario():
        async def script(wire):
            head = await wire.through(b"\r\n\r\n")
            sent = dict(fields(head))
            assert (sent[b"connection"], sent[b"upgrade"]) == (b"Upgrade", b"websocket")
            assert sent[b"x-forwarded-proto"] == b"ws"
            await wire.send(SWITCHED + b"early ")
            assert await wire.rest() == b"ahead behind"
            await wire.send(b"bye")

        async with lane(script) as running:
            client = await running.connect()
            await client.send(UPGRADE + b"ahead ")
            head = await client.through(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
            await client.through(b"early ")
            await client.send(b"behind")
            await client.stream.send_eof()
            assert await client.rest() == b"bye"

    run(scenario)


def test_a_tunnel_survives_reloads_and_is_cut_at_the_end_of_the_drain():
    async def scenario():
        async def script(wire):
            await wire.through(b"\r\n\r\n")
            await wire.send(SWITCHED)
            while True:
                await wire.send(await wire.exactly(4))

        async with lane(script) as running:
            client = await running.connect()
            await client.send(UPGRADE)
            await client.through(b"\r\n\r\n")
            assert await running.install(2, table()) == control.Installed(2, pytest.approx(0, abs=50))
            await client.send(b"ping")
            await client.through(b"ping")
            await running.master.send(control.Drain(0.05))
            assert (await running.master.receive())[0] == control.Drained(1, 1)
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await client.exactly(1)

    run(scenario)


# --- balancing, reload, drain


def test_requests_are_spread_and_the_round_goes_on_over_a_reload():
    async def scenario():
        async with lane() as running:
            ports = [await running.origin(answering(OK[:-2] + name)) for name in (b"aa", b"bb")]
            urls = [f"http://127.0.0.1:{port}" for port in ports]
            await running.install(1, table(*urls))
            await running.master.receive()
            got = [(await running.ask())[1] for _ in range(3)]
            await running.install(2, table(*urls))
            got += [(await running.ask())[1] for _ in range(3)]
        assert got == [b"aa", b"bb"] * 3

    run(scenario)


def test_weighted_services_share_by_weight():
    async def scenario():
        async with lane() as running:
            children = []
            for name in (b"aa", b"bb"):
                port = await running.origin(answering(OK[:-2] + name))
                balancer = LoadBalancer(servers=(Server(url=f"http://127.0.0.1:{port}"),))
                children.append(ServiceEntry(f"{name.decode()}@file", Service(load_balancer=balancer), (), 0))
            weighted = Weighted(
                services=(WeightedChild(name="aa@file", weight=3), WeightedChild(name="bb@file", weight=1))
            )
            parent = ServiceEntry("w@file", Service(weighted=weighted), (1, 2), 0)
            await running.install(1, table(services=(parent, *children)))
            await running.master.receive()
            got = [(await running.ask())[1] for _ in range(8)]
        assert sorted(got) == [b"aa"] * 6 + [b"bb"] * 2

    run(scenario)


def test_an_exchange_keeps_its_generation_and_a_refused_table_changes_nothing():
    async def scenario():
        asked, go_on = trio.Event(), trio.Event()

        async def script(wire):
            await wire.message()
            asked.set()
            await go_on.wait()
            await wire.send(OK)

        async with lane(script) as running:
            client = await running.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await asked.wait()
            assert isinstance(await running.install(2, table()), control.Installed)
            assert status((await running.ask())[0]) == 503
            fd = os.memfd_create("junk")
            os.write(fd, b"junk" * 100)
            await running.master.send(control.Install(3), [fd])
            os.close(fd)
            assert isinstance((await running.master.receive())[0], control.Refused)
            assert status((await running.ask())[0]) == 503
            go_on.set()
            assert (await client.message())[1] == b"ok"
            await running.master.send(control.Rollback(2))
            await running.master.send(control.Ping(7))
            pong = (await running.master.receive())[0]
            assert (pong.number, pong.generation) == (7, 1)
            assert status((await running.ask())[0]) == 200

    run(scenario)


def test_a_drain_finishes_exchanges_lets_idle_clients_go_and_says_close():
    async def scenario():
        asked, go_on = trio.Event(), trio.Event()

        async def script(wire):
            while True:
                head, _ = await wire.message()
                if b" /slow " in head:
                    asked.set()
                    await go_on.wait()
                await wire.send(OK)

        async with lane(script) as running:
            idle, late, busy = [await running.connect() for _ in range(3)]
            for client in (idle, late):
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await client.message()
            await busy.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            await asked.wait()
            await running.master.send(control.Drain(10))
            await running.master.send(control.Ping(1))
            assert (await running.master.receive())[0].in_flight == 1
            await late.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"Connection: close" in (await late.message())[0]
            assert await idle.rest() == b""
            go_on.set()
            head, body = await busy.message()
            assert b"Connection: close" in head
            assert body == b"ok"
            for client in (idle, late, busy):
                await client.aclose()
            assert (await running.master.receive())[0] == control.Drained(4, 0)
            await running.gone.wait()

    run(scenario)


def test_the_end_of_the_master_is_an_order_to_drain():
    async def scenario():
        async with lane(answering()) as running:
            assert status((await running.ask())[0]) == 200
            running.master.close()
            await running.gone.wait()

    run(scenario)


def test_a_graceful_end_waits_for_the_grace_only():
    async def scenario():
        async def script(wire):
            await wire.message()
            await wire.rest()

        async with lane(script) as running:
            client = await running.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            while not running.accepted:
                await trio.lowlevel.checkpoint()
            await running.master.send(control.Drain(0.05))
            assert (await running.master.receive())[0] == control.Drained(1, 1)

    run(scenario)


# --- timeouts and limits of clients


def test_a_head_that_does_not_come_is_408_and_an_empty_connection_just_ends():
    async def scenario():
        timeouts = RespondingTimeouts(read_timeout=0.05)
        settings = static(transport=Transport(responding_timeouts=timeouts))
        async with lane(answering(), settings) as running:
            slow, silent = await running.connect(), await running.connect()
            await slow.send(b"GET / HT")
            assert status((await slow.message())[0]) == 408
            assert await silent.rest() == b""
            stalled = await running.connect()
            await stalled.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
            assert status((await stalled.message())[0]) == 408

    run(scenario)


def test_the_last_allowed_request_of_a_connection_says_close():
    async def scenario():
        settings = static(transport=Transport(keep_alive_max_requests=2))
        async with lane(answering(), settings) as running:
            client = await running.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
            heads = [(await client.message())[0] for _ in range(2)]
            assert [b"Connection: close" in head for head in heads] == [False, True]
            assert await client.rest() == b""

    run(scenario)


def test_idle_connections_end_after_the_idle_timeout():
    async def scenario():
        timeouts = RespondingTimeouts(idle_timeout=0.05)
        async with lane(answering(), static(transport=Transport(responding_timeouts=timeouts))) as running:
            client = await running.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.message()
            assert await client.rest() == b""

    run(scenario)


# --- host, path, forwarded, internal services, log


def test_the_host_of_the_server_and_its_path_when_asked_for():
    async def scenario():
        seen = []
        async with lane() as running:
            port = await running.origin(answering(seen=seen))
            server = Server(url=f"http://127.0.0.1:{port}/base/", preserve_path=True)
            balancer = LoadBalancer(servers=(server,), pass_host_header=False)
            await running.install(1, table(balancer=balancer))
            await running.master.receive()
            await running.ask(b"GET /x%2Fy?q HTTP/1.1\r\nHost: a\r\n\r\n")
        assert seen[0][0].startswith(b"GET /base/x%%2Fy?q HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port)

    run(scenario)


def test_trusted_peers_may_speak_of_earlier_hops_and_the_log_believes_them(tmp_path):
    async def scenario():
        seen = []
        path = tmp_path / "logs" / "access.log"
        settings = static(
            forwarded_headers=ForwardedHeaders(trusted_ips=("127.0.0.0/8",)),
            access_log=AccessLog(file_path=str(path)),
        )
        async with lane(answering(seen=seen), settings) as running:
            await running.ask(
                b'GET /p"?a=b HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nReferer: r"\r\n\r\n'
            )
            await running.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await running.master.send(control.Drain(5))
            await running.gone.wait()
            assert dict(fields(seen[0][0]))[b"x-forwarded-for"] == b"1.2.3.4, 127.0.0.1"
            first, second = path.read_bytes().splitlines()
            assert first.startswith(b"1.2.3.4 - - [")
            assert b'"GET /p\\"?a=b HTTP/1.1" 200 2 "r\\"" "-" 1 "r@file" "http://127.0.0.1:' in first
            assert second.startswith(b"127.0.0.1 - - [")

    run(scenario)


def test_internal_services_answer_by_themselves():
    async def scenario():
        services = (
            ServiceEntry("noop@internal", Service(), (), 0),
            ServiceEntry("ping@internal", Service(), (), 0),
        )
        routers = (
            RouterEntry("ping@internal", "", PathStarts("/ping"), 2, (), 1),
            RouterEntry("n@internal", "", Always(), 1, (), 0),
        )
        async with lane(None, static(ping=Ping(terminating_status_code=503))) as running:
            await running.install(1, table(routers=routers, services=services))
            await running.master.receive()
            head, body = await running.ask()
            assert (status(head), body) == (418, b"")
            client = await running.connect()
            await client.send(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
            head, body = await client.message()
            assert (status(head), body) == (200, b"OK")
            await running.master.send(control.Drain(5))
            await running.master.send(control.Ping(1))
            await running.master.receive()
            await client.send(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
            head, body = await client.message()
            assert (status(head), body) == (503, b"Service Unavailable")

    run(scenario)


def test_nothing_is_left_open_after_many_clients_left_anyhow():
    async def scenario():
        async def script(wire):
            await wire.message()
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            await wire.rest()

        async with lane(script) as running:
            before = len(os.listdir("/proc/self/fd"))
            for step in range(12):
                client = await running.connect()
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[: 3 * step + 2])
                for _ in range(step * 3):
                    await trio.lowlevel.checkpoint()
                client.reset()
            while len(os.listdir("/proc/self/fd")) > before:
                await trio.lowlevel.checkpoint()
            busy = True
            while busy:  # ends, or the test's patience does
                await running.master.send(control.Ping(1))
                pong = (await running.master.receive())[0]
                busy = (pong.connections, pong.in_flight) != (0, 0)

    run(scenario)
