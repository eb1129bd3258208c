"""The ``penstock`` command's door: light, because spawned workers import it again as their main module.

Arguments are sorted before typer sees them: a static option may be spelled in ways that typer would take
apart (``-entryPoints.web.address :80``), so everything that is not ours goes to it behind ``--``, untouched.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_BOOT = 3
EXIT_PORT = 4
EXIT_RUNNING = 5

COMMANDS = {
    "start": ("start", "Start the proxy. Any static option of both Traefik dialects may be given as a flag."),
    "check": (
        "check",
        "Read the configuration as `start` would, and say everything that is wrong or odd in it.",
    ),
    "explain": (
        "explain",
        "Say which router would win for a request, why the others would not, and what the server would get.",
    ),
    "reload": (
        "control",
        "Re-read the configuration; returns when every worker serves it, fails if it is not live.",
    ),
    "stop": (
        "control",
        "Finish running requests (graceTimeOut) and end; returns when the master has ended.",
    ),
    "scale": (
        "control",
        "Serve with N workers; returns when they do and surplus ones have drained.",
    ),
    "drain": (
        "drain",
        "Give a server no new sessions; sticky ones and requests in flight go on. Holds until undrain.",
    ),
    "undrain": ("drain", "Give a server new sessions again."),
    "status": ("inspect", "Show the workers, the table in force and what is wrong."),
    "routes": ("inspect", "List every router and how it fares."),
    "storeconfig": (
        "storeconfig",
        "Write v1's static settings into the key-value store that they name; `start` reads them from there.",
    ),
    "version": ("version", "Print the version."),
    "healthcheck": (
        "inspect",
        "Ask the ping endpoint of a proxy with these static settings; exit 0 if it is well, else 1.",
    ),
}
"""By name: the file of ``master.cli`` whose function of that name it is, and the first line of its help.

Written here so that ``--help`` need not import the commands, which takes the better part of a second.
"""
HELP = ("--help", "-help", "-h")

_FILE = {"configfile": "--configFile", "c": "--configFile"}
_VALUED = {
    "start": {
        **_FILE,
        "workers": "--workers",
        "maxworkers": "--maxWorkers",
        "runtimedir": "--runtimeDir",
        "statedir": "--stateDir",
    },
    "check": {**_FILE, "format": "--format"},
    "healthcheck": _FILE,
    "storeconfig": _FILE,
}
"""Commands that take static options, with the options of their own that have a value, folded."""
_BARE = {"start": {"detach": "--detach"}, "check": {"strict": "--strict"}}


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Returns:
        0 done, 1 internal error or not done, 2 usage or configuration, 3 worker could not boot, 4 port in
        use, 5 already running.
    """
    if list(arguments) == [
        "version"
    ]:  # health checks and scripts ask often; typer takes longer than the answer
        from master.cli.version import version

        version()
        return 0
    from master.cli.app import run_command

    return run_command(arrange(arguments))


def arrange(arguments: Sequence[str]) -> list[str]:
    """The arguments as typer shall see them: command, our options, ``--``, static options as written."""
    first = arguments[0] if arguments else "start"
    if first in HELP:
        return ["--help"]
    command, rest = ("start", arguments) if first.startswith("-") else (first, arguments[1:])
    if not arguments:
        rest = ()
    if command not in _VALUED:
        return [command, *rest]
    if any(each in HELP for each in rest):
        return [command, "--help"]
    ours, static = _sort(rest, _VALUED[command], _BARE.get(command, {}))
    return [command, *ours, "--", *static]


def _sort(
    arguments: Sequence[str], valued: Mapping[str, str], bare: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    ours: list[str] = []
    static: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.lstrip("-").partition("=")
        folded = name.casefold()
        if not argument.startswith("-"):
            static.append(argument)
        elif folded in valued:
            ours.append(f"{valued[folded]}={value if equals else next(rest, '')}")
        elif folded in bare and not (equals and value.casefold() == "false"):
            ours.append(bare[folded])
        elif folded not in bare:
            static.append(argument)
    return ours, static


if __name__ == "__main__":
    main()
