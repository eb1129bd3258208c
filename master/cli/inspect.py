"""Commands that look: at a running proxy, and at its health endpoint."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from master.admin_client import AdminClient
from master.cli.options import AsJson, ConfigFile, RuntimeDir, StaticArguments, static_arguments
from master.runtime_directory import find_runtime_directory
from shared.config.effective import parse_address
from shared.config.static import StaticConfig
from shared.errors import ControlError

HEALTH_TIMEOUT_S = 5.0
"""Spec v2 section 1.1."""
MAX_SERVERS_SHOWN = 50
"""Servers that are down or drain, in text; JSON has all."""


def status(
    as_json: AsJson = False,
    table: Annotated[bool, typer.Option("--table", help="Print the live routing table instead.")] = False,
    runtime_dir: RuntimeDir = None,
) -> None:
    """Show the workers, the table in force and what is wrong.

    Examples:

      penstock status

      penstock status --json

      penstock status --table
    """
    client = AdminClient(find_runtime_directory(runtime_dir, os.environ))
    if table:
        print(client.ask("/table").text, end="")
        return
    found = client.ask("/status").json()
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _show_status(found)


def routes(as_json: AsJson = False, runtime_dir: RuntimeDir = None) -> None:
    """List every router and how it fares.

    Example:

      penstock routes
    """
    client = AdminClient(find_runtime_directory(runtime_dir, os.environ))
    found = client.ask("/routes").json()["routers"]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    shown = Table("router", "kind", "status", "rule", "entrypoints", "service", box=None)
    for each in found:
        entrypoints = ",".join(each["entry_points"])
        shown.add_row(
            each["name"], each["protocol"], each["status"], each["rule"], entrypoints, each["service"]
        )
    console = Console(markup=False, highlight=False)
    console.print(shown)
    for each in found:
        if each["error"]:
            console.print(f"{each['name']}: {each['error']}")


def healthcheck(config_file: ConfigFile = None, static: StaticArguments = None) -> None:
    """Ask the ping endpoint of a proxy with these static settings; exit 0 if it is well, else 1.

    Example:

      penstock healthcheck --configFile=traefik.yml
    """
    from master.app import StartOptions, read_static

    settings = read_static(StartOptions(static_args=tuple(static_arguments(config_file, static)))).config
    try:
        print(f"OK: {_check_health(settings)}")
    except ControlError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from error


def _check_health(settings: StaticConfig) -> str:
    """The URL of the ping endpoint, which answered 200.

    Raises:
        ControlError: it did not, or there is none.
    """
    if settings.ping is None:
        raise ControlError("Error calling healthcheck: please enable `ping` to use health check")
    entry_point = settings.entry_points.get(settings.ping.entry_point)
    if entry_point is None:
        reason = f"the ping entrypoint {settings.ping.entry_point} is not defined"
        raise ControlError(f"Error calling healthcheck: {reason}")
    address = parse_address(entry_point.address)
    scheme = "http" if entry_point.http.tls is None else "https"
    host = f"[{address.host}]" if ":" in address.host else address.host or "127.0.0.1"
    url = f"{scheme}://{host}:{address.port}/ping"
    try:
        # Our own certificate is not what is asked about.
        answer = httpx.head(url, timeout=HEALTH_TIMEOUT_S, verify=False, trust_env=False)
    except httpx.HTTPError as error:
        raise ControlError(f"Error calling healthcheck: {error}") from error
    if answer.status_code != 200:
        raise ControlError(f"Bad healthcheck status: {answer.status_code} {answer.reason_phrase}")
    return url


def _show_status(found: dict[str, Any]) -> None:
    console = Console(markup=False, highlight=False)
    ready = f"{found['workers_ready']} of {found['workers_wanted']} workers ready"
    console.print(f"{found['state']}: pid {found['pid']}, table {found['generation']}, {ready}")
    for name, address in found["addresses"].items():
        console.print(f"entrypoint {name}: {address}")
    workers = Table("slot", "pid", "state", "table", "connections", "in flight", "requests", box=None)
    for each in found["workers"]:
        columns = ("slot", "pid", "state", "generation", "connections", "in_flight", "exchanges")
        workers.add_row(*(str(each[column]) for column in columns))
    console.print(workers)
    _show_servers(console, found["services"])
    for each in found["providers"]:
        console.print(f"provider {each['name']}: {_provider_state(each)}")
    if found["last_reload"]:
        console.print(f"last reload failed: {found['last_reload']}")
    for name in found["waiting_for"]:
        console.print(f"waiting for provider {name}; serving the last good table")
    for problem in found["problems"]:
        console.print(problem)


def _provider_state(found: dict[str, Any]) -> str:
    kept = "its last routes stay" if found["has_spoken"] else "it has said nothing yet"
    if found["failure"]:
        return f"{found['failure']} ({kept}; {found['restarts']} failures)"
    return "ok" if found["has_spoken"] else kept


def _show_servers(console: Console, services: list[dict[str, Any]]) -> None:
    """The servers that are not simply up, and how many are."""
    rows = [(service["name"], server) for service in services for server in service["servers"]]
    if not rows:
        return
    up = sum(server["is_up"] for _, server in rows)
    draining = sum(server["is_draining"] for _, server in rows)
    console.print(f"servers with health or drain marks: {up} up, {len(rows) - up} down, {draining} draining")
    special = [each for each in rows if not each[1]["is_up"] or each[1]["is_draining"]]
    if not special:
        return
    for name, server in special[:MAX_SERVERS_SHOWN]:
        console.print(f"server {name}/{server['url']}: {_state_of(server)}", soft_wrap=True)
    if len(special) > MAX_SERVERS_SHOWN:
        console.print(f"... and {len(special) - MAX_SERVERS_SHOWN} more: penstock status --json")


def _state_of(server: dict[str, Any]) -> str:
    state = "up" if server["is_up"] else "down"
    if server["since"] is not None:
        state += f" since {time.strftime('%F %T', time.localtime(server['since']))}"
    if not server["is_up"]:
        state += f" ({server['reason']})"
    draining = ", draining" if server["is_draining"] else ""
    return f"{state}{draining}, {server['in_flight']} in flight"
