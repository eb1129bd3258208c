"""What one index hands on to the next: whole subtrees, so that a change costs what it touches.

A subtree depends on the claims under it and on the dimensions that were split on above it, not on where it
lies, nor on what its routers' ranks are: one router with a longer rule moves the ranks of all that it
passes. So the words are kept as a linker keeps code: with the places that hold references, ranks and texts.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from shared.table.claims import Claim
from shared.table.keys import Dimension

SINGLE = 1 << 31
"""Set in a reference that is a rank."""

MAX_SUBTREE_CLAIMS = 256
"""Larger nodes are built anew: of what they hold, the smaller ones are copied."""

Item = tuple[int, Claim]


class Subtree:
    """The words of a node and all below it, from the node on.

    While it is recorded, places are positions in the array of the whole index; then they count from the node.

    Attributes:
        references, ranks: places of references to nodes, and of ranks (with ``SINGLE``, or in leaves).
        texts: places of numbers of texts, and the texts.
        pattern_splits: where pattern splits begin.
    """

    __slots__ = ("_owners", "_words", "claims", "pattern_splits", "ranks", "references", "texts")

    def __init__(self) -> None:
        self.claims: tuple[Claim, ...] = ()
        self.references: list[int] = []
        self.ranks: list[int] = []
        self.texts: list[tuple[int, bytes]] = []
        self.pattern_splits: list[int] = []
        self._words = array("I")
        self._owners: list[int] = []

    def finish(self, words: array[int], base: int, items: Sequence[Item]) -> None:
        """The node was built, from ``base`` to the end of ``words``, of these claims."""
        self.claims = tuple(claim for _, claim in items)
        self._words = words[base:]
        number_of: dict[int, int] = {}
        for number, (rank, _) in enumerate(items):
            number_of.setdefault(rank, number)
        self._owners = [number_of[words[at] & ~SINGLE] for at in self.ranks]
        self.references = [at - base for at in self.references]
        self.ranks = [at - base for at in self.ranks]
        self.texts = [(at - base, text) for at, text in self.texts]
        self.pattern_splits = [at - base for at in self.pattern_splits]
        for at in self.references:
            self._words[at] -= base
        for at in self.ranks:
            self._words[at] &= SINGLE

    def write(self, words: array[int], items: Sequence[Item], number_of: Callable[[bytes], int]) -> None:
        """Append the words, for the ranks that the same claims have now."""
        base = len(words)
        words.extend(self._words)
        for at in self.references:
            words[base + at] += base
        for at, owner in zip(self.ranks, self._owners, strict=True):
            words[base + at] |= items[owner][0]
        for at, text in self.texts:
            words[base + at] = number_of(text)


class IndexMemory:
    """Subtrees of the last index; those that the next one does not use are forgotten."""

    def __init__(self) -> None:
        self._last: dict[tuple[object, ...], Subtree] = {}
        self._now: dict[tuple[object, ...], Subtree] = {}

    def turn(self) -> None:
        """A new index begins."""
        self._last, self._now = self._now, {}

    def may_hold(self, items: Sequence[Item]) -> bool:
        """Whether a node of so many claims is kept."""
        return len(items) <= MAX_SUBTREE_CLAIMS

    def find(self, items: Sequence[Item], used: frozenset[Dimension]) -> Subtree | None:
        """The subtree of these claims, the same objects in the same order, under these dimensions."""
        key = _key(items, used)
        found = self._last.get(key) or self._now.get(key)
        if found is not None:
            self._now[key] = found
        return found

    def keep(self, items: Sequence[Item], used: frozenset[Dimension], subtree: Subtree) -> None:
        """For the next index."""
        self._now[_key(items, used)] = subtree


def _key(items: Sequence[Item], used: frozenset[Dimension]) -> tuple[object, ...]:
    # By identity: a kept subtree holds its claims, so that no other can come to stand at their address.
    return (used, *[id(claim) for _, claim in items])
