"""What `penstock check` says about whole configurations, word for word.

``tests/golden/check`` holds pairs: a configuration and what is printed. Files named ``static-*`` are static
ones (``-c FILE``); the others are rules for an entrypoint ``web``. To renew one after a wanted change, write
what this test shows as the actual text.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from master.cli.check import to_line, to_summary
from master.configuration import read_configuration
from shared.config.diagnostics import Severity

GOLDEN = Path(__file__).parents[1] / "golden" / "check"
CASES = sorted(each.name for each in GOLDEN.iterdir() if each.suffix != ".txt")
WITHOUT_ERRORS = {"clean.yml", "suspicious.yml"}


@pytest.fixture(autouse=True)
def in_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)


def flags_for(name: str) -> list[str]:
    if name.startswith("static-"):
        return [f"--configFile={name}"]
    return ["--entryPoints.web.address=:8000", f"--providers.file.filename={name}"]


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_is_what_was_agreed(name):
    found = read_configuration(flags_for(name), suspicions=True)
    lines = [to_line(each).replace(f"{GOLDEN}/", "") for each in found.found]
    said = "\n".join([*lines, to_summary(found)]) + "\n"
    assert said == (GOLDEN / name).with_suffix(".txt").read_text()
    assert bool(found.count(Severity.ERROR)) is (name not in WITHOUT_ERRORS)


@pytest.mark.parametrize("name", CASES)
def test_every_problem_has_a_file_and_all_but_unreadable_flags_a_line(name):
    for each in read_configuration(flags_for(name), suspicions=True).found:
        assert each.position is not None
        assert each.position.line, to_line(each)


def test_a_start_does_not_look_for_what_is_only_suspicious():
    found = read_configuration(flags_for("suspicious.yml"))
    assert found.found == ()


def test_the_directory_of_a_provider_is_missing():
    found = read_configuration(["--entryPoints.web.address=:8000", "--providers.file.directory=gone"])
    assert [to_line(each) for each in found.found] == [
        "gone: error: cannot be read: No such file or directory; it says nothing"
    ]


def test_a_provider_that_does_not_exist_is_an_error_in_its_place():
    found = read_configuration(["--providers.nomad=true"])
    assert [to_line(each) for each in found.found] == [
        "error: providers.nomad: this version cannot run the nomad provider"
    ]
    assert found.compiled is None
