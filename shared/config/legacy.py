"""The v1 dialect in terms of the one model: frontend -> router and middlewares, backend -> service.

A frontend keeps its name; what it does to a request becomes middlewares called ``<frontend>-<what>``, in
v1's fixed order (spec v1 section 3.7): the slash redirect, path modifiers from the outside in (strip by
expression, strip, add, replace), error pages, allowed addresses, authentication, headers. Backends are in
``legacy_backends``.

Where v1's releases differ, 1.3 holds with the advice of the spec; settings of later releases are taken as
they come. A rule without a value is the one-string form, with a value the two-field form of the first
releases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

import msgspec

from shared.config.decode import decode, decode_each
from shared.config.diagnostics import Diagnostics, Path, nearest_name
from shared.config.dynamic import HttpConfig, Router, Service
from shared.config.legacy_backends import Variants, read_backends, services_of
from shared.config.legacy_model import V1Auth, V1Certificate, V1Frontend
from shared.config.middlewares import (
    AddPrefix,
    BasicAuth,
    DigestAuth,
    Errors,
    ForwardAuth,
    Headers,
    IpAllowList,
    IpStrategy,
    Middleware,
    PassTlsClientCert,
    ReplacePath,
    ReplacePathRegex,
    SlashRedirect,
    StripPrefix,
    StripPrefixRegex,
)
from shared.config.static_v1 import V1Retry
from shared.config.tls import TlsCertificate
from shared.errors import ConfigError
from shared.rules.v1 import FrontendRule, read_frontend_rule

AnyAuth = TypeVar("AnyAuth", BasicAuth, DigestAuth, ForwardAuth)
Written = tuple[str, object]
"""A root key as it is spelled in the document, and what stands there."""
BrokenNames = set[tuple[str, str]]
"""Kind (``routers`` or ``services``) and name of what could not be read."""


MAX_HINTED = 20
"""After this many problems no likely names are looked for: each search reads all names (10,000: 0.1 s)."""


class _Frontend(NamedTuple):
    path: Path
    settings: V1Frontend
    rule: FrontendRule


def translate(
    frontends: Written,
    backends: Written,
    found: Diagnostics,
    pass_host_header: bool,
    retry: V1Retry | None = None,
) -> tuple[HttpConfig, BrokenNames]:
    """Translate the two root tables.

    Args:
        frontends: the ``frontends`` root.
        backends: the ``backends`` root.
        found: takes what is wrong.
        pass_host_header: for frontends that do not say.
        retry: the static ``[retry]``.

    Returns:
        Routers, services and middlewares, and what is written but broken. A router may name a service that
        does not exist: that is for the compiler, as with any router.
    """
    read, broken_backends = read_backends(backends[1], (backends[0],), found, retry)
    good, broken_frontends = _read_frontends(frontends, found)
    known = {*read, *broken_backends}
    variants = _variants(good, known, pass_host_header)

    routers: dict[str, Router] = {}
    services: dict[str, Service] = {}
    middlewares: dict[str, Middleware] = {}
    for name, frontend in good.items():
        _check_backend(frontend, known, found)
        steps = dict(_unique_names(_steps(name, frontend, variants, pass_host_header), middlewares))
        middlewares |= steps
        routers[name] = _router(frontend, tuple(steps), variants, pass_host_header)
    for name, backend in read.items():
        named = ((f"{name}-{what}", step) for what, step in backend.steps)
        own = dict(_unique_names(named, middlewares))
        middlewares |= own
        services |= services_of(backend.balancer, variants[name], tuple(own))
    broken = {("routers", name) for name in broken_frontends}
    broken |= {("services", each) for name in broken_backends for each in variants[name].names.values()}
    return HttpConfig(routers=routers, services=services, middlewares=middlewares), broken


def translate_certificates(raw: list[object], path: Path, found: Diagnostics) -> tuple[TlsCertificate, ...]:
    """Translate ``[[tls]]`` (1.5): a list where v2 has a table."""
    good = []
    for at, entry in enumerate(raw):
        read = decode(V1Certificate, entry, (*path, at), found, unknown="warning")
        if read is not None:
            pair = read.certificate
            good.append(TlsCertificate(cert_file=pair.cert_file, key_file=pair.key_file, stores=read.stores))
    return tuple(good)


# -------------------------------------------------------------------------------------------- frontends


def _read_frontends(written: Written, found: Diagnostics) -> tuple[dict[str, _Frontend], set[str]]:
    """Every good frontend with its rule, in order of their names, and the names of the broken ones."""
    root, raw = written
    read, broken = decode_each(V1Frontend, raw, (root,), found, unknown="warning")
    good: dict[str, _Frontend] = {}
    for name, settings in sorted(read.items()):
        path = (root, name)
        try:
            rule = read_frontend_rule(_routes(settings, path, found))
        except ConfigError as error:
            found.error(path, f"error creating route for frontend {name}: {error.reason}", error.hint)
            broken.add(name)
            continue
        good[name] = _Frontend(path, settings, rule)
    return good, broken


def _routes(settings: V1Frontend, path: Path, found: Diagnostics) -> list[tuple[str, str]]:
    """(rule, value) of each route by name; v1 left their order open."""
    routes = [(route.rule, route.value) for _, route in sorted(settings.routes.items())]
    if settings.rule:
        routes.append((settings.rule, settings.value))
        found.warning(
            (*path, "rule"),
            "rule and value belong into a table such as routes.main; read as one more route "
            "(the original ignored them, so that this frontend matched everything)",
        )
    elif settings.value:
        found.warning((*path, "value"), "a value without a rule says nothing; it is left out")
    return routes


def _variants(
    frontends: Mapping[str, _Frontend], backends: set[str], pass_host_header: bool
) -> dict[str, Variants]:
    wanted: dict[str, list[bool]] = {}
    for frontend in frontends.values():
        pass_host = _passes_host(frontend, pass_host_header)
        wanted.setdefault(frontend.settings.backend, []).append(pass_host)
    names = backends | wanted.keys()
    return {name: Variants.of(name, wanted.get(name, [pass_host_header]), names) for name in names}


def _passes_host(frontend: _Frontend, default: bool) -> bool:
    own = frontend.settings.pass_host_header
    return default if own is None else own


def _check_backend(frontend: _Frontend, known: set[str], found: Diagnostics) -> None:
    backend = frontend.settings.backend
    if backend not in known:
        path = (*frontend.path, "backend") if backend else frontend.path
        hint = nearest_name(backend, known) if len(found) < MAX_HINTED else None
        found.warning(path, f'undefined backend "{backend}"', hint)


def _router(
    frontend: _Frontend, steps: tuple[str, ...], variants: Mapping[str, Variants], pass_host_header: bool
) -> Router:
    settings = frontend.settings
    service = variants[settings.backend].names[_passes_host(frontend, pass_host_header)]
    return Router(
        entry_points=settings.entry_points,
        rule=frontend.rule.text,
        rule_syntax="v1",
        priority=settings.priority if settings.priority > 0 else frontend.rule.text_length,
        service=service,
        middlewares=steps,
    )


# ---------------------------------------------------------------------------------------------- steps


def _unique_names(
    steps: Iterator[tuple[str, Middleware]], taken: Mapping[str, Middleware]
) -> Iterator[tuple[str, Middleware]]:
    """Frontends called ``a`` and ``a-errors``, or a backend, may mean one name; the later one gets dashes."""
    for name, step in steps:
        while name in taken:
            name += "-"
        yield name, step


def _steps(
    name: str, frontend: _Frontend, variants: Mapping[str, Variants], pass_host_header: bool
) -> Iterator[tuple[str, Middleware]]:
    """What a frontend does, from the outside in."""
    yield from ((f"{name}-{what}", step) for what, step in _path_steps(frontend.rule))
    settings = frontend.settings
    for key, page in sorted(settings.errors.items()):
        of_backend = variants.get(page.backend)
        service = page.backend if of_backend is None else next(iter(of_backend.names.values()))
        errors = Errors(status=page.status, service=service, query=page.query)
        yield f"{name}-errors-{key}", Middleware(errors=errors)
    yield from ((f"{name}-{what}", step) for what, step in _access_steps(settings))
    if settings.headers is not None and settings.headers != Headers():
        yield f"{name}-headers", Middleware(headers=settings.headers)
    if settings.pass_tls_cert:
        yield f"{name}-client-cert", Middleware(pass_tls_client_cert=PassTlsClientCert(pem=True))


def _path_steps(rule: FrontendRule) -> Iterator[tuple[str, Middleware]]:
    if rule.add_slash or rule.drop_slash:
        redirect = SlashRedirect(with_slash=rule.add_slash, without_slash=rule.drop_slash)
        yield "slash", Middleware(slash_redirect=redirect)
    if rule.strip_patterns:
        by_regex = StripPrefixRegex(regex=rule.strip_patterns, overwrite_header=True)
        yield "strip-regex", Middleware(strip_prefix_regex=by_regex)
    if rule.strip_prefixes:
        strip = StripPrefix(prefixes=rule.strip_prefixes, overwrite_header=True)
        yield "strip", Middleware(strip_prefix=strip)
    if rule.add_prefix is not None:
        yield "add-prefix", Middleware(add_prefix=AddPrefix(prefix=rule.add_prefix))
    if rule.replace_path is not None:
        yield "replace-path", Middleware(replace_path=ReplacePath(path=rule.replace_path))
    if rule.replace_path_regex is not None:
        regex, replacement = rule.replace_path_regex
        replace = ReplacePathRegex(regex=regex, replacement=replacement)
        yield "replace-path-regex", Middleware(replace_path_regex=replace)


def _access_steps(settings: V1Frontend) -> Iterator[tuple[str, Middleware]]:
    ranges = settings.whitelist_source_range
    strategy: IpStrategy | None = None
    if settings.white_list is not None:
        ranges += settings.white_list.source_range
        if settings.white_list.use_x_forwarded_for:
            strategy = IpStrategy(depth=1)
    if ranges:
        yield "allow-list", Middleware(ip_allow_list=IpAllowList(source_range=ranges, ip_strategy=strategy))
    if settings.basic_auth:
        yield "auth", Middleware(basic_auth=BasicAuth(users=settings.basic_auth))
    if settings.auth is not None:
        yield from _auth_steps(settings.auth)


def _auth_steps(auth: V1Auth) -> Iterator[tuple[str, Middleware]]:
    """1.7's ``auth``; its ``headerField`` is for whichever kind is set."""
    if auth.basic is not None:
        yield "basic-auth", Middleware(basic_auth=_with_header(auth.basic, auth.header_field))
    if auth.digest is not None:
        yield "digest-auth", Middleware(digest_auth=_with_header(auth.digest, auth.header_field))
    if auth.forward is not None:
        yield "forward-auth", Middleware(forward_auth=_with_header(auth.forward, auth.header_field))


def _with_header(options: AnyAuth, header_field: str) -> AnyAuth:
    if not header_field or options.header_field:
        return options
    return msgspec.structs.replace(options, header_field=header_field)
