"""What each cell of an arena block means: one list, so that nobody uses a number twice.

The number of a cell decides its life (``shared.arena_layout``): counters are kept when a worker goes, own
cells are a worker's word about itself and go with it. Cells of different kinds of block may share a number.

    0-27   integer counters   added to the retired column
    28-31  latest events      the largest is kept in the retired column; 0 is none
    32-39  float counters     added to the retired column
    40-62  own cells          gauges, marks and published groups, integer or float; zeroed, but see ``Kept``
    63     users              how many objects of a process refer to the block; kept by the arena itself
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ServerCell(IntEnum):
    """Cells of a ``server`` block.

    ``PASSIVE_OWN_*`` and ``HEALTH_*`` are ranges for the files that own them; ``*_FIRST`` to
    ``*_LAST`` inclusive. Health and drain marks are written by the master, in its own column.
    """

    REQUESTS = 0
    STATUS_1XX = 1
    STATUS_2XX = 2
    STATUS_3XX = 3
    STATUS_4XX = 4
    STATUS_5XX = 5
    NETWORK_ERRORS = 6
    TIMEOUTS = 7
    PICKS = 8
    BYTES_IN = 9
    BYTES_OUT = 10
    RATED_GOOD = 11
    RATED_BAD = 12
    EJECTED_AT = 28
    LAST_GOOD_AT = 29

    LATENCY_S = 32

    IN_FLIGHT = 40
    SESSIONS = 41
    PASSIVE_OWN_FIRST = 42
    PASSIVE_OWN_LAST = 47
    HEALTH_FIRST = 48
    HEALTH_LAST = 55
    WEIGHT_GROUP = 56
    FIRST_BYTE_GROUP = 59


class ServiceCell(IntEnum):
    """Cells of a ``service`` block."""

    REQUESTS = 0
    COPIES = 1
    COPIES_DROPPED = 2
    NO_SERVER = 3
    ROTATION = 4
    PICKS_FIRST = 8
    PICKS_LAST = 27

    LATENCY_S = 32

    IN_FLIGHT = 40
    HEALTH_FIRST = 48
    HEALTH_LAST = 55


class BreakerCell(IntEnum):
    """Cells of a circuit breaker's ``middleware`` block; ``worker.breaker`` says what is in them."""

    TRIPS = 0
    REFUSED = 1

    EVENT = 28
    TRIPPED_AT = 29

    SHARE_OF = 40
    ALLOWED = 41
    DENIED = 42


class WindowCell(IntEnum):
    """Cells of a ``window`` block: a ring of counts, and for each the moment its bucket began."""

    COUNTS_FIRST = 40
    BEGAN_FIRST = 50


class Kept(IntEnum):
    """What of a block outlives a process beyond counters and latest events. Written into its identity record.

    A window, and the share that a recovering breaker let through, are counts that belong to a moment: of each
    such *marked* group (see ``MARKED``) those of the latest moment are kept. Rates are kept key by key.
    """

    NOTHING = 0
    WINDOW = 1
    SHARE = 2
    RATES = 3


MARKED: Final[dict[int, tuple[tuple[int, tuple[int, ...]], ...]]] = {
    Kept.WINDOW: tuple(
        (WindowCell.BEGAN_FIRST + place, (WindowCell.COUNTS_FIRST + place,))
        for place in range(WindowCell.BEGAN_FIRST - WindowCell.COUNTS_FIRST)
    ),
    Kept.SHARE: ((BreakerCell.SHARE_OF, (BreakerCell.ALLOWED, BreakerCell.DENIED)),),
}
"""Per kind: cells that say the moment of others, and those others, which count for that moment only."""


class InFlightCell(IntEnum):
    """Cells of one key of a limit on concurrent requests."""

    GAUGE = 0


class RateCell(IntEnum):
    """Cells of one key of a rate limit; ``shared.rate_cells`` says in which order they are written."""

    VERSION = 0
    FULL_AT = 1
    SEEN = 2
    ADMITTED = 3
    VERSION_AGAIN = 4


class LimitCell(IntEnum):
    """Cells of a limit's ``middleware`` block."""

    PASSED = 0
    REFUSED = 1
