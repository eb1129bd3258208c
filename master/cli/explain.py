"""``penstock explain``: what would become of a request, and why."""

from __future__ import annotations

import json
import os
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from master.admin_client import AdminClient
from master.cli.explanation_text import describe
from master.cli.options import ConfigFile, OutputFormat, RuntimeDir, static_arguments
from master.runtime_directory import find_runtime_directory
from shared.config.diagnostics import Severity
from shared.errors import ConfigError, ControlError, UsageError
from shared.explanation import DEFAULT_CLIENT_IP, Explanation, Question

Url = Annotated[str, typer.Argument(metavar="URL", help="What is asked for: http://host[:port]/path?query.")]
Method = Annotated[str, typer.Option("--method", "-X", metavar="M", help="The method.")]
HeaderFields = Annotated[
    list[str] | None,
    typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="A field; repeatable."),
]
Client = Annotated[str, typer.Option("--client", metavar="IP", help="Who asks.")]
EntryPointName = Annotated[
    str,
    typer.Option("--entrypoint", metavar="NAME", help="Where it comes in. Default: found by the URL's port."),
]
Tls = Annotated[bool, typer.Option("--tls", help="It comes over TLS. Default: by the URL's scheme.")]
ShowAll = Annotated[bool, typer.Option("--all", help="Show every router, not only the nearest.")]


def explain(
    url: Url,
    method: Method = "GET",
    header: HeaderFields = None,
    client: Client = DEFAULT_CLIENT_IP,
    entrypoint: EntryPointName = "",
    tls: Tls = False,
    show_all: ShowAll = False,
    config_file: ConfigFile = None,
    runtime_dir: RuntimeDir = None,
    output_format: OutputFormat = "text",
) -> None:
    """Say which router would win for a request, why the others would not, and what the server would get.

    Asks the running proxy, or with -c a configuration that need not run. No request is sent and nothing
    changes: the real code runs on a copy of everything that has state.

    Examples:

      penstock explain http://shop.example/api/cart

      penstock explain -X POST -H 'Cookie: beta=1' --client=192.0.2.7 http://shop.example/api/cart

      penstock explain -c traefik.yml --all --format=json https://shop.example/
    """
    question = Question(
        url=url,
        method=method,
        headers=tuple(_header(each) for each in header or ()),
        client_ip=client,
        entrypoint=entrypoint,
        tls=True if tls else None,
        show_all=show_all,
    )
    if config_file is not None:
        found = _ask_configuration(config_file, question)
    else:
        found = _ask_proxy(runtime_dir, question)
    if output_format == "json":
        print(json.dumps(msgspec.to_builtins(found), indent=2))
        return
    console = Console(markup=False, highlight=False, soft_wrap=True)  # plain where it is no terminal
    for text, style in describe(question, found):
        console.print(text, style=style)


def _ask_configuration(config_file: str, question: Question) -> Explanation:
    """Compile a configuration and ask its table.

    Raises:
        ConfigError: there is no table.
    """
    from master.configuration import read_configuration
    from worker.main import explain_request

    read = read_configuration(static_arguments(config_file, None))
    if read.static is None or read.compiled is None:
        errors = [str(each) for each in read.found if each.severity is Severity.ERROR]
        raise ConfigError("", "\n".join(errors))
    found = explain_request(read.compiled.table, read.static, question)
    count = read.count(Severity.ERROR)
    if not count:
        return found
    note = f"The configuration has errors ({count}); this explains what is left. See penstock check."
    return msgspec.structs.replace(found, notes=(*found.notes, note))


def _ask_proxy(runtime_dir: str | None, question: Question) -> Explanation:
    try:
        return AdminClient(find_runtime_directory(runtime_dir, os.environ)).explain(question)
    except ControlError as error:
        raise ControlError(f"{error}; -c FILE explains a configuration that does not run") from error


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise UsageError(f"--header: expected 'NAME: VALUE', got {text!r}")
    return name, value.strip(" \t")
