"""What a program costs: CPU time and memory of all its processes, and rounds that take turns.

A figure of one program on a busy machine says little. So the programs run beside each other and are measured
in turns, A B C, B C A, ...; ratios are made round by round, and the median of those is what counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

Sample = dict[str, float]


@dataclass
class Row:
    """The figures of one program in one variant of a scenario.

    Attributes:
        main: the metric that ratios are made of; less is better.
        rounds: one sample per round, in the same order for every program.
        problem: why there are none.
    """

    scenario: str
    variant: str
    program: str
    main: str
    rounds: list[Sample] = field(default_factory=list)
    problem: str = ""

    def figures(self) -> Sample:
        """The median of each metric."""
        names = self.rounds[0] if self.rounds else ()
        return {name: statistics.median(each[name] for each in self.rounds) for name in names}

    def ratio_to(self, other: Row) -> float | None:
        """The median over the rounds of our main metric over theirs."""
        pairs = zip(self.rounds, other.rounds, strict=False)
        ratios = [ours[self.main] / theirs[self.main] for ours, theirs in pairs if theirs[self.main] > 0]
        return statistics.median(ratios) if ratios else None


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """User and system time so far, of those processes that still run."""
    total = 0.0
    for each in processes:
        try:
            times = each.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def memory_bytes(processes: Sequence[psutil.Process]) -> int:
    """Their proportional set size: what is shared between them counts once."""
    total = 0
    for each in processes:
        try:
            text = Path(f"/proc/{each.pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total * 1024


def timed(processes: Sequence[psutil.Process], work: Callable[[], None]) -> tuple[float, float]:
    """CPU seconds of the processes and wall seconds, while ``work`` ran."""
    before, began = cpu_s(processes), time.perf_counter()
    work()
    return cpu_s(processes) - before, time.perf_counter() - began


def turns(count: int, rounds: int) -> list[list[int]]:
    """Who goes when: every round has everybody once and begins with another one."""
    return [[(number + at) % count for at in range(count)] for number in range(rounds)]
