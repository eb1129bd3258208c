"""How close a rule came to holding: orders the routers that did not match, for people.

A rule about the request's own host is nearer than one about no host, and that nearer than one about another
host. Among equals the rule of which more holds is nearer, then the one whose path has more in common.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shared.rules.conditions import (
    All,
    AnyCondition,
    Either,
    HostIs,
    HostMatches,
    HostUnder,
    Matchable,
    Not,
    PathIs,
    PathStarts,
)
from shared.rules.predicates import compile_predicate


class Nearness(NamedTuple):
    """Compares as nearness does: the greater is the nearer.

    Attributes:
        host: 2 for the request's host, 1 for a rule about no host, 0 for another host.
        share: of the rule that holds, 0 to 1.
        path: characters of the request's path that its paths begin with.
    """

    host: int
    share: float
    path: int


def nearness(condition: AnyCondition, request: Matchable) -> Nearness:
    """How near ``condition`` is to holding for a request."""
    hosts = [
        compile_predicate(leaf)(request)
        for leaf in _leaves(condition)
        if isinstance(leaf, HostIs | HostUnder | HostMatches)
    ]
    host = 1 if not hosts else 2 * any(hosts)
    return Nearness(host, _share(condition, request), _common_path(condition, request))


def _share(condition: AnyCondition, request: Matchable) -> float:
    match condition:
        case All(parts) if parts:
            return sum(_share(part, request) for part in parts) / len(parts)
        case Either(parts) if parts:
            return max(_share(part, request) for part in parts)
        case _:
            return float(compile_predicate(condition)(request))


def _common_path(condition: AnyCondition, request: Matchable) -> int:
    longest = 0
    for leaf in _leaves(condition):
        if isinstance(leaf, PathIs | PathStarts):
            wanted = leaf.path if isinstance(leaf, PathIs) else leaf.prefix
            path = request.decoded_path if leaf.decoded else request.routing_path
            longest = max(longest, _common_length(wanted, path))
    return longest


def _common_length(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _leaves(condition: AnyCondition) -> Iterator[AnyCondition]:
    """The leaves that are asked for as they are; what stands under a ``Not`` is no wish."""
    match condition:
        case All(parts) | Either(parts):
            for part in parts:
                yield from _leaves(part)
        case Not():
            pass
        case _:
            yield condition
