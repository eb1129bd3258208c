"""Commands that take a server out of service gently, and back in."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from master.admin_client import CHANGE_TIMEOUT_S, AdminClient
from master.cli.options import RuntimeDir
from master.drains import DrainOrder
from master.runtime_directory import find_runtime_directory

DEFAULT_WAIT_S = 60.0
MAX_WAIT_S = CHANGE_TIMEOUT_S - 60
"""The master must have answered before the command gives up on it."""

ServerName = Annotated[
    str,
    typer.Argument(
        metavar="SERVER",
        help="A server's URL, which means it in every service that has it, or SERVICE/URL.",
        show_default=False,
    ),
]


def drain(
    server: ServerName,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when no request is in flight on it any more.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", metavar="SECONDS", help="Longest wait; then exit 1.", min=0.0, max=MAX_WAIT_S
        ),
    ] = DEFAULT_WAIT_S,
    runtime_dir: RuntimeDir = None,
) -> None:
    """Give a server no new sessions; sticky ones and requests in flight go on. Holds until undrain.

    Examples:

      penstock drain http://10.0.0.5:8080

      penstock drain shop@file/http://10.0.0.5:8080 --wait --timeout=30

    Exit codes: 0 it drains (with --wait: and is empty), 1 it is not empty yet or no master runs,
    2 there is no such server.
    """
    order = DrainOrder(server, timeout if wait else None)
    for each in _client(runtime_dir).change("/drain", order)["servers"]:
        print(f"{each['service']}/{each['url']} drains: {each['in_flight']} in flight")


def undrain(server: ServerName, runtime_dir: RuntimeDir = None) -> None:
    """Give a server new sessions again.

    Example:

      penstock undrain http://10.0.0.5:8080
    """
    for each in _client(runtime_dir).change("/undrain", DrainOrder(server))["servers"]:
        print(f"{each['service']}/{each['url']} takes new sessions")


def _client(runtime_dir: str | None) -> AdminClient:
    return AdminClient(find_runtime_directory(runtime_dir, os.environ))
