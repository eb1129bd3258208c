"""How the routers of an entrypoint fare with a request: all of them, and those that came closest."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from shared.rules.conditions import Matchable
from shared.rules.explain import Verdict, explain, reason
from shared.rules.nearness import nearness
from shared.table.entries import RouterEntry
from shared.table.reader import Table

MAX_REASONS = 8
"""Conditions named per router; a rule of a hundred alternatives fails for a hundred reasons."""


class Judgement(NamedTuple):
    """One router and why its rule holds or does not. ``rank`` is its place in match order, from 0."""

    rank: int
    router: RouterEntry
    verdict: Verdict


def judge_routers(table: Table, entrypoint: str, tls: bool, request: Matchable) -> Iterator[Judgement]:
    """Every router of the list, in match order. Decodes each: not for the path of requests.

    Args:
        table: in force.
        entrypoint: where the request came in.
        tls: whether over TLS.
        request: to be judged by.
    """
    for rank, number in enumerate(table.routers_of(entrypoint, tls)):
        router = table.router(number)
        yield Judgement(rank, router, explain(router.condition, request))


def nearest(judgements: Iterable[Judgement], request: Matchable, limit: int) -> list[Judgement]:
    """Those whose rules came closest, the nearest first; equally near ones in match order."""

    def closeness(judgement: Judgement) -> tuple[object, ...]:
        near = nearness(judgement.router.condition, request)
        return (judgement.verdict.holds, *near, -judgement.rank)

    return heapq.nlargest(limit, judgements, key=closeness)


def reasons_of(judgement: Judgement, request: Matchable) -> tuple[str, ...]:
    """Why, in words, one condition each."""
    verdict = judgement.verdict
    said = [
        # A leaf with the other truth than the whole stands under a "not".
        ("" if each.holds is verdict.holds else "negated: ") + reason(each, request)
        for each in islice(verdict.evidence, MAX_REASONS)
    ]
    left = len(verdict.evidence) - len(said)
    return (*said, f"and {left} more conditions") if left else tuple(said)
