"""A run as JSON for programs, and as tables for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from scripts.bench.measure import Row
from scripts.bench.targets import OURS, judge

MARK = "<!-- Below this line everything is written by scripts/bench/run --markdown. -->"
UNITS = {
    "cpu_us": "CPU us", "cpu_ms": "CPU ms", "per_s": "/s", "p50_ms": "p50 ms", "p99_ms": "p99 ms",
    "mb_per_s": "MB/s", "bytes_each": "bytes each", "live_ms": "live ms",
    "longest_answer_ms": "longest answer ms",
    "start_s": "start s", "mb": "MB", "pause_ms": "pause ms", "rewrite_ms": "rewrite ms",
    "match_us": "match us", "write_ms": "write ms",
}  # fmt: skip

Facts = Mapping[str, object]


def write_json(path: Path, facts: Facts, rows: Sequence[Row]) -> None:
    """Everything, every round included."""
    found = [{**asdict(each), "median": each.figures(), "ratio_of_ours": _ratio(each, rows)} for each in rows]
    targets = [asdict(each) for each in judge(rows)]
    path.write_text(json.dumps({**facts, "rows": found, "targets": targets}, indent=1) + "\n")


def render_text(rows: Sequence[Row]) -> str:
    """Columns for a terminal."""
    lines = []
    for (scenario, variant), group in _groups(rows):
        lines += ["", f"{scenario}: {variant}" if variant else scenario]
        for row in group:
            cells = [f"{text:>12} {unit}" for unit, text in _cells(row, rows)]
            lines.append(f"  {row.program:18}" + ("".join(cells) or f" {_short(row.problem)}"))
    lines += ["", "targets"]
    for each in judge(rows):
        lines.append(f"  {each.verdict:13} {each.found:>12}  (must {each.must})  {each.target}")
    return "\n".join(lines).lstrip("\n")


def write_markdown(path: Path, facts: Facts, rows: Sequence[Row]) -> None:
    """The tables, below the mark; what stands above it in the file is written by hand and kept."""
    by_hand = path.read_text().partition(MARK)[0] if path.exists() else ""
    path.write_text(f"{by_hand}{MARK}\n\n{render_markdown(facts, rows)}")


def render_markdown(facts: Facts, rows: Sequence[Row]) -> str:
    """The tables of docs/performance.md."""
    lines = ["## The run", ""]
    lines += ["| | |", "|---|---|"]
    for name, value in facts.items():
        shown = (
            ", ".join(f"{key} {text}" for key, text in value.items()) if isinstance(value, dict) else value
        )
        lines.append(f"| {name.replace('_', ' ')} | {shown} |")
    lines += ["", "## Targets", "", "| scenario | must | aim | found | |", "|---|---|---|---|---|"]
    for each in judge(rows):
        lines.append(f"| {each.target} | {each.must} | {each.aim} | {each.found} | {each.verdict} |")
    lines += ["", "## Figures"]
    for scenario, of_scenario in groupby(_groups(rows), lambda each: each[0][0]):
        lines += ["", f"### {scenario}"]
        for (_, variant), group in of_scenario:
            lines += _markdown_table(variant, group, rows)
    return "\n".join(lines) + "\n"


def _markdown_table(variant: str, group: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    measured = [each for each in group if each.rounds]
    lines = ["", f"**{variant}**" if variant else "", ""] if variant else [""]
    if measured:
        units = [unit for unit, _ in max((_cells(each, rows) for each in measured), key=len)]
        lines += ["| | " + " | ".join(units) + " |", "|---" + "|--:" * len(units) + "|"]
        for row in measured:
            cells = dict(_cells(row, rows))
            lines.append(f"| {row.program} | " + " | ".join(cells.get(unit, "") for unit in units) + " |")
        lines.append("")
    lines += [
        f"- {each.program}: {_short(each.problem)}" for each in group if not each.rounds or each.problem
    ]
    return lines


def _groups(rows: Sequence[Row]) -> list[tuple[tuple[str, str], list[Row]]]:
    """Rows by scenario and variant, in the order they first came."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.scenario, row.variant), []).append(row)
    order = list(dict.fromkeys(scenario for scenario, _ in found))
    return sorted(found.items(), key=lambda each: order.index(each[0][0]))


def _cells(row: Row, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Unit and text of each figure, and the ratio of ours to it."""
    cells = [(UNITS.get(name, name), _number(value)) for name, value in row.figures().items()]
    ratio = _ratio(row, rows)
    if ratio is not None:
        cells.append(("ours / this", f"{ratio:.2f}"))
    return cells


def _ratio(row: Row, rows: Sequence[Row]) -> float | None:
    if row.program == OURS or not row.rounds:
        return None
    for ours in rows:
        if (
            ours.program == OURS
            and ours.rounds
            and (ours.scenario, ours.variant) == (row.scenario, row.variant)
        ):
            return ours.ratio_to(row)
    return None


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _short(problem: str) -> str:
    return problem.splitlines()[0] if problem else ""
