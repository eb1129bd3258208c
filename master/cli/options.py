"""Options that several commands share, declared once."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

RuntimeDir = Annotated[
    str | None,
    typer.Option(
        "--runtimeDir",
        metavar="DIRECTORY",
        help="Where a running master is found. Default: PENSTOCK_RUNTIME_DIR, $XDG_RUNTIME_DIR/penstock, "
        "/run/penstock for root.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
OutputFormat = Annotated[
    Literal["text", "json"], typer.Option("--format", help="How to print: for people or for programs.")
]
ConfigFile = Annotated[
    str | None,
    typer.Option("--configFile", "-c", metavar="FILE", help="The static configuration (TOML or YAML)."),
]
StaticArguments = Annotated[
    list[str] | None, typer.Argument(metavar="[--ANY.STATIC.OPTION=VALUE]...", show_default=False)
]


def static_arguments(config_file: str | None, rest: list[str] | None) -> list[str]:
    """What the static settings are read from: the flags as written, the file first."""
    return [*([f"--configFile={config_file}"] if config_file else []), *(rest or [])]
