"""The command tree, and how every failure becomes a message and an exit code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

import typer

from master import entry
from shared.errors import (
    AlreadyRunningError,
    ConfigError,
    PortInUseError,
    ProxyError,
    UsageError,
    WorkerBootError,
)

EXIT_CODES: tuple[tuple[type[ProxyError], int], ...] = (
    (UsageError, entry.EXIT_USAGE),
    (ConfigError, entry.EXIT_USAGE),
    (WorkerBootError, entry.EXIT_BOOT),
    (PortInUseError, entry.EXIT_PORT),
    (AlreadyRunningError, entry.EXIT_RUNNING),
)

ABOUT = """A dynamic reverse proxy and load balancer that speaks Traefik's configuration.

Static options of both Traefik dialects may be given to `start` as flags. Bare `penstock [flags]` is
`penstock start [flags]`.

Examples:

  penstock start --configFile=traefik.yml --workers=4

  penstock --entryPoints.web.address=:8080 --providers.file.directory=/etc/traefik/dynamic

  penstock check --configFile=traefik.yml

  penstock explain http://shop.example/api

  penstock status

  penstock scale 8

  penstock drain http://10.0.0.5:8080 --wait

Exit codes: 0 done, 1 not done or internal error, 2 usage or configuration, 3 a worker could not start,
4 address in use, 5 already running.
"""


def make_app(command: str) -> typer.Typer:
    """The program with one command in it, or, when none is named, with the names of all for ``--help``.

    Only what runs is imported: a command's libraries cost more than the command.
    """
    app = typer.Typer(help=ABOUT, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(_no_options)  # without one, typer takes an only command for the whole program
    if command in entry.COMMANDS:
        app.command(command)(load_command(command))
    else:
        for name, (_, summary) in entry.COMMANDS.items():
            app.command(name, help=summary)(_no_options)
    return app


def load_command(name: str) -> Callable[..., None]:
    """The function of a command."""
    module, _ = entry.COMMANDS[name]
    function: Callable[..., None] = getattr(importlib.import_module(f"master.cli.{module}"), name)
    return function


def _no_options() -> None:
    """Nothing: the commands have the options."""


def run_command(arguments: list[str]) -> int:
    """Run arranged arguments; returns the exit code. Errors are printed, one line where possible."""
    try:
        _check_command(arguments[0])
        make_app(arguments[0])(arguments, prog_name="penstock")
    except ProxyError as error:
        print(f"penstock: {error}", file=sys.stderr, flush=True)
        return exit_code(error)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def exit_code(error: ProxyError) -> int:
    """The exit code for an error."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), entry.EXIT_INTERNAL)


def _check_command(command: str) -> None:
    if not command.startswith("-") and command not in entry.COMMANDS:
        from shared.config.diagnostics import nearest_name  # light commands do without

        near = nearest_name(command, entry.COMMANDS)
        hint = f'; did you mean "{near}"?' if near else "; see penstock --help"
        raise UsageError(f"command not found: {command}{hint}")
