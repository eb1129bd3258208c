"""The shared half of an HTTP/2 connection: what is kept for a peer that does not read, and flow control."""

import h2.config
import h2.connection
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from worker.h2.frame_meter import PREFACE_BYTES, FloodError
from worker.h2.limits import CONNECTION_WINDOW_BYTES, MAX_UNSENT_BYTES, STREAM_WINDOW_BYTES, UNSENT_BYTES
from worker.h2.stream import Stream
from worker.h2.wire import Wire, WireBrokenError

STALL_S = 50.0
HEAD = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")]


class Peer:
    """A client's h2 state, whose bytes are fed by hand."""

    def __init__(self):
        self.state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.state.initiate_connection()

    def begin(self, wire):
        self.state.send_headers(1, HEAD)
        wire.streams[1] = stream = Stream(wire, 1)
        wire.feed(self.state.data_to_send())
        return stream


def make_wire(stream):
    return Wire(
        stream,
        is_client=False,
        settings={},
        head_list_bytes=10_000,
        write_stall_s=STALL_S,
        preface_bytes=PREFACE_BYTES,
    )


def test_answers_that_nobody_reads_are_not_kept_without_end():
    async def scenario():
        near, _ = memory_stream_pair()
        wire, peer = make_wire(near), Peer()
        peer.begin(wire)

        def pour():
            for _ in range(20_000):
                peer.state.send_data(1, b"x")  # content earns what the pings cost
                for _ in range(3):
                    peer.state.ping(bytes(8))
                for event in wire.feed(peer.state.data_to_send()):
                    wire.acknowledge(1, getattr(event, "flow_controlled_length", 0) or 0)

        with pytest.raises(FloodError, match="nobody reads"):
            pour()
        assert wire.backlog < MAX_UNSENT_BYTES + 100

    trio.run(scenario)


def test_what_nobody_took_is_not_acknowledged():
    async def scenario():
        near, _ = memory_stream_pair()
        wire, peer = make_wire(near), Peer()
        stream = peer.begin(wire)
        peer.state.receive_data(bytes(wire._unsent))
        assert peer.state.local_flow_control_window(1) == STREAM_WINDOW_BYTES
        before = len(wire._unsent)
        while window := peer.state.local_flow_control_window(1):
            peer.state.send_data(1, bytes(min(window, 16_384)))
        for event in wire.feed(peer.state.data_to_send()):
            size = getattr(event, "flow_controlled_length", 0)
            if size:
                stream.add_data(event.data, size)
        peer.state.receive_data(bytes(wire._unsent[before:]))
        assert peer.state.local_flow_control_window(1) == 0
        before = len(wire._unsent)
        assert len(stream.take()) == STREAM_WINDOW_BYTES
        peer.state.receive_data(bytes(wire._unsent[before:]))
        assert peer.state.local_flow_control_window(1) == STREAM_WINDOW_BYTES < CONNECTION_WINDOW_BYTES

    trio.run(scenario)


def test_a_sender_waits_for_the_socket_and_for_the_window_and_not_for_ever():
    async def scenario():
        near, far = memory_stream_pair()
        wire, peer = make_wire(near), Peer()
        peer.begin(wire)
        began, given_up = trio.current_time(), trio.Event()

        async def send():
            wire.send_headers(1, [(b":status", b"200")])
            with pytest.raises(WireBrokenError, match="takes no more"):
                await wire.send_data(1, bytes(1_000_000))
            given_up.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            assert wire.backlog < UNSENT_BYTES + 20_000  # nobody writes yet
            nursery.start_soon(wire.run_writer)
            await wait_all_tasks_blocked()
            received = await far.receive_some(200_000)
            assert 65_535 < len(received) < 70_000  # the window of a peer that said nothing
            await given_up.wait()
            assert trio.current_time() - began == pytest.approx(STALL_S)
            nursery.cancel_scope.cancel()

    trio.run(scenario, clock=MockClock(autojump_threshold=0))


def test_who_waits_is_told_when_the_connection_is_over():
    async def scenario():
        near, far = memory_stream_pair()
        wire, peer = make_wire(near), Peer()
        peer.begin(wire)
        wire.send_headers(1, [(b":status", b"200")])

        async def send():
            with pytest.raises(WireBrokenError):
                await wire.send_data(1, bytes(1_000_000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(wire.run_writer)
            await wait_all_tasks_blocked()
            await far.aclose()
            wire.send_farewell(1)
        assert wire.is_broken

    trio.run(scenario)
