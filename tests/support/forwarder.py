"""A network that can fail: a TCP forwarder on trio whose connections can be cut or fall silent."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import trio

CHUNK = 65_536


class Forwarder:
    """Forwards connections to a target, as long as the network is whole.

    Args:
        target: asked at each connection, as servers may come back elsewhere.
    """

    def __init__(self, target: Callable[[], tuple[str, int]]) -> None:
        self._target = target
        self._listener = trio.socket.socket()
        self._open: set[trio.socket.SocketType] = set()
        self._silenced = trio.Event()
        self.is_cut = False

    async def listen(self) -> None:
        """Take a port; connections are made from now on, and served by ``run``."""
        await self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._listener.getsockname()
        return host, port

    async def run(self) -> None:
        """Forward until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    accepted, _ = await self._listener.accept()
                    nursery.start_soon(self._serve, accepted)
        finally:
            self._listener.close()

    def cut(self) -> None:
        """Reset every connection, and from now on every new one."""
        self.is_cut = True
        for each in list(self._open):
            _reset(each)
        self._open.clear()

    def silence(self) -> None:
        """Every connection goes silent for ever, as behind a firewall that forgot it; new ones work."""
        self._silenced.set()
        self._silenced = trio.Event()

    def heal(self) -> None:
        """New connections work again."""
        self.is_cut = False

    async def _serve(self, ours: trio.socket.SocketType) -> None:
        if self.is_cut:
            _reset(ours)
            return
        theirs = trio.socket.socket()
        silenced = self._silenced
        self._open |= {ours, theirs}
        try:
            await theirs.connect(self._target())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pump, ours, theirs, nursery.cancel_scope)
                nursery.start_soon(_pump, theirs, ours, nursery.cancel_scope)
                nursery.start_soon(_cancel_when, silenced, nursery.cancel_scope)
            if silenced.is_set():
                await trio.sleep_forever()
        except OSError:
            _reset(ours)  # as the server itself would have refused it
        finally:
            self._open -= {ours, theirs}
            for each in (ours, theirs):
                each.close()


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _pump(
    source: trio.socket.SocketType, target: trio.socket.SocketType, both: trio.CancelScope
) -> None:
    """Copy one way; when that way ends, so does the connection."""
    try:
        while data := await source.recv(CHUNK):
            rest = memoryview(data)
            while rest:
                rest = rest[await target.send(rest) :]
    except (OSError, trio.ClosedResourceError):
        pass  # the connection is over, as it would be without us
    both.cancel()


def _reset(connection: trio.socket.SocketType) -> None:
    linger = struct.pack("ii", 1, 0)  # on, 0 s: RST instead of FIN (socket(7))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.close()
