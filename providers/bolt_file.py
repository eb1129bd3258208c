"""Reading a bbolt file: its newest consistent state, without lock and without writing. Blocking.

bbolt copies on write. A transaction's pages are written before its meta page, which names it; the two meta
pages take turns. Pages that transaction N needs may be used again only by N+2, which begins after N+1 has
written its meta page. So whatever was read through the meta page of N is whole if afterwards N is still the
newest; else it is read again. A meta page that is being written does not match its checksum, and then the
other one counts.

Everything is checked that could lead astray: page numbers against themselves and the file's end, positions
against the page, and that no page is met twice. A file that fails this while nobody wrote is damaged.

Source: bbolt v1.3 ``page.go``, ``db.go`` (``meta``), ``bucket.go``; the format is still that of Bolt 1.0.
All numbers are in the byte order of the machine that wrote it; little-endian is read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = 0xED0CDAED
VERSION = 2
MAX_OVERFLOW_PAGES = 1 << 20
"""Of one page and what runs over from it; 4 GiB with usual pages, more than any value may have."""
PAGE_SIZES = tuple(1 << bits for bits in range(9, 17))
"""Where the second meta page may stand if the first is damaged: 512 bytes to 64 KiB."""

_PAGE = struct.Struct("<QHHI")  # id, flags, count, overflow
_META = struct.Struct("<IIIIQQQQQQ")  # magic version pageSize flags root sequence freelist pgid txid checksum
_BRANCH = struct.Struct("<IIQ")  # pos, key size, page
_LEAF = struct.Struct("<IIII")  # flags, pos, key size, value size
_BUCKET = struct.Struct("<QQ")  # root page, sequence
_IS_BRANCH, _IS_LEAF = 0x01, 0x02
_IS_BUCKET = 0x01
_FNV_BASIS, _FNV_PRIME, _64_BITS = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF


class DamagedFileError(ValueError):
    """The bytes are no bbolt file, or not a whole one."""


class Meta(NamedTuple):
    """What names a state of the file.

    Attributes:
        page_size: bytes of a page.
        root: page of the root bucket.
        page_count: pages that exist in this state.
        transaction: number of the transaction that made it.
    """

    page_size: int
    root: int
    page_count: int
    transaction: int


class _Page(NamedTuple):
    data: bytes
    flags: int
    elements: int


def read_meta(descriptor: int) -> Meta:
    """The newest state of an open file.

    Raises:
        DamagedFileError: neither meta page is good.
        OSError: it cannot be read.
    """
    first = _meta_at(descriptor, 0)
    sizes = (first.page_size,) if first is not None else PAGE_SIZES
    others = (_meta_at(descriptor, size) for size in sizes)
    found = [each for each in (first, *others) if each is not None]
    if not found:
        raise DamagedFileError("no bbolt file: neither meta page is good")
    return max(found, key=lambda meta: meta.transaction)


def read_bucket(descriptor: int, meta: Meta, name: bytes) -> Iterator[tuple[bytes, bytes]] | None:
    """Keys and values of a bucket of the root, in order of the keys; None if there is no such bucket.

    Buckets inside it are left out. What comes is to be trusted only if ``read_meta`` gives the same state
    afterwards.

    Raises:
        DamagedFileError: also while the result is iterated; the same holds for OSError.
    """
    reader = _Reader(descriptor, meta)
    for flags, key, value in reader.elements(reader.page(meta.root)):
        if key == name and flags & _IS_BUCKET:
            return _pairs(reader, value)
    return None


def _pairs(reader: _Reader, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(bucket) < _BUCKET.size:
        raise DamagedFileError("a bucket is too short")
    root, _ = _BUCKET.unpack_from(bucket)
    start = reader.page(root) if root else _inline(bucket[_BUCKET.size :])
    for flags, key, value in reader.elements(start):
        if not flags & _IS_BUCKET:
            yield key, value


def _inline(data: bytes) -> _Page:
    """A small bucket is a leaf page inside its value."""
    if len(data) < _PAGE.size:
        raise DamagedFileError("a bucket is too short")
    _, flags, count, _ = _PAGE.unpack_from(data)
    return _Page(data, flags, count)


class _Reader:
    """Pages of one state of a file."""

    def __init__(self, descriptor: int, meta: Meta) -> None:
        self._descriptor = descriptor
        self._meta = meta
        self._met: set[int] = set()

    def page(self, number: int) -> _Page:
        """A page with what runs over from it."""
        size = self._meta.page_size
        if not 2 <= number < self._meta.page_count or number in self._met:
            raise DamagedFileError(f"page {number} cannot be where it is named")
        self._met.add(number)
        data = _read(self._descriptor, number * size, size)
        own_number, flags, count, overflow = _PAGE.unpack_from(data)
        if own_number != number or overflow >= min(MAX_OVERFLOW_PAGES, self._meta.page_count - number):
            raise DamagedFileError(f"page {number} is not what it should be")
        if overflow:
            data += _read(self._descriptor, (number + 1) * size, overflow * size)
        return _Page(data, flags, count)

    def elements(self, start: _Page) -> Iterator[tuple[int, bytes, bytes]]:
        """Flags, key and value of all leaves below a page, in order."""
        rest = [start]
        while rest:
            page = rest.pop()
            if page.flags == _IS_LEAF:
                yield from _leaves(page)
            elif page.flags == _IS_BRANCH:
                rest.extend(self.page(number) for number in reversed(list(_children(page))))
            else:
                raise DamagedFileError(f"a page of kind {page.flags:#x} stands in a tree")


def _leaves(page: _Page) -> Iterator[tuple[int, bytes, bytes]]:
    for at in _element_places(page, _LEAF.size):
        flags, position, key_size, value_size = _LEAF.unpack_from(page.data, at)
        middle, end = at + position + key_size, at + position + key_size + value_size
        if end > len(page.data):
            raise DamagedFileError("an element is longer than its page")
        yield flags, page.data[at + position : middle], page.data[middle:end]


def _children(page: _Page) -> Iterator[int]:
    for at in _element_places(page, _BRANCH.size):
        yield _BRANCH.unpack_from(page.data, at)[2]


def _element_places(page: _Page, size: int) -> range:
    end = _PAGE.size + page.elements * size
    if end > len(page.data):
        raise DamagedFileError("a page has more elements than room")
    return range(_PAGE.size, end, size)


def _meta_at(descriptor: int, offset: int) -> Meta | None:
    data = os.pread(descriptor, _PAGE.size + _META.size, offset)
    if len(data) < _PAGE.size + _META.size:
        return None
    body = data[_PAGE.size :]
    magic, version, page_size, _, root, _, _, page_count, transaction, checksum = _META.unpack(body)
    if magic != MAGIC or version != VERSION or page_size not in PAGE_SIZES:
        return None
    if checksum != checksum_of(body[:-8]):
        return None
    return Meta(page_size, root, page_count, transaction)


def checksum_of(data: bytes) -> int:
    """FNV-1a with 64 bits, as meta pages carry it."""
    value = _FNV_BASIS
    for byte in data:
        value = (value ^ byte) * _FNV_PRIME & _64_BITS
    return value


def _read(descriptor: int, offset: int, size: int) -> bytes:
    data = os.pread(descriptor, size, offset)
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), offset + len(data))
        if not more:
            raise DamagedFileError("the file is shorter than it says")
        data += more
    return data
