"""The targets of speed, and whether a run met them. A target without its figures says which are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scripts.bench.measure import Row

OURS = "penstock"


@dataclass(frozen=True)
class Verdict:
    """One target against one run."""

    target: str
    must: str
    aim: str
    found: str
    verdict: str


class Figures:
    """The rows of a run, by what they are about."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = {(each.scenario, each.variant, each.program): each for each in rows if each.rounds}
        self._variants = [(each.scenario, each.variant) for each in rows if each.rounds]

    def ratio(self, scenario: str, variant: str, peer: str) -> float | None:
        """Ours to a peer's, in a variant that begins so."""
        ours, theirs = self._find(scenario, variant, OURS), self._find(scenario, variant, peer)
        return ours.ratio_to(theirs) if ours and theirs else None

    def growth(self, scenario: str, variant: str, base: str) -> float | None:
        """Ours in one variant to ours in another."""
        ours, before = self._find(scenario, variant, OURS), self._find(scenario, base, OURS)
        return ours.ratio_to(before) if ours and before else None

    def own(self, scenario: str, variant: str, metric: str) -> float | None:
        """A figure of ours."""
        row = self._find(scenario, variant, OURS)
        return row.figures()[metric] if row else None

    def _find(self, scenario: str, variant: str, program: str) -> Row | None:
        for found in self._variants:
            if found[0] == scenario and found[1].startswith(variant):
                return self._rows.get((*found, program))
        return None


@dataclass(frozen=True)
class Target:
    """A figure with the bounds it must and should keep; below is good."""

    title: str
    of: str
    must: float
    aim: float | None
    read: Callable[[Figures], float | None]
    unit: str = " x"


TARGETS = (
    Target("keep-alive small answer, access log on, CPU", "Traefik", 0.6, 0.45,
           lambda run: run.ratio("keep-alive", "same head", "traefik")),
    Target("keep-alive small answer, access log on, CPU", "nginx, kept upstreams", 2.0, 1.5,
           lambda run: run.ratio("keep-alive", "same head", "nginx")),
    Target("the same with unique heads", "Traefik", 0.6, 0.45,
           lambda run: run.ratio("keep-alive", "unique heads", "traefik")),
    Target("the same with unique heads", "nginx, kept upstreams", 2.0, 1.5,
           lambda run: run.ratio("keep-alive", "unique heads", "nginx")),
    Target("10,000 routers, CPU", "own at 10", 1.2, 1.05,
           lambda run: run.growth("routers", "10,000, last", "10, last")),
    Target("10,000 routers, CPU", "Traefik", 0.1, 0.05,
           lambda run: run.ratio("routers", "10,000, last", "traefik")),
    Target("new connection per request, CPU", "nginx as it comes (HTTP/1.0 upstream)", 1.0, None,
           lambda run: run.ratio("new connections", "ab", "nginx-http10")),
    Target("new connection per request, CPU (aim)", "nginx, kept upstreams", 1.0, 1.0,
           lambda run: run.ratio("new connections", "ab", "nginx")),
    Target("idle keep-alive connection", "", 2048, None,
           lambda run: run.own("idle", "", "bytes_each"), " bytes"),
    Target("idle keep-alive connection (aim)", "nginx", 1.0, 1.0,
           lambda run: run.ratio("idle", "", "nginx")),
    Target("100 MB download, CPU", "nginx", 1.3, 1.0,
           lambda run: run.ratio("bodies", "100 MB download", "nginx")),
    Target("TLS keep-alive, CPU", "Traefik", 0.8, None,
           lambda run: run.ratio("tls", "keep-alive", "traefik")),
    Target("one-router change at 10,000 routers, live everywhere", "", 200, 100,
           lambda run: run.own("reload", "1 of 10,000", "live_ms"), " ms"),
    Target("install of 100,000 routers, longest pause of a loop", "", 10, 5,
           lambda run: run.own("install", "100,000", "pause_ms"), " ms"),
)  # fmt: skip


def judge(rows: Sequence[Row]) -> list[Verdict]:
    """All targets against the rows of a run."""
    run = Figures(rows)
    return [_judge(target, target.read(run)) for target in TARGETS]


def _judge(target: Target, figure: float | None) -> Verdict:
    title = f"{target.title}, to {target.of}" if target.of else target.title
    must = f"<= {target.must:g}{target.unit}"
    aim = f"<= {target.aim:g}{target.unit}" if target.aim is not None else ""
    if figure is None:
        return Verdict(title, must, aim, "", "not measured")
    if target.aim is not None and figure <= target.aim:
        verdict = "met, aim too"
    else:
        verdict = "met" if figure <= target.must else "missed"
    return Verdict(title, must, aim, f"{figure:.3g}{target.unit}", verdict)
