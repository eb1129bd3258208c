"""The control channel keeps messages whole and hands descriptors over once."""

import os
import socket

import pytest
import trio

from shared import control
from shared.channel import MAX_DESCRIPTORS, Channel, make_pair
from shared.errors import ControlError


def channels():
    ours, theirs = make_pair()
    return Channel(ours, control.decode_for_master), Channel(theirs, control.decode_for_worker), theirs


def run(body):
    async def main():
        with trio.fail_after(5):
            await body()

    trio.run(main)


def test_messages_arrive_whole_and_in_order():
    async def body():
        master, worker, _ = channels()
        await master.send(control.Ping(1))
        await master.send(control.Drain(2.5))
        assert await worker.receive() == (control.Ping(1), ())
        assert await worker.receive() == (control.Drain(2.5), ())
        await worker.send(control.Pong(1, 2, 3, 4, 5))
        assert await master.receive() == (control.Pong(1, 2, 3, 4, 5), ())
        master.close()
        worker.close()

    run(body)


def test_a_descriptor_arrives_close_on_exec_and_opens_the_same_file():
    async def body():
        master, worker, _ = channels()
        fd = os.memfd_create("table")
        os.write(fd, b"table")
        await master.send(control.Install(3), [fd])
        os.close(fd)
        message, (received,) = await worker.receive()
        assert message == control.Install(3)
        assert os.pread(received, 10, 0) == b"table"
        assert not os.get_inheritable(received)
        os.close(received)
        master.close()
        worker.close()

    run(body)


def test_end_of_file_is_none_at_both_ends():
    async def body():
        for closed_first in (0, 1):
            pair = channels()[:2]
            pair[closed_first].close()
            assert await pair[1 - closed_first].receive() == (None, ())
            pair[1 - closed_first].close()

    run(body)


def test_closing_with_unread_messages_is_an_end_and_not_an_error():
    async def body():
        master, worker, _ = channels()
        await worker.send(control.Booted(1))
        master.close()
        assert await worker.receive() == (None, ())
        worker.close()

    run(body)


def test_sending_to_a_gone_peer_is_a_control_error():
    async def body():
        master, worker, _ = channels()
        worker.close()
        with pytest.raises(ControlError, match="cannot send Ping"):
            await master.send(control.Ping(1))
        master.close()

    run(body)


@pytest.mark.parametrize("data", [b"\xff", b"\x80", b"x" * (control.MAX_MESSAGE_BYTES + 1)])
def test_what_is_no_message_is_refused_and_its_descriptors_are_closed(data):
    async def body():
        ours, theirs = make_pair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * control.MAX_MESSAGE_BYTES)
        worker = Channel(theirs, control.decode_for_worker)
        read_end, write_end = os.pipe()
        socket.send_fds(ours, [data], [write_end])
        os.close(write_end)
        with pytest.raises(ControlError):
            await worker.receive()
        assert os.read(read_end, 1) == b""  # nobody holds the other end any more
        os.close(read_end)
        ours.close()
        worker.close()

    run(body)


def test_too_many_descriptors_are_refused():
    async def body():
        ours, theirs = make_pair()
        worker = Channel(theirs, control.decode_for_worker)
        fds = [os.memfd_create("x") for _ in range(MAX_DESCRIPTORS + 2)]
        before = len(os.listdir("/proc/self/fd"))
        socket.send_fds(ours, [control.encode(control.Ping(1))], fds)
        with pytest.raises(ControlError, match="cut short"):
            await worker.receive()
        assert len(os.listdir("/proc/self/fd")) == before
        for fd in fds:
            os.close(fd)
        ours.close()
        worker.close()

    run(body)


def test_many_tasks_may_send_through_a_full_socket():
    async def body():
        master, worker, _ = channels()
        count = 2000
        seen = []
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(master.send, control.Ping(number))
            for _ in range(count):
                message, _fds = await worker.receive()
                seen.append(message.number)
        assert sorted(seen) == list(range(count))
        master.close()
        worker.close()

    run(body)
