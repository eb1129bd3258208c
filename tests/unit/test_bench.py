"""What the benchmark computes: turns, ratios, verdicts, and what it reads from load generators."""

from __future__ import annotations

import json

import pytest

from scripts.bench import load
from scripts.bench.bench import sample_of
from scripts.bench.load import Ask, Outcome
from scripts.bench.measure import Row, turns
from scripts.bench.report import MARK, render_markdown, render_text, write_json, write_markdown
from scripts.bench.targets import judge

WRK = """Running 1s test @ http://127.0.0.1:1/
  Latency Distribution
     50%  850.00us
     75%    1.10ms
     90%    1.50ms
     99%    1.20s
  5032 requests in 1.00s, 1.2MB read
  Socket errors: connect 1, read 2, write 0, timeout 3
  Non-2xx or 3xx responses: 32
Requests/sec:   5032.47
"""


def row(program: str, *figures: float, scenario: str = "keep-alive", variant: str = "same head") -> Row:
    return Row(scenario, variant, program, "cpu_us", [{"cpu_us": each} for each in figures])


def test_every_turn_has_everybody_and_another_first() -> None:
    assert turns(3, 4) == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


def test_a_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_medians() -> None:
    # The second round was twice as slow for both: the ratio does not know.
    assert row("penstock", 10, 40, 15).ratio_to(row("nginx", 10, 20, 10)) == 1.5


def test_a_peer_without_figures_has_no_ratio() -> None:
    assert row("penstock", 10).ratio_to(row("nginx")) is None


def test_what_wrk_prints_is_read_with_its_units(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(load.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(load, "_run", lambda command, seconds: WRK)
    assert load.keep_alive(1, Ask(), 1, tmp_path) == Outcome(5032, 5032.47, 0.85, 1200.0, 38)
    assert load.keep_alive(1, Ask(is_hit=False), 1, tmp_path).unexpected == 5006


def test_a_round_of_wrong_answers_is_no_figure() -> None:
    with pytest.raises(RuntimeError, match="50 of 100"):
        sample_of(Outcome(100, 100.0, 1.0, 1.0, 50), 0.1)


@pytest.mark.parametrize(
    ("ours", "verdict"), [(40.0, "met, aim too"), (55.0, "met"), (61.0, "missed"), (None, "not measured")]
)
def test_targets_are_judged_by_the_ratio(ours, verdict) -> None:
    rows = [row("traefik", 100.0), *([row("penstock", ours)] if ours else [])]
    assert judge(rows)[0].verdict == verdict


def test_ten_routers_are_not_taken_for_ten_thousand() -> None:
    rows = [
        row("penstock", 10.0, scenario="routers", variant="10, last"),
        row("penstock", 11.0, scenario="routers", variant="10,000, last"),
    ]
    found = next(each for each in judge(rows) if each.target.endswith("own at 10"))
    assert (found.found, found.verdict) == ("1.1 x", "met")


def test_reports_show_figures_ratios_and_why_there_are_none(tmp_path) -> None:
    rows = [
        row("penstock", 30.0),
        row("nginx", 20.0),
        Row("tls", "keep-alive", "penstock", "", problem="not yet"),
    ]
    write_json(tmp_path / "run.json", {"commit": "abc"}, rows)
    written = json.loads((tmp_path / "run.json").read_text())
    assert (written["commit"], written["rows"][1]["ratio_of_ours"]) == ("abc", 1.5)
    markdown = render_markdown({"commit": "abc", "versions": {"nginx": "1.2"}}, rows)
    assert "| nginx | 20 | 1.50 |" in markdown
    assert "- penstock: not yet" in markdown
    assert "1.50 ours / this" in render_text(rows)


def test_what_is_written_by_hand_above_the_mark_stays(tmp_path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"by hand\n{MARK}\nan old run\n")
    write_markdown(page, {}, [row("penstock", 30.0)])
    text = page.read_text()
    assert text.startswith(f"by hand\n{MARK}\n")
    assert ("an old run" in text, "| penstock | 30 |" in text) == (False, True)


def test_our_own_client_counts_answers_of_our_own_origin(monkeypatch, tmp_path) -> None:
    from scripts.bench import origin

    monkeypatch.setattr(load.shutil, "which", lambda *_, **__: None)
    with origin.running_origins(tmp_path) as origins:
        kept = load.keep_alive(origins.small[0], Ask(connections=2), 1, tmp_path)
        fresh = load.new_connections(origins.small[0], Ask(), 10)
    assert (kept.requests > 2, kept.unexpected) == (True, 0)
    assert (fresh.requests > 2, fresh.unexpected) == (True, 0)
