"""How a process says what it knows of one source of a rate limit, so that others read it whole.

A version is written first and last, the last cell first; a reader goes from the first cell to the last, so
two equal versions hold one saying between them. What it means: ``worker.token_bucket``.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from shared.arena_keyed import Cells, CellsView
from shared.cells import RateCell

_INTEGER: Final = struct.Struct("=q")
_FLOAT: Final = struct.Struct("=d")


class Told(NamedTuple):
    """What one worker says of a source.

    Attributes:
        full_at: when the bucket is full again, as it knew it.
        seen: how many all workers had admitted then.
        admitted: how many it admitted itself.
        is_fresh: whether it says so still; what is forgotten counts for nothing but ``admitted``.
    """

    full_at: float
    seen: int
    admitted: int
    is_fresh: bool


def say(cells: Cells, told: Told) -> None:
    """Say it in our cells."""
    version = cells.get(RateCell.VERSION) + 1
    cells.set(RateCell.VERSION_AGAIN, version)
    cells.set_f(RateCell.FULL_AT, told.full_at)
    cells.set(RateCell.SEEN, told.seen)
    cells.set(RateCell.ADMITTED, told.admitted)
    cells.set(RateCell.VERSION, version)


def own_words(cells: Cells, now: float) -> Told:
    """What we said last."""
    return Told(
        cells.get_f(RateCell.FULL_AT),
        cells.get(RateCell.SEEN),
        cells.get(RateCell.ADMITTED),
        cells.expires_at > now,
    )


def is_whole(view: CellsView) -> bool:
    """Whether what another says was not being written while it was read."""
    return view.get(RateCell.VERSION) == view.get(RateCell.VERSION_AGAIN)


def others_words(view: CellsView, now: float) -> Told:
    """What another says."""
    # The floats of a view were read after its integers; another saying may lie between.
    (full_at,) = _FLOAT.unpack(_INTEGER.pack(view.get(RateCell.FULL_AT)))
    # A worker may be stopped in the middle of a saying, even for ever. Its admissions, one word, count.
    is_fresh = is_whole(view) and view.expires_at > now
    return Told(full_at, view.get(RateCell.SEEN), view.get(RateCell.ADMITTED), is_fresh)


def inherit(cells: Cells, dead: CellsView, now: float) -> None:
    """Say what a process said that is gone, together with what we said before.

    Args:
        cells: ours.
        dead: the other's; its key has not expired.
        now: by the shared clock.
    """
    ours, theirs = own_words(cells, now), others_words(dead, now)
    latest = max((each for each in (ours, theirs) if each.is_fresh), key=_moment, default=ours)
    say(cells, Told(latest.full_at, latest.seen, ours.admitted + theirs.admitted, is_fresh=True))
    cells.keep_until(max(cells.expires_at, dead.expires_at))


def _moment(told: Told) -> float:
    return told.full_at
