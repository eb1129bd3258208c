"""Which router serves a request: the first of its list, in match order, whose rule holds.

The table's index gives the few that may match, in match order; the whole rule decides on each. So the answer
is that of a linear scan over the list (``tests/support/oracle.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from shared.rules.conditions import Matchable
from shared.rules.predicates import Predicate


class CandidateSource(Protocol):
    """What is needed of a table."""

    def candidates(self, entrypoint: str, tls: bool, request: Matchable) -> Sequence[int]:
        """Routers that may match, in match order; all that match are among them."""


def match(
    table: CandidateSource,
    predicate_of: Callable[[int], Predicate],
    entrypoint: str,
    tls: bool,
    request: Matchable,
) -> int | None:
    """The index of the router that serves a request, or None.

    Args:
        table: where the routers are.
        predicate_of: gives the predicate of a router by its index.
        entrypoint: where the request came in.
        tls: whether it came over TLS.
        request: what to match.
    """
    for number in table.candidates(entrypoint, tls, request):
        if predicate_of(number)(request):
            return number
    return None
