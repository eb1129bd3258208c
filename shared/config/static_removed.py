"""Settings of v2 that v3 took away: refused with the way out, not as misspelt keys (spec v2 section 12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.config.diagnostics import Diagnostics, Path

_REMOVED: dict[tuple[str, ...], str] = {
    ("pilot",): "it went with version 3; remove the section",
    (
        "providers",
        "marathon",
    ): "it went with version 3 of the original; use v1's [marathon] or providers.http",
    ("providers", "rancher"): "it went with version 3; use providers.docker or providers.http",
    ("providers", "docker", "swarmmode"): "use providers.swarm",
    ("providers", "docker", "swarmmoderefreshseconds"): "use providers.swarm.refreshSeconds",
    ("metrics", "influxdb"): "use metrics.influxDB2",
    ("experimental", "http3"): "http3 is a section of each entrypoint now; remove this key",
    ("experimental", "hub"): "it went with version 3; remove the key",
    ("tracing", "jaeger"): "use tracing.otlp",
    ("tracing", "zipkin"): "use tracing.otlp",
    ("tracing", "datadog"): "use tracing.otlp",
    ("tracing", "instana"): "use tracing.otlp",
    ("tracing", "haystack"): "use tracing.otlp",
    ("tracing", "elastic"): "use tracing.otlp",
    ("tracing", "spannamelimit"): "it went with version 3; remove the key",
}


def report_removed(tree: Mapping[str, Any], found: Diagnostics) -> bool:
    """Record an error for every removed setting in a v2 tree; whether there was one."""
    any_found = False
    for removed, advice in _REMOVED.items():
        path = _written(tree, removed)
        if path is not None:
            found.error(path, f"no longer supported: {advice}")
            any_found = True
    return any_found


def _written(tree: object, path: tuple[str, ...]) -> Path | None:
    written: list[str] = []
    for part in path:
        if not isinstance(tree, Mapping):
            return None
        key = next((each for each in tree if str(each).lower() == part), None)
        if key is None:
            return None
        written.append(key)
        tree = tree[key]
    return tuple(written)
