"""The access log: one line per exchange, at its end, also when it failed.

Exchanges put records into a bounded queue and never wait for it; one task formats what has gathered and
writes it with a single call on a descriptor opened for appending, so that lines of several workers do not
mix. When the queue is full records are dropped and counted.

Source: spec v2 section 1.8.
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import os
import re
import time
from collections import deque
from pathlib import Path

import msgspec
import trio

from shared.config.static import AccessLog as AccessLogSettings
from shared.errors import ConfigError
from shared.tls.vocabulary import GO_CIPHERS
from worker.tls.stream import TlsSession

logger = logging.getLogger(__name__)

MAX_QUEUED = 16_384
"""Records that wait for the writer (about 8 MB at worst; not measured)."""
GATHER_S = 0.05
"""Lines appear this much later than their exchanges end: a write for each costs more than the exchange."""
MAX_BATCH = 1_024
"""Records per write."""
KNOWN_TEXTS = 1_024
"""Escaped clients, user agents, routers and servers that are remembered (about 8 MB at worst)."""
REPORT_INTERVAL_S = 60.0
"""Dropped records are reported this often."""

_STDOUT = 1
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNSAFE = re.compile(rb"[\x00-\x1f\x7f]")


class Record(msgspec.Struct, frozen=True):
    """What is written about one exchange. Texts come from requests and may hold anything.

    Attributes:
        started_at: seconds since the epoch.
        duration_s: from the first byte of the head to the last of the response.
        client_host: X-Forwarded-For after trust was applied, else the peer.
        status: as sent to the client; 499 when it had left.
        size_bytes: body bytes sent.
        number: of the exchange in this worker.
        session: of its connection, if that is TLS.
    """

    started_at: float
    duration_s: float
    client_host: bytes
    username: str
    method: str
    target: str
    protocol: str
    status: int
    size_bytes: int
    referer: bytes
    user_agent: bytes
    number: int
    router: str
    server_url: str
    entrypoint: str = ""
    service: str = ""
    host: str = ""
    upstream_status: int | None = None
    upstream_connect_s: float | None = None
    first_byte_s: float | None = None
    attempts: int = 0
    bytes_in: int = 0
    error: str = ""
    error_id: str = ""
    cause: str = ""
    session: TlsSession | None = None


def format_common(record: Record) -> bytes:
    """The common log format with our three fields behind it."""
    tail = b' %d "%b" "%b" %dms\n' % (
        record.number,
        _quoted(record.router),
        _quoted(record.server_url),
        int(record.duration_s * 1000),
    )
    return _format_clf(record) + tail


class LinePattern:
    """The common line of many exchanges that differ in their times, status and size only.

    Args:
        record: of any of them.
    """

    __slots__ = ("_begin", "_middle", "_where", "_who")

    def __init__(self, record: Record) -> None:
        self._begin = _begin(record.client_host, record.username)
        self._middle = b'] "%b %b %b" ' % (
            _quoted_often(record.method),
            _quoted(record.target),
            _quoted_often(record.protocol),
        )
        self._who = b' "%b" "%b" ' % (_quoted(record.referer), _quoted_often(record.user_agent))
        self._where = b' "%b" "%b" ' % (_quoted_often(record.router), _quoted_often(record.server_url))

    def fill(self, started_at: float, duration_s: float, status: int, size_bytes: int, number: int) -> bytes:
        """What ``format_common`` makes of the exchange's own record."""
        return b"%b%b%b%d %d%b%d%b%dms\n" % (
            self._begin,
            _clf_second(int(started_at)),
            self._middle,
            status,
            size_bytes,
            self._who,
            number,
            self._where,
            int(duration_s * 1000),
        )


def format_generic(record: Record) -> bytes:
    """The combined log format as everyone knows it."""
    return _format_clf(record) + b"\n"


def format_json(record: Record) -> bytes:
    """One JSON object."""
    shown = {
        "ClientHost": _to_text(record.client_host),
        "ClientUsername": record.username or "-",
        "DownstreamContentSize": record.size_bytes,
        "DownstreamStatus": record.status,
        "Duration": int(record.duration_s * 1e9),
        "OriginStatus": record.upstream_status or 0,
        "RequestContentSize": record.bytes_in,
        "RequestCount": record.number,
        "RequestHost": record.host,
        "RequestMethod": record.method,
        "RequestPath": record.target,
        "RequestProtocol": record.protocol,
        "RetryAttempts": max(record.attempts - 1, 0),
        "RouterName": record.router,
        "ServiceName": record.service,
        "ServiceURL": record.server_url,
        "StartUTC": _iso(record.started_at),
        "cause": record.cause,
        "entryPointName": record.entrypoint,
        "error": record.error,
        "errorId": record.error_id,
        "level": "info",
        "msg": "",
        "time": _iso(record.started_at + record.duration_s),
    }
    if record.session is not None:
        shown |= _tls_fields(record.session)
    # ASCII only: JSON escapes then cover control bytes and bytes that are not UTF-8 alike.
    return (
        json.dumps({name: value for name, value in shown.items() if value != ""} | {"msg": ""}).encode()
        + b"\n"
    )


def _tls_fields(session: TlsSession) -> dict[str, str]:
    """As Traefik has them (spec v2 section 1.8), in Go's words."""
    subject = ""
    if session.client_certificates:
        from worker.middlewares.client_cert_info import subject_of  # in the writer's thread, and loaded late

        subject = subject_of(session.client_certificates[0])
    return {
        "TLSCipher": GO_CIPHERS.get(session.cipher, session.cipher),
        "TLSClientSubject": subject,
        "TLSVersion": session.version.removeprefix("TLSv"),
    }


_FORMATTERS = {"common": format_common, "genericclf": format_generic, "json": format_json}


class AccessLog:
    """Writes the access log of one worker.

    Args:
        settings: where and how.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, settings: AccessLogSettings) -> None:
        self._path = Path(settings.file_path) if settings.file_path else None
        self._format = _FORMATTERS.get(settings.format.strip().lower(), format_common)
        if settings.format.strip().lower() not in _FORMATTERS:
            logger.error('accessLog.format: no format "%s"; using common', settings.format)
        self._queue: deque[Record | bytes] = deque()
        self._wake = trio.Event()
        self._is_reopening = False
        self._fd = self._open()
        self.dropped = 0

    @property
    def has_line_pattern(self) -> bool:
        """Whether ``LinePattern`` makes the lines of this log's format."""
        return self._format is format_common

    def put(self, record: Record | bytes) -> None:
        """Take a record, or a line that is made already; never waits."""
        if len(self._queue) >= MAX_QUEUED:
            self.dropped += 1
            return
        self._queue.append(record)
        self._wake.set()

    def reopen(self) -> None:
        """Open the file anew after it was moved away. The writer does it between two writes."""
        self._is_reopening = True
        self._wake.set()

    async def run_writer(self) -> None:
        """Write until cancelled, then write what is left."""
        reported, report_at = 0, trio.current_time() + REPORT_INTERVAL_S
        try:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                await trio.sleep(GATHER_S)
                while self._queue or self._is_reopening:
                    if self._is_reopening:
                        self._reopen()
                    batch = list(itertools.islice(self._queue, MAX_BATCH))
                    await trio.to_thread.run_sync(
                        self._write, batch
                    )  # cancelled before it begins or not at all
                    for _ in batch:
                        self._queue.popleft()
                if self.dropped > reported and trio.current_time() >= report_at:
                    logger.warning("access log too slow: %s records dropped", self.dropped - reported)
                    reported, report_at = self.dropped, trio.current_time() + REPORT_INTERVAL_S
        finally:
            self._write(list(self._queue))
            self._queue.clear()
            self._close()

    def _reopen(self) -> None:
        self._is_reopening = False
        try:
            fresh = self._open()
        except ConfigError:
            logger.exception("cannot reopen the access log; going on with the old file")
            return
        self._close()
        self._fd = fresh

    def _write(self, batch: list[Record | bytes]) -> None:
        data = b"".join(each if isinstance(each, bytes) else self._format(each) for each in batch)
        try:
            while data:  # a pipe may take less than all
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            self.dropped += len(batch)
            logger.warning("cannot write the access log, %s records lost: %s", len(batch), error)

    def _open(self) -> int:
        if self._path is None:
            return _STDOUT
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError("accessLog.filePath", f"cannot open {self._path}: {error.strerror}") from error

    def _close(self) -> None:
        if self._path is not None:
            os.close(self._fd)


def _format_clf(record: Record) -> bytes:
    return b'%b - %b [%b] "%b %b %b" %d %d "%b" "%b"' % (
        _bare(record.client_host),
        _bare(_to_bytes(record.username)),
        _clf_time(record.started_at),
        _quoted(record.method),
        _quoted(record.target),
        _quoted(record.protocol),
        record.status,
        record.size_bytes,
        _quoted(record.referer),
        _quoted(record.user_agent),
    )


def _clf_time(moment: float) -> bytes:
    return _clf_second(int(moment))


@functools.lru_cache(maxsize=16)
def _clf_second(moment: int) -> bytes:
    t = time.gmtime(moment)
    day = f"{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year:04}"  # not strftime: month names are English
    return f"{day}:{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000".encode("ascii")


def _iso(moment: float) -> str:
    fraction = int(moment % 1 * 1e6)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{fraction:06}Z"


def _bare(value: bytes) -> bytes:
    """Outside of quotes: a line end or other control byte must not start another line."""
    return _UNSAFE.sub(_escape, value) or b"-"


def _quoted(value: str | bytes) -> bytes:
    """Inside of quotes. The backslash is escaped as well, or a value could end its own quotes."""
    raw = _to_bytes(value) if isinstance(value, str) else value
    return _UNSAFE.sub(_escape, raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"')) or b"-"


@functools.lru_cache(maxsize=KNOWN_TEXTS)
def _quoted_often(value: str | bytes) -> bytes:
    """The same, remembered: for texts of which there are few."""
    return _quoted(value)


@functools.lru_cache(maxsize=KNOWN_TEXTS)
def _begin(client_host: bytes, username: str) -> bytes:
    return b"%b - %b [" % (_bare(client_host), _bare(_to_bytes(username)))


def _escape(found: re.Match[bytes]) -> bytes:
    return b"\\x%02x" % found[0][0]


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _to_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
