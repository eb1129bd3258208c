"""Request heads: what is accepted means one thing, what is ambiguous is refused by name."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config.static import AllowedEncodedCharacters, EntryPointHttp
from shared.errors import (
    BadRequest,
    DownstreamError,
    HeadersTooLarge,
    MethodNotImplemented,
    UriTooLong,
    VersionNotSupported,
)
from worker.request_head import (
    MAX_FIELDS,
    MAX_TARGET_BYTES,
    HeadRules,
    Peer,
    RefusedField,
    RefusedTarget,
    check_escapes,
    make_rules,
    parse_request,
)

RULES = HeadRules(max_bytes=1_048_576)
PEER = Peer("10.0.0.9", 5)


def parse(head, rules=RULES):
    return parse_request(head, rules, PEER)


def get(*lines, target=b"/", version=b"1.1", host=b"Host: a\r\n", method=b"GET"):
    return (
        method
        + b" "
        + target
        + b" HTTP/"
        + version
        + b"\r\n"
        + host
        + b"".join(x + b"\r\n" for x in lines)
        + b"\r\n"
    )


def test_a_head_becomes_a_request():
    head = parse(get(b"X-A:  1 \t", b"x-a:2", b"Empty:", target=b"/a%20b?q=%zz"))
    request = head.request
    assert (request.method, request.path, request.query) == ("GET", "/a%20b", "q=%zz")
    assert list(request.headers) == [(b"X-A", b"1"), (b"x-a", b"2"), (b"Empty", b"")]
    assert (request.host_header, request.host, request.routing_path) == ("a", "a", "/a b")
    assert (request.client_ip, request.client_port, request.version) == ("10.0.0.9", 5, "1.1")
    assert (head.body_length, head.keep_alive, head.expects_continue) == (0, True, False)


@pytest.mark.parametrize(
    "lines",
    [
        [b"X : 1"],
        [b" X: 1"],
        [b"X: 1", b" folded"],
        [b"X: 1", b"\tfolded"],
        [b": 1"],
        [b"X"],
        [b"X\x00: 1"],
        [b"X: \x001"],
        [b"X: a\x08"],
        [b"X: a\x0bb"],
        [b"X: a\x0cb"],
        [b"X: a\x1fb"],
        [b"X: a\x7fb"],
        [b"X: a\nY: b"],
        [b"X: a\rY: b"],
        [b"X: a\r"],
        [b"X: a", b"Y: b\n"],
        ["Ü: 1".encode()],
        [b"X(: 1"],
        [b"Host: a"],
        [b"Host: b"],
        [b"Content-Length: 1", b"Content-Length: 1"],
        [b"Content-Length: 1, 1"],
        [b"Content-Length: +1"],
        [b"Content-Length: -1"],
        [b"Content-Length: 0x1"],
        [b"Content-Length: 1_0"],
        [b"Content-Length:"],
        [b"Content-Length: 9999999999999999999"],
        [b"Content-Length: 1", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 0"],
        [b"Transfer-Encoding: chunked, chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked, gzip"],
        [b"Transfer-Encoding: identity"],
        [b"Transfer-Encoding: chunked;q=1"],
        [b"Transfer-Encoding: ,chunked"],
        [b"Transfer-Encoding:"],
    ],
)
def test_ambiguous_or_malformed_fields_are_refused(lines):
    with pytest.raises(BadRequest):
        parse(get(*lines))


@pytest.mark.parametrize(
    "start_line",
    [
        b"GET /",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET\t/\tHTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/1.11",
        b"GET / HTTP/1,1",
        b"G(T / HTTP/1.1",
        b"GET a HTTP/1.1",
        b"GET /a\x01 HTTP/1.1",
        b"GET /a\x7f HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET ftp://a/ HTTP/1.1",
        b"GET http:///x HTTP/1.1",
        b"GET http://u@a/ HTTP/1.1",
        b"GET http://b/ HTTP/1.1",
        b"",
    ],
)
def test_malformed_start_lines_are_refused(start_line):
    with pytest.raises(BadRequest):
        parse(start_line + b"\r\nHost: a\r\n\r\n")


@pytest.mark.parametrize(
    "host",
    [
        *(b"a b", b"a/b", b"a@b", b"a:b", b"a:99999", b"a:123456", b"[::1", b"::1", b"[x]"),
        *(b"a\\b", b"%zz", b"a?b", b'"'),
    ],
)
def test_malformed_hosts_are_refused(host):
    with pytest.raises(BadRequest):
        parse(get(host=b"Host: " + host + b"\r\n"))


@pytest.mark.parametrize(
    ("host", "canonical"),
    [
        (b"A.b", "a.b"),
        (b"a.b:80", "a.b"),
        (b"a:", "a"),
        (b"[::1]:8080", "::1"),
        (b"", ""),
        (b"a_b.c", "a_b.c"),
    ],
)
def test_good_hosts(host, canonical):
    assert parse(get(host=b"Host: " + host + b"\r\n")).request.host == canonical


def test_only_http_1_1_needs_a_host():
    with pytest.raises(BadRequest):
        parse(get(host=b""))
    assert parse(get(host=b"", version=b"1.0")).request.host == ""


@pytest.mark.parametrize(
    ("head", "error"),
    [
        (get(version=b"2.0"), VersionNotSupported),
        (get(version=b"1.2"), VersionNotSupported),
        (b"PRI * HTTP/2.0\r\n\r\n", VersionNotSupported),
        (get(method=b"CONNECT", target=b"a:1"), MethodNotImplemented),
        (get(b"Transfer-Encoding: gzip, chunked"), MethodNotImplemented),
        (get(b"Transfer-Encoding: chunked", version=b"1.0"), BadRequest),
        (get(target=b"/" + b"a" * MAX_TARGET_BYTES), UriTooLong),
        (get(*[b"X: 1"] * MAX_FIELDS), HeadersTooLarge),
        (get(target=b"/a#b"), RefusedTarget),
        (get(target=b"/a%"), BadRequest),
        (get(target=b"/a%2"), BadRequest),
        (get(target=b"/a%zz"), BadRequest),
    ],
)
def test_errors_by_kind(head, error):
    with pytest.raises(error) as raised:
        parse(head)
    assert raised.type is error


def test_the_limit_on_bytes():
    head = get(b"X: y")
    assert parse(head, HeadRules(max_bytes=len(head)))
    with pytest.raises(HeadersTooLarge):
        parse(head, HeadRules(max_bytes=len(head) - 1))


@pytest.mark.parametrize(
    ("target", "sanitised", "path", "query"),
    [
        (b"/a/../b", True, "/b", None),
        (b"/a/../b//c", False, "/a/../b//c", None),
        (b"/%7ea/%2e%2E/b%2f", True, "/b%2F", None),
        (b"/a?", True, "/a", None),
        (b"/a?b?c", True, "/a", "b?c"),
        ("/ü?ü".encode(), True, "/%C3%BC", "%C3%BC"),
        (b"http://a/x?y", True, "/x", "y"),
        (b"HTTP://A?y", True, "/", "y"),
        (b"http://a", True, "/", None),
        (b"//a//b", True, "/a/b", None),
        (b'/a"<>\\^`{|}b', True, "/a%22%3C%3E%5C%5E%60%7B%7C%7Db", None),
        (b"/..\\a", True, "/..%5Ca", None),
        (b'/[a]?["]', True, "/[a]", '["]'),
    ],
)
def test_targets_have_one_form(target, sanitised, path, query):
    request = parse(get(target=target), HeadRules(max_bytes=10_000, sanitise_path=sanitised)).request
    assert (request.path, request.query) == (path, query)
    assert request.received_target == target.decode()


def test_asterisk_form_is_for_options():
    request = parse(get(method=b"OPTIONS", target=b"*")).request
    assert (request.path, request.query, request.target) == ("*", None, "*")


def test_the_absolute_form_gives_an_old_client_a_host():
    request = parse(get(target=b"http://B.test:81/x", version=b"1.0", host=b"")).request
    assert (request.host, request.host_header) == ("b.test", "B.test:81")


def test_semicolons():
    assert parse(get(target=b"/?a;b")).request.query == "a&b"
    rules = HeadRules(max_bytes=10_000, encode_semicolons=True)
    assert parse(get(target=b"/?a;b"), rules).request.query == "a%3Bb"


def test_redirects_see_semicolons_as_they_were_sent():
    assert parse(get(target=b"/a/../b?a;b")).request.redirect_target == "/b?a;b"
    rules = HeadRules(max_bytes=10_000, encode_semicolons=True)
    assert parse(get(target=b"/?a;b"), rules).request.redirect_target == "/?a%3Bb"
    assert parse(get(target=b"/?")).request.redirect_target == "/"


def test_a_raw_backslash_is_refused_where_an_escaped_one_is():
    strict = make_rules(
        EntryPointHttp(encoded_characters=AllowedEncodedCharacters(allow_encoded_back_slash=False))
    )
    with pytest.raises(RefusedTarget):
        check_escapes(parse(get(target=b"/a\\b"), strict).request, strict)


def test_aliases_and_underscores():
    lines = [b"X_A: 1", b"X.A: 2", b"X-A: 3"]
    for underscores, aliases, left in [
        ("keep", "keep", [b"1", b"2", b"3"]),
        ("delete", "keep", [b"2", b"3"]),
        ("keep", "delete", [b"3"]),
    ]:
        http = EntryPointHttp(underscore_headers_strategy=underscores, alias_headers_strategy=aliases)
        headers = parse(get(*lines), make_rules(http)).request.headers
        assert [value for _, value in headers] == left
    for http in (
        EntryPointHttp(underscore_headers_strategy="reject"),
        EntryPointHttp(alias_headers_strategy="reject"),
    ):
        with pytest.raises(RefusedField):
            parse(get(*lines), make_rules(http))


@pytest.mark.parametrize(
    ("setting", "escape"),
    [
        ("allow_encoded_slash", "%2f"),
        ("allow_encoded_back_slash", "%5C"),
        ("allow_encoded_null_character", "%00"),
        ("allow_encoded_semicolon", "%3b"),
        ("allow_encoded_percent", "%25"),
        ("allow_encoded_question_mark", "%3F"),
        ("allow_encoded_hash", "%23"),
    ],
)
def test_escapes_that_an_entrypoint_refuses(setting, escape):
    strict = make_rules(EntryPointHttp(encoded_characters=AllowedEncodedCharacters(**{setting: False})))
    request = parse(get(target=f"/a{escape}b?{escape}".encode()), strict).request
    with pytest.raises(RefusedTarget):
        check_escapes(request, strict)
    check_escapes(request, make_rules(EntryPointHttp()))
    check_escapes(parse(get(target=f"/?{escape}".encode()), strict).request, strict)


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"close", False),
        (b"1.1", b"x, CLOSE", False),
        (b"1.0", b"", False),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"keep-alive, close", False),
    ],
)
def test_keeping_the_connection(version, connection, keeps):
    assert parse(get(b"Connection: " + connection, version=version)).keep_alive is keeps


def test_framing():
    assert parse(get(b"Content-Length: 12")).body_length == 12
    assert parse(get(b"Transfer-Encoding: CHUNKED")).body_length is None
    assert parse(get(b"Expect: 100-Continue")).expects_continue
    assert not parse(get(b"Expect: 100-continue", version=b"1.0")).expects_continue


_PIECES = st.sampled_from(
    [
        *(b"GET", b"POST", b" ", b"/", b"*", b"http://a", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r"),
        *(b"Host: a", b"X: 1", b"Content-Length: 1", b"Transfer-Encoding: chunked", b":", b"\t", b"\x00"),
        *(b"%", b"#", b"?", b"\xff", b"Host:", b"GET / HTTP/1.1\r\nHost: a\r\n"),
    ]
)


@given(st.lists(_PIECES | st.binary(max_size=3), max_size=20).map(b"".join))
def test_any_bytes_give_a_request_or_a_downstream_error_and_never_more_than_h11_accepts(data):
    head = data + b"\r\n\r\n"
    try:
        parsed = parse(head)
    except DownstreamError:
        return
    if not head.isascii():
        return  # h11 takes no target beyond ASCII; we escape it
    judge = h11.Connection(h11.SERVER)
    judge.receive_data(head)
    event = judge.next_event()
    assert isinstance(event, h11.Request)
    assert event.target == parsed.request.received_target.encode()
    assert len(event.headers) == len(parsed.request.headers) + (b"host" in dict(event.headers))
