"""What an entrypoint adds to the routers reachable through it: steps in front, TLS by default.

In v1 an entrypoint's redirect, users, address ranges and compression are options of the entrypoint itself;
here they become middlewares like all others. A v1 redirect hangs on each frontend: a request that matches
none gets 404 and no redirect (spec v1 section 2.1), which is just what a step in front of the router's own
does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from master.compiler.catalog import INTERNAL
from master.compiler.checked import CheckedMiddleware
from master.compiler.middlewares import MiddlewareChecker
from master.compiler.tls_material import REFUSED, TlsObjects, v1_options_name
from shared.config.diagnostics import Diagnostics, Path, nearest_name
from shared.config.middlewares import (
    BasicAuth,
    Compress,
    DigestAuth,
    EntryPointRedirect,
    IpAllowList,
    Middleware,
)
from shared.config.static import EntryPoint, StaticConfig
from shared.config.static_v1 import V1EntryPoint, V1Redirect
from shared.errors import ConfigError
from shared.table.streams import DEFAULT_OPTIONS

_PORT = re.compile(r":(\d{1,5})")
_V1_COMPRESS = Compress(encodings=("gzip",), min_response_body_bytes=512)
"""v1 knew gzip only, from 512 bytes on (spec v1 section 2)."""


class EntryPointModel(msgspec.Struct, frozen=True, eq=False):
    """Defaults that an entrypoint gives to its routers.

    Attributes:
        steps: run before the router's own.
        tls: routers without a TLS section get one.
        tls_options: name of the TLS options in it.
        usable: False when its steps are broken: then no router can be reached through it.
    """

    steps: tuple[CheckedMiddleware, ...] = ()
    tls: bool = False
    tls_options: str = DEFAULT_OPTIONS
    usable: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether it adds nothing."""
        return not self.steps and not self.tls


def entry_point_models(
    static: StaticConfig, middlewares: MiddlewareChecker, tls: TlsObjects, found: Diagnostics
) -> dict[str, EntryPointModel]:
    """The model of every entrypoint; problems are recorded under ``entryPoints.<name>``."""
    return {name: _model(name, static, middlewares, tls, found) for name in static.entry_points}


def _model(
    name: str, static: StaticConfig, middlewares: MiddlewareChecker, tls: TlsObjects, found: Diagnostics
) -> EntryPointModel:
    entry_point = static.entry_points[name]
    path: Path = ("entryPoints", name, "http", "middlewares")
    try:
        steps = middlewares.expand(entry_point.http.middlewares, INTERNAL)
        if entry_point.v1 is not None:
            path = ("entryPoints", name)
            for kind, options in _legacy_middlewares(entry_point.v1, static):
                steps += (middlewares.check_own(f"entrypoint-{name}-{kind}@{INTERNAL}", options),)
    except ConfigError as error:
        found.error(path, f"{error.reason}; its routers stay away", error.hint)
        return EntryPointModel(usable=False)
    return EntryPointModel(steps, _has_tls(entry_point), _tls_options(name, entry_point, tls, found))


def _tls_options(name: str, entry_point: EntryPoint, tls: TlsObjects, found: Diagnostics) -> str:
    if entry_point.v1 is not None and entry_point.v1.tls is not None:
        return v1_options_name(name)
    if entry_point.http.tls is None:
        return DEFAULT_OPTIONS
    try:
        return tls.resolve(entry_point.http.tls.options, INTERNAL)
    except ConfigError as error:
        reason = f"{error.reason}; TLS to the hosts of its routers is refused"
        found.error(("entryPoints", name, "http", "tls", "options"), reason, error.hint)
        return REFUSED


def _has_tls(entry_point: EntryPoint) -> bool:
    return entry_point.http.tls is not None or (entry_point.v1 is not None and entry_point.v1.tls is not None)


def _legacy_middlewares(entry_point: V1EntryPoint, static: StaticConfig) -> Iterator[tuple[str, Middleware]]:
    """Outside in: who may come, who it is, how it is answered, where it goes (spec v1 section 4)."""
    ranges = entry_point.whitelist_source_range
    if entry_point.white_list is not None and not ranges:
        ranges = entry_point.white_list.source_range
    if ranges:
        yield "whitelist", Middleware(ip_allow_list=IpAllowList(source_range=ranges))
    auth = entry_point.auth
    if auth is not None and auth.digest is not None:
        digest = DigestAuth(
            users=auth.digest.users, users_file=auth.digest.users_file, header_field=auth.header_field
        )
        yield "auth", Middleware(digest_auth=digest)
    if auth is not None and auth.basic is not None:
        users = BasicAuth(
            users=auth.basic.users, users_file=auth.basic.users_file, header_field=auth.header_field
        )
        yield "auth", Middleware(basic_auth=users)
    if entry_point.compress:
        yield "compress", Middleware(compress=_V1_COMPRESS)
    if entry_point.redirect is not None:
        yield "redirect", Middleware(entry_point_redirect=_redirect(entry_point.redirect, static))


def _redirect(redirect: V1Redirect, static: StaticConfig) -> EntryPointRedirect:
    """Where a v1 redirect leads: TLS or not decides the scheme, the target's address the port."""
    if not redirect.entry_point:
        return EntryPointRedirect(
            regex=redirect.regex, replacement=redirect.replacement, permanent=redirect.permanent
        )
    target = static.entry_points.get(redirect.entry_point)
    if target is None:
        hint = nearest_name(redirect.entry_point, static.entry_points)
        raise ConfigError("", f'redirect leads to the unknown entrypoint "{redirect.entry_point}"', hint)
    port = _PORT.search(target.address)
    if port is None:
        raise ConfigError("", f'redirect: the address of "{redirect.entry_point}" has no port')
    return EntryPointRedirect(
        scheme="https" if _has_tls(target) else "http", port=port.group(1), permanent=redirect.permanent
    )
