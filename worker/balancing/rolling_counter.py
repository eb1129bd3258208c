"""A count over the last ten seconds, as Traefik 1's rebalancer keeps it.

Ten buckets of one second. The original forgets old buckets at growing distances (0, 1, 3, 6, 10 ... seconds
back) and not each of them, so after a pause part of an old count survives until it is overwritten. The pace
at which weights change follows from that, so it is kept here; nothing else should use this class.

Source: spec v1 sections 4.3 and 4.5 (vector drr-timeline).
"""

from __future__ import annotations

BUCKETS = 10
BUCKET_S = 1


class RollingCounter:
    """One count. Times are seconds of any clock that does not go back."""

    __slots__ = ("_buckets", "_last_bucket", "_updated_s", "touched")

    def __init__(self) -> None:
        self._buckets = [0] * BUCKETS
        self._last_bucket = -1
        self._updated_s = -1
        self.touched = 0

    def add(self, amount: int, now_s: float) -> None:
        """Count; ``touched`` grows with every new second that counted something, up to ten."""
        self._forget(now_s)
        bucket = int(now_s) % BUCKETS
        self._buckets[bucket] += amount
        self._updated_s = int(now_s)
        if self.touched < BUCKETS and self._last_bucket != bucket:
            self._last_bucket = bucket
            self.touched += 1

    def total(self, now_s: float) -> int:
        """What counts now."""
        self._forget(now_s)
        return sum(self._buckets)

    def _forget(self, now_s: float) -> None:
        second = int(now_s)
        for step in range(BUCKETS):
            second -= step * BUCKET_S
            if second <= self._updated_s:
                return
            self._buckets[second % BUCKETS] = 0
