"""``penstock start``: in the foreground, or detached until it is ready."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Annotated

import typer

from master.cli.options import ConfigFile, RuntimeDir, StaticArguments, static_arguments
from master.runtime_directory import RuntimeDirectory, find_runtime_directory
from shared.errors import ProxyError

READY_DESCRIPTOR = "PENSTOCK_READY_FD"
"""Environment variable by which a detached master learns where to report how its start went."""

Workers = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Worker processes. Default: one per usable core.")
]
MaxWorkers = Annotated[
    int | None,
    typer.Option("--maxWorkers", metavar="N", help="Most that `scale` may ask for. Default: twice N."),
]
StateDir = Annotated[
    str | None,
    typer.Option("--stateDir", metavar="DIRECTORY", help="Where the last good table is kept."),
]
Detach = Annotated[bool, typer.Option("--detach", help="Return when every worker serves; go on behind.")]


def start(
    config_file: ConfigFile = None,
    workers: Workers = None,
    max_workers: MaxWorkers = None,
    runtime_dir: RuntimeDir = None,
    state_dir: StateDir = None,
    detach: Detach = False,
    static: StaticArguments = None,
) -> None:
    """Start the proxy. Any static option of both Traefik dialects may be given as a flag.

    Examples:

      penstock start --configFile=traefik.yml

      penstock start --workers=2 --entryPoints.web.address=:8080 --providers.file.filename=rules.yml

      penstock start --detach -c traefik.toml
    """
    runtime = find_runtime_directory(runtime_dir, os.environ, state_dir)
    if detach:
        raise typer.Exit(start_detached(runtime))
    from master.app import StartOptions, print_ready, run_master

    report = os.environ.pop(READY_DESCRIPTOR, None)
    descriptor = int(report) if report else None
    if descriptor is not None:
        os.set_inheritable(descriptor, False)
    options = StartOptions(
        static_args=tuple(static_arguments(config_file, static)),
        workers=workers,
        max_workers=max_workers,
        log_file=str(runtime.log_file) if descriptor is not None else "",
    )

    def announce(line: str) -> None:
        if descriptor is None:
            print_ready(line)
        else:
            report_start(descriptor, line, 0)

    try:
        run_master(options, runtime, announce)
    except ProxyError as error:
        if descriptor is None:
            raise
        from master.cli.app import exit_code

        report_start(descriptor, f"penstock: {error}", exit_code(error))
        raise typer.Exit(exit_code(error)) from error


def start_detached(runtime: RuntimeDirectory) -> int:
    """Start the same command in a session of its own and wait until it reports how that went."""
    runtime.create()
    read_end, write_end = os.pipe()
    arguments = [each for each in sys.argv[1:] if each.lstrip("-").partition("=")[0].casefold() != "detach"]
    # -P: the current directory must not be searched for modules.
    command = [sys.executable, "-P", "-m", "master.entry", *arguments]
    with open(runtime.log_file, "ab") as log:
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(write_end,),
            env={**os.environ, READY_DESCRIPTOR: str(write_end)},
            start_new_session=True,
        )
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        said = pipe.read()
    if not said:
        print(f"penstock: the master ended without a word; see {runtime.log_file}", file=sys.stderr)
        return 1
    report = json.loads(said)
    print(report["line"], file=sys.stderr)
    return int(report["code"])


def report_start(descriptor: int, line: str, code: int) -> None:
    """Tell the waiting ``start --detach`` how it went."""
    os.write(descriptor, json.dumps({"line": line, "code": code}).encode())
    os.close(descriptor)
