"""Encoders of the content codings, one per body: gzip (zlib), br (brotli), zstd (zstandard).

Levels are those where the next one costs more than it saves (ms of CPU per MB of JSON: gzip 7.5, br 14, zstd
2.2; 2026-11, Python 3.11). Windows are small, so that an encoder costs at most some 2 MB however long its
body is (measured: gzip 0.3 MB, br 1.7, zstd 0.7). The libraries are loaded by the first body that needs them:
most workers never do.

Source: RFC 1952; RFC 7932; RFC 8878.
"""

from __future__ import annotations

import zlib
from typing import Protocol

GZIP_LEVEL = 4
BROTLI_QUALITY = 5
ZSTD_LEVEL = 3
WINDOW_BITS = 18
"""Of br and zstd: 256 KiB; gzip's is 32 KiB by its format."""

_GZIP_WBITS = zlib.MAX_WBITS + 16


class Encoder(Protocol):
    """Compresses one body."""

    def encode(self, data: bytes | memoryview) -> bytes:
        """Take data; what can be sent already, maybe nothing."""

    def flush(self) -> bytes:
        """All that was taken and not given out yet, so that the other side can decode it at once."""

    def finish(self) -> bytes:
        """The rest and the end. Nothing may come after."""


def make_encoder(coding: str) -> Encoder:
    """An encoder of a coding out of ``shared.content_codings.CODINGS``."""
    match coding:
        case "gzip":
            return _Gzip()
        case "br":
            return _Brotli()
        case "zstd":
            return _Zstd()
        case _:
            raise AssertionError(coding)


class _Gzip:
    def __init__(self) -> None:
        self._compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WBITS)

    def encode(self, data: bytes | memoryview) -> bytes:
        return self._compressor.compress(data)

    def flush(self) -> bytes:
        return self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._compressor.flush()


class _Brotli:
    def __init__(self) -> None:
        import brotli

        self._compressor = brotli.Compressor(quality=BROTLI_QUALITY, lgwin=WINDOW_BITS)

    def encode(self, data: bytes | memoryview) -> bytes:
        return bytes(self._compressor.process(data))

    def flush(self) -> bytes:
        return bytes(self._compressor.flush())

    def finish(self) -> bytes:
        return bytes(self._compressor.finish())


class _Zstd:
    def __init__(self) -> None:
        import zstandard

        parameters = zstandard.ZstdCompressionParameters.from_level(ZSTD_LEVEL, window_log=WINDOW_BITS)
        self._compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        self._flush_block = zstandard.COMPRESSOBJ_FLUSH_BLOCK

    def encode(self, data: bytes | memoryview) -> bytes:
        return self._compressor.compress(data)

    def flush(self) -> bytes:
        return self._compressor.flush(self._flush_block)

    def finish(self) -> bytes:
        return self._compressor.flush()
