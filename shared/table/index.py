"""Looks requests up in the index that ``shared.table.index_writer`` built (the format is described there).

Nodes are read in place. Splits that were visited are kept as objects, leaves are read each time: a table has
few splits and many leaves. Whatever the bytes are, a look-up ends, stays inside the array and gives ranks
or raises ``TableError``.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.errors import TableError
from shared.rules.conditions import Matchable
from shared.table.index_memory import SINGLE
from shared.table.index_writer import LEAF
from shared.table.keys import FIRST_PATTERN, Aspect
from shared.table.splits import HostSplit, PathSplit, PatternSplit, Split, ValueSplit


class Index:
    """The nodes of all lists of a table.

    Args:
        words: the array, as unsigned 32-bit words.
        text: gives the text of a number that a node refers to.
    """

    def __init__(self, words: memoryview, text: Callable[[int], str]) -> None:
        self._words = words
        self._text = text
        self._splits: dict[int, Split] = {}

    def ranks(self, root: int, request: Matchable) -> list[int]:
        """Ranks of the routers that may match, rising; every router that matches is among them.

        Raises:
            TableError: the index is damaged.
        """
        try:
            return self._ranks(root, request)
        except (IndexError, ValueError) as error:
            raise TableError(f"the routing table's index is damaged: {error}") from error

    def warm(self, node: int) -> None:
        """Build the combined expressions of a pattern split ahead of its first request.

        Raises:
            TableError: the index is damaged.
        """
        try:
            split = self._split(node)
        except (IndexError, ValueError) as error:
            raise TableError(f"the routing table's index is damaged: {error}") from error
        if isinstance(split, PatternSplit):
            split.warm()

    def _ranks(self, root: int, request: Matchable) -> list[int]:
        words = self._words  # in a legal tree, no more nodes are visited than there are words
        ranks: list[int] = []
        pending = [root] if root else []
        visits = 0
        while pending:
            node = pending.pop()
            if node & SINGLE:
                ranks.append(node ^ SINGLE)
                continue
            visits += 1
            if visits > len(words):
                raise TableError("the routing table's index is damaged: it is no tree")
            if words[node] == LEAF:
                ranks += words[node + 2 : node + 2 + words[node + 1]]
                continue
            self._split(node).follow(request, pending)
        return ranks if len(ranks) < 2 else sorted(set(ranks))

    def _split(self, node: int) -> Split:
        known = self._splits.get(node)
        if known is not None:
            return known
        aspect = Aspect(self._words[node])
        if aspect == Aspect.HOST:
            split: Split = HostSplit(self._words, node)
        elif aspect == Aspect.PATH:
            split = PathSplit(self._words, node)
        elif aspect < FIRST_PATTERN:
            split = ValueSplit(self._words, node, self._text)
        else:
            split = PatternSplit(self._words, node, self._text)
        self._splits[node] = split
        return split
