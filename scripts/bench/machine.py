"""What a run was measured on, and which CPU does what.

The program under test has one CPU for itself; load generator and upstreams share the other. So its figure is
one per core, and the generator's cost is not in it. With a single CPU nothing is pinned, and the run says so.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
USABLE = tuple(sorted(os.sched_getaffinity(0)))
PROXY_CPUS = frozenset(USABLE[:1])
LOAD_CPUS = frozenset(USABLE[1:2] or USABLE[:1])
ALL_CPUS = frozenset(USABLE)
GIT_TIMEOUT_S = 10.0


def describe_machine() -> dict[str, object]:
    """Machine, kernel, Python and commit, as they are now."""
    return {
        "cpu": _cpu_model(),
        "cpus": len(USABLE),
        "pinning": (
            f"proxy on CPU {min(PROXY_CPUS)}, load and upstreams on CPU {min(LOAD_CPUS)}"
            if len(USABLE) > 1
            else "none: there is one CPU, which everything shares"
        ),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "has_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "load_average_before": round(os.getloadavg()[0], 2),
        "began": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


@contextmanager
def on_cpus(cpus: frozenset[int]) -> Iterator[None]:
    """What is started in the with block runs on these CPUs: children inherit the affinity."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(PROJECT), *arguments], capture_output=True, text=True, timeout=GIT_TIMEOUT_S
        )
    except OSError:
        return ""  # not a checkout, or no git: the run has no commit to name
    return done.stdout.strip()
