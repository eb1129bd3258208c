"""Builds the index of a list of routers: a tree that leads from a request to the few that may match.

A *leaf* holds ranks (positions in the list). A *split* looks at one dimension: routers with keys in it are
filed under each of them, the others in its *rest*, which every request visits. A node is split while it is
crowded and a dimension exists that thins it out; the dimension is the one that leaves the fewest candidates
on average, so the same code serves 10,000 hosts, 10,000 paths of one host and 10,000 values of one header.

Everything is 32-bit words in one array. A reference is a position in it, or a rank with ``SINGLE`` set; 0 is
nothing. Parents come before their children, so a reader that insists on that cannot be led in circles.

    leaf           LEAF, count, rank ...
    split          aspect, name, rest, mask, probes, (probe, length) ..., (hash, child) x (mask + 1)
    pattern split  aspect, name, rest, count, (pattern, child) ...

``name`` and ``pattern`` are numbers of texts; slots are open addressing, ``child`` 0 is empty.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from shared.errors import TableError
from shared.table.claims import Claim
from shared.table.index_memory import SINGLE, IndexMemory, Subtree
from shared.table.keys import FIRST_PATTERN, SIZED, SUFFIXES, Dimension, Key, Probe, hash_key, to_key_bytes

LEAF = 0

MAX_WORDS = SINGLE
LEAF_ROUTERS = 4
"""A node of so many claims is not split: their predicates cost less than another look-up (not measured)."""

PATTERN_LEAF_ROUTERS = 16
"""The same for expressions: a set costs 2.5 us to ask and 20 us per expression to build (2026-07)."""

MAX_DEPTH = 16
"""Splits above a leaf; what is crowded below that is scanned."""

MAX_SHARE = 0.75
"""A split must leave at most this share of the node's claims to an average request."""

MAX_LENGTHS = 24
"""Prefix lengths per split, each a hash per request; more are rounded down to one of these."""

Item = tuple[int, Claim]


class IndexWriter:
    """Collects the words of all lists of a table.

    Args:
        memory: subtrees of the last table, whose words are copied where nothing changed.

    Attributes:
        words: the array so far; position 0 is never a node.
        texts: number of each text that nodes refer to, in order of first use.
        pattern_splits: references of the pattern splits, for building their sets ahead.
    """

    def __init__(self, memory: IndexMemory | None = None) -> None:
        self.words = array("I", [0])
        self.texts: dict[bytes, int] = {}
        self.pattern_splits: list[int] = []
        self._memory = memory or IndexMemory()
        self._recording: Subtree | None = None

    def add_routers(self, routers: Sequence[int]) -> int:
        """Append router indexes in rank order; returns where they begin."""
        start = len(self.words)
        self.words.extend(routers)
        return start

    def add_index(self, claims: Iterable[tuple[Claim, ...]]) -> int:
        """Append the index of a list.

        Args:
            claims: the claims of each router, in rank order.

        Returns:
            the reference of the root.

        Raises:
            TableError: the table has become too large for 31-bit references.
        """
        items = [(rank, claim) for rank, each in enumerate(claims) for claim in each]
        root = self._add_node(items, frozenset())
        if len(self.words) >= MAX_WORDS:
            raise TableError("the routing table's index is too large")
        return root

    def _add_node(self, items: list[Item], used: frozenset[Dimension]) -> int:
        if not items:
            return 0
        if len(items) <= LEAF_ROUTERS or len(used) >= MAX_DEPTH:
            return self._add_leaf(items)
        if self._recording is None and self._memory.may_hold(items):
            return self._add_subtree(items, used)
        return self._add_crowd(items, used)

    def _add_crowd(self, items: list[Item], used: frozenset[Dimension]) -> int:
        dimension = _best_dimension(items, used)
        if dimension is None:
            return self._add_leaf(items)
        if dimension.aspect >= FIRST_PATTERN:
            return self._add_pattern_split(items, dimension, used | {dimension})
        return self._add_split(items, dimension, used | {dimension})

    def _add_subtree(self, items: list[Item], used: frozenset[Dimension]) -> int:
        """A node whose words are the last table's, if that had one of the same claims."""
        base = len(self.words)
        known = self._memory.find(items, used)
        if known is not None:
            known.write(self.words, items, self._text)
            self.pattern_splits += [base + at for at in known.pattern_splits]
            return base
        self._recording = recording = Subtree()
        root = self._add_crowd(items, used)
        self._recording = None
        if root == base:  # else it is a rank, and there are no words
            recording.finish(self.words, base, items)
            self._memory.keep(items, used, recording)
        return root

    def _add_leaf(self, items: list[Item]) -> int:
        ranks = [items[0][0]] if len(items) == 1 else sorted({rank for rank, _ in items})
        if len(ranks) == 1:
            return SINGLE | ranks[0]
        node = len(self.words)
        self.words.extend((LEAF, len(ranks)))
        if self._recording is not None:
            self._recording.ranks += range(node + 2, node + 2 + len(ranks))
        self.words.extend(ranks)
        return node

    def _refer(self, at: int, reference: int) -> None:
        """Write a reference to a node, or to a router itself."""
        self.words[at] = reference
        if self._recording is not None and reference:
            (self._recording.ranks if reference & SINGLE else self._recording.references).append(at)

    def _add_split(self, items: list[Item], dimension: Dimension, used: frozenset[Dimension]) -> int:
        lengths = _lengths(items, dimension)
        groups, rest = _grouped_by_hash(items, dimension, lengths)
        probes = sorted((int(probe), length) for probe, each in lengths.items() for length in each or (0,))
        node = len(self.words)
        capacity = 1 << (2 * len(groups) - 1).bit_length()
        self.words.extend((dimension.aspect, 0, 0, capacity - 1, len(probes)))
        self._name(node + 1, to_key_bytes(dimension.name))
        for probe in probes:
            self.words.extend(probe)
        slots = len(self.words)
        self.words.frombytes(bytes(2 * capacity * self.words.itemsize))
        self._refer(node + 2, self._add_node(rest, used))
        for hashed in sorted(groups):
            child = self._add_node(groups[hashed], used)
            slot = hashed & (capacity - 1)
            while self.words[slots + 2 * slot + 1]:
                slot = (slot + 1) & (capacity - 1)
            self.words[slots + 2 * slot] = hashed
            self._refer(slots + 2 * slot + 1, child)
        return node

    def _add_pattern_split(self, items: list[Item], dimension: Dimension, used: frozenset[Dimension]) -> int:
        groups: dict[bytes, list[Item]] = {}
        rest: list[Item] = []
        for item in items:
            keys = item[1].get(dimension)
            if keys is None:
                rest.append(item)
                continue
            for key in keys:
                groups.setdefault(key.text, []).append(item)
        node = len(self.words)
        self.pattern_splits.append(node)
        if self._recording is not None:
            self._recording.pattern_splits.append(node)
        self.words.extend((dimension.aspect, 0, 0, len(groups)))
        self._name(node + 1, to_key_bytes(dimension.name))
        children = len(self.words)
        self.words.frombytes(bytes(2 * len(groups) * self.words.itemsize))
        self._refer(node + 2, self._add_node(rest, used))
        for number, pattern in enumerate(sorted(groups)):
            self._name(children + 2 * number, pattern)
            self._refer(children + 2 * number + 1, self._add_node(groups[pattern], used))
        return node

    def _name(self, at: int, text: bytes) -> None:
        """Write the number of a text."""
        self.words[at] = self._text(text)
        if self._recording is not None:
            self._recording.texts.append((at, text))

    def _text(self, text: bytes) -> int:
        return self.texts.setdefault(text, len(self.texts))


def _best_dimension(items: list[Item], used: frozenset[Dimension]) -> Dimension | None:
    """The dimension that leaves the fewest candidates to an average request, if it is worth a split."""
    tallies: dict[Dimension, dict[Key, int]] = {}
    keyed: dict[Dimension, int] = {}
    for _, claim in items:
        for dimension, keys in claim.items():
            if dimension in used:
                continue
            keyed[dimension] = keyed.get(dimension, 0) + 1
            tally = tallies.setdefault(dimension, {})
            for key in keys:
                tally[key] = tally.get(key, 0) + 1
    best: tuple[float, Dimension] | None = None
    for dimension, tally in tallies.items():
        if dimension.aspect >= FIRST_PATTERN and keyed[dimension] <= PATTERN_LEAF_ROUTERS:
            continue
        copies = sum(tally.values())
        left = len(items) - keyed[dimension] + sum(count * count for count in tally.values()) / copies
        if left <= MAX_SHARE * len(items) and (best is None or (left, dimension) < best):
            best = (left, dimension)
    return None if best is None else best[1]


def _lengths(items: list[Item], dimension: Dimension) -> dict[Probe, list[int]]:
    """The probes that keys of a dimension need; for sized ones at most ``MAX_LENGTHS`` lengths, rising."""
    found: dict[Probe, set[int]] = {}
    for _, claim in items:
        for key in claim.get(dimension, ()):
            lengths = found.setdefault(key.probe, set())
            if key.probe in SIZED:
                lengths.add(len(key.text))
    return {probe: _thinned(sorted(lengths)) for probe, lengths in found.items()}


def _thinned(lengths: list[int]) -> list[int]:
    """At most ``MAX_LENGTHS`` of these, evenly chosen; always the first, so that all can be rounded down."""
    if len(lengths) <= MAX_LENGTHS:
        return lengths
    return [lengths[number * len(lengths) // MAX_LENGTHS] for number in range(MAX_LENGTHS)]


def _grouped_by_hash(
    items: list[Item], dimension: Dimension, lengths: dict[Probe, list[int]]
) -> tuple[dict[int, list[Item]], list[Item]]:
    groups: dict[int, list[Item]] = {}
    rest: list[Item] = []
    for item in items:
        keys = item[1].get(dimension)
        if keys is None:
            rest.append(item)
            continue
        for probe, text in keys:
            part = _rounded(text, probe, lengths[probe]) if probe in SIZED else text
            groups.setdefault(hash_key(probe, part), []).append(item)
    return groups, rest


def _rounded(text: bytes, probe: Probe, lengths: list[int]) -> bytes:
    """The longest part of a prefix or suffix that requests are looked up with."""
    length = lengths[bisect_right(lengths, len(text)) - 1]
    return text[-length:] if probe in SUFFIXES else text[:length]
