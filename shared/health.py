"""Where the health of a server stands in its arena block, and what it means. Pure.

The master writes what its checks and people say; a worker writes what its own exchanges taught it. Everybody
reads all columns, so a server is down, or back, for the whole proxy at once.

    column     cell                 meaning
    master     MARKS                ``Mark.DOWN``, ``Mark.DRAINING``
    master     CHECKED_GOOD_AT      clock of the last check that it passed
    worker     FAILURES             a group: its newest failed exchanges
    worker     LAST_GOOD_AT         clock of its newest good exchange
    worker     EJECTED_AT           clock of its newest finding that the server failed too often

Clocks are the arena's, the last two in microseconds. These outlive their worker.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from enum import IntFlag
from typing import Final

from shared.arena_block import Block
from shared.cells import ServerCell
from shared.config.dynamic import LoadBalancer, PassiveHealthCheck

MARKS: Final = int(ServerCell.HEALTH_FIRST)
CHECKED_GOOD_AT: Final = MARKS + 1
FAILURES: Final = int(ServerCell.PASSIVE_OWN_FIRST)
MAX_FAILURES: Final = ServerCell.PASSIVE_OWN_LAST - ServerCell.PASSIVE_OWN_FIRST
"""Entries of the group. More failures than that in one worker share entries (see ``with_failure``)."""

DEFAULT_FAILURE_WINDOW_S = 10.0
GRPC = "grpc"
"""The mode of active checks that asks ``grpc.health.v1``."""
_COUNT_BITS: Final = 14
_MAX_COUNT: Final = (1 << _COUNT_BITS) - 1
_US: Final = 1_000_000


class Mark(IntFlag):
    """What the master says about a server; 0 is a server that is up and takes everybody."""

    DOWN = 1
    DRAINING = 2


def is_checked(options: LoadBalancer) -> bool:
    """Whether the master checks the servers of a service."""
    return options.health_check is not None


def is_ejected(block: Block, passive: PassiveHealthCheck, *, is_checked: bool, now: float) -> bool:
    """Whether failed exchanges keep a server out.

    Args:
        block: of the server.
        passive: how many failures are too many.
        is_checked: whether the master checks it too. Then passing a check brings it back, else time does.
        now: the arena's clock.
    """
    found_at = ejected_at(block)
    if not found_at:
        return False
    if is_checked:
        return block.get_master_f(CHECKED_GOOD_AT) < found_at
    return now < found_at + window_s(passive)


def count_failures(block: Block, passive: PassiveHealthCheck, now: float) -> int:
    """Failed exchanges within the window since the last good one, of all workers."""
    since = max(now - window_s(passive), block.latest(ServerCell.LAST_GOOD_AT) / _US, 0.0)
    published = block.read_published(FAILURES, MAX_FAILURES)
    return sum(count for _, group in published for at, count in _entries(group) if at > since)


def ejected_at(block: Block) -> float:
    """When failed exchanges put a server out last; 0 if they never did."""
    return block.latest(ServerCell.EJECTED_AT) / _US


def tell(block: Block, cell: ServerCell, now: float) -> None:
    """Say that ``EJECTED_AT`` or ``LAST_GOOD_AT`` is now."""
    block.set(cell, round(now * _US))


def with_failure(group: Iterable[int], since: float, now: float) -> list[int]:
    """A worker's group with one failure more.

    Up to ``MAX_FAILURES`` are kept as they are. Beyond that the two that lie closest together become one
    entry, at the time of the later: none is lost, and some count a little longer.

    Args:
        group: as published before.
        since: what is older does not count any more.
        now: of the failure.
    """
    entries = [(at, count) for at, count in _entries(group) if at > since]
    entries.append((now, 1))
    while len(entries) > MAX_FAILURES:
        gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(entries)]
        place = gaps.index(min(gaps))
        (_, first), (at, second) = entries[place : place + 2]
        entries[place : place + 2] = [(at, min(first + second, _MAX_COUNT))]
    packed = [round(at * _US) << _COUNT_BITS | count for at, count in entries]
    return packed + [0] * (MAX_FAILURES - len(packed))


def window_s(passive: PassiveHealthCheck) -> float:
    """The failure window; one that is not positive means the default."""
    return passive.failure_window if passive.failure_window > 0 else DEFAULT_FAILURE_WINDOW_S


def _entries(group: Iterable[int]) -> list[tuple[float, int]]:
    return [((packed >> _COUNT_BITS) / _US, packed & _MAX_COUNT) for packed in group if packed]
