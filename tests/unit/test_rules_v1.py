"""The v1 rule language beyond its vectors: splitting, dead alternatives, modifiers, the slash at the end."""

from __future__ import annotations

import pytest

from shared.errors import ConfigError
from shared.patterns import compile_pattern
from shared.rules.clauses import split_outside_braces
from shared.rules.conditions import (
    All,
    Always,
    Either,
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
from shared.rules.grammar import MAX_RULE_CHARS
from shared.rules.language import read_rule
from shared.rules.matchers import NEVER
from shared.rules.v1 import read_frontend_rule
from shared.rules.v1_paths import MAX_REDIRECTED

A_OR_SLASH = Either((PathIs("/a", decoded=True), PathIs("/a/", decoded=True)))


def one(rule, value=""):
    return read_frontend_rule([(rule, value)])


@pytest.mark.parametrize(
    ("rule", "condition"),
    [
        ("", Always()),
        (";;Host:A.test;; ;", HostIs("a.test", dot_counts=True)),
        ("Host::a:80", HostIs("a:80", dot_counts=True)),
        (" Host : ,, a ", HostIs("a", dot_counts=True)),
        ("HostRegexp:{s:[A-Z]+}.b", HostMatches(r"(?i)^(?:[A-Z]+)\.b$")),
        ("HostRegexp:a,{", HostIs("a", dot_counts=True)),
        ("Method:get,Post", Either((MethodIs("GET"), MethodIs("POST")))),
        ("Path:/a", A_OR_SLASH),
        ("Path:/", PathIs("/", decoded=True)),
        ("Path:a", NEVER),
        ("Path:/\udcff{x},/a", A_OR_SLASH),
        ("Path:a,/a", A_OR_SLASH),
        ("Path:/{,/{x:(},/{},/a", A_OR_SLASH),
        ("Path:/{x:[a-z]{1,3}}", PathMatches("^/(?:[a-z]{1,3})/?$", decoded=True)),
        ("Path:/{x}/", PathMatches("^/(?:[^/]+)/?$", decoded=True)),
        ("PathPrefix:/a", PathStarts("/a", decoded=True)),
        ("PathPrefixStripRegex:/{x}/", PathMatches("^/(?:[^/]+)/", decoded=True)),
        ("Headers:X-A,1,x-a,2", HeaderIs("x-a", "2")),
        ("Headers:X-A, ,X-B,2", All((HeaderMatches("x-a", ""), HeaderIs("x-b", "2")))),
        ("HeadersRegexp:X-A,^a{1,3}$", HeaderMatches("x-a", "^a{1,3}$")),
        ("Query:k=", QueryMatches("k", "", first_only=True)),
        (
            "Query:k=v,l={x}",
            All((QueryIs("k", "v", first_only=True), QueryMatches("l", "^(?:[^?&]*)$", first_only=True))),
        ),
        ("Query:k={", NEVER),
        ("AddPrefix:/x;ReplacePath:/y;ReplacePathRegex:a b", Always()),
    ],
)
def test_conditions(rule, condition):
    assert read_rule(rule, "v1") == condition


@pytest.mark.parametrize(
    ("rule", "reason", "hint"),
    [
        (" ", "rule is empty", None),
        (";", "rule is empty", None),
        ("host:a", "unknown function 'host'", "Host"),
        ("PathPrefx:/a", "unknown function 'PathPrefx'", "PathPrefix"),
        ("Host", "no argument in clause 'Host'", None),
        ("Host: , ,", "no argument in clause", None),
        ("Headers:a", "takes pairs of key and value, not 1", None),
        ("HeadersRegexp:a,(", "bad regular expression", None),
        ("Query:k", "query 'k' is not key=value", "k="),
        ("Host:" + "a" * MAX_RULE_CHARS, "longer than", None),
    ],
)
def test_refusals(rule, reason, hint):
    with pytest.raises(ConfigError) as caught:
        read_rule(rule, "v1")
    assert reason in caught.value.reason
    assert caught.value.hint == hint


@pytest.mark.parametrize("rule", ["", " "])
def test_a_route_must_say_something(rule):
    with pytest.raises(ConfigError, match="rule is empty"):
        one(rule)


def test_no_routes_match_everything():
    assert read_frontend_rule([]).condition == Always()
    assert read_frontend_rule([]).text_length == 0


def test_bad_path_replacement_is_refused():
    with pytest.raises(ConfigError, match="an expression, a blank and a replacement"):
        one("ReplacePathRegex:^/a")
    with pytest.raises(ConfigError, match="bad regular expression"):
        one("ReplacePathRegex:( /b")


def test_braces_without_a_partner_are_characters():
    assert split_outside_braces("a{b,c}d,{e,f", ",") == ["a{b,c}d", "{e", "f"]
    assert split_outside_braces("a},b", ",") == ["a}", "b"]
    assert split_outside_braces("{a{b,c},d", ",") == ["{a{b,c}", "d"]


@pytest.mark.parametrize(
    ("rule", "value", "text"),
    [
        ("Host", "a.test,b.test", "Host:a.test,b.test"),
        ("Host", "{s}.test,b.test", "HostRegexp:{s}.test,b.test"),
        ("Methods", "GET,POST", "Method:GET,POST"),
        ("Headers", "X-A:1", "Headers:X-A,1"),
        ("Headers", "X-A,http://b", "Headers:X-A,http://b"),
        ("Headers", "X-A:1,X-B:2", "Headers:X-A,1,X-B,2"),
        ("HeadersRegexp", "X-A:^a{1,3}$", "HeadersRegexp:X-A,^a{1,3}$"),
        ("PathPrefix", "/a", "PathPrefix:/a"),
    ],
)
def test_two_fields(rule, value, text):
    read = one(rule, value)
    assert read.text == text
    assert read.text_length == len(f"{rule}:{value}")
    assert read.condition == read_rule(text, "v1")


def test_routes_are_all_required():
    read = read_frontend_rule([("Host:a;", ""), ("PathPrefix", "/é")])
    assert read.condition == All((HostIs("a", dot_counts=True), PathStarts("/é", decoded=True)))
    assert read.text_length == len("Host:a;") + len("PathPrefix:/é") + 1
    assert read.condition == read_rule(read.text, "v1")


@pytest.mark.parametrize(
    ("rule", "prefixes", "patterns"),
    [
        ("PathPrefixStrip:/a,/a/b", ("/a/b", "/a"), ()),
        ("PathStrip:/a;PathPrefixStrip:/b", ("/b",), ()),
        ("PathPrefixStrip:a,/b", ("/b",), ()),
        ("PathPrefixStrip:/u/{id:[0-9]+}", (), ("^/u/(?:[0-9]+)",)),
        ("PathPrefixStrip:/a.b,/u/{id}", (), ("^/u/(?:[^/]+)", r"^/a\.b")),
        ("PathStripRegex:/a/{x}", (), ("^/a/(?:[^/]+)/?$",)),
        ("PathPrefixStripRegex:/a,/{x}", (), ("^/a", "^/(?:[^/]+)")),
        ("PathPrefixStripRegex:/a;PathPrefixStrip:/b", ("/b",), ("^/a",)),
        ("PathPrefix:/a", (), ()),
    ],
)
def test_stripping(rule, prefixes, patterns):
    read = one(rule)
    assert (read.strip_prefixes, read.strip_patterns) == (prefixes, patterns)


def test_the_last_modifier_wins():
    read = one("AddPrefix:/a,/b;ReplacePath:/c;AddPrefix:/d, ;ReplacePathRegex:^/x/(.*)  /$1")
    assert (read.add_prefix, read.replace_path, read.replace_path_regex) == ("/d", "/c", ("^/x/(.*)", "/$1"))


def test_very_long_lists_redirect_nothing():
    most = ",".join(f"/{number}" for number in range(MAX_REDIRECTED))
    assert len(one(f"Path:{most}").drop_slash) == MAX_REDIRECTED
    read = one(f"Path:{most},/more")
    assert (read.add_slash, read.drop_slash) == ((), ())


@pytest.mark.parametrize(
    ("rule", "added", "dropped", "kept"),
    [
        ("Path:/a", [], ["/a/"], ["/a", "/a/b/"]),
        ("Path:/a/", ["/a"], [], ["/a/"]),
        ("PathStripRegex:/u/{id:[0-9]+}", [], ["/u/1/"], ["/u/1", "/u/x/"]),
        ("Path:/{x}/", ["/b"], [], ["/b/", "/"]),
        ("Path:/", [], [], ["/"]),
        ("PathPrefix:/a,/b/", [], [], ["/a/", "/b"]),
        ("Path:/a,/a/,/b", [], ["/b/"], ["/a", "/a/", "/b"]),
        ("Path:/a;PathStrip:/a/", [], [], ["/a", "/a/"]),
        ("Path:/a,/{x}/", [], [], ["/a", "/a/", "/b", "/b/"]),
        ("Path:/a/b,/{x}/", ["/c"], ["/a/b/"], ["/a/b", "/c/"]),
        ("Path:/{x:.*}", [], ["/a/"], ["/a", "/"]),
    ],
)
def test_the_slash_that_was_written(rule, added, dropped, kept):
    read = one(rule)
    add, drop = (
        [compile_pattern(text).found_in for text in texts] for texts in (read.add_slash, read.drop_slash)
    )
    for path in added + dropped + kept:
        assert any(found(path) for found in add) is (path in added)
        assert any(found(path) for found in drop) is (path in dropped)
