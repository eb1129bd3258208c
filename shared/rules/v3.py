"""The v3 rule language: one value per matcher, regular expressions as such.

Source: spec v2 section 2.2.
"""

from __future__ import annotations

from shared.hosts import lower_ascii
from shared.patterns import compile_pattern
from shared.rules.conditions import (
    Always,
    AnyCondition,
    ClientIn,
    HeaderIs,
    HeaderMatches,
    HostIs,
    HostMatches,
    HostUnder,
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
    field_name,
    lower_tree,
)
from shared.rules.tree import Tree


def lower(tree: Tree) -> AnyCondition:
    """What a syntax tree means in the v3 language.

    Raises:
        ConfigError: a matcher is unknown or an argument is not what it takes.
    """
    return lower_tree(tree, MATCHERS)


def _host(args: Arguments) -> AnyCondition:
    host = lower_ascii(checked_host(args[0]))
    if host == "*":
        return Always()
    # One dot at the end is ignored on both sides; a lone dot is no name and stays.
    host = host[:-1] if len(host) > 1 and host.endswith(".") else host
    return HostUnder(host[2:]) if host.startswith("*.") and len(host) > 2 else HostIs(host)


def _host_regexp(args: Arguments) -> AnyCondition:
    pattern = checked_regex(checked_host(args[0]))
    # The flattened CNAME is tried too, and it is empty without flattening: an expression that matches
    # nothing matches every host, also an absent one.
    return Always() if compile_pattern(pattern).found_in("") else HostMatches(pattern)


def _header(args: Arguments) -> AnyCondition:
    return HeaderIs(field_name(args[0]), args[1])


def _header_regexp(args: Arguments) -> AnyCondition:
    return HeaderMatches(field_name(args[0]), checked_regex(args[1]))


def _query(args: Arguments) -> AnyCondition:
    return QueryIs(args[0], args[1] if len(args) > 1 else "")


def _query_regexp(args: Arguments) -> AnyCondition:
    return QueryMatches(args[0], checked_regex(args[1])) if len(args) > 1 else _query(args)


MATCHERS = {
    "Host": Matcher(_host, most=1),
    "HostRegexp": Matcher(_host_regexp, most=1),
    "Path": Matcher(lambda args: PathIs(checked_path(args[0])), most=1),
    "PathPrefix": Matcher(lambda args: PathStarts(checked_path(args[0])), most=1),
    "PathRegexp": Matcher(lambda args: PathMatches(checked_regex(args[0])), most=1),
    "Method": Matcher(lambda args: MethodIs(args[0].upper()), most=1),
    "Header": Matcher(_header, most=2, least=2),
    "HeaderRegexp": Matcher(_header_regexp, most=2, least=2),
    "Query": Matcher(_query, most=2),
    "QueryRegexp": Matcher(_query_regexp, most=2),
    "ClientIP": Matcher(lambda args: ClientIn(checked_network(args[0])), most=1),
}
"""Every matcher of the language by its canonical name."""
