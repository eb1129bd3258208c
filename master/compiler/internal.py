"""Objects that we make ourselves: entrypoint redirections and ping (spec v2 sections 1.7 and 8.9)."""

from __future__ import annotations

import re

from master.compiler.catalog import INTERNAL
from shared.config.diagnostics import Diagnostics, nearest_name
from shared.config.dynamic import HttpConfig, Router
from shared.config.middlewares import Middleware, RedirectScheme
from shared.config.static import EntryPoint, EntryPointRedirection, StaticConfig

TOP_PRIORITY = 9_223_372_036_854_775_807
"""Priority of our own routers that nothing may hide (the largest 64-bit integer)."""

_NOT_A_WORD = re.compile(r"[^\w]|_", re.UNICODE)
_ACME_CHALLENGES = "PathPrefix(`/.well-known/acme-challenge/`)"


def internal_objects(static: StaticConfig, found: Diagnostics) -> HttpConfig:
    """The internal provider's snapshot for these static settings."""
    routers: dict[str, Router] = {}
    middlewares: dict[str, Middleware] = {}
    if static.ping is not None and not static.ping.manual_routing:
        routers["ping"] = Router(
            entry_points=(static.ping.entry_point,),
            rule="PathPrefix(`/ping`)",
            rule_syntax="v3",
            priority=TOP_PRIORITY,
            service=f"ping@{INTERNAL}",
        )
    for name, entry_point in static.entry_points.items():
        redirections = entry_point.http.redirections
        if redirections is not None and redirections.entry_point is not None:
            _add_redirection(name, entry_point, redirections.entry_point, static, found, routers, middlewares)
    return HttpConfig(routers=routers, middlewares=middlewares)


def _add_redirection(
    name: str,
    entry_point: EntryPoint,
    wanted: EntryPointRedirection,
    static: StaticConfig,
    found: Diagnostics,
    routers: dict[str, Router],
    middlewares: dict[str, Middleware],
) -> None:
    port = _target_port(wanted.to, static)
    if port is None:
        hint = nearest_name(wanted.to, static.entry_points)
        path = ("entryPoints", name, "http", "redirections", "entryPoint", "to")
        found.error(path, f'"{wanted.to}" is no entrypoint and no :port; nothing is redirected', hint)
        return
    router = normalise_name(f"{name}-to-{wanted.to}")
    rule = "HostRegexp(`^.+$`)"
    middlewares[f"redirect-{router}"] = Middleware(
        redirect_scheme=RedirectScheme(scheme=wanted.scheme, port=port, permanent=wanted.permanent)
    )
    routers[router] = Router(
        entry_points=(name,),
        rule=f"{rule} && !{_ACME_CHALLENGES}" if entry_point.allow_acme_by_pass else rule,
        rule_syntax="v3",
        priority=wanted.priority,
        service=f"noop@{INTERNAL}",
        middlewares=(f"redirect-{router}",),
    )


def _target_port(to: str, static: StaticConfig) -> str | None:
    """The port a redirection leads to; ``:8443`` is taken literally, a name means that entrypoint's port."""
    target = static.entry_points.get(to)
    text = target.address if target is not None else to
    match = re.search(r":(\d{1,5})(?:/\w+)?$", text)
    return match.group(1) if match and (target is not None or to.startswith(":")) else None


def normalise_name(text: str) -> str:
    """Letters and digits kept, every other run one dash, none at the ends (spec v2 section 8.1)."""
    return "-".join(part for part in _NOT_A_WORD.split(text) if part)
