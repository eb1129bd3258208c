"""What static settings mean once everything unsaid is filled in (spec v2 section 1.6).

Pure: a config in, a config out; filling in twice changes nothing.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import msgspec

from shared.config.diagnostics import nearest_name
from shared.config.static import EntryPoint, StaticConfig
from shared.errors import ConfigError

FALLBACK_ENTRY_POINT = "http"
"""The entrypoint of a configuration that has none, on port 80."""
OWN_ENTRY_POINT = "traefik"
"""The entrypoint of the proxy's own pages; made when something needs it, never a default of routers."""
MAX_PORT = 65_535

Protocol = Literal["tcp", "udp"]
_HOST_AND_PORT = re.compile(r"(?:\[(?P<ip>[^\[\]]*)\]|(?P<host>[^\[\]:]*)):(?P<port>[0-9]+)")


class Address(NamedTuple):
    """Where an entrypoint listens; an empty host is every address of the machine."""

    host: str
    port: int
    protocol: Protocol


def parse_address(text: str) -> Address:
    """Read ``[host]:port[/tcp|/udp]``.

    Raises:
        ConfigError: it is not that; the path is empty, for the caller to fill in.
    """
    place, slash, suffix = text.partition("/")
    protocol = suffix.lower() if slash else "tcp"
    if protocol not in ("tcp", "udp"):
        raise ConfigError("", f"invalid protocol: {suffix}", nearest_name(protocol, ("tcp", "udp")))
    match = _HOST_AND_PORT.fullmatch(place)
    if match is None:
        raise ConfigError("", f'expected an address such as :80, 127.0.0.1:80 or [::1]:80/udp, got "{text}"')
    if len(match["port"]) > len(str(MAX_PORT)) or int(match["port"]) > MAX_PORT:
        raise ConfigError("", f"port {match['port'][:20]} is over {MAX_PORT}")
    return Address(match["ip"] or match["host"] or "", int(match["port"]), protocol)  # type: ignore[arg-type]


def effective(config: StaticConfig) -> StaticConfig:
    """The config with the entrypoints that it implies.

    Without any entrypoint there is ``http`` on port 80; ``traefik`` on port 8080 appears when the API,
    ping, Prometheus or the REST provider would be served there and nobody defined it.
    """
    entry_points = dict(config.entry_points)
    if not entry_points:
        entry_points[FALLBACK_ENTRY_POINT] = EntryPoint(address=":80")
    if OWN_ENTRY_POINT not in entry_points and _needs_own_entry_point(config):
        entry_points[OWN_ENTRY_POINT] = EntryPoint(address=":8080")
    return msgspec.structs.replace(config, entry_points=entry_points)


def default_entry_points(config: StaticConfig) -> tuple[str, ...]:
    """The entrypoints of routers that name none.

    v1's list if there is one; else the TCP entrypoints except ``traefik``, sorted; if any of them says
    ``asDefault``, only those that do.
    """
    if config.default_entry_points is not None:
        return config.default_entry_points
    candidates = sorted(
        name
        for name, entry_point in config.entry_points.items()
        if name != OWN_ENTRY_POINT and not is_udp(entry_point)
    )
    flagged = tuple(name for name in candidates if config.entry_points[name].as_default)
    return flagged or tuple(candidates)


def _needs_own_entry_point(config: StaticConfig) -> bool:
    prometheus = config.metrics.prometheus if config.metrics else None
    return bool(
        (config.api and config.api.insecure)
        or (config.ping and not config.ping.manual_routing and config.ping.entry_point == OWN_ENTRY_POINT)
        or (prometheus and not prometheus.manual_routing and prometheus.entry_point == OWN_ENTRY_POINT)
        or (config.providers.rest and config.providers.rest.insecure)
    )


def is_udp(entry_point: EntryPoint) -> bool:
    """Whether an entrypoint listens on UDP."""
    return entry_point.address.lower().endswith("/udp")
