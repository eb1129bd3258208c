"""One run: its options, its upstreams, its programs side by side, and the rows it has so far."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scripts.bench.load import Ask, Outcome, keep_alive
from scripts.bench.measure import Row, Sample, timed, turns
from scripts.bench.origin import Origins
from scripts.bench.peers.program import Program, RunningProgram, Setup, running

WARM_S = 1
MAX_UNEXPECTED = 0.001
"""The share of other answers than wanted above which a round has measured something else."""

Work = Callable[[RunningProgram], Sample]


@dataclass
class Bench:
    """One run.

    Attributes:
        is_quick: the short selection.
        is_long: what takes minutes too.
        rounds: turns of each program per variant.
        seconds: of load per turn.
        folder: scratch.
    """

    programs: Sequence[Program]
    origins: Origins
    folder: Path
    is_quick: bool
    is_long: bool
    rounds: int
    seconds: int
    rows: list[Row] = field(default_factory=list)

    @contextmanager
    def side_by_side(
        self, scenario: str, setup: Setup, programs: Sequence[Program] | None = None
    ) -> Iterator[list[RunningProgram]]:
        """All programs that can do this, running. One that cannot or fails gets a row that says why."""
        with ExitStack() as stack:
            found = []
            for program in self.programs if programs is None else programs:
                problem = program.cannot(setup)
                if not problem:
                    try:
                        found.append(stack.enter_context(running(program, setup)))
                        continue
                    except RuntimeError as error:
                        problem = str(error)
                self.note(scenario, "", program.name, problem)
            yield found

    def compare(
        self, scenario: str, variant: str, main: str, programs: Sequence[RunningProgram], work: Work
    ) -> None:
        """Let the programs do the work in turns, ``rounds`` times each, and keep what it cost."""
        rows = {each.name: Row(scenario, variant, each.name, main) for each in programs}
        began = time.monotonic()
        for order in turns(len(programs), self.rounds):
            for at in order:
                row = rows[programs[at].name]
                if row.problem:
                    continue
                try:
                    row.rounds.append(work(programs[at]))
                except (OSError, RuntimeError) as error:
                    row.problem = str(error)
        self.rows += rows.values()
        shown = ", ".join(f"{name} {_figure(row)}" for name, row in rows.items())
        say(f"{scenario} / {variant} ({main}, {time.monotonic() - began:.0f} s): {shown}")

    def note(self, scenario: str, variant: str, program: str, problem: str) -> None:
        """A row without figures."""
        self.rows.append(Row(scenario, variant, program, "", problem=problem))
        say(f"{scenario}: {program}: {problem}")

    def load(self, asked: Ask) -> Work:
        """Requests over kept connections, as work for ``compare``."""

        def work(program: RunningProgram) -> Sample:
            outcome: list[Outcome] = []
            cpu, _ = timed(
                program.processes(),
                lambda: outcome.append(keep_alive(program.port, asked, self.seconds, self.folder)),
            )
            return sample_of(outcome[0], cpu)

        return work

    def warm(self, programs: Sequence[RunningProgram], asked: Ask) -> None:
        """Some load that is not measured: pools, caches and compilers get their first work."""
        for each in programs:
            keep_alive(each.port, asked, WARM_S, self.folder)


def sample_of(outcome: Outcome, cpu: float) -> Sample:
    """CPU per request beside what the generator saw.

    Raises:
        RuntimeError: too many answers were not what was asked for.
    """
    if not outcome.requests or outcome.unexpected > outcome.requests * MAX_UNEXPECTED:
        raise RuntimeError(f"{outcome.unexpected} of {outcome.requests} answers were not as expected")
    return {
        "cpu_us": cpu / outcome.requests * 1e6,
        "per_s": outcome.per_s,
        "p50_ms": outcome.p50_ms,
        "p99_ms": outcome.p99_ms,
    }


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def _figure(row: Row) -> str:
    return row.problem.splitlines()[0] if row.problem else f"{row.figures()[row.main]:.4g}"
