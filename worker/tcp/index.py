"""Finds the TCP routers that may want a connection with this server name, in match order.

Most rules hold for a few names only; those are looked up. The rest (wildcards, expressions, no name at all)
is tried for every connection. The order is that of the list, so the first that holds is the same as in a walk
over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge
from typing import Generic, TypeVar

from shared.rules.conditions import All, AnyCondition, Either, HostIs

T = TypeVar("T")


class NameIndex(Generic[T]):
    """See above.

    Args:
        entries: conditions with what they stand for, in match order.
    """

    def __init__(self, entries: Sequence[tuple[AnyCondition, T]]) -> None:
        self._all = [entry for _, entry in entries]
        self._by_name: dict[str, list[int]] = {}
        self._others: list[int] = []
        for rank, (condition, _) in enumerate(entries):
            names = names_needed(condition)
            if names is None:
                self._others.append(rank)
            else:
                for name in names:
                    self._by_name.setdefault(name, []).append(rank)

    def candidates(self, name: str) -> Sequence[T]:
        """Everything that may hold for this name, in match order."""
        ranks = self._by_name.get(name.removesuffix("."))
        if ranks is None:
            return [self._all[rank] for rank in self._others]
        return [self._all[rank] for rank in merge(ranks, self._others)]


def names_needed(condition: AnyCondition) -> frozenset[str] | None:
    """The names without one of which a condition cannot hold; None if it may hold without."""
    match condition:
        case HostIs(host):
            return frozenset([host.removesuffix(".")])
        case All(parts):
            known = [names for names in map(names_needed, parts) if names is not None]
            return min(known, key=len) if known else None
        case Either(parts):
            found: set[str] = set()
            for names in map(names_needed, parts):
                if names is None:
                    return None
                found |= names
            return frozenset(found)
        case _:
            return None
