"""What holds for all tests: the switch of the long campaigns, groups, and the closing report."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

INTEGRATION = Path(__file__).parent / "integration"

# No deadlines: the machines are shared, and a slow example is not a wrong one.
hypothesis.settings.register_profile("default", deadline=None, print_blob=True)
hypothesis.settings.register_profile(
    "ci", parent=hypothesis.settings.get_profile("default"), derandomize=True
)
hypothesis.settings.register_profile(
    "long", parent=hypothesis.settings.get_profile("default"), max_examples=5_000
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the long campaigns")


def pytest_configure(config: pytest.Config) -> None:
    chosen = "long" if config.getoption("--long") else os.environ.get("HYPOTHESIS_PROFILE", "default")
    hypothesis.settings.load_profile(chosen)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Everything under integration/ is marked so, and runs in one xdist group: proxies do not compete."""
    for item in items:
        if INTEGRATION in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.xdist_group("integration"))
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="long campaign: run with --long"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out and why, and what scripts/check found, right above pytest's own last line."""
    reasons = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    passed = len(terminalreporter.stats.get("passed", []))
    terminalreporter.section("outcome")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"missing: {reason} ({count} skipped)")
    terminalreporter.line(f"{passed} passed, {reasons.total()} skipped")
    if "PENSTOCK_CHECK_OUTCOME" in os.environ:
        terminalreporter.line(f"scripts/check: {os.environ['PENSTOCK_CHECK_OUTCOME']}")


def _reason(report: pytest.TestReport) -> str:
    return (
        str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else "unknown"
    )
