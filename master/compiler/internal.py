"""Objects that we make ourselves: entrypoint redirections, ping and REST (spec v2 sections 1.7 and 8.9)."""

from __future__ import annotations

import re

from master.compiler.catalog import INTERNAL
from shared.config.diagnostics import Diagnostics, nearest_name
from shared.config.dynamic import HttpConfig, Router
from shared.config.effective import OWN_ENTRY_POINT
from shared.config.middlewares import BasicAuth, DigestAuth, Middleware, RedirectScheme, StripPrefix
from shared.config.static import EntryPoint, EntryPointRedirection, StaticConfig
from shared.config.static_v1 import V1Auth, V1Web

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
    if static.v1 is not None and static.v1.web is not None:
        _add_web(static.v1.web, routers, middlewares)
    elif static.providers.rest is not None and static.providers.rest.insecure:
        routers["rest"] = _rest_router("PathPrefix(`/api/providers`)", (), _rest_entry_point(static))
    for name, entry_point in static.entry_points.items():
        redirections = entry_point.http.redirections
        if redirections is not None and redirections.entry_point is not None:
            _add_redirection(name, entry_point, redirections.entry_point, static, found, routers, middlewares)
    return HttpConfig(routers=routers, middlewares=middlewares)


def can_put_rules(static: StaticConfig) -> bool:
    """Whether there is anything behind ``rest@internal``."""
    return static.providers.rest is not None or (static.v1 is not None and static.v1.web is not None)


def _add_web(web: V1Web, routers: dict[str, Router], middlewares: dict[str, Middleware]) -> None:
    """v1's ``[web]``: only the part of its API that changes something; behind its password, if it has one."""
    if bool(web.cert_file) != bool(web.key_file):
        return  # said by shared.config.static_legacy
    steps = []
    if web.auth is not None and web.auth.basic is not None:
        steps.append(("web-auth", Middleware(basic_auth=_basic_auth(web.auth))))
    elif web.auth is not None and web.auth.digest is not None:
        steps.append(("web-auth", Middleware(digest_auth=_digest_auth(web.auth))))
    prefix = "/" + web.path.strip("/") if web.path.strip("/") else ""
    if prefix:
        steps.append(("web-path", Middleware(strip_prefix=StripPrefix(prefixes=(prefix,)))))
    middlewares |= dict(steps)
    rule = f"Method(`PUT`) && PathPrefix(`{prefix}/api/providers/`)"
    routers["web"] = _rest_router(rule, tuple(name for name, _ in steps))


def _basic_auth(auth: V1Auth) -> BasicAuth:
    assert auth.basic is not None, "asked for by whoever has seen it"
    return BasicAuth(users=auth.basic.users, users_file=auth.basic.users_file, header_field=auth.header_field)


def _digest_auth(auth: V1Auth) -> DigestAuth:
    assert auth.digest is not None, "asked for by whoever has seen it"
    return DigestAuth(
        users=auth.digest.users, users_file=auth.digest.users_file, header_field=auth.header_field
    )


def _rest_entry_point(static: StaticConfig) -> str:
    """v1.5's ``[rest]`` may name another one."""
    section = static.v1.rest if static.v1 is not None else None
    named = [value for key, value in (section or {}).items() if key.casefold() == "entrypoint"]
    return str(named[0]) if named else OWN_ENTRY_POINT


def _rest_router(rule: str, middlewares: tuple[str, ...], entry_point: str = OWN_ENTRY_POINT) -> Router:
    return Router(
        entry_points=(entry_point,),
        rule=rule,
        rule_syntax="v3",
        priority=TOP_PRIORITY,
        service=f"rest@{INTERNAL}",
        middlewares=middlewares,
    )


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
