"""The rules of TCP routers: HostSNI, HostSNIRegexp, ClientIP and ALPN, in the v3 and the v2 language.

They are lowered to the conditions of HTTP rules: the server name stands where a request has its host, and the
protocols that a client offers are the lines of a field (``ALPN_FIELD``). So predicates are the same code for
both, and a connection is matched as a ``Matchable`` that has a host, an address and that one field.

Source: spec v2 section 2.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from shared.errors import ConfigError
from shared.hosts import lower_ascii
from shared.rules import tree as syntax
from shared.rules.conditions import (
    Always,
    AnyCondition,
    ClientIn,
    HeaderIs,
    HostIs,
    HostMatches,
    HostUnder,
)
from shared.rules.grammar import parse_expression
from shared.rules.language import default_priority
from shared.rules.matchers import (
    Arguments,
    Matcher,
    checked_host,
    checked_network,
    checked_regex,
    either,
    lower_tree,
)
from shared.rules.templates import HOST_DEFAULT, read_template

ALPN_FIELD = "alpn"
"""Under this name a connection shows the protocols that its ClientHello offers."""
CATCH_ALL_PRIORITY = -1
"""Of a router that is only HostSNI(`*`) and sets no priority: behind every other one."""

_ACME = "acme-tls/1"
_ANY = "*"
_HOST_SNI = "hostsni"
_NAME = re.compile(r"(?:\*\.)?[\w.:-]+", re.ASCII)


class TcpRule(msgspec.Struct, frozen=True):
    """A rule that was read.

    Attributes:
        condition: what it means.
        is_catch_all: it is HostSNI(`*`) and nothing else.
        names: every value of a HostSNI in it that is not denied, as written, in order.
    """

    condition: AnyCondition
    is_catch_all: bool
    names: tuple[str, ...]

    @property
    def needs_tls(self) -> bool:
        """Whether it asks for a name, which only TLS has."""
        return bool(self.names) and self.names[0] != _ANY


def read_tcp_rule(text: str, syntax_name: str) -> TcpRule:
    """What a rule means.

    Args:
        text: as written.
        syntax_name: ``v2``; any other name means v3.

    Raises:
        ConfigError: it is no rule of that language; the path is empty, for the caller to fill in.
    """
    tree = parse_expression(text)
    condition = lower_tree(tree, _V2 if syntax_name == "v2" else _V3)
    is_catch_all = isinstance(tree, syntax.Call) and _is_host_sni(tree) and tree.args == (_ANY,)
    return TcpRule(condition, is_catch_all, tuple(_names(tree)))


def default_tcp_priority(text: str, *, is_catch_all: bool) -> int:
    """The priority of a router that sets none: the length of its rule, or behind all others."""
    return CATCH_ALL_PRIORITY if is_catch_all else default_priority(text)


def _names(tree: syntax.Tree, is_asked: bool = True) -> Iterator[str]:
    match tree:
        case syntax.And(parts) | syntax.Or(parts):
            for part in parts:
                yield from _names(part, is_asked)
        case syntax.Not(part):
            yield from _names(part, not is_asked)
        case syntax.Call(_, arguments):
            if is_asked and _is_host_sni(tree):
                yield from arguments


def _is_host_sni(call: syntax.Call) -> bool:
    return call.name.lower() == _HOST_SNI


def _host_sni(name: str) -> AnyCondition:
    if name == _ANY:
        return Always()
    if not _NAME.fullmatch(name):
        raise ConfigError("", f"invalid value for HostSNI matcher, {name!r} is not a valid hostname")
    name = lower_ascii(name)
    name = name[:-1] if len(name) > 1 and name.endswith(".") else name
    return HostUnder(name[2:]) if name.startswith("*.") else HostIs(name)


def _host_sni_v2(name: str) -> AnyCondition:
    if name.startswith("*."):
        raise ConfigError("", f"invalid value for HostSNI matcher, {name!r}: v2 rules have no wildcards")
    return _host_sni(name)


def _host_sni_template(text: str) -> AnyCondition:
    template = read_template(checked_host(text), HOST_DEFAULT)
    return HostMatches(checked_regex(f"(?i)^{template.body}$"))


def _alpn(protocol: str) -> AnyCondition:
    if protocol == _ACME:
        raise ConfigError("", f"invalid protocol value for ALPN matcher, {_ACME!r} is reserved")
    return HeaderIs(ALPN_FIELD, protocol)


def _only(condition: Callable[[str], AnyCondition]) -> Matcher:
    return Matcher(lambda args: condition(args[0]), most=1)


def _any_of(condition: Callable[[str], AnyCondition]) -> Matcher:
    def build(args: Arguments) -> AnyCondition:
        return either([condition(each) for each in args])

    return Matcher(build)


_V3 = {
    "HostSNI": _only(_host_sni),
    "HostSNIRegexp": _only(lambda text: HostMatches(checked_regex(checked_host(text)))),
    "ClientIP": _only(lambda text: ClientIn(checked_network(text))),
    "ALPN": _only(_alpn),
}
_V2 = {
    "HostSNI": _any_of(_host_sni_v2),
    "HostSNIRegexp": _any_of(_host_sni_template),
    "ClientIP": _any_of(lambda text: ClientIn(checked_network(text))),
    "ALPN": _any_of(_alpn),
}
