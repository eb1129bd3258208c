"""A worker that does what a test wants of it, for what the real one never does on purpose.

It speaks the control protocol; ``PENSTOCK_STAND_IN`` says how it misbehaves: ``refuse`` (answers Refused to
every table after its first), ``silent`` (answers no table after its first), ``boot`` (cannot start), ``hang``
(answers no ping), ``new-settings`` (cannot start with an entrypoint called ``cursed``).
"""

import os
import signal

import trio

from shared import control
from shared.boot import decode_boot
from shared.channel import Channel


def run_worker(boot, channel, listeners):
    """Entry point of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trio.run(StandIn(decode_boot(boot), channel, listeners).run)


class StandIn:
    """Answers every connection with its slot, process id and generation."""

    def __init__(self, boot, channel, listeners):
        self.boot = boot
        self.channel = Channel(channel, control.decode_for_worker)
        self.listeners = listeners
        self.mode = os.environ.get("PENSTOCK_STAND_IN", "")
        self.generations = []

    async def run(self):
        await self.channel.send(control.Booted(os.getpid()))
        cursed = self.mode == "new-settings" and "cursed" in self.boot.static.entry_points
        if self.mode == "boot" or cursed:
            await self.channel.send(control.BootFailed("the stand-in was told not to start"))
            raise SystemExit(3)
        async with trio.open_nursery() as nursery:
            while await self.obey(nursery):
                pass
            nursery.cancel_scope.cancel()

    async def obey(self, nursery):
        """Act on one message; False if it was the last."""
        message, descriptors = await self.channel.receive()
        for descriptor in descriptors:
            os.close(descriptor)
        match message:
            case None:
                return False
            case control.Install(generation=generation):
                await self.install(generation, nursery)
            case control.Rollback():
                if len(self.generations) > 1:
                    self.generations.pop()
            case control.Ping(number=number):
                if self.mode != "hang":
                    await self.channel.send(control.Pong(number, self.generations[-1], 0, 0, 0))
            case control.Drain():
                await self.channel.send(control.Drained(0, 0))
                return False
            case _:
                pass
        return True

    async def install(self, generation, nursery):
        if self.generations and self.mode == "refuse":
            await self.channel.send(control.Refused(generation, "the stand-in refuses"))
            return
        if self.generations and self.mode == "silent":
            return
        first = not self.generations
        self.generations.append(generation)
        await self.channel.send(control.Installed(generation))
        if first:
            for _, listener in self.listeners:
                listener.listen()
                nursery.start_soon(self.accept, trio.socket.from_stdlib_socket(listener), nursery)
            await self.channel.send(control.Ready(generation))

    async def accept(self, listener, nursery):
        while True:
            connection, _ = await listener.accept()
            nursery.start_soon(self.answer, connection)

    async def answer(self, connection):
        with connection:
            await connection.recv(65536)
            body = f"{self.boot.slot} {os.getpid()} {self.generations[-1]}".encode()
            head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            await connection.send(head + body)
