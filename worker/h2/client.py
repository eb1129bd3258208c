"""One HTTP/2 connection to a server, shared by exchanges; each has a ``StreamLink``.

A link looks like ``worker.upstream.UpstreamConnection`` to whoever forwards. What happens to one exchange
(the client left, the server reset its stream) leaves the others alone. When the server says goodbye, streams
that it has seen go on, those it has not may be sent again, and the connection takes no more.

Source: RFC 9113 sections 5.4, 6.8, 8.1 and 8.7; spec v2 sections 5.2 and 10.2.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import h2.exceptions
import trio
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.settings import SettingCodes

from shared.errors import ExchangeError, UpstreamGone, UpstreamProtocolError
from worker.bodies import READ_BYTES
from worker.downstream import STALL_S
from worker.h2.frame_meter import FloodError
from worker.h2.limits import HEADER_LIST_BYTES, MAX_STREAMS_UNTOLD
from worker.h2.stream_link import StreamLink
from worker.h2.wire import AnyStream, Wire

logger = logging.getLogger(__name__)

_LAST_ID = 2**31 - 2_000
"""Stream ids are used once: a connection that comes this far takes no more exchanges."""
_PING = b"penstock"


class ServerConnection:
    """See above.

    Args:
        stream: connected.
        read_idle_s: silence after which the server is asked whether it is there; infinite for never.
        ping_timeout_s: longest wait for its answer.
        is_single_use: take one exchange only.

    Attributes:
        idle_since: when the last exchange ended.
        is_closed: it takes no more, and those it has are ending.
    """

    def __init__(
        self,
        stream: AnyStream,
        *,
        read_idle_s: float = math.inf,
        ping_timeout_s: float = math.inf,
        is_single_use: bool = False,
    ) -> None:
        self._read_idle_s = read_idle_s
        self._ping_timeout_s = ping_timeout_s
        self._is_single_use = is_single_use
        self.wire = Wire(
            stream,
            is_client=True,
            settings={SettingCodes.ENABLE_PUSH: 0, SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_LIST_BYTES},
            head_list_bytes=HEADER_LIST_BYTES,
            write_stall_s=STALL_S,
        )
        self._links: set[StreamLink] = set()
        self._by_id: dict[int, StreamLink] = {}
        self._most = MAX_STREAMS_UNTOLD
        self._is_leaving = False
        self._scope = trio.CancelScope()
        self.was_used = False
        self.is_closed = False
        self.idle_since = trio.current_time()

    @property
    def has_room(self) -> bool:
        """Whether another exchange may begin."""
        return (
            not (self.is_closed or self._is_leaving or self.wire.is_broken) and len(self._links) < self._most
        )

    @property
    def is_idle(self) -> bool:
        """Whether no exchange is going on."""
        return not self._links

    def open(self, give_back: Callable[[StreamLink, bool], None]) -> StreamLink:
        """A link for one exchange; ``give_back`` is called once, when its loan ends."""

        def end_loan(link: StreamLink, is_usable: bool) -> None:
            self._drop(link)
            give_back(link, is_usable)

        link = StreamLink(self.wire, self._by_id, end_loan)
        link.is_reused, self.was_used = self.was_used, True
        self._links.add(link)
        if self._is_single_use:
            self._is_leaving = True
        return link

    async def run(self) -> None:
        """Read and write until the connection ends; then nothing waits on it any more."""
        error: ExchangeError = UpstreamGone("the connection ended")
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    error = await self._read()
                    self._close_links(error)
                    await self.wire.finish()
                    nursery.cancel_scope.cancel()
        except Exception:
            logger.exception("a connection to a server failed")
        finally:
            self.is_closed = True
            self.wire.is_broken = True
            self.wire.wake_streams()
            self._close_links(error)
            self.wire.stream.socket.close()

    def close(self) -> None:
        """End it now."""
        self.is_closed = True
        self._scope.cancel()

    def _close_links(self, error: ExchangeError) -> None:
        for link in tuple(self._links):
            link.stream.fail(error)

    def _drop(self, link: StreamLink) -> None:
        self._links.discard(link)
        self._by_id.pop(link.stream.id, None)
        self.idle_since = trio.current_time()
        if not self._links and self._is_leaving:
            self.close()

    async def _write(self) -> None:
        await self.wire.run_writer()
        self._scope.cancel()

    async def _read(self) -> ExchangeError:
        """Read until the end, and say what kind of end it was."""
        limit_s = self._read_idle_s
        try:
            while True:
                data = b""
                with trio.move_on_after(limit_s) as scope:
                    data = bytes(await self.wire.stream.receive_some(READ_BYTES))
                if scope.cancelled_caught:
                    if limit_s is not self._read_idle_s:
                        return UpstreamGone("the server does not answer a ping")
                    limit_s = self._ping_timeout_s
                    self.wire.state.ping(_PING)
                    self.wire.flush()
                    continue
                if not data:
                    return UpstreamGone("the connection ended")
                limit_s = self._read_idle_s
                for event in self.wire.feed(data):
                    self._on_event(event)
                self._heed_farewell()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return UpstreamGone("the connection broke")
        except (FloodError, h2.exceptions.ProtocolError) as error:
            return UpstreamProtocolError(f"the server breaks HTTP/2: {error}")

    def _on_event(self, event: Event) -> None:
        match event:
            case ResponseReceived() | InformationalResponseReceived():
                link = self._by_id.get(event.stream_id or 0)
                if link is not None:
                    link.stream.heads.append(list(event.headers or ()))
                    link.stream.wake()
            case DataReceived():
                self._on_data(
                    event.stream_id or 0, bytes(event.data or b""), event.flow_controlled_length or 0
                )
            case TrailersReceived() | StreamEnded():
                link = self._by_id.get(event.stream_id or 0)
                if link is not None:
                    link.stream.end(
                        list(event.headers or ()) if isinstance(event, TrailersReceived) else None
                    )
            case StreamReset():
                self._on_reset(event)
            case WindowUpdated():
                self.wire.wake_streams()
            case RemoteSettingsChanged():
                self._most = min(self.wire.state.remote_settings.max_concurrent_streams, 2**31)
                self.wire.wake_streams()
            case _:
                return

    def _on_data(self, stream_id: int, data: bytes, size: int) -> None:
        link = self._by_id.get(stream_id)
        if link is None:
            self.wire.acknowledge(stream_id, size)
        else:
            link.stream.add_data(data, size)

    def _on_reset(self, event: StreamReset) -> None:
        link = self._by_id.get(event.stream_id or 0)
        self.wire.wake_streams()
        if link is None or link.stream.has_ended:
            return
        if event.error_code == ErrorCodes.REFUSED_STREAM:
            link.note_refusal()
        else:
            link.is_reused = False  # it was no dead connection: the server has looked at the request
        code = event.error_code
        link.stream.fail(UpstreamGone(f"the server reset the stream: {getattr(code, 'name', code)}"))

    def _heed_farewell(self) -> None:
        """What the server says it has not seen may be sent again (RFC 9113 section 6.8)."""
        farewell = self.wire.meter.farewell
        if farewell is None and self.wire.state.highest_outbound_stream_id < _LAST_ID:
            return
        self._is_leaving = True
        if farewell is not None:
            for stream_id, link in tuple(self._by_id.items()):
                if stream_id > farewell.last_stream_id:
                    link.note_refusal()
                    link.stream.fail(UpstreamGone("the server left before it saw the request"))
        if not self._links:
            self.close()
