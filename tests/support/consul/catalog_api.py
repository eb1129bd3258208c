"""The catalog, health and agent endpoints of the stand-in, for its server to call."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.support.consul.catalog import Catalog

PREFIXES = ("/v1/catalog/", "/v1/health/", "/v1/agent/")
Block = Callable[[Callable[[], int]], int]
"""Waits until the index that it is given is higher than the one asked for, holding the table."""
Answer = tuple[int, Any, int | None]


def answer_catalog(
    catalog: Catalog,
    method: str,
    path: str,
    params: dict[str, str],
    body: bytes,
    block: Block,
    may_read: bool,
) -> Answer | None:
    """Answer a request about services; None if there is no such endpoint."""
    if method == "PUT":
        return _write(catalog, path, params, body)
    if path == "/v1/catalog/services":
        with catalog.table.changed:
            index = block(lambda: catalog.names_index)
            return 200, catalog.names() if may_read else {}, index
    if path == "/v1/health/state/any":
        with catalog.table.changed:
            index = block(lambda: catalog.checks_index)
            return 200, catalog.states() if may_read else [], index
    if path.startswith("/v1/health/service/"):
        name = path.removeprefix("/v1/health/service/")
        passing = params.get("passing", "false") in ("", "true")
        with catalog.table.changed:
            index = block(lambda: catalog.health_index(name))
            return 200, catalog.health(name, passing=passing) if may_read else [], index
    return None


def _write(catalog: Catalog, path: str, params: dict[str, str], body: bytes) -> Answer | None:
    place = path.removeprefix("/v1/agent/")
    if place == "service/register":
        catalog.register(json.loads(body))
    elif place.startswith("service/deregister/"):
        catalog.deregister(place.rpartition("/")[2])
    elif place.startswith("service/maintenance/"):
        catalog.set_maintenance(place.rpartition("/")[2], params.get("enable") == "true")
    elif place == "maintenance":
        catalog.set_node_maintenance(params.get("enable") == "true")
    elif place.startswith("check/"):
        _, word, check_id = place.split("/", 2)
        status = {"pass": "passing", "warn": "warning", "fail": "critical"}[word]
        if not catalog.set_check(check_id, status):
            return 500, f'CheckID "{check_id}" does not have associated TTL'.encode(), None
    else:
        return None
    return 200, b"", None
