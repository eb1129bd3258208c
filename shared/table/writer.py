"""Writes a routing table: a pure function of its content and generation.

A ``TableWriter`` remembers the encoded form of the last table's entries and what their rules claim, so that a
table with one change costs little more than copying the rest. What is remembered never shows in the bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import msgspec

from shared.errors import TableError
from shared.rules.conditions import AnyCondition
from shared.table.claims import Claim, claims_of
from shared.table.entries import (
    MiddlewareEntry,
    RouterEntry,
    RouterList,
    ServiceEntry,
    TableContent,
    TransportEntry,
)
from shared.table.index_memory import IndexMemory
from shared.table.index_writer import IndexWriter
from shared.table.keys import hash_key, to_key_bytes
from shared.table.layout import ListPlace, Lists, assemble, read_header

_encoder = msgspec.msgpack.Encoder(order="deterministic")


_Entry = RouterEntry | MiddlewareEntry | ServiceEntry | TransportEntry
_Encoded = dict[str, tuple[object, bytes]]
_Claims = dict[str, tuple[AnyCondition, tuple[Claim, ...]]]


class TableWriter:
    """Writes tables one after the other, reusing what did not change since the last one.

    Entries are taken as unchanged when they are the same objects, conditions when they are equal. Memory is
    bounded by the entries of the last table.
    """

    def __init__(self) -> None:
        self._encoded: list[_Encoded] = [{}, {}, {}, {}]
        self._claims: _Claims = {}
        self._subtrees = IndexMemory()

    def write(self, content: TableContent, generation: int) -> bytes:
        """The bytes of a table; equal content and generation give equal bytes.

        Args:
            content: what it says.
            generation: its number, not negative.

        Raises:
            TableError: an entry cannot be encoded, or a reference leads nowhere.
        """
        _check_references(content)
        sections: list[bytes] = []
        kinds: tuple[tuple[_Entry, ...], ...] = (
            content.routers,
            content.middlewares,
            content.services,
            content.transports,
        )
        for number, entries in enumerate(kinds):
            encoded, self._encoded[number] = _encode(entries, self._encoded[number])
            sections += _blob(encoded)
        self._subtrees.turn()
        index = IndexWriter(self._subtrees)
        lists = self._add_lists(content, index)
        sections += _blob(list(index.texts))
        sections.append(_encoder.encode(lists))
        sections.append(index.words.tobytes())
        sections.append(_service_names(content.services))
        sections.append(_encoder.encode(content.streams))
        return assemble(sections, generation)

    @staticmethod
    def payload_digest(table: bytes) -> bytes:
        """The digest of everything but the generation: equal content has an equal digest."""
        return read_header(memoryview(table)).digest

    def _add_lists(self, content: TableContent, index: IndexWriter) -> Lists:
        claims = self._all_claims(content.routers)
        roots: dict[tuple[int, ...], tuple[int, int]] = {}
        places: list[ListPlace] = []
        for each in content.lists:
            if each.routers not in roots:  # entrypoints often share a list, and then its index
                root = index.add_index(claims[router] for router in each.routers)
                roots[each.routers] = (index.add_routers(each.routers), root)
            start, root = roots[each.routers]
            places.append(ListPlace(each.entrypoint, each.tls, start, len(each.routers), root))
        return Lists(tuple(places), tuple(index.pattern_splits))

    def _all_claims(self, routers: Sequence[RouterEntry]) -> list[tuple[Claim, ...]]:
        known, self._claims = self._claims, {}
        result: list[tuple[Claim, ...]] = []
        for router in routers:
            found = known.get(router.name)
            if found is None or (found[0] is not router.condition and found[0] != router.condition):
                found = (router.condition, claims_of(router.condition))
            self._claims[router.name] = found
            result.append(found[1])
        return result


def write_table(content: TableContent, generation: int) -> bytes:
    """The bytes of a table, without memory of another; see ``TableWriter.write``."""
    return TableWriter().write(content, generation)


def _encode(entries: Iterable[_Entry], known: _Encoded) -> tuple[list[bytes], _Encoded]:
    fresh: _Encoded = {}
    encoded: list[bytes] = []
    for entry in entries:
        found = known.get(entry.name)
        if found is None or found[0] is not entry:
            found = (entry, _encode_one(entry))
        fresh[entry.name] = found
        encoded.append(found[1])
    return encoded, fresh


def _encode_one(entry: _Entry) -> bytes:
    try:
        return _encoder.encode(entry)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise TableError(f"{entry.name} cannot be written to the routing table: {error}") from error


def _blob(parts: Sequence[bytes]) -> tuple[bytes, bytes]:
    """An array of offsets, and the parts behind each other."""
    offsets = array("Q", [0])
    end = 0
    for part in parts:
        end += len(part)
        offsets.append(end)
    return offsets.tobytes(), b"".join(parts)


def _service_names(services: Sequence[ServiceEntry]) -> bytes:
    """Slots of (hash of the name, number + 1), open addressing; at most half full."""
    capacity = 1 << (2 * len(services)).bit_length()
    slots = array("I", bytes(8 * capacity))
    for number, service in enumerate(services):
        hashed = hash_key(0, to_key_bytes(service.name))
        slot = hashed & (capacity - 1)
        while slots[2 * slot + 1]:
            slot = (slot + 1) & (capacity - 1)
        slots[2 * slot] = hashed
        slots[2 * slot + 1] = number + 1
    return slots.tobytes()


def _check_references(content: TableContent) -> None:
    middlewares, services = len(content.middlewares), len(content.services)
    for router in content.routers:
        if not 0 <= router.service < services or not _within(router.middlewares, middlewares):
            raise TableError(f"router {router.name} refers to an entry that is not in the table")
    for service in content.services:
        if not 0 <= service.transport < len(content.transports) or not _within(service.children, services):
            raise TableError(f"service {service.name} refers to an entry that is not in the table")
    for each in content.lists:
        _check_list(each, len(content.routers))


def _check_list(each: RouterList, routers: int) -> None:
    if not _within(each.routers, routers):
        raise TableError(f"the routers of entrypoint {each.entrypoint} are not all in the table")


def _within(references: tuple[int, ...], count: int) -> bool:
    return not references or (min(references) >= 0 and max(references) < count)
