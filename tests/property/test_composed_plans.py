"""What the plain lane puts together from known parts is what the general lane makes of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config.static import EntryPoint, EntryPointHttp, ForwardedHeaders
from shared.errors import DownstreamError
from tests.support.corpus import read_corpus
from worker.plain.composer import LOOKED_AT, Composer
from worker.plain.plan import Plan, read_whole
from worker.plain.records import blank_record
from worker.request_head import Peer
from worker.state import make_entrance

PEER = Peer("192.0.2.7", 4711)
ROUTES = object()
ROUTE = SimpleNamespace(name="r@file", service_name="s@file", steps=())
GENERATION = 3


@dataclass(frozen=True)
class To:
    """As much of a server as a head for it needs."""

    url: str
    base_path: str
    pass_host_header: bool
    keeps_connections: bool
    host_header: str = "up.test"


SERVERS = [
    To("http://up.test", "", True, True),
    To("http://up.test/base/", "/base/", False, True),
    To("http://up.test/x", "/x", True, False),
]
ENTRANCES = [
    make_entrance("web", EntryPoint(address=":80", forwarded_headers=each, http=http), "host.test")
    for each, http in [
        (ForwardedHeaders(), EntryPointHttp()),
        (ForwardedHeaders(insecure=True), EntryPointHttp()),
        (ForwardedHeaders(not_append_x_forwarded_for=True), EntryPointHttp(sanitize_path=False)),
        (ForwardedHeaders(connection=("keep-alive",)), EntryPointHttp()),
        (ForwardedHeaders(), EntryPointHttp(max_header_bytes=120)),
        (ForwardedHeaders(), EntryPointHttp(underscore_headers_strategy="delete")),
    ]
]
NAMES = [
    *sorted(name.decode() for name in LOOKED_AT),
    *("Accept", "Cookie", "User-Agent", "Referer", "X-A", "x_a", "Date", "Content-Type", "Sec-Fetch-Mode"),
    *("X-Forwarded-For", "X_Forwarded_For", "X-Real-Ip", "X-Forwarded-Prefix", "X.Forwarded.Proto"),
]
VALUES = [
    *("", "a", "keep-alive", "Keep-Alive", "close", "a.test", "a.test:81", "0", "2", "trailers", "x,y"),
    *('"q"', "100-continue", "websocket", "chunked", "ü", " a ", "a\tb", "\x0b", "[::1]:8", "%", "a b"),
]
LATER_HOSTS = ["Host: a.test", "Host: A.test:81", "host:a.test", "Host: a b", ""]
METHODS = ["GET", "HEAD", "OPTIONS", "DELETE", "POST", "get", "CONNECT"]
TARGETS = ["/", "*", "/a/b/", "/a/../b", "/.a", "//a", "/a//b", "http://a.test/x", "/a?b=%2F;c", "/a?", "a"]

lines = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from([": ", ":", ":\t"]),
    st.one_of(st.sampled_from(VALUES), st.text("ab", max_size=4)),
).map("".join)
targets = st.one_of(
    st.text("/ab.%;?*~=&2Ff#\\\"'ü", max_size=12).map(lambda text: "/" + text), st.sampled_from(TARGETS)
)


@st.composite
def heads(draw):
    """A head, most often a good one."""
    version = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]))
    start = f"{draw(st.sampled_from(METHODS))} {draw(targets)} {version}"
    host = draw(st.sampled_from(LATER_HOSTS))
    text = [start, *([host] if host else []), *draw(st.lists(lines, max_size=6)), "", ""]
    return "\r\n".join(text).encode()


def both(composer, head, entrance):
    """What the composer says and what reading the whole says; the first may be None for anything."""
    composed = composer.compose(head, entrance, PEER, ROUTES, GENERATION)
    try:
        whole = read_whole(head, entrance, PEER, GENERATION)
    except DownstreamError:
        whole = None
    return composed, whole


def assert_agree(composer, head, entrance):
    """Whether the head was composed; if so, into what it is."""
    composed, whole = both(composer, head, entrance)
    if composed is None:
        return False
    assert whole is not None, "composed what is not plain"
    assert not whole.closes
    assert composed.frame.client_host == whole.client_host
    ours, theirs = composed.exchange.request, whole.exchange.request
    for name in type(theirs).__slots__:
        if name != "body":
            assert getattr(ours, name) == getattr(theirs, name), name
    plans = [
        Plan(reading, ROUTES, None, None)
        for reading in (whole._replace(exchange=composed.exchange, composition=composed), whole)
    ]
    for plan in plans:
        plan.exchange.route = ROUTE
    for server in SERVERS:
        heads_sent = [plan.head_for(server) for plan in plans]
        assert heads_sent[0] == heads_sent[1]
    assert blank_record(plans[0], "u") == blank_record(plans[1], "u")
    return True


@settings(max_examples=1500)
@given(st.lists(heads(), min_size=1, max_size=4), st.sampled_from(ENTRANCES))
def test_composed_is_read_whole(sent, entrance):
    composer = Composer()
    for head in sent:
        assert_agree(composer, head, entrance)
        assert_agree(composer, head, entrance)  # now that its lines are known


def test_the_corpus_of_attacks_is_never_composed_otherwise():
    composer = Composer()
    for message in read_corpus("requests"):
        head = message.raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        assert_agree(composer, head, ENTRANCES[0])


def test_what_browsers_send_is_composed():
    composer = Composer()
    for number in range(3):
        head = (
            f"GET /items/{number}/view?page={number} HTTP/1.1\r\nHost: shop.test\r\n"
            "User-Agent: Mozilla/5.0 (X11)\r\nAccept: text/html;q=0.9,*/*\r\n"
            f"Cookie: id={number}; theme=dark\r\nConnection: keep-alive\r\n\r\n"
        ).encode()
        assert assert_agree(composer, head, ENTRANCES[0])
