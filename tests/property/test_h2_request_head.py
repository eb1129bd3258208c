"""Heads of HTTP/2: whatever comes is one request or a refusal, and both versions read a message alike."""

from hypothesis import given
from hypothesis import strategies as st

from shared.config.static import EntryPointHttp
from shared.errors import DownstreamError
from worker.h2 import request_head as http2
from worker.request_head import Peer, make_rules, parse_request

RULES = make_rules(EntryPointHttp())
PEER = Peer("127.0.0.1", 1)
NAMES = st.sampled_from(
    [
        *(b":method", b":path", b":scheme", b":authority", b":status", b"host", b"te", b"connection"),
        *(b"content-length", b"cookie", b"x-a", b"X-A", b"", b"x a", b"upgrade", b"expect"),
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [b"GET", b"/", b"http", b"a.test", b"trailers", b"5", b"", b"a\r\nb", b" a", b"*", b"/%2e./x?y"]
    ),
    st.binary(max_size=12),
)
ORDINARY = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/")]


@given(st.lists(st.tuples(NAMES, VALUES), max_size=10), st.booleans(), st.booleans())
def test_a_request_or_a_refusal(fields, has_body, begins_well):
    fields = [*ORDINARY, *fields] if begins_well else fields
    try:
        head = http2.parse_request(fields, RULES, PEER, has_body=has_body)
    except DownstreamError:
        return
    request = head.request
    assert request.host_header
    assert request.version == "2.0"
    names = set(request.headers.names())
    assert not any(name.startswith(b":") or name != name.lower() for name in names)
    assert not names & {*http2.CONNECTION_FIELDS, b"host"}
    assert not any(b"\r" in value or b"\n" in value or b"\0" in value for _, value in request.headers)
    assert head.body_length == 0 or has_body


TOKENS = st.text("abcdefgh-_", min_size=1, max_size=8).map(str.encode).filter(lambda name: name != b"te")
TEXTS = st.text("abc /=;,\t\xe9", max_size=10).map(lambda text: text.strip().encode("latin-1"))
TARGETS = st.text("/.%2eEfF?;=ab&\\\xe9", max_size=14).map(lambda text: b"/" + text.encode("latin-1"))


@given(
    TARGETS,
    st.lists(st.tuples(TOKENS, TEXTS), max_size=5),
    st.sampled_from([b"a.test", b"A.Test:81", b"[::1]"]),
)
def test_both_versions_read_the_same_request(target, fields, host):
    lines = [b"GET " + target + b" HTTP/1.1", b"host: " + host, *(b"%b: %b" % each for each in fields)]
    old = outcome(lambda: parse_request(b"\r\n".join(lines) + b"\r\n\r\n", RULES, PEER))
    pseudo = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", host), (b":path", target)]
    new = outcome(lambda: http2.parse_request([*pseudo, *fields], RULES, PEER, has_body=False))
    assert old == new


def outcome(parse):
    """What a head means, or the kind of its refusal."""
    try:
        request = parse().request
    except DownstreamError as error:
        return type(error)
    parts = (request.method, request.path, request.query, request.host, request.host_header)
    return (*parts, request.routing_path, request.decoded_path, list(request.headers))
