"""Looks at the heads of frames before the h2 library spends time on them. Pure.

Two things are decided here. What a peer sends without content is counted and has a limit, because a ping of
17 bytes costs the library 6 microseconds (2026-11, 2 busy cores) and costs an answer. And GOAWAY is taken out
and told apart: h2 closes its state machine on it, while the protocol lets open streams end (RFC 9113 section
6.8).

The result does not depend on where the bytes are split.
"""

from __future__ import annotations

from dataclasses import dataclass

from h2.errors import ErrorCodes

from worker.h2.budgets import Budget
from worker.h2.limits import CONTROL_BURST, CONTROL_PER_DATA, CONTROL_PER_S, FRAME_BYTES

HEAD_BYTES = 9
PREFACE_BYTES = 24

_DATA, _HEADERS, _GOAWAY, _CONTINUATION = 0x0, 0x1, 0x7, 0x9
_END_STREAM = 0x1
_END_HEADERS = 0x4


class FloodError(Exception):
    """The peer sends too much that is nothing; the text says of what, ``code`` what the peer is told."""

    def __init__(self, reason: str, code: ErrorCodes = ErrorCodes.ENHANCE_YOUR_CALM) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class Farewell:
    """A GOAWAY: streams above ``last_stream_id`` were not touched."""

    last_stream_id: int
    error_code: int


class FrameMeter:
    """See above.

    Args:
        now_s: by the clock of all later calls.
        preface_bytes: to let through unseen.

    Attributes:
        farewell: the last GOAWAY.
        is_in_block: whether a header block has begun and not ended.
    """

    def __init__(self, now_s: float, preface_bytes: int = 0) -> None:
        self._budget = Budget(CONTROL_BURST, CONTROL_PER_S, now_s)
        self._partial = b""
        self._left = preface_bytes
        self._goaway: bytearray | None = None
        self.farewell: Farewell | None = None
        self.is_in_block = False

    def feed(self, data: bytes, now_s: float) -> bytes:
        """The bytes that h2 is to have.

        Raises:
            FloodError: enough is enough.
        """
        data = self._partial + data if self._partial else data
        kept: list[bytes] = []
        position = begin = 0
        cost = 0
        while position < len(data):
            if not self._left:
                if len(data) - position < HEAD_BYTES:
                    break
                length = int.from_bytes(data[position : position + 3])
                if length > FRAME_BYTES:
                    raise FloodError(f"a frame of {length} bytes", ErrorCodes.FRAME_SIZE_ERROR)
                if data[position + 3] == _GOAWAY:
                    kept.append(data[begin:position])
                    self._goaway = bytearray()
                    begin = position + HEAD_BYTES
                else:
                    cost += self._weigh(data, position)
                self._left = length
                position += HEAD_BYTES
            taken = min(self._left, len(data) - position)
            position += taken
            self._left -= taken
            if self._goaway is not None:
                self._goaway += data[begin:position]
                begin = position
                self._end_goaway()
        self._partial = data[position:]
        kept.append(data[begin:position])
        if cost and not self._budget.spend(cost, now_s):
            raise FloodError("too many frames without content")
        return kept[0] if len(kept) == 1 else b"".join(kept)

    def earn(self) -> None:
        """Content was sent, or an exchange ended well."""
        self._budget.earn(CONTROL_PER_DATA)

    def _weigh(self, data: bytes, position: int) -> int:
        """What the frame costs; negative if it earns."""
        kind, flags = data[position + 3], data[position + 4]
        if kind == _DATA:
            if data[position : position + 3] != b"\0\0\0":
                return -CONTROL_PER_DATA
            return 0 if flags & _END_STREAM else 1
        if kind in (_HEADERS, _CONTINUATION):
            self.is_in_block = not flags & _END_HEADERS
            return int(kind == _CONTINUATION)
        return 1

    def _end_goaway(self) -> None:
        """Read a GOAWAY that is complete."""
        body = self._goaway
        if body is None or self._left:
            return
        self._goaway = None
        if len(body) < 8:
            raise FloodError("a malformed GOAWAY", ErrorCodes.FRAME_SIZE_ERROR)
        self.farewell = Farewell(int.from_bytes(body[:4]) & 0x7FFFFFFF, int.from_bytes(body[4:8]))
