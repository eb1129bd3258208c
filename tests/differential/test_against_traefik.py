"""Generated configurations and requests through Penstock and through Traefik 3.7.15: the same comes of both.

The same is: the state of every router, and per request the status, the answer's fields and body, and the
request that reached an origin. What differs is on the list in ``known_differences.py`` with its reason.

One campaign runs always, a long one with ``--long``. Both are drawn from a fixed seed;
``PENSTOCK_DIFFERENTIAL_SEED`` draws another one.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.differential.bench import Bench, running_bench
from tests.differential.configurations import Configuration, draw_configuration
from tests.differential.known_differences import KNOWN, explain
from tests.differential.outcomes import Aspect, Outcome, compare
from tests.differential.requests import Case, draw_case
from tests.differential.witnesses import witness_configuration, witnesses
from tests.support import traefik

SEED = os.environ.get("PENSTOCK_DIFFERENTIAL_SEED", "penstock")
CASES_PER_CONFIGURATION = 150
CASES = 5_100
LONG_CASES = 100_050
MAX_REPORTED = 10
MAX_SHOWN_BYTES = 2_000
"""Of a request in a report; it can be drawn again from its number and seed."""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("integration"),
    pytest.mark.skipif(bool(traefik.missing()), reason=traefik.missing()),
]


def test_a_campaign(tmp_path: Path) -> None:
    _run(tmp_path, CASES)


@pytest.mark.long
def test_a_long_campaign(tmp_path: Path) -> None:
    _run(tmp_path, LONG_CASES)


def _run(folder: Path, cases: int) -> None:
    seen: Counter[str] = Counter()
    reports: list[str] = []
    rounds = cases // CASES_PER_CONFIGURATION
    with running_bench(folder) as bench:
        configuration = witness_configuration(rounds, bench.origins)
        bench.install(configuration)
        reports += _compare_routers(bench, configuration, seen)
        for case in witnesses(cases):
            reports += _compare_case(bench, case, configuration, seen)
        for number in range(rounds):
            random = Random(f"{SEED}/{number}")
            configuration = draw_configuration(random, number, bench.origins, bench.dead_url)
            bench.install(configuration)
            reports += _compare_routers(bench, configuration, seen)
            for index in range(CASES_PER_CONFIGURATION):
                case = draw_case(random, number * CASES_PER_CONFIGURATION + index, configuration)
                reports += _compare_case(bench, case, configuration, seen)
            if len(reports) >= MAX_REPORTED:
                break
    assert not reports, f"{len(reports)} differences nobody knows of:\n\n" + "\n\n".join(
        reports[:MAX_REPORTED]
    )
    stale = [each.name for each in KNOWN if each.is_certain and not seen[each.name]]
    assert not stale, f"known differences that {cases} cases did not show: {', '.join(stale)}"


def _compare_case(bench: Bench, case: Case, configuration: Configuration, seen: Counter[str]) -> list[str]:
    ours, theirs = bench.run(case)
    aspects = compare(ours, theirs)
    if not aspects:
        return []
    left, names = explain(case, ours, theirs, aspects, configuration)
    seen.update(names)
    return [_report(case, configuration, ours, theirs, left)] if left else []


def _compare_routers(bench: Bench, configuration: Configuration, seen: Counter[str]) -> list[str]:
    """Every router is served by both or by neither."""
    ours, theirs = bench.served_routers()
    return [
        f"configuration {configuration.number}: router {name} is served by"
        f" {'us' if name in ours else 'Traefik'} only:"
        f" {json.dumps(configuration.without_routers({name}), ensure_ascii=False)}"
        for name in sorted(ours ^ theirs)
        if not _is_known_router(configuration, name, seen)
    ]


def _is_known_router(configuration: Configuration, name: str, seen: Counter[str]) -> bool:
    """The one difference in what is accepted: ``redirect-port``."""
    ports = [
        step["redirectScheme"].get("port", "0")
        for step in configuration.steps_of(name)
        if "redirectScheme" in step
    ]
    is_known = any(not port.isdecimal() for port in ports)
    seen.update(["redirect-port"] * is_known)
    return is_known


def _report(
    case: Case, configuration: Configuration, ours: Outcome, theirs: Outcome, left: list[Aspect]
) -> str:
    """Enough to run it again by hand: the routers concerned, the bytes, both outcomes."""
    over = len(case.raw) - MAX_SHOWN_BYTES
    concerned = {name for name in (ours.router, theirs.router) if name}
    shown = configuration.without_routers(concerned) if concerned else "no router says it answered"
    return "\n".join(
        [
            f"case {case.number} of seed {SEED!r}, entrypoint {case.entrypoint}, from {case.source}:",
            f"  request: {case.raw[:MAX_SHOWN_BYTES]!r}{f' and {over} bytes' if over > 0 else ''}",
            f"  configuration {configuration.number}: {json.dumps(shown, ensure_ascii=False)}",
            *(f"  {each.name}: ours {each.ours!r}, theirs {each.theirs!r}" for each in left),
            *(
                f"  {who}: {each.status} by {each.router or 'no router'}, {len(each.upstream)} upstream"
                for who, each in (("ours", ours), ("theirs", theirs))
            ),
        ]
    )
