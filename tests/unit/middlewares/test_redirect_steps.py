"""redirectScheme, redirectRegex and the two redirects of v1 beyond the vectors."""

from __future__ import annotations

import pytest

from shared.config.middlewares import (
    EntryPointRedirect,
    Middleware,
    RedirectRegex,
    RedirectScheme,
    SlashRedirect,
    StripPrefix,
)
from tests.support.chains import make_exchange, run_chain
from worker.middlewares.redirection import is_url, split_host_port


def to_scheme(scheme="https", **options):
    return Middleware(redirect_scheme=RedirectScheme(scheme=scheme, **options))


def by_regex(regex, replacement, **options):
    return Middleware(redirect_regex=RedirectRegex(regex=regex, replacement=replacement, **options))


@pytest.mark.parametrize(
    ("method", "permanent", "status", "body"),
    [
        ("GET", False, 302, b"Found"),
        ("GET", True, 301, b"Moved Permanently"),
        ("HEAD", False, 307, b"Temporary Redirect"),
        ("POST", False, 307, b"Temporary Redirect"),
        ("POST", True, 308, b"Permanent Redirect"),
        ("OPTIONS", True, 308, b"Permanent Redirect"),
    ],
)
def test_the_status_follows_the_method(method, permanent, status, body):
    for options in (to_scheme(permanent=permanent), by_regex("^http:", "https:", permanent=permanent)):
        outcome = run_chain(options, make_exchange("/x", method=method))
        assert (outcome.response.status, outcome.body) == (status, body)
        assert list(outcome.response.headers) == [(b"Location", b"https://foo.test/x")]
        assert outcome.upstream_target is None


@pytest.mark.parametrize(
    ("options", "host", "location"),
    [
        ({}, "foo.test", "https://foo.test/a?b"),
        ({}, "foo.test:80", "https://foo.test/a?b"),
        ({"port": "443"}, "foo.test:8080", "https://foo.test/a?b"),
        ({"port": "80"}, "foo.test", "https://foo.test:80/a?b"),
        ({"port": "8443"}, "[::1]:80", "https://[::1]:8443/a?b"),
        ({}, "[::1]", "https://[::1]/a?b"),
        ({}, "my_host", "https://my_host/a?b"),
        ({"scheme": "http", "port": "80"}, "foo.test:81", "http://foo.test/a?b"),
    ],
)
def test_redirect_scheme_targets(options, host, location):
    assert run_chain(to_scheme(**options), make_exchange("/a?b", host=host)).location == location


@pytest.mark.parametrize("proto", ["https", "HTTPS", "wss", "Wss"])
def test_a_trusted_proto_says_that_the_client_is_already_there(proto):
    exchange = make_exchange(headers={"X-Forwarded-Proto": proto}, trusted=True)
    assert run_chain(to_scheme(), exchange).upstream_target == "/"


@pytest.mark.parametrize("proto", ["http", "ws", "gopher", "https,http"])
def test_any_other_proto_is_redirected(proto):
    exchange = make_exchange(headers={"X-Forwarded-Proto": proto}, trusted=True)
    assert run_chain(to_scheme(), exchange).response.status == 302


def test_an_unknown_proto_leaves_the_connections_scheme():
    exchange = make_exchange(headers={"X-Forwarded-Proto": "gopher"}, trusted=True, tls=True)
    assert run_chain(to_scheme(), exchange).upstream_target == "/"


def test_a_proto_of_http_overrides_tls():
    exchange = make_exchange(headers={"X-Forwarded-Proto": "http"}, trusted=True, tls=True)
    assert run_chain(to_scheme(), exchange).location == "https://foo.test/"


def test_redirect_scheme_never_loops():
    assert (
        run_chain(to_scheme(port="8443"), make_exchange(tls=True, host="foo.test:8443")).upstream_target
        == "/"
    )
    assert run_chain(to_scheme(), make_exchange(tls=True, host="foo.test:443")).upstream_target == "/"
    moved = run_chain(to_scheme(), make_exchange(tls=True, host="foo.test:8443"))
    assert moved.location == "https://foo.test/"


def test_the_location_has_the_path_as_earlier_steps_left_it():
    chain = [Middleware(strip_prefix=StripPrefix(prefixes=("/api",))), to_scheme()]
    assert run_chain(chain, make_exchange("/api/x?y")).location == "https://foo.test/x?y"


def test_redirect_regex_sees_scheme_host_port_and_query():
    echo = by_regex("(.*)", "http://log.test/?u=$1")
    outcome = run_chain(echo, make_exchange("/p?q=1", host="foo.test:8080", tls=True))
    assert outcome.location.startswith("http://log.test/?u=https://foo.test:8080/p?q=1")


def test_redirect_regex_ignores_the_forwarded_proto():
    exchange = make_exchange(headers={"X-Forwarded-Proto": "https"}, trusted=True)
    assert run_chain(by_regex("^http://(.*)", "https://$1"), exchange).location == "https://foo.test/"


def test_redirect_regex_replaces_every_match_and_may_be_relative():
    assert run_chain(by_regex("foo", "bar"), make_exchange("/foo")).location == "http://bar.test/bar"
    assert run_chain(by_regex("^http://[^/]+", ""), make_exchange("/a")).location == "/a"


@pytest.mark.parametrize(
    "replacement", ["http://a b/", "http://x:abc$1", "http://h/%zz", ":zz", "", "a:b c:/\x01"]
)
def test_a_target_that_is_no_url_answers_502(replacement):
    outcome = run_chain(by_regex("^.*$", replacement), make_exchange())
    assert (outcome.response.status, outcome.body) == (502, b"Bad Gateway")
    assert outcome.location is None


def test_captured_text_cannot_split_the_response():
    outcome = run_chain(by_regex("^http://[^/]+/(.*)", "http://h/$1"), make_exchange('/a"<é?b"é'))
    assert "\r" not in outcome.location
    assert outcome.location.isascii()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://h:80/a?%zz", True),
        ("//h/a", True),
        ("mailto:x", True),
        ("a/b:c", True),
        ("http://u:p@[::1]:8/", True),
        ("1a:b", False),
        ("http://h/#%z", False),
        ("http://[::1/", False),
        ("http://h\n/", False),
    ],
)
def test_what_is_a_url(text, expected):
    assert is_url(text) is expected


@pytest.mark.parametrize(
    ("field", "parts"),
    [
        ("a:1", ("a", "1")),
        ("a", ("a", "")),
        ("[::1]", ("[::1]", "")),
        ("[::1]:5", ("[::1]", "5")),
        ("a:", ("a", "")),
        ("", ("", "")),
    ],
)
def test_host_and_port(field, parts):
    assert split_host_port(field) == parts


def to_entrypoint(**options):
    return Middleware(entry_point_redirect=EntryPointRedirect(**options))


@pytest.mark.parametrize(
    ("host", "location"),
    [
        ("FOO.bar", "https://FOO.bar:443/x?y"),
        ("[::1]:80", "https://[::1]:443/x?y"),
        ("[2001:db8::1]", "https://[2001:db8::1]:443/x?y"),
        ("my_host:8080", "https://my_host:443/x?y"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_a_v1_redirect_is_302_with_the_port_written(host, location, method):
    outcome = run_chain(
        to_entrypoint(scheme="https", port="443", regex="ignored("),
        make_exchange("/x?y", host=host, method=method),
    )
    assert (outcome.response.status, outcome.body, outcome.location) == (302, b"Found", location)


def test_a_permanent_v1_redirect_is_301():
    outcome = run_chain(to_entrypoint(regex="http:", replacement="https:", permanent=True), make_exchange())
    assert (outcome.response.status, outcome.body) == (301, b"Moved Permanently")


def test_a_v1_redirect_to_where_the_request_is_passes():
    there = to_entrypoint(scheme="https", port="443")
    assert run_chain(there, make_exchange(host="a:443", tls=True)).upstream_target == "/"
    trusted = make_exchange(host="a:443", headers={"X-Forwarded-Proto": "https"}, trusted=True)
    assert run_chain(there, trusted).upstream_target == "/"
    other_spelling = make_exchange(host="a:443", headers={"X-Forwarded-Proto": "HTTPS"}, trusted=True)
    assert run_chain(there, other_spelling).response.status == 302


SLASHES = Middleware(
    slash_redirect=SlashRedirect(with_slash=("^/dir$", "^/d/.*$"), without_slash=("^/file/$",))
)


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/dir?a=1", "/dir/?a=1"),
        ("/file/?a=1", "/file?a=1"),
        ("/file/", "/file"),
        ("/d/%2F%20x", "/d/%2F%20x/"),
    ],
)
def test_a_slash_redirect_is_relative_and_keeps_the_query(target, location):
    outcome = run_chain(SLASHES, make_exchange(target))
    assert outcome.response.status == 301
    assert outcome.location == location
    assert outcome.upstream_target is None


def test_the_page_of_a_slash_redirect():
    outcome = run_chain(SLASHES, make_exchange("/dir?a=1&b='\"<"))
    link = b"/dir/?a=1&amp;b=&#39;&#34;&lt;"
    assert outcome.body == b'<a href="' + link + b'">Moved Permanently</a>.\n\n'
    assert outcome.response.headers.get(b"Content-Type") == b"text/html; charset=utf-8"
    assert run_chain(SLASHES, make_exchange("/dir", method="HEAD")).body == b""
    posted = run_chain(SLASHES, make_exchange("/dir", method="POST"))
    assert (posted.response.status, posted.body) == (301, b"")


@pytest.mark.parametrize("target", ["/dir/", "/file", "/", "/other"])
def test_the_right_form_of_the_slash_passes(target):
    assert run_chain(SLASHES, make_exchange(target)).upstream_target == target


@pytest.mark.parametrize("path", ["//evil.test/", "/\\evil.test/", "///evil.test/"])
def test_a_slash_redirect_stays_on_this_host(path):
    exchange = make_exchange("/")
    exchange.request.path = exchange.request.decoded_path = path
    every = Middleware(slash_redirect=SlashRedirect(without_slash=(".*",)))
    assert run_chain(every, exchange).location == "/evil.test"
