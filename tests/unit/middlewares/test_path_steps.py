"""addPrefix, stripPrefix(Regex), replacePath(Regex) and encodedCharacters beyond the vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config.middlewares import (
    AddPrefix,
    EncodedCharacters,
    Middleware,
    ReplacePath,
    ReplacePathRegex,
    StripPrefix,
    StripPrefixRegex,
)
from shared.paths import escape_path, is_clean
from tests.support.chains import make_exchange, run_chain
from worker.middlewares.strip_prefix import split_escaped

BAD_REQUEST = (400, b"Bad Request\n")


def strip(*prefixes, **options):
    return Middleware(strip_prefix=StripPrefix(prefixes=prefixes, **options))


def strip_regex(*regex, **options):
    return Middleware(strip_prefix_regex=StripPrefixRegex(regex=regex, **options))


def replace_regex(regex, replacement):
    return Middleware(replace_path_regex=ReplacePathRegex(regex=regex, replacement=replacement))


def forwarded_prefix(outcome):
    return outcome.upstream_headers.get_all(b"X-Forwarded-Prefix")


@pytest.mark.parametrize(
    ("prefix", "target", "sent"),
    [
        ("/p", "/a", "/p/a"),
        ("p", "/a?x", "/p/a?x"),
        ("/p/", "/a", "/p//a"),
        ("/a b", "/x%2Fy", "/a%20b/x%2Fy"),
        ("/p%2F", "/x", "/p%252F/x"),
        ("/p", "*", "*"),
    ],
)
def test_add_prefix(prefix, target, sent):
    outcome = run_chain(Middleware(add_prefix=AddPrefix(prefix=prefix)), make_exchange(target))
    assert outcome.upstream_target == sent


@pytest.mark.parametrize(
    ("prefixes", "target", "sent", "header"),
    [
        (["/api"], "/api", "/", b"/api"),
        (["/api"], "/api?", "/?", b"/api"),
        (["/api"], "/api/", "/", b"/api"),
        (["/api"], "/apix", "/x", b"/api"),
        (["/api"], "/api/a/", "/a/", b"/api"),
        (["/api"], "/api/a%2Fb?c=%2F", "/a%2Fb?c=%2F", b"/api"),
        (["/api"], "/api%2Fx%2Fy", "/x%2Fy", b"/api"),
        (["/api"], "/%61pi/x%2Fy", "/x%2Fy", b"/api"),
        (["/api"], "/api..%2Fsecret", "/..%2Fsecret", b"/api"),
        (["/api"], "/api/%252e%252e/", "/%252e%252e/", b"/api"),
        (["/a b"], "/a%20b/x", "/x", b"/a b"),
        (["/é"], "/%C3%A9/x%2Fy", "/x%2Fy", "/é".encode()),
        (["/no", ""], "/zz", "/zz", b""),
        (["/api"], "*", "*", None),
        (["/API"], "/api", "/api", None),
        ([], "/api", "/api", None),
    ],
)
@pytest.mark.parametrize("force_slash", [False, True])
def test_strip_prefix(prefixes, target, sent, header, force_slash):
    outcome = run_chain(strip(*prefixes, force_slash=force_slash), make_exchange(target))
    assert outcome.upstream_target == sent
    assert forwarded_prefix(outcome) == ([] if header is None else [header])


@pytest.mark.parametrize("target", ["/api../secret", "/api.", "/api./x", "/api../", "/api..?x", "/api%2F/x"])
def test_a_rest_that_is_not_clean_is_refused(target):
    for options in (strip("/api"), strip_regex("^/api"), strip("/api", overwrite_header=True)):
        outcome = run_chain(options, make_exchange(target))
        assert (outcome.response.status, outcome.body) == BAD_REQUEST
        assert outcome.upstream_target is None


def test_the_prefix_header_is_added_to_that_of_a_trusted_peer_or_replaces_it():
    earlier = {"X-Forwarded-Prefix": "/up"}
    for make in (lambda **options: strip("/a", **options), lambda **options: strip_regex("^/a", **options)):
        added = run_chain(make(), make_exchange("/a/b", headers=earlier, trusted=True))
        assert forwarded_prefix(added) == [b"/up", b"/a"]
        replaced = run_chain(
            make(overwrite_header=True), make_exchange("/a/b", headers=earlier, trusted=True)
        )
        assert forwarded_prefix(replaced) == [b"/a"]


@pytest.mark.parametrize(
    ("regex", "target", "sent", "header"),
    [
        (["^/v[0-9]+"], "/v2/users?q", "/users?q", b"/v2"),
        (["^/x", "^/v[0-9]+"], "/v2", "/", b"/v2"),
        ([" ^/v2/ "], "/v2/users", "/users", b"/v2/"),
        (["/a$"], "/a/x/a", "/x/a", b"/a"),
        (["^/?z*"], "/users", "/users", b"/"),
        (["z*"], "/users", "/users", None),
        ([r"^/[a-z]+\s"], "/a%20b/x%2Fy", "/b/x%2Fy", b"/a%20"),
        (["^/é"], "/%C3%A9x", "/x", "/é".encode()),
    ],
)
def test_strip_prefix_regex(regex, target, sent, header):
    outcome = run_chain(strip_regex(*regex), make_exchange(target))
    assert outcome.upstream_target == sent
    assert forwarded_prefix(outcome) == ([] if header is None else [header])


@pytest.mark.parametrize("escape", ["%0D%0AEvil:1", "%00", "%7F", "%09"])
def test_decoded_control_characters_never_reach_the_prefix_header(escape):
    outcome = run_chain(strip_regex("(?s)^/e[^/]*"), make_exchange(f"/e{escape}/x"))
    assert outcome.upstream_target == "/x"
    assert forwarded_prefix(outcome) == [f"/e{escape}".encode()]


@given(
    prefix=st.text("/a.% é", min_size=1, max_size=6).map(lambda text: "/" + text),
    rest=st.text("/a.% é\udcff", max_size=8),
)
def test_what_is_stripped_is_rooted_and_clean_or_refused(prefix, rest):
    exchange = make_exchange("/")
    exchange.request.path = escape_path(prefix + rest)
    outcome = run_chain(strip(prefix), exchange)
    if outcome.upstream_target is None:
        assert (outcome.response.status, outcome.body) == BAD_REQUEST
    else:
        assert outcome.upstream_target.startswith("/")
        assert is_clean(outcome.upstream_target)


@given(st.text("/a%é\udcff", max_size=10), st.integers(0, 20))
def test_splitting_loses_nothing_and_never_cuts_an_escape(text, count):
    path = escape_path("/" + text)
    cut, rest = split_escaped(path, count)
    assert cut + rest == path
    assert cut.count("%") * 2 + min(count, len(("/" + text).encode("utf-8", "surrogateescape"))) == len(cut)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/new", "/new?q"),
        ("new", "/new?q"),
        ("", "/?q"),
        ("/a b", "/a%20b?q"),
        ("/x?y", "/x%3Fy?q"),
        ("/a%2Fb", "/a%2Fb?q"),
        ("/%C3%A9é", "/%C3%A9%C3%A9?q"),
        ("/a\r\nX: y", "/a%0D%0AX:%20y?q"),
    ],
)
def test_replace_path(path, sent):
    outcome = run_chain(Middleware(replace_path=ReplacePath(path=path)), make_exchange("/o%2Fld?q"))
    assert outcome.upstream_target == sent
    assert outcome.upstream_headers.get_all(b"X-Replaced-Path") == [b"/o%2Fld"]


def test_a_bad_escape_in_the_replacement_names_the_escape():
    outcome = run_chain(Middleware(replace_path=ReplacePath(path="/a%zz")), make_exchange("/"))
    assert (outcome.response.status, outcome.body) == (500, b'invalid URL escape "%zz"\n')
    assert outcome.upstream_target is None


@pytest.mark.parametrize(
    ("regex", "replacement", "target", "sent"),
    [
        (" ^/api/(.*) ", " /v1/$1 ", "/api/u%2Fx?q=/api/", "/v1/u%2Fx?q=/api/"),
        ("^/(?P<first>[^/]+)/(.*)", "/${2}/${first}", "/a/b", "/b/a"),
        ("a", "b", "/aXa", "/bXb"),
        ("%2F", "/", "/a%2Fb", "/a/b"),
        ("^/api/(.*)", "/a b?c=$1", "/api/x", "/a%20b%3Fc=x"),
        ("^/api/(.*)", "$1", "/api/x", "/x"),
        ("^/.*", "", "/api/x", "/"),
    ],
)
def test_replace_path_regex(regex, replacement, target, sent):
    outcome = run_chain(replace_regex(regex, replacement), make_exchange(target))
    assert outcome.upstream_target == sent
    old = target.partition("?")[0].encode()
    assert outcome.upstream_headers.get_all(b"X-Replaced-Path") == [old]


def test_replace_path_regex_without_a_match_changes_nothing():
    outcome = run_chain(replace_regex("^/api", "/x"), make_exchange("/other?/api"))
    assert outcome.upstream_target == "/other?/api"
    assert b"X-Replaced-Path" not in outcome.upstream_headers


@pytest.mark.parametrize("replacement", ["/$1//z", "/../$1", "/./$1", "/%2e%2e/../$1"])
def test_a_rewritten_path_that_is_not_clean_is_refused(replacement):
    outcome = run_chain(replace_regex("^/api/(.*)", replacement), make_exchange("/api/x"))
    assert (outcome.response.status, outcome.body) == BAD_REQUEST
    assert outcome.upstream_target is None


def test_a_rewritten_path_with_a_bad_escape_answers_500():
    outcome = run_chain(replace_regex("^/api/(.*)", "/%zz$1"), make_exchange("/api/x"))
    assert (outcome.response.status, outcome.body) == (500, b'invalid URL escape "%zz"\n')


ESCAPES = {
    "%2F": "allow_encoded_slash",
    "%5C": "allow_encoded_back_slash",
    "%00": "allow_encoded_null_character",
    "%3B": "allow_encoded_semicolon",
    "%25": "allow_encoded_percent",
    "%3F": "allow_encoded_question_mark",
    "%23": "allow_encoded_hash",
}


@pytest.mark.parametrize(("escape", "option"), ESCAPES.items())
def test_each_encoded_character_is_refused_unless_allowed(escape, option):
    for spelling in (escape, escape.lower()):
        refused = run_chain(
            Middleware(encoded_characters=EncodedCharacters()), make_exchange(f"/a{spelling}b")
        )
        assert (refused.response.status, refused.body) == (400, b"")
        assert refused.upstream_target is None
        allowed = Middleware(encoded_characters=EncodedCharacters(**{option: True}))
        assert run_chain(allowed, make_exchange(f"/a{spelling}b")).upstream_target == f"/a{escape}b"


def test_only_the_path_is_looked_at_escape_by_escape():
    only_percent = Middleware(encoded_characters=EncodedCharacters(allow_encoded_percent=True))
    assert run_chain(only_percent, make_exchange("/a%252Fb%20?x=%2F%00")).upstream_target is not None


def test_what_was_cut_whole_leaves_no_slash_behind_a_later_prefix():
    chain = [strip("/api"), Middleware(add_prefix=AddPrefix(prefix="/v2"))]
    assert run_chain(chain, make_exchange("/api")).upstream_target == "/v2"
    assert run_chain(chain, make_exchange("/api/")).upstream_target == "/v2/"
    chain[0] = strip("/api", force_slash=True)
    assert run_chain(chain, make_exchange("/api?q")).upstream_target == "/v2/?q"
