"""Commands that change a running proxy; each returns when the change has happened."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from master.admin_client import AdminClient
from master.cli.options import RuntimeDir
from master.runtime_directory import find_runtime_directory


def reload(runtime_dir: RuntimeDir = None) -> None:
    """Re-read the configuration; returns when every worker serves it, fails if it is not live.

    Changed rules are swapped in place. Changed static settings replace the workers one by one.

    Example:

      penstock reload
    """
    outcome = _client(runtime_dir).change("/reload")
    for problem in outcome["problems"]:
        print(problem, file=sys.stderr)
    print(f"generation {outcome['generation']} is live" + ("" if outcome["changed"] else " (unchanged)"))


def stop(runtime_dir: RuntimeDir = None) -> None:
    """Finish running requests (graceTimeOut) and end; returns when the master has ended.

    Example:

      penstock stop
    """
    _client(runtime_dir).stop()


def scale(
    workers: Annotated[int, typer.Argument(metavar="N", help="Worker processes.")],
    runtime_dir: RuntimeDir = None,
) -> None:
    """Serve with N workers; returns when they do and surplus ones have drained.

    Example:

      penstock scale 8
    """
    print(f"{_client(runtime_dir).change(f'/scale/{workers}')['workers']} workers")


def _client(runtime_dir: str | None) -> AdminClient:
    return AdminClient(find_runtime_directory(runtime_dir, os.environ))
