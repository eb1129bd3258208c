"""Whether a middleware can be built: everything the decoder cannot see by type.

One function per kind, in ``_CHECKS``; it returns the options with files read and merged, so that a table
holds all that a worker needs. Paths in errors start at the middleware (``basicAuth.users[0]``); the caller
puts the middleware's own path in front. Reasons are those of the original where it has one (spec v2
section 4).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from shared.addresses import compile_client_ip_rule, parse_networks
from shared.config import middlewares as kinds
from shared.config.compress_check import check_compress
from shared.config.field_checks import (
    check_field_name,
    check_field_value,
    check_field_values,
    check_fields,
    check_pattern,
    check_patterns,
    check_reply_status,
)
from shared.config.resilience_checks import (
    check_circuit_breaker,
    check_in_flight_req,
    check_rate_limit,
    check_retry,
)
from shared.credentials import parse_users, parse_users_file
from shared.errors import ConfigError

ReadFile = Callable[[str], str]
_AnyOptions = TypeVar("_AnyOptions")

MULTI_TYPES = (
    "cannot create middleware: multi-types middleware not supported, "
    "consider declaring two different pieces of middleware instead"
)
NOT_AVAILABLE = frozenset(
    {
        "buffering",
        "content_type",
        "digest_auth",
        "errors",
        "forward_auth",
        "grpc_web",
        "plugin",
    }
)
"""Kinds that are understood but that no worker of this version can run; their routers are disabled."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_MAX_PORT = 65_535


def check_middleware(options: kinds.Middleware, read_file: ReadFile, name: str = "") -> kinds.Middleware:
    """Check one middleware and resolve what it refers to.

    Args:
        options: as decoded.
        read_file: returns the text of a file, or raises ``OSError`` or ``ValueError``.
        name: for the one message that names the middleware.

    Returns:
        The same options, with files read into them. ``chain`` comes back as it is: the compiler expands it.

    Raises:
        ConfigError: it cannot be built; the path is relative to the middleware.
    """
    found = [kind for kind in kinds.Middleware.__struct_fields__ if getattr(options, kind) is not None]
    if not found:
        reason = "invalid middleware type or middleware does not exist"
        raise ConfigError("", f'invalid middleware "{name}" configuration: {reason}')
    if len(found) > 1:
        raise ConfigError("", MULTI_TYPES)
    kind = found[0]
    written = _written_name(kind)
    if kind in NOT_AVAILABLE:
        raise ConfigError(written, f"{written} is not available in this version")
    try:
        section = _CHECKS[kind](getattr(options, kind), read_file)
    except ConfigError as error:
        path = f"{written}.{error.path}" if error.path else written
        raise ConfigError(path, error.reason, error.hint) from error
    return msgspec.structs.replace(options, **{kind: section})


def _written_name(kind: str) -> str:
    """The name of a kind as people write it."""
    return next(each.encode_name for each in msgspec.structs.fields(kinds.Middleware) if each.name == kind)


def _add_prefix(options: kinds.AddPrefix, _: ReadFile) -> kinds.AddPrefix:
    if not options.prefix:
        raise ConfigError("prefix", "prefix cannot be empty")
    return options


def _strip_prefix(options: kinds.StripPrefix, _: ReadFile) -> kinds.StripPrefix:
    check_field_values("prefixes", options.prefixes)
    return options


def _strip_prefix_regex(options: kinds.StripPrefixRegex, _: ReadFile) -> kinds.StripPrefixRegex:
    check_patterns("regex", [text.strip() for text in options.regex])
    return options


def _replace_path_regex(options: kinds.ReplacePathRegex, _: ReadFile) -> kinds.ReplacePathRegex:
    check_pattern("regex", options.regex.strip())
    return options


def _redirect_scheme(options: kinds.RedirectScheme, _: ReadFile) -> kinds.RedirectScheme:
    if not options.scheme:
        raise ConfigError("scheme", "you must provide a target scheme")
    _check_target(options.scheme, options.port)
    return options


def _redirect_regex(options: kinds.RedirectRegex, _: ReadFile) -> kinds.RedirectRegex:
    check_pattern("regex", options.regex)
    return options


def _entry_point_redirect(options: kinds.EntryPointRedirect, _: ReadFile) -> kinds.EntryPointRedirect:
    if not options.scheme:
        check_pattern("regex", options.regex)
    elif not options.port:
        raise ConfigError("port", "a redirect to an entrypoint needs its port")
    else:
        _check_target(options.scheme, options.port)
    return options


def _slash_redirect(options: kinds.SlashRedirect, _: ReadFile) -> kinds.SlashRedirect:
    check_patterns("withSlash", options.with_slash)
    check_patterns("withoutSlash", options.without_slash)
    return options


def _check_target(scheme: str, port: str) -> None:
    if not _SCHEME.fullmatch(scheme):
        raise ConfigError("scheme", f"{scheme!r} is not a URL scheme")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= _MAX_PORT):
        raise ConfigError("port", f"{port!r} is not a port (1 to {_MAX_PORT})")


def _basic_auth(options: kinds.BasicAuth, read_file: ReadFile) -> kinds.BasicAuth:
    check_field_value("realm", options.realm)
    if options.header_field:
        check_field_name("headerField", options.header_field)
    # Inline entries come last: they replace those of the file.
    users = parse_users(_users_of_file(options.users_file, read_file), "usersFile")
    users |= parse_users(options.users, "users")
    if not users:
        raise ConfigError("users", f"no users found in {options.users_file}")
    for name in users:
        check_field_value("users", name)
    entries = tuple(f"{name}:{secret}" for name, secret in users.items())
    return msgspec.structs.replace(options, users=entries, users_file="")


def _users_of_file(file: str, read_file: ReadFile) -> list[str]:
    if not file:
        return []
    try:
        return parse_users_file(read_file(file))
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is not UTF-8 text"
        raise ConfigError("usersFile", f"cannot read {file}: {reason}") from error


def _ip_allow_list(options: kinds.IpAllowList, _: ReadFile) -> kinds.IpAllowList:
    _check_source_range(options)
    check_reply_status("rejectStatusCode", options.reject_status_code)
    return options


def _ip_white_list(options: kinds.IpWhiteList, _: ReadFile) -> kinds.IpWhiteList:
    _check_source_range(options)
    return options


def _check_source_range(options: kinds.IpAllowList | kinds.IpWhiteList) -> None:
    if not options.source_range:
        raise ConfigError("sourceRange", "sourceRange is empty, IPAllowLister not created")
    parse_networks(options.source_range, "sourceRange")
    compile_client_ip_rule(options.ip_strategy, "ipStrategy")


def _headers(options: kinds.Headers, _: ReadFile) -> kinds.Headers:
    # accessControlMaxAge may be 0; every other option that is empty, 0 or false is not set.
    set_options = [each for each in msgspec.structs.asdict(options).values() if each]
    if not set_options and options.access_control_max_age is None:
        raise ConfigError("", "headers configuration not valid")
    check_fields("customRequestHeaders", options.custom_request_headers)
    check_fields("customResponseHeaders", options.custom_response_headers)
    check_fields("sslProxyHeaders", options.ssl_proxy_headers)
    for index, name in enumerate(options.hosts_proxy_headers):
        check_field_name(f"hostsProxyHeaders[{index}]", name)
    for field in msgspec.structs.fields(options):
        _check_header_option(field.encode_name, getattr(options, field.name))
    check_patterns("accessControlAllowOriginListRegex", options.access_control_allow_origin_list_regex)
    return options


def _check_header_option(path: str, value: object) -> None:
    """Every text among the options goes into a field of a message, numbers count seconds."""
    if isinstance(value, str):
        check_field_value(path, value)
    elif isinstance(value, tuple):
        check_field_values(path, value)
    elif isinstance(value, int) and value < 0:
        raise ConfigError(path, f"{value} is negative")


def _nothing_to_check(options: _AnyOptions, _: ReadFile) -> _AnyOptions:
    return options


# Any: each check takes and returns the options of its own kind.
_CHECKS: dict[str, Callable[[Any, ReadFile], Any]] = {
    "add_prefix": _add_prefix,
    "basic_auth": _basic_auth,
    "chain": _nothing_to_check,
    "circuit_breaker": lambda options, _: check_circuit_breaker(options),
    "compress": lambda options, _: check_compress(options),
    "encoded_characters": _nothing_to_check,
    "entry_point_redirect": _entry_point_redirect,
    "headers": _headers,
    "in_flight_req": lambda options, _: check_in_flight_req(options),
    "ip_allow_list": _ip_allow_list,
    "ip_white_list": _ip_white_list,
    "pass_tls_client_cert": _nothing_to_check,
    "rate_limit": lambda options, _: check_rate_limit(options),
    "redirect_regex": _redirect_regex,
    "redirect_scheme": _redirect_scheme,
    "replace_path": _nothing_to_check,
    "replace_path_regex": _replace_path_regex,
    "retry": lambda options, _: check_retry(options),
    "slash_redirect": _slash_redirect,
    "strip_prefix": _strip_prefix,
    "strip_prefix_regex": _strip_prefix_regex,
}
