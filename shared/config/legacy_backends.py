"""v1 backends to services.

v1 keeps ``passHostHeader`` with the frontend, the model with the service. So a backend becomes one service
for each value that its frontends ask for. The plain name goes to the value that the first of them, by name,
asks for; the other one is called ``<backend>-passHost`` or ``<backend>-serverHost``. Nearly always there is
one value and one service, under the backend's own name. (The two share servers, but each has its own
position, health and pool; its breaker and its limit are one. Those are in ``legacy_resilience``.)

Source: spec v1 sections 3.8 and 4.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from shared import units
from shared.config.decode import decode, decode_each, show
from shared.config.diagnostics import Diagnostics, Path
from shared.config.dynamic import Cookie, HealthCheck, LoadBalancer, Server, Service, Sticky
from shared.config.legacy_model import V1Backend, V1HealthCheck, V1LoadBalancer, V1Server
from shared.config.legacy_resilience import backend_steps
from shared.config.middlewares import Middleware
from shared.config.static_v1 import V1Retry
from shared.errors import ConfigError

STICKY_COOKIE = "_TRAEFIK_BACKEND"
"""Name of the cookie of ``sticky = true``, the same for all backends (1.1 to 1.3)."""
HEALTHY_STATUS = 200
"""v1 took no other status for healthy."""
PASS_HOST, SERVER_HOST = "passHost", "serverHost"

_NOT_TOKEN = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")


class Variants(NamedTuple):
    """Which service stands for a backend under each ``passHostHeader``."""

    names: Mapping[bool, str]

    @classmethod
    def of(cls, backend: str, wanted: Iterable[bool], taken: Set[str]) -> Variants:
        """Name the services.

        Args:
            backend: its name.
            wanted: the values that its frontends ask for, in order of the frontends' names; not empty.
            taken: names of all backends.
        """
        names: dict[bool, str] = {}
        for value in wanted:
            if value in names:
                continue
            name = f"{backend}-{PASS_HOST if value else SERVER_HOST}" if names else backend
            while names and name in taken:
                name += "-"
            names[value] = name
        return cls(names)


class Backend(NamedTuple):
    """A backend that was read.

    Attributes:
        balancer: does not pass the host; ``services_of`` decides.
        steps: what stands before its servers, from the outside in: what it is called, and the middleware.
    """

    balancer: LoadBalancer
    steps: tuple[tuple[str, Middleware], ...] = ()


def read_backends(
    raw: object, path: Path, found: Diagnostics, retry: V1Retry | None = None
) -> tuple[dict[str, Backend], set[str]]:
    """Read every backend by itself.

    Args:
        raw: the ``backends`` root.
        path: of it.
        found: takes what is wrong.
        retry: the static ``[retry]``, which is for all backends.

    Returns:
        The good ones, and the names of the broken ones.
    """
    good: dict[str, Backend] = {}
    broken: set[str] = set()
    if not isinstance(raw, Mapping):
        found.error(path, f"expected a table, got {show(raw)}")
        return good, broken
    for name, entry in sorted(raw.items()):
        backend = _read_backend(name, entry, (*path, name), found, retry)
        if backend is None:
            broken.add(name)
        else:
            good[name] = backend
    return good, broken


def services_of(balancer: LoadBalancer, variants: Variants, steps: tuple[str, ...]) -> dict[str, Service]:
    """The services that stand for a backend; ``steps`` are the names of its middlewares."""
    return {
        name: Service(
            load_balancer=msgspec.structs.replace(balancer, pass_host_header=pass_host), middlewares=steps
        )
        for pass_host, name in variants.names.items()
    }


def _read_backend(
    name: str, raw: object, path: Path, found: Diagnostics, retry: V1Retry | None
) -> Backend | None:
    servers: tuple[Server, ...] = ()
    if isinstance(raw, Mapping):
        for key in raw:
            if key.casefold() == "servers":
                servers = _read_servers(raw[key], (*path, key), found)
        raw = {key: value for key, value in raw.items() if key.casefold() != "servers"}
    backend = decode(V1Backend, raw, path, found, unknown="warning")
    if backend is None:
        return None
    try:
        steps = tuple(backend_steps(backend, len(servers), retry))
    except ConfigError as error:
        found.error((*path, *error.path.split(".")), error.reason, error.hint)
        return None
    balancer = backend.load_balancer or V1LoadBalancer()
    method = _method(balancer.method, (*path, "loadBalancer", "method"), found)
    made = LoadBalancer(
        servers=servers,
        sticky=_sticky(name, balancer),
        health_check=_health_check(backend.health_check, (*path, "healthCheck"), found),
        pass_host_header=False,
        v1_method=method,
    )
    return Backend(made, steps)


def _read_servers(raw: object, path: Path, found: Diagnostics) -> tuple[Server, ...]:
    """The usable servers by name. Of two with one address the later weight counts, at the earlier place."""
    servers: dict[tuple[str, str, str], Server] = {}
    good, _ = decode_each(V1Server, raw, path, found, unknown="warning")
    for name, server in sorted(good.items()):
        if server.weight < 0:
            reason = f"the weight {server.weight} is negative; this server is left out"
            found.error((*path, name, "weight"), reason)
            continue
        identity = _identity(server.url)
        if identity is None:
            reason = f"{show(server.url)} is not a URL such as http://127.0.0.1:80; this server is left out"
            found.error((*path, name, "url"), reason)
            continue
        url = servers[identity].url if identity in servers else server.url
        servers[identity] = Server(url=url, weight=server.weight or 1)
    return tuple(servers.values())


def _identity(url: str) -> tuple[str, str, str] | None:
    """Scheme, host with port, and path; None if the text is no URL with a host."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    usable = parts.scheme and parts.hostname and port != 0
    if not usable or any(ord(char) <= 0x20 or ord(char) == 0x7F for char in url):
        return None
    return parts.scheme, parts.netloc, parts.path


def _method(method: str, path: Path, found: Diagnostics) -> str:
    match method.strip().casefold():
        case "" | "wrr":
            return "wrr"
        case "drr":
            return "drr"
        case _:
            found.warning(path, f"invalid load balancing method {show(method)}; using wrr")
            return "wrr"


def _sticky(backend: str, balancer: V1LoadBalancer) -> Sticky | None:
    """``stickiness`` wins; without a cookie name one is made from the backend's."""
    if balancer.stickiness is not None:
        name = _NOT_TOKEN.sub("_", balancer.stickiness.cookie_name)
        return Sticky(cookie=Cookie(name=name or sticky_cookie_name(backend)))
    return Sticky(cookie=Cookie(name=STICKY_COOKIE)) if balancer.sticky else None


def sticky_cookie_name(backend: str) -> str:
    """The default name of a ``stickiness`` cookie (spec v1 section 4.4)."""
    digest = hashlib.sha1(f"{STICKY_COOKIE}_{backend}".encode(), usedforsecurity=False).hexdigest()
    return f"_{digest[:5]}"


def _health_check(check: V1HealthCheck | None, path: Path, found: Diagnostics) -> HealthCheck | None:
    if check is None or not check.path:
        return None
    interval = 0.0  # as [healthcheck] of the static settings says, which the compiler knows
    if check.interval:
        try:
            interval = max(units.parse_duration(check.interval), 0.0)
        except ValueError:
            interval = 0.0
        if not interval:
            reason = f"{show(check.interval)} is not a duration such as 10s; using that of [healthcheck]"
            found.warning((*path, "interval"), reason)
    return HealthCheck(path=check.path, port=check.port, interval=interval, status=HEALTHY_STATUS, is_v1=True)
