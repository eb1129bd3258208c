"""A worker in the test process, on real loopback sockets, between clients and servers written byte for byte.

What is tested that way is our reading of messages and not a library's; and the test sees the worker's inside.
"""

import os
import socket
import struct
from contextlib import asynccontextmanager

import trio

from shared import control
from shared.boot import WorkerBoot
from shared.channel import Channel, make_pair
from shared.config.dynamic import LoadBalancer, Server, ServersTransport, Service
from shared.config.static import EntryPoint, StaticConfig
from shared.rules.conditions import Always
from shared.table.entries import RouterEntry, RouterList, ServiceEntry, TableContent, TransportEntry
from shared.table.writer import write_table
from tests.support.tls import client_context
from worker.app import Worker
from worker.secure_stream import SecureStream
from worker.tls.stream import TlsSession, TlsStream

PATIENCE_S = 20
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Wire:
    """One end of a connection, read by message."""

    def __init__(self, stream):
        self.stream = stream
        self.buffer = b""

    async def send(self, data):
        await self.stream.send_all(data)

    async def through(self, mark):
        while mark not in self.buffer:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError(self.buffer)
            self.buffer += data
        found, _, self.buffer = self.buffer.partition(mark)
        return found + mark

    async def exactly(self, count):
        while len(self.buffer) < count:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError(self.buffer)
            self.buffer += data
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    async def rest(self):
        while data := await self.stream.receive_some():
            self.buffer += data
        return self.buffer

    async def message(self):
        """Head and raw body of a message whose framing is a length or chunks."""
        head = await self.through(b"\r\n\r\n")
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            raw = b""
            while not raw.endswith(b"0\r\n"):
                line = await self.through(b"\r\n")
                raw += line
                if int(line, 16):
                    raw += await self.exactly(int(line, 16) + 2)
            while (line := await self.through(b"\r\n")) != b"\r\n":
                raw += line
            return head, raw + line
        if b"content-length: " in lower:
            size = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
            return head, await self.exactly(size)
        return head, b""

    async def aclose(self):
        if isinstance(self.stream, TlsStream):
            self.stream.close()
        else:
            await self.stream.aclose()

    def reset(self):
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()


class Lane:
    """A running worker, its master's end of the channel, and scripted servers."""

    def __init__(self, nursery, static):
        self.nursery = nursery
        self.slot = socket.socket()
        self.slot.bind(("127.0.0.1", 0))
        self.slot.setblocking(False)
        ours, theirs = make_pair()
        self.master = Channel(ours, control.decode_for_master)
        self.worker = Worker(
            WorkerBoot(0, static), Channel(theirs, control.decode_for_worker), [("web", self.slot)]
        )
        self.accepted = 0
        self.open = [self.slot]
        self.gone = trio.Event()

    async def run(self):
        await self.worker.run()
        self.gone.set()

    async def origin(self, script):
        """A server that runs ``script(wire)`` for each connection; returns its port."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def serve(stream):
            self.accepted += 1
            wire = Wire(stream)
            try:
                await script(wire)
            except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                stream.socket.close()

        self.open.append(listener.socket)
        self.nursery.start_soon(trio.serve_listeners, serve, [listener])
        return listener.socket.getsockname()[1]

    async def install(self, generation, content):
        fd = os.memfd_create("table")
        os.write(fd, write_table(content, generation))
        await self.master.send(control.Install(generation), [fd])
        os.close(fd)
        return (await self.master.receive())[0]

    async def connect(self):
        stream = await trio.open_tcp_stream(*self.slot.getsockname())
        self.open.append(stream.socket)
        return Wire(stream)

    async def connect_tls(self, context=None, server_name=None):
        """A client over TLS; it may say that it has no more to send, and read on."""
        sock = socket.create_connection(self.slot.getsockname())
        sock.setblocking(False)
        tls = (context or client_context()).wrap_socket(
            sock, server_hostname=server_name, do_handshake_on_connect=False
        )
        self.open.append(tls)
        await SecureStream(tls).do_handshake()
        return Wire(TlsStream(tls, TlsSession()))

    async def ask(self, request=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"):
        client = await self.connect()
        await client.send(request)
        try:
            return await client.message()
        finally:
            await client.aclose()


def table(*urls, balancer=None, transport=None, routers=None, services=None):
    if balancer is None:
        balancer = LoadBalancer(servers=tuple(Server(url=url) for url in urls))
    services = services or (ServiceEntry("s@file", Service(load_balancer=balancer), (), 0),)
    routers = routers or (RouterEntry("r@file", "", Always(), 1, (), 0),)
    transport = transport or ServersTransport(max_idle_conns_per_host=200)
    return TableContent(
        routers,
        (),
        services,
        (TransportEntry("default@internal", transport),),
        (RouterList("web", False, tuple(range(len(routers)))),),
    )


def static(*, access_log=None, ping=None, **entrypoint):
    return StaticConfig(
        entry_points={"web": EntryPoint(address=":80", **entrypoint)}, access_log=access_log, ping=ping
    )


@asynccontextmanager
async def lane(script=None, settings=None, **options):
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            running = Lane(nursery, settings or static())
            nursery.start_soon(running.run)
            assert isinstance((await running.master.receive())[0], control.Booted)
            if script is not None:
                port = await running.origin(script)
                running.port = port
                installed = await running.install(1, table(f"http://127.0.0.1:{port}", **options))
                assert isinstance(installed, control.Installed)
                assert (await running.master.receive())[0] == control.Ready(1)
            try:
                yield running
            finally:
                nursery.cancel_scope.cancel()
                running.master.close()
                for each in running.open:
                    each.close()


def run(scenario):
    trio.run(scenario)


def answering(answer=OK, seen=None):
    async def script(wire):
        while True:
            message = await wire.message()
            if seen is not None:
                seen.append(message)
            await wire.send(answer)

    return script


def status(head):
    return int(head.split(b" ")[1])


def fields(head):
    lines = head.split(b"\r\n")[1:-2]
    return [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
