"""How much of what costs us more than its sender a peer may send. Pure."""

from __future__ import annotations


class Budget:
    """So many at once, so many per second in the long run, and more for what was earned.

    Args:
        burst: at most.
        per_s: comes back.
        now_s: by any clock that only goes forward; the same for all calls.
    """

    __slots__ = ("_burst", "_left", "_per_s", "_since")

    def __init__(self, burst: float, per_s: float, now_s: float) -> None:
        self._burst = self._left = burst
        self._per_s = per_s
        self._since = now_s

    def spend(self, amount: float, now_s: float) -> bool:
        """Whether there was that much left."""
        self._left = min(self._burst, self._left + (now_s - self._since) * self._per_s) - amount
        self._since = now_s
        return self._left >= 0

    def earn(self, amount: float) -> None:
        """Get some back, at most up to the burst."""
        self._left = min(self._burst, self._left + amount)
