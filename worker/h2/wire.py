"""One HTTP/2 connection, either side of it: h2's state in the middle, bytes in and out, and its streams.

One task writes (``run_writer``), one reads (the owner's), and each stream has a task that may be cancelled at
any time without harm to the others: streams hand their frames to h2 and wait for room, they never write.

Flow control ties both ends together: what a peer sends is acknowledged when somebody took it, and what we
send waits for the peer's window and for the socket.

Source: RFC 9113 sections 5.2 and 6.9.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import h2.config
import h2.connection
import h2.exceptions
import hyperframe.frame
import trio
from h2.errors import ErrorCodes
from h2.events import Event
from h2.settings import SettingCodes, Settings

from worker.client_stream import ClientStream
from worker.h2.frame_meter import FloodError, FrameMeter
from worker.h2.limits import (
    CLOSED_STREAMS,
    CONNECTION_WINDOW_BYTES,
    FRAME_BYTES,
    GOODBYE_S,
    LEAST_DATA_BYTES,
    MAX_UNSENT_BYTES,
    STREAM_WINDOW_BYTES,
    UNSENT_BYTES,
)
from worker.h2.stream import Stream
from worker.secure_stream import SecureStream

Field = tuple[bytes, bytes]
AnyStream = ClientStream | SecureStream

LAST_POSSIBLE_ID = 2**31 - 1


class WireBrokenError(Exception):
    """The connection is over; nothing can be sent."""


class _State(h2.connection.H2Connection):
    MAX_CLOSED_STREAMS = CLOSED_STREAMS


class Wire:
    """See above.

    Args:
        stream: connected.
        is_client: whether we are.
        settings: to announce, beside the windows.
        write_stall_s: longest time that the peer may take no byte.

    Attributes:
        state: h2's connection.
        meter: of what the peer sends.
        streams: those that are open, by id.
        is_broken: nothing can be sent any more.
    """

    def __init__(
        self,
        stream: AnyStream,
        *,
        is_client: bool,
        settings: dict[SettingCodes, int],
        head_list_bytes: int,
        write_stall_s: float,
        preface_bytes: int = 0,
    ) -> None:
        self.stream = stream
        self.state = _make_state(is_client=is_client, head_list_bytes=head_list_bytes)
        self.meter = FrameMeter(trio.current_time(), preface_bytes)
        self.streams: dict[int, Stream] = {}
        self.is_broken = False
        self._write_stall_s = write_stall_s
        self._unsent = bytearray()
        self._in_flight = 0
        self._is_ending = False
        self._news = trio.Event()
        self._blocked: dict[int, trio.Event] = {}
        self._flushed = trio.Event()
        self._begin(settings)

    def _begin(self, settings: dict[SettingCodes, int]) -> None:
        """The first frames. Ours, not h2's, as we announce less than we take: see ``REFUSE_MARGIN``."""
        state = self.state
        state.initiate_connection()
        if state.config.client_side:
            self._unsent += b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        state.clear_outbound_data_buffer()
        announced = {**settings, SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES}
        frame = hyperframe.frame.SettingsFrame(
            0, settings={int(key): value for key, value in announced.items()}
        )
        self._unsent += frame.serialize()
        state.increment_flow_control_window(CONNECTION_WINDOW_BYTES - 65_535)
        self.flush()

    # -- in ------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> list[Event]:
        """What bytes of the peer mean.

        Raises:
            FloodError: too much of nothing, or answers that it does not read.
            h2.exceptions.ProtocolError: it breaks the protocol; a GOAWAY that says so is on its way.
        """
        try:
            kept = self.meter.feed(data, trio.current_time())
            events: list[Event] = self.state.receive_data(kept) if kept else []
        finally:
            self.flush()
        if len(self._unsent) > MAX_UNSENT_BYTES:
            raise FloodError("answers that nobody reads")
        return events

    def acknowledge(self, stream_id: int, size: int) -> None:
        """Somebody took this much of what came on a stream."""
        if size and not self.is_broken:
            with contextlib.suppress(h2.exceptions.ProtocolError):  # the connection is ending
                self.state.acknowledge_received_data(size, stream_id)
                self.flush()

    # -- out -----------------------------------------------------------------------------------------------

    def send_headers(self, stream_id: int, fields: Iterable[Field], *, end: bool = False) -> None:
        """Send a head, or trailers.

        Raises:
            WireBrokenError: the stream or the connection is over.
        """
        self._check()
        try:
            self.state.send_headers(stream_id, list(fields), end_stream=end)
        except (h2.exceptions.ProtocolError, KeyError) as error:
            raise WireBrokenError(str(error)) from error
        self.flush()

    async def send_data(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Send content, as fast as the peer's windows and the socket allow.

        Raises:
            WireBrokenError: the stream or the connection is over.
        """
        rest = memoryview(data)
        while True:
            self._check()
            try:
                size = min(self.state.local_flow_control_window(stream_id), FRAME_BYTES, len(rest))
                if self.backlog < UNSENT_BYTES and (size > 0 or not rest):
                    self.state.send_data(stream_id, bytes(rest[:size]), end_stream=end and size == len(rest))
                    if size == len(rest) or size >= LEAST_DATA_BYTES:
                        self.meter.earn()
                    self.flush()
                    rest = rest[size:]
                    if not rest:
                        return
                    continue
            except (h2.exceptions.ProtocolError, KeyError) as error:
                raise WireBrokenError(str(error)) from error
            await self._wait_turn(stream_id)

    def reset(self, stream_id: int, code: ErrorCodes) -> None:
        """End a stream now; nothing happens if it is over."""
        if not self.is_broken:
            with contextlib.suppress(h2.exceptions.ProtocolError, KeyError):
                self.state.reset_stream(stream_id, code)
                self.flush()

    def send_farewell(self, last_stream_id: int, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """A GOAWAY by hand: with h2's own, streams that are open could not end."""
        frame = hyperframe.frame.GoAwayFrame(0, last_stream_id=last_stream_id, error_code=int(code))
        self.flush()
        self._unsent += frame.serialize()
        self._wake()

    def wake_streams(self) -> None:
        """A window opened: let those look who wait."""
        blocked, self._blocked = self._blocked, {}
        for event in blocked.values():
            event.set()

    @property
    def has_closed(self) -> bool:
        """Whether h2 has sent a GOAWAY."""
        return self.state.state_machine.state is h2.connection.ConnectionState.CLOSED

    @property
    def backlog(self) -> int:
        """Bytes that wait to be sent."""
        return len(self._unsent) + self._in_flight

    def flush(self) -> None:
        """Take from h2 what it wants to send, and wake the writer."""
        data = self.state.data_to_send()
        if data:
            self._unsent += data
            self._wake()

    def _wake(self) -> None:
        self._news.set()

    def _check(self) -> None:
        if self.is_broken:
            raise WireBrokenError("the connection is over")

    async def _wait_turn(self, stream_id: int) -> None:
        event = self._blocked[stream_id] = trio.Event()
        try:
            with trio.move_on_after(self._write_stall_s) as scope:
                await event.wait()
        finally:
            self._blocked.pop(stream_id, None)
        if scope.cancelled_caught:
            raise WireBrokenError("the peer takes no more content")

    # -- tasks ---------------------------------------------------------------------------------------------

    async def run_writer(self) -> None:
        """Write until ``finish``, or until the peer takes nothing."""
        try:
            while True:
                if not self._unsent:
                    if self._is_ending:
                        return
                    self._news = trio.Event()
                    await self._news.wait()
                    continue
                data, self._unsent = bytes(self._unsent), bytearray()
                self._in_flight = len(data)
                with trio.move_on_after(self._write_stall_s) as scope:
                    await self.stream.send_all(data)
                if scope.cancelled_caught:
                    return
                self._in_flight = 0
                self.wake_streams()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            self.is_broken = True
            self._flushed.set()
            self.wake_streams()

    async def finish(self) -> None:
        """Write what is left, for a bounded while; nothing can be sent after it."""
        self._is_ending = True
        self._wake()
        with trio.move_on_after(GOODBYE_S, shield=True):
            await self._flushed.wait()
        self.is_broken = True


def _make_state(*, is_client: bool, head_list_bytes: int) -> h2.connection.H2Connection:
    config = h2.config.H2Configuration(
        client_side=is_client,
        header_encoding=None,
        validate_inbound_headers=False,  # ours end a stream where h2's would end the connection
        normalize_inbound_headers=False,
        validate_outbound_headers=False,  # they come from messages that were checked
        normalize_outbound_headers=False,
    )
    state = _State(config)
    push = {SettingCodes.ENABLE_PUSH: 0} if is_client else {}
    state.local_settings = Settings(
        client=is_client,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: LAST_POSSIBLE_ID,
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
            SettingCodes.MAX_HEADER_LIST_SIZE: head_list_bytes,
            **push,
        },
    )
    state.decoder.max_header_list_size = head_list_bytes
    return state
