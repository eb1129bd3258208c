"""A strict second look at chunked framing, before h11 decodes it. Pure.

h11 takes what other parsers read differently: a bare LF for the line that ends the body or a trailer, folded
trailers, control bytes and open quotes in extensions, sizes of 20 digits, blanks behind a size. So the bytes
of a chunked body pass here first, and only what the grammar allows goes on. Nothing is decoded, and nothing
is kept but the line that is not complete yet.

States::

    size --n > 0--> data --n bytes--> data end --CRLF--> size
        \\--0--> trailer --line--> trailer --empty line--> done

Source: RFC 9112 section 7.1; RFC 9110 section 5.6.4.
"""

from __future__ import annotations

import enum
import re

from worker.fields import MalformedFields, parse_fields

MAX_LINE_BYTES = 16_384
"""Longest chunk size line with its extensions, and longest trailer section."""
MAX_CHUNK_BYTES = 2**63 - 1
"""Largest size that no parser behind us can take for a negative or a small one."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*"
)


class _State(enum.Enum):
    SIZE = "size"
    DATA = "data"
    DATA_END = "data end"
    TRAILER = "trailer"
    DONE = "done"


class ChunkGuard:
    """Follows one chunked body."""

    def __init__(self) -> None:
        self._state = _State.SIZE
        self._line = bytearray()
        self._data_left_bytes = 0
        self._trailer_bytes = 0

    def check(self, data: bytes) -> None:
        """Look at the next bytes of the body; what stands behind its end is not looked at.

        Raises:
            MalformedFields: they have no single reading, or a line is too long.
        """
        at = 0
        while at < len(data) and self._state is not _State.DONE:
            if self._state is _State.DATA:
                taken = min(self._data_left_bytes, len(data) - at)
                self._data_left_bytes -= taken
                at += taken
                if not self._data_left_bytes:
                    self._state = _State.DATA_END
            else:
                at = self._take_line(data, at)

    def _take_line(self, data: bytes, at: int) -> int:
        """Add to the line, to its end at most; returns where to go on."""
        newline = data.find(b"\n", at)
        end = len(data) if newline < 0 else newline + 1
        self._line += data[at:end]
        if len(self._line) + self._trailer_bytes > MAX_LINE_BYTES:
            raise MalformedFields("a line of the chunked framing is too long")
        if newline < 0:
            self._check_open_line()
            return end
        if not self._line.endswith(b"\r\n"):
            raise MalformedFields("a line of the chunked framing does not end in CRLF")
        line = bytes(self._line[:-2])
        self._line.clear()
        self._end_line(line)
        return end

    def _check_open_line(self) -> None:
        """Refuse at once what no CRLF can mend: a chunk with more data than its size said."""
        if self._state is _State.DATA_END and bytes(self._line) not in (b"", b"\r"):
            raise MalformedFields("a chunk is longer than its size")

    def _end_line(self, line: bytes) -> None:
        if self._state is _State.SIZE:
            self._data_left_bytes = _parse_size(line)
            self._state = _State.DATA if self._data_left_bytes else _State.TRAILER
        elif self._state is _State.DATA_END:
            if line:
                raise MalformedFields("a chunk is longer than its size")
            self._state = _State.SIZE
        elif line:
            self._trailer_bytes += len(line) + 2
            parse_fields([line])
        else:
            self._state = _State.DONE


def _parse_size(line: bytes) -> int:
    found = _SIZE_LINE.fullmatch(line)
    if found is None:
        raise MalformedFields("malformed chunk size or extension")
    size = int(found[1], 16)
    if size > MAX_CHUNK_BYTES:
        raise MalformedFields("a chunk size is over 63 bits")
    return size
