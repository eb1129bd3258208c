"""Steady clients of every kind, and the origin they talk to: anything but a complete answer is a loss.

A client that is told ``Connection: close`` opens a new connection, as HTTP says; what it may never see is a
refused or reset connection, an answer cut short, or wrong bytes.
"""

from __future__ import annotations

import hashlib
import os
import queue
import signal
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import h11
import trio

BIG = bytes(range(256)) * 4096  # 1 MiB, so that a cut or shifted body shows
UPLOAD_CHUNKS = [bytes([number]) * 16_384 for number in range(16)]
UPLOAD_DIGEST = hashlib.sha256(b"".join(UPLOAD_CHUNKS)).hexdigest().encode()
EXCHANGE_LIMIT_S = 30.0
KINDS = 5
START_LIMIT_S = 10.0


class Lost(Exception):
    """An exchange that did not end as it should."""


class Storm:
    """Runs clients until told to stop and keeps the score.

    Args:
        port: of the proxy on 127.0.0.1.
        each: how many clients of each kind.
    """

    def __init__(self, port: int, each: int = 3) -> None:
        self.port = port
        self.each = each
        self.done: Counter[str] = Counter()
        self.lost: list[str] = []
        self.phase = "steady"  # what is being done to the proxy, for the report of a loss
        self.stopping = False  # set when the proxy was told to stop: a refused connection is then an answer
        self._finish = False
        self._all_kinds_served = trio.Event()
        self._may_start = trio.Event()
        self._may_start.set()
        self._running = 0
        self._none_running = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run all clients until ``finish``; started once every kind has had an answer."""
        kinds: list[Callable[[], Awaitable[None]]] = [
            self._keep_alive,
            self._new_connection,
            self._upload,
            self._websocket,
            self._slow_reader,
        ]
        async with trio.open_nursery() as nursery:
            for kind in kinds:
                for _ in range(self.each):
                    nursery.start_soon(self._repeat, kind)
            await self._all_kinds_served.wait()
            task_status.started()

    async def pause(self) -> None:
        """Hold every client before its next exchange; returns when no connection is open."""
        self._may_start = trio.Event()
        if self._running:
            self._none_running = trio.Event()
            await self._none_running.wait()

    def resume(self) -> None:
        """Let all clients go on, at the same moment."""
        self._may_start.set()

    def finish(self) -> None:
        """Let every client end after the exchange it is in."""
        self._finish = True

    async def _repeat(self, kind: Callable[[], Awaitable[None]]) -> None:
        while not self._finish:
            await self._may_start.wait()
            self._running += 1
            try:
                with trio.fail_after(EXCHANGE_LIMIT_S):
                    await kind()
            except ConnectionRefused:
                if self.stopping:
                    return
                self.lost.append(f"{self.phase}: {kind.__name__}: refused")
                return
            except (
                Lost,
                OSError,
                trio.BrokenResourceError,
                h11.RemoteProtocolError,
                trio.TooSlowError,
            ) as error:
                self.lost.append(f"{self.phase}: {kind.__name__}: {error!r} {error.__cause__!r}")
            finally:
                self._running -= 1
                if not self._running:
                    self._none_running.set()
            if len(self.done) == KINDS or self.lost:
                self._all_kinds_served.set()

    async def _keep_alive(self) -> None:
        async with self._connection() as client:
            for _ in range(20):
                body = await client.get("/small")
                if body != b"small":
                    raise Lost(f"body {body[:40]!r}")
                self.done["keep-alive"] += 1
                if self._finish or not self._may_start.is_set() or not client.reusable:
                    return
                client.next()

    async def _new_connection(self) -> None:
        async with self._connection() as client:
            body = await client.get("/small", close=True)
            if body != b"small":
                raise Lost(f"body {body[:40]!r}")
            self.done["new-connection"] += 1

    async def _upload(self) -> None:
        async with self._connection() as client:
            body = await client.post("/upload", UPLOAD_CHUNKS)
            if body != UPLOAD_DIGEST:
                raise Lost(f"digest {body[:80]!r}")
            self.done["upload"] += 1

    async def _slow_reader(self) -> None:
        async with self._connection() as client:
            body = await client.get("/big", pause_s=0.002)
            if body != BIG:
                raise Lost(f"{len(body)} of {len(BIG)} bytes")
            self.done["slow-reader"] += 1

    async def _websocket(self) -> None:
        async with self._connection() as client:
            await client.upgrade("/ws")
            for number in range(30):
                message = b"message %d;" % number
                await client.stream.send_all(message)
                if await client.read_exactly(len(message)) != message:
                    raise Lost("wrong echo")
                await trio.sleep(0.01)
            await client.stream.send_eof()
            if await client.stream.receive_some(16) != b"":
                raise Lost("bytes after the end")
            self.done["websocket"] += 1

    @asynccontextmanager
    async def _connection(self):
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        except OSError as error:
            raise ConnectionRefused from error
        async with stream:
            yield _Client(stream)


class ConnectionRefused(Exception):
    """Nobody listens."""


class _Client:
    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._rest = b""

    @property
    def reusable(self) -> bool:
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def next(self) -> None:
        self._http.start_next_cycle()

    async def get(self, target: str, *, close: bool = False, pause_s: float = 0.0) -> bytes:
        headers = [("Host", "storm.test")] + ([("Connection", "close")] if close else [])
        await self._send(h11.Request(method="GET", target=target, headers=headers), h11.EndOfMessage())
        return await self._read_answer(pause_s)

    async def post(self, target: str, chunks: list[bytes]) -> bytes:
        headers = [("Host", "storm.test"), ("Transfer-Encoding", "chunked")]
        await self._send(h11.Request(method="POST", target=target, headers=headers))
        for chunk in chunks:
            await self._send(h11.Data(data=chunk))
            await trio.sleep(0.002)
        await self._send(h11.EndOfMessage())
        return await self._read_answer(0.0)

    async def upgrade(self, target: str) -> None:
        headers = [("Host", "storm.test"), ("Connection", "Upgrade"), ("Upgrade", "echo")]
        await self._send(h11.Request(method="GET", target=target, headers=headers), h11.EndOfMessage())
        event = await self._next_event(0.0)
        if not isinstance(event, h11.InformationalResponse) or event.status_code != 101:
            raise Lost(f"no switch: {event!r}")
        self._rest = self._http.trailing_data[0]

    async def read_exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            data = await self.stream.receive_some(65_536)
            if not data:
                raise Lost("tunnel cut")
            self._rest += data
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    async def _send(self, *events: h11.Event) -> None:
        await self.stream.send_all(b"".join(self._http.send(event) or b"" for event in events))

    async def _read_answer(self, pause_s: float) -> bytes:
        body = bytearray()
        while True:
            event = await self._next_event(pause_s)
            if isinstance(event, h11.Response) and event.status_code != 200:
                raise Lost(f"status {event.status_code}")
            if isinstance(event, h11.Data):
                body += event.data
            if isinstance(event, h11.EndOfMessage):
                return bytes(body)
            if isinstance(event, h11.ConnectionClosed):
                raise Lost("closed without an answer")

    async def _next_event(self, pause_s: float):
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if pause_s:
                await trio.sleep(pause_s)
            self._http.receive_data(await self.stream.receive_some(16_384))
        return event


async def kill_with_a_queue(pid: int, storm: Storm) -> None:
    """SIGKILL a worker that serves nobody while connections wait in its listener's queue.

    It is held by SIGSTOP meanwhile, so that it cannot accept them.
    """
    storm.phase = "kill"
    await storm.pause()
    os.kill(pid, signal.SIGSTOP)
    storm.resume()
    with trio.fail_after(EXCHANGE_LIMIT_S):
        # The kernel tells nobody; the clients keep connecting.
        while not queued_connections(storm.port):  # noqa: ASYNC110
            await trio.sleep(0.01)
    os.kill(pid, signal.SIGKILL)


def queued_connections(port: int) -> int:
    """Connections that wait to be accepted on a port of 127.0.0.1 (proc(5), /proc/net/tcp)."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(
        int(row[4].partition(":")[2], 16)
        for row in rows
        if row[1] == f"0100007F:{port:04X}" and row[3] == "0A"
    )


@contextmanager
def running_origin() -> Iterator[int]:
    """The origin in a thread of its own; gives its port."""
    started: queue.SimpleQueue[tuple[int, trio.lowlevel.TrioToken, trio.CancelScope]] = queue.SimpleQueue()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            port = await nursery.start(serve_origin)
            started.put((port, trio.lowlevel.current_trio_token(), nursery.cancel_scope))

    thread = threading.Thread(target=trio.run, args=(main,), name="storm origin")
    thread.start()
    port, token, scope = started.get(timeout=START_LIMIT_S)
    try:
        yield port
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join()


async def serve_origin(*, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    """The origin behind the proxy; ``started`` gives its port."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, _serve_connection, listeners)
        task_status.started(port)


async def _serve_connection(stream: trio.SocketStream) -> None:
    http = h11.Connection(h11.SERVER)
    try:
        async with stream:
            while await _serve_exchange(stream, http):
                http.start_next_cycle()
    except (trio.BrokenResourceError, h11.RemoteProtocolError):
        return  # the proxy went away in the middle of an exchange; its client counts the loss


async def _serve_exchange(stream: trio.SocketStream, http: h11.Connection) -> bool:
    target, digest = b"", hashlib.sha256()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await stream.receive_some(65_536))
        elif isinstance(event, h11.Request):
            target = event.target
            if target == b"/ws":
                return await _echo(stream, http)
        elif isinstance(event, h11.Data):
            digest.update(event.data)
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            return False
    body = {b"/small": b"small", b"/big": BIG, b"/upload": digest.hexdigest().encode()}[target]
    response = h11.Response(status_code=200, headers=[("Content-Length", str(len(body)))], reason=b"OK")
    await stream.send_all((http.send(response) or b"") + body)
    http.send(h11.Data(data=body))
    http.send(h11.EndOfMessage())
    return http.our_state is h11.DONE and http.their_state is h11.DONE


async def _echo(stream: trio.SocketStream, http: h11.Connection) -> bool:
    while not isinstance(http.next_event(), h11.EndOfMessage):
        pass
    switch = h11.InformationalResponse(
        status_code=101, headers=[("Upgrade", "echo"), ("Connection", "Upgrade")]
    )
    await stream.send_all(http.send(switch) or b"")
    waiting = http.trailing_data[0]
    if waiting:
        await stream.send_all(waiting)
    async for data in stream:
        await stream.send_all(data)
    await stream.send_eof()
    return False
