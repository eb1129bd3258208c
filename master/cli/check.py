"""``penstock check``: everything that is wrong or odd in a configuration, without starting anything."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from master.cli.options import ConfigFile, OutputFormat, StaticArguments, static_arguments
from master.configuration import Configuration, read_configuration
from shared.config.diagnostics import Diagnostic, Severity, dotted_path

EXIT_WARNINGS = 1
EXIT_ERRORS = 2

Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if there are warnings.")]


def check(
    config_file: ConfigFile = None,
    output_format: OutputFormat = "text",
    strict: Strict = False,
    static: StaticArguments = None,
) -> None:
    """Read the configuration as `start` would, and say everything that is wrong or odd in it.

    Errors are what a start would refuse, or leave out. Warnings are what is legal but probably not meant:
    routers that can never win, ties, objects that nobody uses. Nothing is started and nothing is changed.

    Exit codes: 0 no errors, 1 warnings and --strict, 2 errors.

    Examples:

      penstock check -c traefik.yml

      penstock check -c traefik.toml --strict --format=json

      penstock check --providers.file.directory=/etc/traefik/dynamic
    """
    found = read_configuration(static_arguments(config_file, static), suspicions=True)
    if output_format == "json":
        print(json.dumps(to_json(found), indent=2))
    else:
        for problem in found.found:
            print(to_line(problem))
        print(to_summary(found))
    if found.count(Severity.ERROR):
        raise typer.Exit(EXIT_ERRORS)
    if strict and found.count(Severity.WARNING):
        raise typer.Exit(EXIT_WARNINGS)


def to_line(problem: Diagnostic) -> str:
    """``file:line:column: severity: path: reason``, as compilers write it and editors read it."""
    where = f"{problem.position}: " if problem.position is not None else ""
    path = f"{dotted_path(problem.path)}: " if problem.path else ""
    hint = f'; did you mean "{problem.hint}"?' if problem.hint else ""
    return f"{where}{problem.severity}: {path}{problem.reason}{hint}"


def to_summary(found: Configuration) -> str:
    """The last line: what was found, in what."""
    counts = _counts(found)
    problems = ", ".join(_counted(counts[f"{each}s"], each) for each in ("error", "warning"))
    if found.compiled is None:
        return f"{problems}; stopped there: nothing was compiled"
    disabled = f" ({counts['disabled']} disabled)" if counts["disabled"] else ""
    return f"{problems} in {_counted(counts['routers'], 'router')}{disabled}"


def to_json(found: Configuration) -> dict[str, Any]:
    """For programs; documented in docs/operations.md."""
    return {**_counts(found), "problems": [_problem_to_json(each) for each in found.found]}


def _problem_to_json(problem: Diagnostic) -> dict[str, Any]:
    position = problem.position
    return {
        "severity": problem.severity.value,
        "file": position.file if position is not None else "",
        "line": position.line if position is not None else 0,
        "column": position.column if position is not None else 0,
        "path": dotted_path(problem.path),
        "reason": problem.reason,
        "hint": problem.hint,
    }


def _counts(found: Configuration) -> dict[str, int]:
    routers = found.compiled.routers if found.compiled is not None else ()
    return {
        "errors": found.count(Severity.ERROR),
        "warnings": found.count(Severity.WARNING),
        "routers": len(routers),
        "disabled": sum(each.status == "disabled" for each in routers),
    }


def _counted(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
