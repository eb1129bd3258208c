"""What v2 and v3 lowering share: finding a matcher by name, and checking its arguments.

A rule language is a mapping from canonical matcher names to ``Matcher``; ``lower_tree`` turns a syntax tree
into conditions with it. Checks raise ``ConfigError`` with an empty path, for the caller to fill in.

Source: spec v2 sections 2.1 to 2.3.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping

import msgspec

from shared.config.diagnostics import nearest_name
from shared.errors import ConfigError
from shared.hosts import lower_ascii
from shared.patterns import compile_pattern
from shared.rules import tree as syntax
from shared.rules.conditions import All, Always, AnyCondition, Either, Not

Arguments = tuple[str, ...]

NEVER: AnyCondition = Not(Always())
"""Holds for no request."""

_NETWORK = re.compile(r"[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?", re.ASCII)
_MAPPED_BITS = 96


class Matcher(msgspec.Struct, frozen=True):
    """One matcher of a rule language.

    Attributes:
        build: makes the condition of checked arguments.
        most: how many arguments it takes at most; None means any number.
        least: how many it needs.
    """

    build: Callable[[Arguments], AnyCondition]
    most: int | None = None
    least: int = 1


def lower_tree(tree: syntax.Tree, matchers: Mapping[str, Matcher]) -> AnyCondition:
    """Give a syntax tree its meaning in one rule language.

    Raises:
        ConfigError: a matcher is unknown there, or does not take these arguments.
    """
    match tree:
        case syntax.And(parts):
            return All(tuple(lower_tree(part, matchers) for part in parts))
        case syntax.Or(parts):
            return Either(tuple(lower_tree(part, matchers) for part in parts))
        case syntax.Not(part):
            return Not(lower_tree(part, matchers))
        case syntax.Call(name, args):
            return _lower_call(name, args, matchers)


def either(parts: list[AnyCondition]) -> AnyCondition:
    """At least one of ``parts``, in the simplest form; of none, ``NEVER``."""
    if not parts:
        return NEVER
    return parts[0] if len(parts) == 1 else Either(tuple(parts))


def every(parts: list[AnyCondition]) -> AnyCondition:
    """All of ``parts``, in the simplest form; of none, ``Always``."""
    if not parts:
        return Always()
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def checked_host(host: str) -> str:
    """A host name or expression of a rule, which must be ASCII (punycode)."""
    if not host.isascii():
        raise ConfigError("", f"host {host!r} is not ASCII; write internationalised names in punycode")
    return host


def checked_path(path: str) -> str:
    """A path of a rule, which must begin with a slash."""
    if not path.startswith("/"):
        raise ConfigError("", f"path {path!r} does not start with a slash", "/" + path)
    return path


def checked_regex(pattern: str) -> str:
    """An expression of a rule, which must be RE2 and proper text."""
    try:
        pattern.encode()
    except UnicodeEncodeError as error:
        raise ConfigError("", f"regular expression {pattern!r} is not UTF-8") from error
    compile_pattern(pattern)
    return pattern


def checked_network(text: str) -> str:
    """An address or CIDR of a rule, as canonical CIDR; IPv4-mapped IPv6 is written as IPv4."""
    try:
        if not _NETWORK.fullmatch(text):
            raise ValueError(text)
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ConfigError("", f"{text!r} is not an IP address or CIDR range") from error
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return f"{mapped}/{network.prefixlen - _MAPPED_BITS}"
    return str(network)


def field_name(name: str) -> str:
    """The name of a header field in the form that conditions use."""
    return lower_ascii(name)


def _lower_call(name: str, args: Arguments, matchers: Mapping[str, Matcher]) -> AnyCondition:
    found = _spelled(name, matchers)
    if found is None:
        raise ConfigError("", f"unsupported function: {name}", nearest_name(name, matchers))
    matcher = matchers[found]
    if not args:
        raise ConfigError("", f"no args for matcher {found}")
    if "" in args:
        raise ConfigError("", f"empty args for matcher {found}")
    if len(args) < matcher.least or (matcher.most is not None and len(args) > matcher.most):
        raise ConfigError("", f"matcher {found} takes {_count(matcher)}, not {len(args)}")
    return matcher.build(args)


def _spelled(name: str, matchers: Mapping[str, Matcher]) -> str | None:
    """The canonical name of one of the four spellings: ``PathPrefix``, lower, UPPER and ``Pathprefix``."""
    for canonical in matchers:
        if name in (canonical, canonical.lower(), canonical.upper(), canonical.capitalize()):
            return canonical
    return None


def _count(matcher: Matcher) -> str:
    if matcher.most is None:
        return f"{matcher.least} or more arguments"
    if matcher.least == matcher.most:
        return "exactly one argument" if matcher.most == 1 else f"exactly {matcher.most} arguments"
    return f"{matcher.least} to {matcher.most} arguments"
