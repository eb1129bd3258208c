"""What the v2 and v3 matchers become, and what is refused with which words."""

from __future__ import annotations

import pytest

from shared.errors import ConfigError
from shared.rules.conditions import (
    All,
    Always,
    ClientIn,
    Either,
    HeaderIs,
    HeaderMatches,
    HostIs,
    HostMatches,
    HostUnder,
    MethodIs,
    Not,
    PathIs,
    PathMatches,
    PathStarts,
    QueryIs,
    QueryMatches,
)
from shared.rules.language import default_priority, hosts_of, read_rule
from shared.rules.matchers import checked_network
from shared.rules.predicates import compile_predicate
from tests.support.matchable import RuleRequest


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("Host(`A.test.`)", HostIs("a.test")),
        ("Host(`.`)", HostIs(".")),
        ("Host(`*`)", Always()),
        ("Host(`*.A.test`)", HostUnder("a.test")),
        ("HostRegexp(`^a$`)", HostMatches("^a$")),
        ("HostRegexp(`.*`)", Always()),
        ("Path(`/a%2Fb`)", PathIs("/a%2Fb")),
        ("PathPrefix(`/a`)", PathStarts("/a")),
        ("PathRegexp(`^/a`)", PathMatches("^/a")),
        ("Method(`get`)", MethodIs("GET")),
        ("Header(`X-A`, `v`)", HeaderIs("x-a", "v")),
        ("HeaderRegexp(`X-A`, `v`)", HeaderMatches("x-a", "v")),
        ("Query(`k`, `v`)", QueryIs("k", "v")),
        ("Query(`k`)", QueryIs("k", "")),
        ("QueryRegexp(`k`, `v`)", QueryMatches("k", "v")),
        ("QueryRegexp(`k`)", QueryIs("k", "")),
        ("ClientIP(`10.1.2.3/8`)", ClientIn("10.0.0.0/8")),
        ("clientip(`::1`)", ClientIn("::1/128")),
        ("!Path(`/a`) && Path(`/b`)", All((Not(PathIs("/a")), PathIs("/b")))),
        ("PATH(`/a`) || path(`/b`)", Either((PathIs("/a"), PathIs("/b")))),
    ],
)
def test_v3(text, condition):
    assert read_rule(text, "v3") == condition
    assert read_rule(text, "anything else") == condition


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("Host(`*`)", HostIs("*")),
        ("Host(`A.`, `b`)", Either((HostIs("a"), HostIs("b")))),
        ("HostRegexp(`A.b.`)", HostIs("a.b.", dot_counts=True)),
        ("HostRegexp(`{s}.b`)", HostMatches(r"(?i)^(?:[^.]+)\.b$")),
        ("Path(`/a.b`)", PathIs("/a.b")),
        ("Path(`/{n:a{2,3}}/x.y`)", PathMatches(r"^/(?:a{2,3})/x\.y$")),
        ("PathPrefix(`/{n}`)", PathMatches("^/(?:[^/]+)")),
        ("Headers(`X`, `1`, `Y`, `2`)", All((HeaderIs("x", "1"), HeaderIs("y", "2")))),
        ("HeadersRegexp(`X`, `^1`)", HeaderMatches("x", "^1")),
        ("Query(`k=`)", QueryMatches("k", "", first_only=True)),
        ("Query(`k=v=w`)", QueryIs("k", "v=w", first_only=True)),
        ("Query(`k={v}`)", QueryMatches("k", "^(?:.*)$", first_only=True)),
    ],
)
def test_v2(text, condition):
    assert read_rule(text, "v2") == condition


@pytest.mark.parametrize(
    ("syntax", "text", "reason", "hint"),
    [
        ("v3", "Hots(`a`)", "unsupported function: Hots", "Host"),
        ("v3", "pathPrefix(`/a`)", "unsupported function: pathPrefix", "PathPrefix"),
        ("v3", "Headers(`X`, `y`)", "unsupported function: Headers", "Header"),
        ("v2", "PathRegexp(`/a`)", "unsupported function: PathRegexp", "PathPrefix"),
        ("v3", "Host()", "no args for matcher Host", None),
        ("v3", "Host(``)", "empty args for matcher Host", None),
        ("v3", "Host(`a`, `b`)", "matcher Host takes exactly one argument, not 2", None),
        ("v3", "Query(`a`, `b`, `c`)", "matcher Query takes 1 to 2 arguments, not 3", None),
        ("v2", "Headers(`a`)", "matcher Headers takes 2 or more arguments, not 1", None),
        ("v2", "Headers(`a`, `b`, `c`)", "pairs of key and value, not 3", None),
        ("v3", "Path(`a`)", "path 'a' does not start with a slash", "/a"),
        ("v3", "Host(`bücher.test`)", "is not ASCII", None),
        ("v3", "HostRegexp(`bücher`)", "is not ASCII", None),
        ("v3", "PathRegexp(`(`)", "bad regular expression '('", None),
        ("v3", r'PathRegexp("\xff")', "is not UTF-8", None),
        ("v2", r'Path("/\xff{x}")', "is not UTF-8", None),
        ("v3", "ClientIP(`10.0.0.0/255.0.0.0`)", "is not an IP address or CIDR range", None),
        ("v3", "ClientIP(`fe80::1%eth0`)", "is not an IP address or CIDR range", None),
        ("v3", "ClientIP(`10.0.0.1/33`)", "is not an IP address or CIDR range", None),
        ("v2", "Query(`a`)", "query 'a' is not key=value", "a="),
        ("v2", "HostRegexp(`{x`)", "unbalanced braces", None),
        ("v2", "HostRegexp(`x}`)", "unbalanced braces", None),
        ("v2", "Path(`/{}`)", "missing name or pattern", None),
        ("v2", "Path(`/{x:}`)", "missing name or pattern", None),
        ("v2", "Path(`/{:x}`)", "missing name or pattern", None),
        ("v2", "Path(`/{x:(}`)", "bad regular expression", None),
        ("v2", "Path(`/{x:a)(b}`)", "bad regular expression", None),
    ],
)
def test_refusals(syntax, text, reason, hint):
    with pytest.raises(ConfigError) as caught:
        read_rule(text, syntax)
    assert reason in caught.value.reason
    assert caught.value.hint == hint


def test_networks_have_one_spelling():
    assert checked_network("::ffff:10.1.2.3") == "10.1.2.3/32"
    assert checked_network("::ffff:10.0.0.0/104") == "10.0.0.0/8"
    assert checked_network("::/0") == "::/0"


@pytest.mark.parametrize(
    ("network", "address", "inside"),
    [
        ("10.0.0.0/8", "10.255.255.255", True),
        ("10.0.0.0/8", "11.0.0.0", False),
        ("10.0.0.0/8", "::ffff:10.1.1.1", True),
        ("::/0", "10.0.0.1", False),
        ("0.0.0.0/0", "", False),
    ],
)
def test_client_addresses(network, address, inside):
    assert compile_predicate(ClientIn(network))(RuleRequest(client_ip=address)) is inside


@pytest.mark.parametrize(
    ("condition", "host", "matches"),
    [
        (HostIs("a.test"), "a.test.", True),
        (HostIs("a.test."), "a.test", True),
        (HostIs("a.test", dot_counts=True), "a.test.", False),
        (HostIs("."), "", False),
        (HostUnder("x.y"), "a.x.y", True),
        (HostUnder("x.y"), "a.x.y.", True),
        (HostUnder("x.y"), "x.y", False),
        (HostUnder("x.y"), ".x.y", False),
        (HostUnder("x.y"), "a.b.x.y", False),
        (HostUnder("x.y"), "ax.y", False),
    ],
)
def test_hosts(condition, host, matches):
    assert compile_predicate(condition)(RuleRequest(host=host)) is matches


def test_first_only_looks_at_the_first_value():
    request = RuleRequest(query="k=1&k=2")
    assert compile_predicate(QueryIs("k", "2"))(request)
    assert not compile_predicate(QueryIs("k", "2", first_only=True))(request)
    assert not compile_predicate(QueryMatches("other", "", first_only=True))(request)


def test_header_host_never_matches():
    assert not compile_predicate(HeaderIs("host", "a"))(RuleRequest(host="a", fields=[("Host", "a")]))


def test_priority_counts_bytes():
    assert default_priority("PathPrefix(`/é`)") == 17


def test_hosts_of_a_rule():
    text = "Host(`a`) && !(Path(`/`) || Host(`b`)) || Host(`a`) || Host(`*.c`)"
    assert hosts_of(read_rule(text, "v3")) == ["a", "b"]
