"""The splits of the index, as the reader follows them: from a request to the children that it leads to.

Each kind looks at another part of the request. What they share is the hash table of children, read in place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from zlib import crc32

from shared.errors import TableError
from shared.rules.conditions import Matchable
from shared.table.keys import Aspect, Probe, fold_host, parent_of, to_key_bytes
from shared.table.pattern_sets import PatternSets

_FIXED_WORDS = 5
_PATTERN_FIXED_WORDS = 4


class Split(ABC):
    """A node that leads on."""

    @abstractmethod
    def follow(self, request: Matchable, pending: list[int]) -> None:
        """Append the references of all children that the request leads to."""


class _HashSplit(Split):
    """Children in a hash table."""

    def __init__(self, words: memoryview, node: int) -> None:
        self._words = words
        self._node = node
        self._rest = words[node + 2]
        self._mask = words[node + 3]
        probes = words[node + 4]
        self._slots = node + _FIXED_WORDS + 2 * probes
        if self._mask & (self._mask + 1) or self._slots + 2 * (self._mask + 1) > len(words):
            raise TableError("the routing table's index is damaged: a node is outside of it")
        self._lengths: dict[int, list[int]] = {}
        for at in range(node + _FIXED_WORDS, self._slots, 2):
            self._lengths.setdefault(words[at], []).append(words[at + 1])
        _check_child(self._rest, node)

    def _find(self, hashed: int, pending: list[int]) -> None:
        """Append the child that is filed under ``hashed``, if there is one."""
        words, slots, mask = self._words, self._slots, self._mask
        slot = hashed & mask
        for _ in range(mask + 1):
            at = slots + 2 * slot
            child = words[at + 1]
            if not child:
                return
            if words[at] == hashed:
                _check_child(child, self._node)
                pending.append(child)
                return
            slot = (slot + 1) & mask


class _Parts:
    """How one text is looked up whole, by its beginnings and by its ends."""

    def __init__(self, lengths: dict[int, list[int]], exact: Probe, prefix: Probe, suffix: Probe) -> None:
        self._exact = exact if exact in lengths else None
        self._prefix = int(prefix)
        self._suffix = int(suffix)
        self._prefixes = lengths.get(prefix, [])
        self._suffixes = lengths.get(suffix, [])
        self.used = bool(self._exact or self._prefixes or self._suffixes)

    def look_up(self, text: bytes, find: Callable[[int, list[int]], None], pending: list[int]) -> None:
        """Find everything that is filed under the text or a part of it."""
        if self._exact:
            find(crc32(text, self._exact), pending)
        hashed, done = self._prefix, 0
        for length in self._prefixes:
            if length > len(text):
                break
            hashed = crc32(text[done:length], hashed)
            done = length
            find(hashed, pending)
        for length in self._suffixes:
            if length > len(text):
                break
            find(crc32(text[-length:], self._suffix), pending)


class HostSplit(_HashSplit):
    """Looks at the host: whole, without its first label, and by its parts."""

    def __init__(self, words: memoryview, node: int) -> None:
        super().__init__(words, node)
        self._exact = Probe.EXACT in self._lengths
        self._under = Probe.UNDER in self._lengths
        self._parts = _Parts(self._lengths, Probe.DECODED_EXACT, Probe.PREFIX, Probe.SUFFIX)

    def follow(self, request: Matchable, pending: list[int]) -> None:
        """See ``Split``."""
        if self._rest:
            pending.append(self._rest)
        host = to_key_bytes(request.host)
        folded = fold_host(host)
        if self._exact:
            self._find(crc32(folded, Probe.EXACT), pending)
        if self._under:
            self._find(crc32(parent_of(folded), Probe.UNDER), pending)
        if self._parts.used:
            self._parts.look_up(host, self._find, pending)


class PathSplit(_HashSplit):
    """Looks at the routing path and at the decoded path, whole and by their parts."""

    def __init__(self, words: memoryview, node: int) -> None:
        super().__init__(words, node)
        self._routing = _Parts(self._lengths, Probe.EXACT, Probe.PREFIX, Probe.SUFFIX)
        self._decoded = _Parts(self._lengths, Probe.DECODED_EXACT, Probe.DECODED_PREFIX, Probe.DECODED_SUFFIX)

    def follow(self, request: Matchable, pending: list[int]) -> None:
        """See ``Split``."""
        if self._rest:
            pending.append(self._rest)
        if self._routing.used:
            self._routing.look_up(to_key_bytes(request.routing_path), self._find, pending)
        if self._decoded.used:
            self._decoded.look_up(to_key_bytes(request.decoded_path), self._find, pending)


class ValueSplit(_HashSplit):
    """Looks at the method, or at the values of one header field or query parameter.

    All of the values, each once: their number is bounded by the limits on the request's head.
    """

    def __init__(self, words: memoryview, node: int, text: Callable[[int], str]) -> None:
        super().__init__(words, node)
        self._values = _values_of(Aspect(words[node]), text(words[node + 1]))

    def follow(self, request: Matchable, pending: list[int]) -> None:
        """See ``Split``."""
        if self._rest:
            pending.append(self._rest)
        for value in set(self._values(request)):
            self._find(crc32(to_key_bytes(value), Probe.VALUE), pending)


class PatternSplit(Split):
    """Asks combined expressions about one part of the request."""

    def __init__(self, words: memoryview, node: int, text: Callable[[int], str]) -> None:
        self._words = words
        self._node = node
        self._rest = words[node + 2]
        self._children = node + _PATTERN_FIXED_WORDS
        count = words[node + 3]
        if self._children + 2 * count > len(words):
            raise TableError("the routing table's index is damaged: a node is outside of it")
        self._values = _values_of(Aspect(words[node]), text(words[node + 1]))
        self._sets = PatternSets([text(words[self._children + 2 * each]) for each in range(count)])
        _check_child(self._rest, node)

    def warm(self) -> None:
        """Build the combined expressions, if that has not happened yet."""
        self._sets.build()

    def follow(self, request: Matchable, pending: list[int]) -> None:
        """See ``Split``."""
        if self._rest:
            pending.append(self._rest)
        found = {position for value in set(self._values(request)) for position in self._sets.found_in(value)}
        for position in found:
            child = self._words[self._children + 2 * position + 1]
            _check_child(child, self._node)
            pending.append(child)


def _values_of(aspect: Aspect, name: str) -> Callable[[Matchable], list[str]]:
    """How the values that a dimension looks at are read from a request."""
    match aspect:
        case Aspect.METHOD:
            return lambda request: [request.method]
        case Aspect.HEADER | Aspect.HEADER_PATTERN:
            return lambda request: request.header_values(name)
        case Aspect.QUERY | Aspect.QUERY_PATTERN:
            return lambda request: request.query_values(name)
        case Aspect.HOST | Aspect.HOST_PATTERN:
            return lambda request: [request.host]
        case Aspect.PATH | Aspect.PATH_PATTERN:
            return lambda request: [request.routing_path]
        case Aspect.DECODED_PATTERN:
            return lambda request: [request.decoded_path]


def _check_child(child: int, parent: int) -> None:
    """Children come after their parents, so that no look-up runs in circles."""
    if child and child <= parent:
        raise TableError("the routing table's index is damaged: a node comes before its parent")
