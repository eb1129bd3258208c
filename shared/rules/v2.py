"""The v2 rule language: many values per matcher, templates in hosts, paths and queries.

Several values mean *any of them*, except for header pairs and queries, where all must hold. Templates
without variables become literal conditions where that means the same, for the index can use those.

Source: spec v2 section 2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shared.errors import ConfigError
from shared.hosts import lower_ascii
from shared.rules.conditions import (
    AnyCondition,
    ClientIn,
    HeaderIs,
    HeaderMatches,
    HostIs,
    HostMatches,
    MethodIs,
    PathIs,
    PathMatches,
    PathStarts,
    QueryIs,
    QueryMatches,
)
from shared.rules.matchers import (
    Arguments,
    Matcher,
    checked_host,
    checked_network,
    checked_path,
    checked_regex,
    either,
    every,
    field_name,
    lower_tree,
)
from shared.rules.templates import HOST_DEFAULT, PATH_DEFAULT, V2_QUERY_DEFAULT, read_template
from shared.rules.tree import Tree


def lower(tree: Tree) -> AnyCondition:
    """What a syntax tree means in the v2 language.

    Raises:
        ConfigError: a matcher is unknown or an argument is not what it takes.
    """
    return lower_tree(tree, MATCHERS)


def _any_of(condition: Callable[[str], AnyCondition]) -> Matcher:
    return Matcher(lambda args: either([condition(arg) for arg in args]))


def _host(text: str) -> AnyCondition:
    host = lower_ascii(checked_host(text))
    return HostIs(host[:-1] if len(host) > 1 and host.endswith(".") else host)


def _host_template(text: str) -> AnyCondition:
    template = read_template(checked_host(text), HOST_DEFAULT)
    if template.is_literal:
        return HostIs(lower_ascii(text), dot_counts=True)
    return HostMatches(checked_regex(f"(?i)^{template.body}$"))


def _path_template(text: str) -> AnyCondition:
    template = read_template(checked_path(text), PATH_DEFAULT)
    return PathIs(text) if template.is_literal else PathMatches(checked_regex(f"^{template.body}$"))


def _prefix_template(text: str) -> AnyCondition:
    template = read_template(checked_path(text), PATH_DEFAULT)
    return PathStarts(text) if template.is_literal else PathMatches(checked_regex(f"^{template.body}"))


def _headers(args: Arguments) -> AnyCondition:
    return every([HeaderIs(field_name(key), value) for key, value in _pairs("Headers", args)])


def _headers_regexp(args: Arguments) -> AnyCondition:
    pairs = _pairs("HeadersRegexp", args)
    return every([HeaderMatches(field_name(key), checked_regex(pattern)) for key, pattern in pairs])


def _pairs(matcher: str, args: Arguments) -> Iterator[tuple[str, str]]:
    if len(args) % 2:
        raise ConfigError("", f"matcher {matcher} takes pairs of key and value, not {len(args)} arguments")
    return zip(args[::2], args[1::2], strict=True)


def _query(args: Arguments) -> AnyCondition:
    return every([_query_item(item) for item in args])


def _query_item(item: str) -> AnyCondition:
    key, equals, value = item.partition("=")
    if not equals:
        raise ConfigError("", f"query {item!r} is not key=value", f"{item}=")
    template = read_template(value, V2_QUERY_DEFAULT)
    if template.is_literal and value:
        return QueryIs(key, value, first_only=True)
    pattern = checked_regex(f"^{template.body}$") if value else ""
    return QueryMatches(key, pattern, first_only=True)


MATCHERS = {
    "Host": _any_of(_host),
    "HostHeader": _any_of(_host),
    "HostRegexp": _any_of(_host_template),
    "Path": _any_of(_path_template),
    "PathPrefix": _any_of(_prefix_template),
    "Method": _any_of(lambda method: MethodIs(method.upper())),
    "Headers": Matcher(_headers, least=2),
    "HeadersRegexp": Matcher(_headers_regexp, least=2),
    "Query": Matcher(_query),
    "ClientIP": _any_of(lambda network: ClientIn(checked_network(network))),
}
"""Every matcher of the language by its canonical name."""
