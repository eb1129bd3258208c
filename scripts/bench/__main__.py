"""``scripts/bench/run``: measure all programs in one run, and print or write what was found."""

from __future__ import annotations

import argparse
import signal
import tempfile
import time
from pathlib import Path
from types import FrameType

from scripts.bench.bench import Bench, say
from scripts.bench.load import generators
from scripts.bench.machine import describe_machine
from scripts.bench.origin import running_origins
from scripts.bench.peers import PROGRAMS
from scripts.bench.peers.program import Program
from scripts.bench.report import render_text, write_json, write_markdown
from scripts.bench.scenarios import SCENARIOS

QUICK_PROGRAMS = ("penstock", "nginx", "nginx-http10", "haproxy", "traefik")


def main() -> None:
    """Run it."""
    options = _parse_arguments()
    if options.list:
        for name, scenario in SCENARIOS.items():
            print(f"{name:16} {(scenario.__doc__ or '').splitlines()[0]}")
        return
    signal.signal(signal.SIGTERM, _leave)
    began = time.monotonic()
    machine = describe_machine()
    programs, left_out = _choose(options)
    for name, why in left_out.items():
        say(f"{name}: left out: {why}")
    with tempfile.TemporaryDirectory(prefix="pbench-", dir="/tmp") as made:
        folder = Path(made)
        folder.chmod(0o755)  # nginx works as another user
        with running_origins(folder) as origins:
            bench = Bench(
                programs, origins, folder, options.quick, options.long, options.rounds, options.seconds
            )
            facts = {
                **machine,
                "versions": {each.name: each.version() for each in programs},
                "left_out": left_out or "nothing",
                "upstreams": origins.kind,
                "load": generators(),
                "workers": "1 per program, where the variant does not say otherwise",
                "rounds": f"{options.rounds} of {options.seconds} s, in turns; medians",
            }
            _run(bench, options.only.split(",") if options.only else list(SCENARIOS))
    facts["took_s"] = round(time.monotonic() - began)
    print(render_text(bench.rows))
    if options.json:
        write_json(options.json, facts, bench.rows)
    if options.markdown:
        write_markdown(options.markdown, facts, bench.rows)


def _leave(number: int, _: FrameType | None) -> None:
    """Ended from outside, as by ``timeout``: what was started must still be stopped."""
    raise SystemExit(128 + number)


def _run(bench: Bench, names: list[str]) -> None:
    for name in names:
        try:
            SCENARIOS[name](bench)
        except (OSError, RuntimeError) as error:  # one scenario must not cost the figures of the others
            bench.note(name, "", "all", f"{type(error).__name__}: {error}")


def _choose(options: argparse.Namespace) -> tuple[list[Program], dict[str, str]]:
    """The programs to measure, and why others are not."""
    asked = options.programs.split(",") if options.programs else None
    if asked is None:
        asked = QUICK_PROGRAMS if options.quick else [each.name for each in PROGRAMS]
    unknown = set(asked) - {each.name for each in PROGRAMS}
    if unknown:
        raise SystemExit(f"bench: no program {', '.join(sorted(unknown))}; there are: {_names()}")
    left_out = {each.name: each.missing() for each in PROGRAMS if each.name in asked and each.missing()}
    if options.quick and not options.programs:
        left_out |= {each.name: "--quick" for each in PROGRAMS if each.name not in asked}
    return [each for each in PROGRAMS if each.name in asked and each.name not in left_out], left_out


def _names() -> str:
    return ", ".join(each.name for each in PROGRAMS)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench/run", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument("--only", help="scenarios, by comma")
    parser.add_argument("--programs", help=f"by comma, of: {_names()}")
    parser.add_argument("--quick", action="store_true", help="fewer variants and programs, short turns")
    parser.add_argument("--long", action="store_true", help="100,000 routers too")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each program")
    parser.add_argument("--seconds", type=int, help="of load per turn (3; 1 with --quick)")
    parser.add_argument("--json", type=Path, help="write everything here")
    parser.add_argument(
        "--markdown", type=Path, help="write the tables here, below the mark if the file has one"
    )
    options = parser.parse_args()
    for name in options.only.split(",") if options.only else ():
        if name not in SCENARIOS:
            parser.error(f"no scenario {name!r}; there are: {', '.join(SCENARIOS)}")
    options.seconds = options.seconds or (1 if options.quick else 3)
    return options


if __name__ == "__main__":
    main()
