"""The master against workers that misbehave: stand-ins, in real processes, on real sockets."""

import errno
import os
import signal
import socket
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from master import supervisor as supervisor_module
from master import worker_handle
from master.reloader import seal_table
from master.slots import ListenAddress, Slots
from master.supervisor import Supervisor
from shared.config.static import EntryPoint, StaticConfig
from shared.errors import PortInUseError
from tests.integration import stand_in_worker

pytestmark = pytest.mark.integration
LOOPBACK = ListenAddress("127.0.0.1", 0)
DEADLINE_S = 60


def spawn_stand_in(boot, channel, listeners):
    context = worker_handle.multiprocess.get_context("spawn")
    process = context.Process(target=stand_in_worker.run_worker, args=(boot, channel, list(listeners)))
    process.start()
    return process


def run(test, *arguments):
    """Run an async test with a deadline."""

    async def limited():
        with trio.fail_after(DEADLINE_S):
            await test(*arguments)

    trio.run(limited)


@asynccontextmanager
async def supervised(wanted=2):
    """A supervisor with one entrypoint and its first table."""
    slots = Slots(4)
    slots.open_epoch(1, {"web": LOOPBACK})
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(slots, wanted, nursery, spawn_stand_in)
        supervisor.add_epoch(1, StaticConfig(entry_points={"web": EntryPoint()}), 1.0)
        supervisor.begin()
        await supervisor.offer(1, seal_table(b"first"))
        yield supervisor
        supervisor.stop(now=True)
        await supervisor.wait_finished()
        nursery.cancel_scope.cancel()


async def ask(supervisor, name="web", epoch=1):
    """Slot, process id and generation of whoever answers."""
    _, port = supervisor.slots.addresses(epoch)[name].rsplit(":", 1)
    stream = await trio.open_tcp_stream("127.0.0.1", int(port))
    async with stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b"".join([chunk async for chunk in stream])
    return tuple(int(each) for each in answer.rpartition(b"\r\n\r\n")[2].split())


def test_a_killed_worker_is_replaced_and_no_connection_is_refused():
    async def scenario():
        async with supervised(wanted=1) as supervisor:
            assert await supervisor.wait_started()
            _, pid, _ = await ask(supervisor)
            os.kill(pid, signal.SIGKILL)
            for _ in range(20):  # some of these wait in the dead worker's queue for the new one
                slot, _, _ = await ask(supervisor)
                assert slot == 0
            assert (await ask(supervisor))[1] != pid

    run(scenario)


def test_a_first_worker_that_cannot_start_ends_the_master(monkeypatch):
    monkeypatch.setenv("PENSTOCK_STAND_IN", "boot")

    async def scenario():
        async with supervised() as supervisor:
            assert not await supervisor.wait_started()
            assert "could not start: the stand-in was told not to start" in supervisor.failure

    run(scenario)


def test_a_refused_table_changes_nothing(monkeypatch):
    monkeypatch.setenv("PENSTOCK_STAND_IN", "refuse")

    async def scenario():
        async with supervised() as supervisor:
            assert await supervisor.wait_started()
            conclusion = await supervisor.offer(2, seal_table(b"second"))
            assert "the stand-in refuses" in conclusion.reason
            assert supervisor.tables.current == 1
            assert {(await ask(supervisor))[2] for _ in range(10)} == {1}

    run(scenario)


def test_a_table_nobody_answers_to_is_taken_back_in_time(monkeypatch):
    monkeypatch.setenv("PENSTOCK_STAND_IN", "silent")
    monkeypatch.setattr(supervisor_module, "INSTALL_TIMEOUT_S", 0.5)

    async def scenario():
        async with supervised() as supervisor:
            assert await supervisor.wait_started()
            conclusion = await supervisor.offer(2, seal_table(b"second"))
            assert "no answer in time from worker process 1, 2" in conclusion.reason
            assert supervisor.tables.current == 1

    run(scenario)


def test_a_table_goes_live_everywhere_and_joiners_get_it():
    async def scenario():
        async with supervised() as supervisor:
            assert await supervisor.wait_started()
            assert not (await supervisor.offer(2, seal_table(b"second"))).reason
            assert {(await ask(supervisor))[2] for _ in range(10)} == {2}
            assert await supervisor.scale(3) == ""
            assert {(await ask(supervisor))[2] for _ in range(30)} == {2}

    run(scenario)


def test_a_worker_that_hangs_is_replaced(monkeypatch):
    monkeypatch.setenv("PENSTOCK_STAND_IN", "hang")
    monkeypatch.setattr(worker_handle, "PING_INTERVAL_S", 0.1)
    monkeypatch.setattr(worker_handle, "HANG_TIMEOUT_S", 0.5)
    monkeypatch.setattr(worker_handle, "ABORT_WAIT_S", 0.1)

    async def scenario():
        async with supervised(wanted=1) as supervisor:
            assert await supervisor.wait_started()
            _, pid, _ = await ask(supervisor)
            await supervisor._wait_until(
                lambda: pid not in {each.pid for each in supervisor.handles.values()}
            )
            assert (await ask(supervisor))[1] != pid

    run(scenario)


def test_scaling_down_drains_and_the_rest_serves_everything():
    async def scenario():
        async with supervised(wanted=3) as supervisor:
            assert await supervisor.wait_started()
            assert await supervisor.scale(1) == ""
            assert {(await ask(supervisor))[0] for _ in range(30)} == {0}
            assert await supervisor.scale(2) == ""
            assert {(await ask(supervisor))[0] for _ in range(60)} == {0, 1}

    run(scenario)


def test_a_roll_replaces_every_worker_and_opens_new_entrypoints():
    async def scenario():
        async with supervised() as supervisor:
            assert await supervisor.wait_started()
            before = {each.pid for each in supervisor.handles.values()}
            supervisor.slots.open_epoch(2, {"web": LOOPBACK, "two": LOOPBACK})
            static = StaticConfig(entry_points={"web": EntryPoint(), "two": EntryPoint()})
            supervisor.add_epoch(2, static, 1.0)
            address = supervisor.slots.addresses(1)["web"]
            assert await supervisor.roll(2) == ""
            assert supervisor.slots.addresses(2)["web"] == address
            assert (await ask(supervisor, "two", epoch=2))[1] not in before
            await supervisor._wait_until(lambda: not before & {e.pid for e in supervisor.handles.values()})

    run(scenario)


def test_a_roll_that_cannot_start_leaves_the_old_workers(monkeypatch):
    monkeypatch.setenv("PENSTOCK_STAND_IN", "new-settings")

    async def scenario():
        async with supervised() as supervisor:
            assert await supervisor.wait_started()
            before = {each.pid for each in supervisor.handles.values()}
            supervisor.slots.open_epoch(2, {"web": LOOPBACK, "cursed": LOOPBACK})
            static = StaticConfig(entry_points={"web": EntryPoint(), "cursed": EntryPoint()})
            supervisor.add_epoch(2, static, 1.0)
            assert "the stand-in was told not to start" in await supervisor.roll(2)
            assert {each.pid for each in supervisor.handles.values()} == before
            assert supervisor.slots.addresses(2) == {}, "the new entrypoint's sockets are still open"
            assert (await ask(supervisor))[1] in before

    run(scenario)


def test_two_entrypoints_may_not_share_an_address():
    first = Slots(1)
    first.open_epoch(1, {"web": LOOPBACK})
    port = int(first.addresses(1)["web"].rsplit(":", 1)[1])
    first.close()
    slots = Slots(1)
    wanted = {"web": ListenAddress("127.0.0.1", port), "all": ListenAddress("", port)}
    with pytest.raises(PortInUseError, match=r"all: address :\d+ is already in use by entrypoint web"):
        slots.open_epoch(1, wanted)


def test_tcp_and_udp_may_share_a_port_and_slots_out_of_service_get_no_datagrams():
    first = Slots(1)
    first.open_epoch(1, {"web": LOOPBACK})
    port = int(first.addresses(1)["web"].rsplit(":", 1)[1])
    first.close()
    slots = Slots(3)
    slots.open_epoch(
        1, {"web": ListenAddress("127.0.0.1", port), "dns": ListenAddress("127.0.0.1", port, "udp")}
    )
    assert slots.addresses(1)["dns"] == f"127.0.0.1:{port}/udp"

    def datagrams():
        """How many of 32 new clients came to each slot."""
        for _ in range(32):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"x", ("127.0.0.1", port))
        found = []
        for slot in range(3):
            sock = dict(slots.for_worker(1, slot))["dns"]
            count = 0
            with suppress(BlockingIOError):
                while sock.recv(1):
                    count += 1
            found.append(count)
        return found

    assert datagrams() == [32, 0, 0]  # before any is in service the first one keeps what comes
    slots.listen(1, 1)
    assert datagrams() == [0, 32, 0]
    slots.listen(1, 2)
    spread = datagrams()
    assert spread[0] == 0
    assert min(spread[1:]) > 0
    slots.steer(frozenset([1]))
    assert datagrams() == [0, 0, 32]
    slots.rest(1)
    slots.steer(frozenset())
    assert datagrams() == [0, 0, 32]
    slots.close()


def test_a_failed_epoch_leaves_no_socket_behind():
    taken = Slots(1)
    taken.open_epoch(1, {"web": LOOPBACK})
    taken.listen(1, 0)
    port = int(taken.addresses(1)["web"].rsplit(":", 1)[1])
    slots = Slots(2)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(PortInUseError, match="entrypoint late"):
        slots.open_epoch(1, {"early": LOOPBACK, "late": ListenAddress("127.0.0.1", port)})
    assert len(os.listdir("/proc/self/fd")) == before
    taken.close()


def test_a_sealed_table_cannot_be_changed():
    descriptor = seal_table(b"table")
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EPERM)):
            os.write(descriptor, b"x")
        assert os.pread(descriptor, 10, 0) == b"table"
    finally:
        os.close(descriptor)
