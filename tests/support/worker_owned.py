"""The control of the zero-loss test: workers that own their listeners.

The same workers and the same clients; only the master's descriptors are missing. When such a worker dies, the
connections that wait in its queue are reset.
"""

from __future__ import annotations

import fcntl
import os
import socket

import trio

from master.aggregator import Aggregator
from master.worker_handle import spawn_worker
from providers.base import Snapshot
from shared import control
from shared.boot import WorkerBoot, encode_boot
from shared.channel import Channel, make_pair
from shared.config.documents import parse_document
from shared.config.static import EntryPoint, StaticConfig
from tests.support.storm import Storm, kill_with_a_queue

GRACE_S = 10.0
CLIENTS_PER_KIND = 6


class OwnWorker:
    """A worker whose listener is in no other process."""

    def __init__(self, port: int, table: bytes) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", port))
        self.port = listener.getsockname()[1]
        self._table = table
        ours, theirs = make_pair()
        boot = WorkerBoot(0, StaticConfig(entry_points={"web": EntryPoint(address="127.0.0.1:0")}))
        self._process = spawn_worker(encode_boot(boot), theirs, [("web", listener)])
        theirs.close()
        listener.close()  # from here on only the worker has it
        self._channel: Channel[control.ToMaster] = Channel(ours, control.decode_for_master)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def wait_ready(self) -> None:
        """Give it its table and wait until it accepts."""
        await self._wait_for(control.Booted)
        descriptor = os.memfd_create("table", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(descriptor, self._table)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
            await self._channel.send(control.Install(1), (descriptor,))
        finally:
            os.close(descriptor)
        await self._wait_for(control.Ready)

    async def drain(self) -> None:
        """Let it finish what it has, and wait for its end."""
        await self._channel.send(control.Drain(GRACE_S))
        await self._wait_for(control.Drained)
        self.close()

    def close(self) -> None:
        """Wait for the end of the process, which is near."""
        self._process.join(GRACE_S)
        self._channel.close()

    async def _wait_for(self, kind: type) -> None:
        while True:
            message, _ = await self._channel.receive()
            if message is None or isinstance(message, control.BootFailed | control.Refused):
                raise AssertionError(f"the worker said {message}")
            if isinstance(message, kind):
                return


async def kill_a_worker_that_owns_its_listener(rules: str) -> Storm:
    """Kill one of two such workers while connections wait in its queue, and see what the clients say."""
    static = StaticConfig(entry_points={"web": EntryPoint(address="127.0.0.1:0")})
    aggregator = Aggregator(static)
    aggregator.take(Snapshot("file", (parse_document(rules, "rules.yml", "yaml"),)))
    table = aggregator.compile(1).table
    victim = OwnWorker(0, table)
    await victim.wait_ready()
    other = OwnWorker(victim.port, table)
    await other.wait_ready()
    storm = Storm(victim.port, CLIENTS_PER_KIND)
    async with trio.open_nursery() as nursery:
        await nursery.start(storm.run)
        await kill_with_a_queue(victim.pid, storm)
        storm.finish()
    victim.close()
    await other.drain()
    return storm
