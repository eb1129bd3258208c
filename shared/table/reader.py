"""Reads a routing table in place: nothing is decoded before it is asked for.

Opening checks the header and the bounds of sections, in time that does not grow with the number of entries.
Entries decode on first use and are kept. No bytes, however damaged, make this read outside of the view or
raise anything but ``TableError``; whether they are the bytes that were written, ``verify_digest`` says.
"""

from __future__ import annotations

import mmap
from typing import Generic, Literal, TypeVar

import msgspec

from shared.errors import TableError
from shared.rules.conditions import Matchable
from shared.table.entries import MiddlewareEntry, RouterEntry, RouterList, ServiceEntry, TransportEntry
from shared.table.index import Index
from shared.table.keys import hash_key, to_key_bytes
from shared.table.layout import Lists, Section, read_header, verify_digest
from shared.table.streams import Streams

__all__ = ["Table", "open_table", "verify_digest"]

_E = TypeVar("_E")
_OFFSET_BYTES = 8
_WORD_BYTES = 4
_lists_decoder = msgspec.msgpack.Decoder(Lists)
_streams_decoder = msgspec.msgpack.Decoder(Streams)


class Table:
    """One generation of routing, over bytes that must stay as they are while this is in use.

    Args:
        view: the bytes of the table.

    Attributes:
        generation: its number.
        digest: of everything but the generation, in hexadecimal.

    Raises:
        TableError: these bytes are no table that this program can read.
    """

    def __init__(self, view: memoryview) -> None:
        header = read_header(view)
        self.generation = header.generation
        self.digest = header.digest.hex()
        parts = [view[offset : offset + size] for offset, size in header.places]
        self._routers = _Entries("router", parts[Section.ROUTERS_AT], parts[Section.ROUTERS], RouterEntry)
        self._middlewares = _Entries(
            "middleware", parts[Section.MIDDLEWARES_AT], parts[Section.MIDDLEWARES], MiddlewareEntry
        )
        self._services = _Entries(
            "service", parts[Section.SERVICES_AT], parts[Section.SERVICES], ServiceEntry
        )
        self._transports = _Entries(
            "transport", parts[Section.TRANSPORTS_AT], parts[Section.TRANSPORTS], TransportEntry
        )
        self._texts = _Blob("text", parts[Section.TEXTS_AT], parts[Section.TEXTS])
        self._words = _cast(parts[Section.WORDS], "I", _WORD_BYTES)
        self._names = _cast(parts[Section.SERVICE_NAMES], "I", _WORD_BYTES)
        self._index = Index(self._words, self._text)
        self._streams = parts[Section.STREAMS]
        lists = _read_lists(parts[Section.LISTS], len(self._words))
        self._places = {(place.entrypoint, place.tls): place for place in lists.places}
        self._pattern_splits = lists.pattern_splits

    @property
    def router_count(self) -> int:
        """How many routers there are."""
        return len(self._routers)

    @property
    def middleware_count(self) -> int:
        """How many middlewares there are."""
        return len(self._middlewares)

    @property
    def service_count(self) -> int:
        """How many services there are."""
        return len(self._services)

    @property
    def transport_count(self) -> int:
        """How many transports there are."""
        return len(self._transports)

    def router(self, number: int) -> RouterEntry:
        """A router by its index.

        Raises:
            TableError: there is none, or it is damaged.
        """
        entry = self._routers.get(number)
        _check(entry.name, entry.middlewares, self.middleware_count)
        _check(entry.name, (entry.service,), self.service_count)
        return entry

    def middleware(self, number: int) -> MiddlewareEntry:
        """A middleware by its index; errors as for ``router``."""
        return self._middlewares.get(number)

    def service(self, number: int) -> ServiceEntry:
        """A service by its index; errors as for ``router``."""
        entry = self._services.get(number)
        _check(entry.name, entry.children, self.service_count)
        _check(entry.name, (entry.transport,), self.transport_count)
        return entry

    def transport(self, number: int) -> TransportEntry:
        """A transport by its index; errors as for ``router``."""
        return self._transports.get(number)

    def find_service(self, name: str) -> int | None:
        """The index of the service with this qualified name, or None."""
        hashed = hash_key(0, to_key_bytes(name))
        capacity = len(self._names) // 2
        for step in range(capacity):
            slot = (hashed + step) % capacity
            number = self._names[2 * slot + 1]
            if not number:
                return None
            if self._names[2 * slot] == hashed and self.service(number - 1).name == name:
                return number - 1
        return None

    def streams(self) -> Streams:
        """What there is below HTTP, decoded anew at each call: whoever serves from it keeps it.

        Raises:
            TableError: it is damaged.
        """
        try:
            return _streams_decoder.decode(self._streams)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            kind = type(error).__name__  # not its text, which may quote a secret
            raise TableError(f"the routing table's streams are damaged ({kind})") from None

    def lists(self) -> list[RouterList]:
        """The lists, decoded; for people and tests."""
        return [
            RouterList(
                place.entrypoint, place.tls, tuple(self._words[place.start : place.start + place.count])
            )
            for place in self._places.values()
        ]

    def routers_of(self, entrypoint: str, tls: bool) -> memoryview:
        """Indexes of all routers of a list, in match order, in place; empty if there is no such list."""
        place = self._places.get((entrypoint, tls))
        return self._words[:0] if place is None else self._words[place.start : place.start + place.count]

    def candidates(self, entrypoint: str, tls: bool, request: Matchable) -> list[int]:
        """Indexes of the routers that may match, in match order; every router that matches is among them.

        Args:
            entrypoint: where the request came in; one without a list has no candidates.
            tls: whether it came over TLS.
            request: what to match.

        Raises:
            TableError: the index is damaged.
        """
        place = self._places.get((entrypoint, tls))
        if place is None:
            return []
        ranks = self._index.ranks(place.root, request)
        if ranks and ranks[-1] >= place.count:
            raise TableError("the routing table's index names a router that its list does not have")
        start = place.start
        return [self._words[start + rank] for rank in ranks]

    def warm(self) -> None:
        """Build what would delay a first request: combined expressions. For a thread, before switching.

        Raises:
            TableError: the index is damaged.
        """
        for node in self._pattern_splits:
            self._index.warm(node)

    def _text(self, number: int) -> str:
        return str(self._texts.get(number), "utf-8", "surrogatepass")


def open_table(view: memoryview | mmap.mmap | bytes) -> Table:
    """Open a table in place; the time it takes does not depend on its size.

    Raises:
        TableError: these bytes are no table that this program can read.
    """
    return Table(memoryview(view).cast("B"))


class _Blob:
    """Byte strings behind each other, with an array of their offsets."""

    def __init__(self, what: str, offsets: memoryview, content: memoryview) -> None:
        self._what = what
        self._offsets = _cast(offsets, "Q", _OFFSET_BYTES)
        self._content = content
        if not self._offsets or self._offsets[0] != 0 or self._offsets[-1] != len(content):
            raise TableError(f"the routing table's {what} offsets are damaged")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def get(self, number: int) -> memoryview:
        """The bytes of one."""
        if not 0 <= number < len(self):
            raise TableError(f"the routing table has no {self._what} {number}")
        start, end = self._offsets[number], self._offsets[number + 1]
        if not start <= end <= len(self._content):
            raise TableError(f"the routing table's {self._what} offsets are damaged")
        return self._content[start:end]


class _Entries(Generic[_E]):
    """Entries of one kind, decoded on first use."""

    def __init__(self, what: str, offsets: memoryview, content: memoryview, kind: type[_E]) -> None:
        self._what = what
        self._blob = _Blob(what, offsets, content)
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._known: dict[int, _E] = {}

    def __len__(self) -> int:
        return len(self._blob)

    def get(self, number: int) -> _E:
        """One entry."""
        known = self._known.get(number)
        if known is None:
            known = self._known[number] = self._decode(number)
        return known

    def _decode(self, number: int) -> _E:
        try:
            return self._decoder.decode(self._blob.get(number))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise TableError(f"{self._what} {number} of the routing table is damaged: {error}") from error


def _read_lists(content: memoryview, words: int) -> Lists:
    try:
        lists = _lists_decoder.decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise TableError(f"the routing table's lists are damaged: {error}") from error
    for place in lists.places:
        if place.start < 0 or place.count < 0 or place.start + place.count > words or place.root < 0:
            raise TableError(f"the routers of entrypoint {place.entrypoint} are outside of the routing table")
    return lists


def _cast(view: memoryview, kind: Literal["I", "Q"], size: int) -> memoryview:
    if view.nbytes % size:
        raise TableError("an array of the routing table has a broken length")
    return view.cast(kind)


def _check(name: str, references: tuple[int, ...], count: int) -> None:
    for reference in references:
        if not 0 <= reference < count:
            raise TableError(f"{name} refers to an entry that the routing table does not have")
