"""Laws of the rule language and of path normalisation, over generated texts, trees and requests.

``slowly`` is an independent reading of the conditions: one obvious line each, nothing precompiled, Python's
``re`` instead of RE2.
"""

from __future__ import annotations

import ipaddress
import re

from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadRequest, ConfigError
from shared.paths import (
    decoded_path,
    escape_path,
    has_bad_escape,
    is_clean,
    normalise_escapes,
    routing_path,
    sanitise,
)
from shared.rules import conditions as c
from shared.rules.grammar import parse_expression
from shared.rules.language import read_rule
from shared.rules.predicates import compile_predicate
from shared.rules.tree import And, Call, Not, Or, to_text
from shared.rules.v1 import read_frontend_rule
from tests.support.matchable import RuleRequest


def _as_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# Any bytes, and the characters that quoting has to get right.
arguments = st.one_of(
    st.binary(max_size=8).map(_as_text),
    st.text('`"\\\r\n\0\ufeff\u2028aé😀', max_size=8),
)
names = st.from_regex(r"[^\W\d]\w{0,5}", fullmatch=True)
calls = st.builds(Call, names, st.lists(arguments, max_size=3).map(tuple))
trees = st.recursive(
    calls,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=12,
)


@given(trees)
def test_printing_and_parsing_a_tree_changes_nothing(tree):
    text = to_text(tree)
    # A chain inside a chain of its own kind is printed in parentheses and stays a node of its own.
    assert parse_expression(text) == tree
    assert to_text(parse_expression(text)) == text


@given(st.one_of(st.text(), st.text("AB()`\"'\\,!&|/*\n\r\t x\0", max_size=40)))
def test_any_text_is_a_rule_or_a_config_error(text):
    for syntax in ("v1", "v2", "v3"):
        try:
            compile_predicate(read_rule(text, syntax))
        except ConfigError:
            continue


FUNCTIONS = [
    "Host",
    "HostRegexp",
    "Path",
    "PathStrip",
    "PathPrefix",
    "PathPrefixStripRegex",
    "Headers",
    "Query",
]
v1_values = st.text("/a,{}:[x]+.= ", max_size=14)
v1_rules = st.lists(st.tuples(st.sampled_from(FUNCTIONS), v1_values), min_size=1, max_size=4)


@given(v1_rules)
def test_v1_frontends_read_or_are_refused(clauses):
    text = ";".join(f"{function}:{value}" for function, value in clauses)
    try:
        rule = read_frontend_rule([(text, "")])
    except ConfigError:
        return
    assert read_rule(rule.text, "v1") == rule.condition


@given(
    st.lists(st.text("ab/{x}", min_size=1, max_size=6).map(lambda text: "/" + text), min_size=1, max_size=4),
    st.text("ab/", max_size=5).map(lambda text: "/" + text),
)
def test_slash_redirects_lead_somewhere(alternatives, path):
    """A redirected path is matched, so is its target, and the target is not redirected back."""
    rule = read_frontend_rule([("Path:" + ",".join(alternatives), "")])
    holds = compile_predicate(rule.condition)
    adds, drops = _any(rule.add_slash), _any(rule.drop_slash)
    assert not (adds(path) and drops(path))
    if adds(path) or drops(path):
        target = path + "/" if adds(path) else path[:-1]
        assert holds(RuleRequest(decoded_path=path))
        assert holds(RuleRequest(decoded_path=target))
        assert not (drops(target) if adds(path) else adds(target))


def _any(patterns):
    return lambda path: any(re.search(pattern, path) for pattern in patterns)


hosts = st.sampled_from(["", "a.test", "a.test.", "b.a.test", "c.b.a.test", "b.a.test.", ".a.test", "test"])
paths = st.sampled_from(["/", "/a", "/a/", "/a/b", "/a%2Fb", "/b"])
words = st.sampled_from(["", "1", "2", "12"])
keys = st.sampled_from(["k", "l"])
patterns = st.sampled_from(["", "^$", "1", "^1", "a", "^/a", "b$", "^[^.]+[.]a"])
networks = st.sampled_from(["10.0.0.0/8", "10.1.2.3/32", "0.0.0.0/0", "::1/128", "::/0", "2001:db8::/32"])
addresses = st.sampled_from(["10.1.2.3", "11.0.0.1", "::1", "::ffff:10.9.9.9", "2001:db8::1", "@"])
leaves = st.one_of(
    st.just(c.Always()),
    st.builds(c.HostIs, hosts, st.booleans()),
    st.builds(c.HostUnder, st.sampled_from(["a.test", "test"])),
    st.builds(c.HostMatches, patterns),
    st.builds(c.PathIs, paths, st.booleans()),
    st.builds(c.PathStarts, paths, st.booleans()),
    st.builds(c.PathMatches, patterns, st.booleans()),
    st.builds(c.MethodIs, st.sampled_from(["GET", "POST"])),
    st.builds(c.HeaderIs, keys, words),
    st.builds(c.HeaderMatches, keys, patterns),
    st.builds(c.QueryIs, keys, words, st.booleans()),
    st.builds(c.QueryMatches, keys, patterns, st.booleans()),
    st.builds(c.ClientIn, networks),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(c.Not, inner),
        st.builds(c.All, st.lists(inner, max_size=3).map(tuple)),
        st.builds(c.Either, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=10,
)
pairs = st.lists(st.tuples(keys, words), max_size=3)
requests = st.builds(
    RuleRequest,
    host=hosts,
    method=st.sampled_from(["GET", "POST", "get"]),
    routing_path=paths,
    decoded_path=paths,
    client_ip=addresses,
    query=pairs.map(lambda found: "&".join("=".join(pair) for pair in found)),
    fields=pairs,
)


def slowly(condition, request):
    path = request.decoded_path if getattr(condition, "decoded", False) else request.routing_path
    match condition:
        case c.Always():
            return True
        case c.Not(part):
            return not slowly(part, request)
        case c.All(parts):
            return all(slowly(part, request) for part in parts)
        case c.Either(parts):
            return any(slowly(part, request) for part in parts)
        case c.HostIs(host, dot_counts):
            same = request.host == host
            one_dot = host == request.host + "." or request.host == host + "."
            return request.host != "" and (same or (one_dot and not dot_counts))
        case c.HostUnder(parent):
            name = request.host[:-1] if request.host.endswith(".") else request.host
            label, _, rest = name.partition(".")
            return label != "" and rest == parent
        case c.HostMatches(pattern):
            return bool(re.search(pattern, request.host))
        case c.PathIs(wanted):
            return path == wanted
        case c.PathStarts(prefix):
            return path[: len(prefix)] == prefix
        case c.PathMatches(pattern):
            return bool(re.search(pattern, path))
        case c.MethodIs(method):
            return request.method == method
        case c.HeaderIs(name, value):
            return (name, value) in request.fields
        case c.HeaderMatches(name, pattern):
            return any(re.search(pattern, value) for each, value in request.fields if each == name)
        case c.ClientIn(network):
            return _is_inside(request.client_ip, network)
    values = [pair.partition("=")[2] for pair in request.query.split("&") if pair.startswith(condition.key)]
    values = values[:1] if condition.first_only else values
    if isinstance(condition, c.QueryIs):
        return condition.value in values
    return any(re.search(condition.pattern, value) for value in values)


def _is_inside(text, network):
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address) in ipaddress.ip_network(network)


@given(conditions, requests)
def test_a_predicate_says_what_the_condition_means(condition, request):
    assert compile_predicate(condition)(request) is slowly(condition, request)


raw_paths = st.one_of(
    st.lists(
        st.sampled_from(["/", ".", "..", "a", "%2F", "%2e", "%2E", "%41", "%25", "%c3", "%A9", "%", "é"])
    ).map(lambda found: "/" + "".join(found)),
    st.binary(max_size=12).map(lambda data: "/" + _as_text(data)),
)


@given(raw_paths)
def test_normal_paths_stay_as_they_are(path):
    assert sanitise(sanitise(path)) == sanitise(path)
    assert is_clean(sanitise(path))
    if has_bad_escape(path):
        for function in (normalise_escapes, routing_path, decoded_path):
            try:
                function(path)
            except BadRequest:
                continue
            raise AssertionError(f"{function} took {path!r}")
        return
    normal = normalise_escapes(path)
    assert normalise_escapes(normal) == normal
    assert routing_path(routing_path(normal)) == routing_path(normal)
    assert decoded_path(normal) == decoded_path(path)
    assert not has_bad_escape(sanitise(normal))


@given(st.binary(max_size=12).map(lambda data: "/" + _as_text(data)))
def test_escaping_a_decoded_path_can_be_undone(path):
    assert decoded_path(escape_path(path)) == path
    assert escape_path(path).isascii()
    assert normalise_escapes(escape_path(path)) == escape_path(path)
