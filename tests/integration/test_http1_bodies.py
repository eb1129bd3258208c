"""HTTP/1.1 message bodies through the proxy, sentence by sentence: framing, trailers, Expect, early ends."""

import os

import pytest
import trio

from shared.config.static import RespondingTimeouts, Transport
from tests.support.lanes import OK, answering, fields, lane, run, static, status
from worker import forward
from worker.downstream import DRAIN_BYTES

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
EXPECTING = POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def content(raw):
    """A chunked body without its framing, and its trailer lines; chunks may be cut anew on the way."""
    found = b""
    while True:
        size, _, raw = raw.partition(b"\r\n")
        if int(size, 16) == 0:
            return found, [line for line in raw.split(b"\r\n") if line]
        found, raw = found + raw[: int(size, 16)], raw[int(size, 16) + 2 :]


# --- framing


@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_a_length_stays_a_length_both_ways(size):
    async def scenario():
        payload = os.urandom(size)
        seen = []

        async def script(wire):
            while True:
                seen.append(await wire.message())
                await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + seen[-1][1])

        async with lane(script) as running:
            head, body = await running.ask(POST + b"Content-Length: %d\r\n\r\n" % size + payload)
        assert body == seen[0][1] == payload
        for each in (head, seen[0][0]):
            assert dict(fields(each))[b"content-length"] == b"%d" % size
            assert b"transfer-encoding" not in dict(fields(each))

    run(scenario)


def test_chunks_and_trailers_pass_both_ways():
    async def scenario():
        seen = []
        chunked = b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        answer = b"HTTP/1.1 200 OK\r\n" + chunked + b"3\r\none\r\n4;ext=1\r\nmore\r\n0\r\nX-Sum: 7\r\n\r\n"
        async with lane(answering(answer, seen)) as running:
            head, body = await running.ask(
                POST
                + b"TE: trailers\r\n"
                + chunked
                + b"2\r\nab\r\n1\r\nc\r\n0\r\nX-Sum: 3\r\nX-Late: 1\r\n\r\n"
            )
        assert content(body) == (b"onemore", [b"X-Sum: 7"])
        assert content(seen[0][1]) == (b"abc", [b"X-Sum: 3", b"X-Late: 1"])
        assert dict(fields(seen[0][0]))[b"te"] == b"trailers"
        assert b"content-length" not in dict(fields(head))

    run(scenario)


def test_trailers_cannot_say_what_frames_routes_or_authorises():
    async def scenario():
        seen = []
        bad = b"Content-Length: 1\r\nHost: b\r\nAuthorization: x\r\nX-Forwarded-For: 1.1.1.1\r\nX-Good: 1\r\n"
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + bad + b"\r\n"
        async with lane(answering(answer, seen)) as running:
            _, body = await running.ask(
                POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + bad + b"\r\n"
            )
        assert content(body) == content(seen[0][1]) == (b"a", [b"X-Good: 1"])

    run(scenario)


def test_a_get_may_have_a_body():
    async def scenario():
        seen = []
        async with lane(answering(seen=seen)) as running:
            await running.ask(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        assert seen[0][1] == b"hi"

    run(scenario)


@pytest.mark.parametrize("code", [b"204 No Content", b"304 Not Modified"])
def test_answers_without_a_body_end_with_their_head(code):
    async def scenario():
        async def script(wire):
            while True:
                await wire.message()
                await wire.send(b"HTTP/1.1 " + code + b"\r\nETag: x\r\n\r\n")

        async with lane(script) as running:
            client = await running.connect()
            for _ in range(2):
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                head = await client.through(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 " + code)
                assert b"transfer-encoding" not in dict(fields(head))
            assert client.buffer == b""
            assert running.accepted == 1

    run(scenario)


def test_the_answer_to_head_may_announce_chunks_and_sends_none():
    async def scenario():
        async def script(wire):
            while True:
                await wire.through(b"\r\n\r\n")
                await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

        async with lane(script) as running:
            client = await running.connect()
            for _ in range(2):
                await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert status(await client.through(b"\r\n\r\n")) == 200
            assert (client.buffer, running.accepted) == (b"", 1)

    run(scenario)


# --- Expect: 100-continue


def test_the_body_is_asked_for_only_when_the_server_asks():
    async def scenario():
        order = []
        ask = trio.Event()

        async def script(wire):
            await wire.through(b"\r\n\r\n")
            await wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")  # is not the permission
            await ask.wait()
            order.append("server asks")
            await wire.send(CONTINUE)
            assert await wire.exactly(3) == b"abc"
            await wire.send(OK)

        async with lane(script) as running:
            client = await running.connect()
            await client.send(EXPECTING)
            assert status(await client.through(b"\r\n\r\n")) == 103
            with trio.move_on_after(0.1):  # bounded: shorter than the wait for silent servers
                await client.through(b"\r\n\r\n")
                order.append("client is asked too early")
            ask.set()
            assert await client.through(b"\r\n\r\n") == CONTINUE
            await client.send(b"abc")
            assert status((await client.message())[0]) == 200
        assert order == ["server asks"]

    run(scenario)


def test_a_server_that_knows_no_100_gets_the_body_after_a_moment(monkeypatch):
    monkeypatch.setattr(forward, "CONTINUE_WAIT_S", 0.05)

    async def scenario():
        seen = []
        async with lane(answering(seen=seen)) as running:
            client = await running.connect()
            await client.send(EXPECTING)
            assert await client.through(b"\r\n\r\n") == CONTINUE
            await client.send(b"abc")
            assert status((await client.message())[0]) == 200
        assert seen[0][1] == b"abc"

    run(scenario)


def test_a_body_that_never_comes_after_the_100_is_408_and_the_server_is_cut_off():
    async def scenario():
        cut = trio.Event()

        async def script(wire):
            await wire.through(b"\r\n\r\n")
            await wire.send(CONTINUE)
            try:
                await wire.exactly(3)
            except (EOFError, trio.BrokenResourceError):
                cut.set()

        settings = static(transport=Transport(responding_timeouts=RespondingTimeouts(read_timeout=0.1)))
        async with lane(script, settings) as running:
            client = await running.connect()
            await client.send(EXPECTING)
            assert await client.through(b"\r\n\r\n") == CONTINUE
            head, _ = await client.message()
            assert (status(head), b"Connection: close" in head) == (408, True)
            assert await client.rest() == b""
            await cut.wait()

    run(scenario)


def test_a_client_that_does_not_wait_for_the_100_is_not_asked():
    async def scenario():
        async def script(wire):
            await wire.through(b"\r\n\r\n")
            await wire.send(CONTINUE)
            assert await wire.exactly(3) == b"abc"
            await wire.send(OK)

        async with lane(script) as running:
            client = await running.connect()
            await client.send(EXPECTING + b"abc")
            assert status(await client.through(b"\r\n\r\n")) == 200
            assert await client.exactly(2) == b"ok"
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")  # and the connection goes on

    run(scenario)


def test_an_answer_of_ours_comes_without_a_100():
    async def scenario():
        async with lane() as running:
            await running.install(1, no_routes())
            await running.master.receive()
            client = await running.connect()
            await client.send(EXPECTING)
            head, _ = await client.message()
            assert (status(head), b"Connection: close" in head) == (404, True)
            assert await client.rest() == b""

    run(scenario)


def no_routes():
    from shared.table.entries import RouterList, TableContent

    return TableContent((), (), (), (), (RouterList("web", False, ()),))


def test_an_http_1_0_client_never_gets_a_1xx():
    async def scenario():
        async def script(wire):
            head = await wire.through(b"\r\n\r\n")
            assert b"expect" not in dict(fields(head))
            await wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + CONTINUE)
            assert await wire.exactly(3) == b"abc"
            await wire.send(OK)

        async with lane(script) as running:
            client = await running.connect()
            await client.send(b"POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")
            answer = await client.rest()
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"\r\n\r\nok")

    run(scenario)


# --- early answers


def test_the_head_of_an_upload_does_not_wait_for_its_body():
    async def scenario():
        async def script(wire):
            await wire.through(b"\r\n\r\n")
            await wire.send(b"HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n")
            await wire.rest()

        async with lane(script) as running:
            client = await running.connect()
            await client.send(POST + b"Content-Length: 3\r\n\r\n")
            assert status((await client.message())[0]) == 401

    run(scenario)


def test_after_an_early_answer_a_short_rest_is_read_and_the_connection_kept():
    async def scenario():
        answered = trio.Event()

        async def script(wire):
            head = await wire.through(b"\r\n\r\n")
            if b"POST" in head:
                await wire.send(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
                answered.set()
                await wire.rest()
            else:
                await wire.send(OK)

        async with lane(script) as running:
            client = await running.connect()
            await client.send(POST + b"Content-Length: 10\r\n\r\nabc")
            head, body = await client.message()
            assert (status(head), body, b"Connection: close" in head) == (403, b"no", False)
            await client.send(b"defghij" + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.message())[1] == b"ok"
            assert running.accepted == 2  # the server's connection was in the middle of a request

    run(scenario)


@pytest.mark.parametrize("size", [DRAIN_BYTES + 10, 10**12])
def test_after_an_early_answer_a_long_rest_ends_the_connection_and_says_so(size):
    async def scenario():
        async def script(wire):
            await wire.through(b"\r\n\r\n")
            await wire.send(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
            await wire.rest()

        async with lane(script) as running:
            client = await running.connect()
            await client.send(POST + b"Content-Length: %d\r\n\r\nabc" % size)
            head, body = await client.message()
            assert (body, b"Connection: close" in head) == (b"no", True)
            assert await client.rest() == b""

    run(scenario)


def test_a_server_that_answers_and_resets_while_the_upload_runs_is_heard():
    async def scenario():
        async def script(wire):
            await wire.through(b"\r\n\r\n")
            await wire.send(b"HTTP/1.1 413 Too much\r\nContent-Length: 2\r\n\r\nno")
            # Closing with unread data resets; what was sent before is still to be passed on.

        async with lane(script) as running:
            client = await running.connect()
            await client.send(POST + b"Content-Length: 1000000\r\n\r\n")
            head, body = await client.message()
            assert (status(head), body) == (413, b"no")

    run(scenario)


# --- streams


def test_each_event_is_passed_on_before_the_next_exists():
    async def scenario():
        go_on = [trio.Event() for _ in range(3)]

        async def script(wire):
            await wire.message()
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            for number, event in enumerate(go_on):
                await event.wait()
                await wire.send(b"data: %d\n\n" % number)

        async with lane(script) as running:
            client = await running.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await client.through(b"\r\n\r\n")  # also the head comes before any event
            assert dict(fields(head))[b"content-type"] == b"text/event-stream"
            for number, event in enumerate(go_on):
                event.set()
                await client.through(b"data: %d\n\n\r\n" % number)
            await client.through(b"0\r\n\r\n")

    run(scenario)


def test_each_piece_of_an_upload_is_passed_on_before_the_next_exists():
    async def scenario():
        got = [trio.Event() for _ in range(3)]

        async def script(wire):
            await wire.through(b"\r\n\r\n")
            for event in got:
                assert await wire.exactly(2) == b"ab"
                event.set()
            await wire.send(OK)

        async with lane(script) as running:
            client = await running.connect()
            await client.send(POST + b"Content-Length: 6\r\n\r\n")
            for event in got:
                await client.send(b"ab")
                await event.wait()
            assert (await client.message())[1] == b"ok"

    run(scenario)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ],
)
def test_a_truncated_answer_cuts_the_client_visibly(answer, version):
    async def scenario():
        async def script(wire):
            await wire.message()
            await wire.send(answer)

        async with lane(script) as running:
            client = await running.connect()
            await client.send(b"GET / HTTP/" + version + b"\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            if version == b"1.0" and b"chunked" in answer:  # the end of the connection is the end of the body
                with pytest.raises(trio.BrokenResourceError):
                    await client.rest()
            else:
                with pytest.raises((EOFError, trio.BrokenResourceError)):
                    await client.message()

    run(scenario)
