"""One HTTP/2 connection with a client: a task per connection, and a task per stream.

::

    serve       reads frames, starts streams, keeps deadlines
    ├─ writer
    └─ streams  one task per request: parse, match, chain, response, record; as in HTTP/1

A stream that breaks ends alone. What breaks the protocol, or floods us, ends the connection with a GOAWAY
that says why. Draining asks the client to go (GOAWAY with the highest id), waits until it has heard (PING),
and then refuses what it opens; refused streams were not looked at, so any client may send them again.

Source: RFC 9113 sections 5.1.2, 5.4, 6.8 and 8.
"""

from __future__ import annotations

import logging
import math

import h2.exceptions
import trio
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.settings import SettingCodes

from shared.errors import ClientGone
from worker.bodies import READ_BYTES
from worker.client_stream import ClientStream
from worker.conduct import Context
from worker.downstream import HEAD_DEADLINE_S, STALL_S
from worker.h2.budgets import Budget
from worker.h2.frame_meter import PREFACE_BYTES, FloodError
from worker.h2.limits import DEFAULT_STREAMS, DRAIN_S, GOODBYE_S, REFUSE_MARGIN, RESET_BURST, RESETS_PER_S
from worker.h2.request_task import RequestTask
from worker.h2.stream import Stream
from worker.h2.wire import LAST_POSSIBLE_ID, Wire
from worker.request_head import MAX_FIELDS, Peer
from worker.state import Entrance, seconds

logger = logging.getLogger(__name__)

PREFACE_HEAD = b"PRI * HTTP/2.0\r\n\r\n"
"""What an HTTP/1 parser sees of a client that speaks HTTP/2 from its first byte on."""

_DRAIN_PING = b"draining"
_FIELD_OVERHEAD = 32
_DEFAULT_TABLE_BYTES = 4_096


class ClientConnection:
    """See above.

    Args:
        stream: accepted.
        peer: the client.
        entrance: where it came in.
        context: of the worker.
        opened_at: when it was accepted.
        early: bytes that were read already.
    """

    def __init__(
        self,
        stream: ClientStream,
        peer: Peer,
        entrance: Entrance,
        context: Context,
        opened_at: float,
        early: bytes = b"",
    ) -> None:
        self.stream = stream
        self.peer = peer
        self.entrance = entrance
        self.context = context
        self._opened_at = opened_at
        self._early = early
        settings, transport = entrance.settings, entrance.settings.transport
        timeouts = transport.responding_timeouts
        self._transport = transport
        self.body_stall_s = timeouts.read_timeout or STALL_S
        self._head_deadline_s = timeouts.read_timeout or HEAD_DEADLINE_S
        self._most_streams = settings.http2.max_concurrent_streams or DEFAULT_STREAMS
        head_list_bytes = settings.http.max_header_bytes + _FIELD_OVERHEAD * MAX_FIELDS
        self.wire = Wire(
            stream,
            is_client=False,
            settings={
                SettingCodes.MAX_CONCURRENT_STREAMS: self._most_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: head_list_bytes,
            },
            head_list_bytes=2 * head_list_bytes,  # up to here a client is told what is wrong
            write_stall_s=timeouts.write_timeout or STALL_S,
            preface_bytes=PREFACE_BYTES,
        )
        decoder_bytes = settings.http2.max_decoder_header_table_size
        if decoder_bytes != _DEFAULT_TABLE_BYTES:
            self.wire.state.update_settings({SettingCodes.HEADER_TABLE_SIZE: decoder_bytes})
            self.wire.flush()
        self._limit_encoder()
        self._resets = Budget(RESET_BURST, RESETS_PER_S, trio.current_time())
        self._running = 0
        self._served = 0
        self._last_id = 0
        self._is_leaving = False
        self._refuses = False
        self._waiting = trio.CancelScope()
        self._block_began = math.inf
        self._tasks: trio.Nursery | None = None

    async def serve(self) -> None:
        """Serve until either side is done. The caller closes the socket."""
        lifetime = self.context.lifetime
        lifetime.watch_drain(self.leave)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                async with trio.open_nursery() as tasks:
                    self._tasks = tasks
                    await self._read()
                    self.wire.is_broken = True  # behind a GOAWAY comes nothing
                    for stream in self.wire.streams.values():
                        self._give_up(stream, ClientGone("the connection ended"))
                    tasks.cancel_scope.deadline = trio.current_time() + GOODBYE_S
                await self.wire.finish()
                nursery.cancel_scope.cancel()
        finally:
            lifetime.forget_drain(self.leave)

    # -- what happens to streams -----------------------------------------------------------------------------

    def note_end(self, stream: Stream, *, is_whole: bool) -> None:
        """The task of a stream is through."""
        self._running -= 1
        self.wire.streams.pop(stream.id, None)
        stream.take()
        if is_whole:
            self._resets.earn(1)
            self.wire.meter.earn()
        if self._is_done():
            self._waiting.cancel()
        elif not self._running:
            self._waiting.deadline = min(self._waiting.deadline, self._deadline())
        most, longest_s = self._transport.keep_alive_max_requests, self._transport.keep_alive_max_time
        age_s = trio.current_time() - self._opened_at
        if (most and self._served >= most) or (longest_s and age_s >= longest_s):
            self.leave()

    def leave(self) -> None:
        """Ask the client to open no more streams here; those that are open end in peace."""
        if self._is_leaving:
            return
        self._is_leaving = True
        self.wire.send_farewell(LAST_POSSIBLE_ID)
        try:
            self.wire.state.ping(_DRAIN_PING)
        except h2.exceptions.ProtocolError:
            self._refuses = True  # the connection is ending anyway
        self.wire.flush()
        self._waiting.deadline = min(self._waiting.deadline, trio.current_time() + DRAIN_S)

    async def _write(self) -> None:
        await self.wire.run_writer()
        self._waiting.cancel()  # nothing can be sent: there is nothing to read for

    # -- reading ---------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Read until the connection is to end."""
        try:
            if self._early:
                self._dispatch(self._early)
            while not self._is_done():
                data = await self._receive()
                if data is None:
                    continue
                if not data:
                    return
                self._dispatch(data)
        except FloodError as error:
            self._say_why(str(error), error.code)
        except h2.exceptions.ProtocolError as error:
            logger.debug("%s: %s breaks HTTP/2: %s", self.entrance.name, self.peer.ip, error)
            if not self.wire.has_closed:  # else h2 has said so to the client
                self.wire.send_farewell(self._last_id, ErrorCodes.PROTOCOL_ERROR)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _receive(self) -> bytes | None:
        """Some bytes, none at the end; None when the wait is over for another reason."""
        idle = not self._running
        with trio.CancelScope(deadline=self._deadline()) as self._waiting:
            if idle:
                self.context.lifetime.enter_idle(self._waiting)
            try:
                return bytes(await self.stream.receive_some(READ_BYTES))
            finally:
                self.context.lifetime.leave_idle(self._waiting)
        if self.wire.is_broken:
            return b""
        if self._is_leaving:
            self._refuse_from_now_on()
            return None
        if trio.current_time() < self._waiting.deadline:
            return None
        self._refuses = self._is_leaving = True
        self.wire.send_farewell(self._last_id)
        return None if self._running and not self.wire.meter.is_in_block else b""

    def _deadline(self) -> float:
        """How long to wait for bytes."""
        now = trio.current_time()
        if self._is_leaving:
            return math.inf if self._refuses else now + DRAIN_S
        if self.wire.meter.is_in_block:
            return self._block_began + self._head_deadline_s
        if self._running:
            return math.inf
        if not self._served:
            return self._opened_at + self._head_deadline_s
        return now + seconds(self._transport.responding_timeouts.idle_timeout)

    def _is_done(self) -> bool:
        return self._refuses and not self._running

    def _dispatch(self, data: bytes) -> None:
        was_in_block = self.wire.meter.is_in_block
        for event in self.wire.feed(data):
            self._on_event(event)
        if self.wire.meter.is_in_block and not was_in_block:
            self._block_began = trio.current_time()

    def _on_event(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._begin(event.stream_id or 0, list(event.headers), has_body=event.stream_ended is None)
            case DataReceived():
                self._on_data(
                    event.stream_id or 0, bytes(event.data or b""), event.flow_controlled_length or 0
                )
            case TrailersReceived() | StreamEnded():
                stream = self.wire.streams.get(event.stream_id or 0)
                if stream is not None:
                    stream.end(list(event.headers) if isinstance(event, TrailersReceived) else None)
            case StreamReset():
                self._on_reset(event.stream_id or 0)
            case WindowUpdated():
                self.wire.wake_streams()
            case RemoteSettingsChanged():
                self._limit_encoder()
                self.wire.wake_streams()
            case PingAckReceived() if event.ping_data == _DRAIN_PING and self._is_leaving:
                self._refuse_from_now_on()
            case _:
                return

    def _on_data(self, stream_id: int, data: bytes, size: int) -> None:
        stream = self.wire.streams.get(stream_id)
        if stream is not None:
            stream.add_data(data, size)
        else:
            self.wire.acknowledge(stream_id, size)

    def _begin(self, stream_id: int, fields: list[tuple[bytes, bytes]], *, has_body: bool) -> None:
        if self._refuses or self._running >= self._most_streams:
            self.wire.reset(stream_id, ErrorCodes.REFUSED_STREAM)
            if not self._refuses:
                self._charge()
            if self._running >= self._most_streams + REFUSE_MARGIN:
                raise FloodError("too many streams at once")
            return
        assert self._tasks is not None, "the connection is being served"
        stream = Stream(self.wire, stream_id)
        stream.scope = trio.CancelScope()
        if not has_body:
            stream.has_ended = True
        self.wire.streams[stream_id] = stream
        self._last_id = stream_id
        self._running += 1
        self._served += 1
        self._tasks.start_soon(RequestTask(self, stream, fields, has_body=has_body).run)

    def _on_reset(self, stream_id: int) -> None:
        stream = self.wire.streams.get(stream_id)
        if stream is not None:
            self._give_up(stream, ClientGone("the client gave the request up"))
        self._charge()
        self.wire.wake_streams()

    def _charge(self) -> None:
        """The client made us work for nothing.

        Raises:
            FloodError: once too often.
        """
        if not self._resets.spend(1, trio.current_time()):
            raise FloodError("too many streams given up")

    def _give_up(self, stream: Stream, error: ClientGone) -> None:
        stream.fail(error)
        if stream.scope is not None:
            stream.scope.cancel()

    def _refuse_from_now_on(self) -> None:
        """The client has heard that it is to go: what it opens now was sent in spite of it."""
        if not self._refuses:
            self._refuses = True
            self.wire.send_farewell(self._last_id)
            if not self._running:
                self._waiting.cancel()

    def _say_why(self, reason: str, code: ErrorCodes) -> None:
        logger.info("%s: the HTTP/2 connection of %s is ended: %s", self.entrance.name, self.peer.ip, reason)
        self._refuses = True
        self.wire.send_farewell(self._last_id, code)

    def _limit_encoder(self) -> None:
        most = self.entrance.settings.http2.max_encoder_header_table_size
        encoder = self.wire.state.encoder
        if encoder.header_table_size > most:
            encoder.header_table_size = most
