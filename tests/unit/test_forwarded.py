"""Forwarded and hop-by-hop fields (spec v2 sections 5.1 and 5.2)."""

import pytest

from shared.config.static import ForwardedHeaders
from shared.headers import Headers
from worker.forwarded import for_upstream, make_trust, note_peer, passable_trailers, without_hop_fields
from worker.messages import Request


def request(*fields, host="foo.test", ip="10.0.0.9", scheme="http", version="1.1"):
    return Request(
        method="GET",
        received_target="/",
        path="/",
        query=None,
        headers=Headers(fields),
        host_header=host,
        host=host,
        routing_path="/",
        decoded_path="/",
        client_ip=ip,
        scheme=scheme,
        version=version,
    )


def sent(*fields, settings=None, append=True, **options):
    incoming = request(*fields, **options)
    note_peer(incoming, make_trust(settings or ForwardedHeaders(), "gate"))
    headers = for_upstream(incoming, append=append)
    return {name.lower(): b"|".join(headers.get_all(name)) for name, _ in headers}


def test_a_stranger_may_claim_nothing():
    got = sent(
        (b"X-Forwarded-For", b"1.2.3.4"),
        (b"X_Forwarded_Proto", b"https"),
        (b"x.real.ip", b"1.1.1.1"),
        (b"X-Forwarded-Prefix", b"/p"),
        (b"X-Forwarded-Tls-Client-Cert", b"c"),
    )
    assert got == {
        b"x-real-ip": b"10.0.0.9",
        b"x-forwarded-for": b"10.0.0.9",
        b"x-forwarded-proto": b"http",
        b"x-forwarded-port": b"80",
        b"x-forwarded-host": b"foo.test",
        b"x-forwarded-server": b"gate",
    }


def test_a_trusted_peer_is_believed_except_about_us():
    trusted = ForwardedHeaders(trusted_ips=("10.0.0.0/8",))
    got = sent(
        (b"X-Forwarded-For", b"1.2.3.4"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Server", b"evil"),
        settings=trusted,
    )
    assert got[b"x-forwarded-for"] == b"1.2.3.4, 10.0.0.9"
    assert (got[b"x-forwarded-proto"], got[b"x-forwarded-port"]) == (b"https", b"443")
    assert got[b"x-forwarded-server"] == b"gate"
    assert (
        sent((b"X-Forwarded-For", b"1.2.3.4"), settings=trusted, ip="8.8.8.8")[b"x-forwarded-for"]
        == b"8.8.8.8"
    )


def test_several_lines_become_one():
    got = sent(
        (b"X-Forwarded-For", b"1.1.1.1"),
        (b"X-Forwarded-For", b"2.2.2.2"),
        settings=ForwardedHeaders(insecure=True),
    )
    assert got[b"x-forwarded-for"] == b"1.1.1.1, 2.2.2.2, 10.0.0.9"


def test_the_peer_is_not_appended_when_that_was_asked_for():
    assert b"x-forwarded-for" not in sent(append=False)


@pytest.mark.parametrize(
    ("host", "scheme", "port"),
    [
        ("foo.test:8080", "http", b"8080"),
        ("[::1]:81", "http", b"81"),
        ("[::1]", "http", b"80"),
        ("foo.test", "https", b"443"),
        ("foo.test:", "http", b"80"),
        ("", "http", b"80"),
    ],
)
def test_the_port(host, scheme, port):
    assert sent(host=host, scheme=scheme)[b"x-forwarded-port"] == port


def test_a_zone_is_not_sent():  # the vector forwardedHeaders-010
    assert sent(ip="fe80::1%eth0")[b"x-real-ip"] == b"fe80::1"


def test_upgrades_are_put_back_and_named_in_the_protocol():
    got = sent((b"Connection", b"keep-alive, Upgrade"), (b"Upgrade", b"WebSocket"))
    assert (got[b"connection"], got[b"upgrade"], got[b"x-forwarded-proto"]) == (
        b"Upgrade",
        b"WebSocket",
        b"ws",
    )
    assert sent((b"Connection", b"Upgrade"), (b"Upgrade", b"h2c"))[b"x-forwarded-proto"] == b"http"
    assert b"upgrade" not in sent((b"Upgrade", b"websocket"))
    assert b"upgrade" not in sent((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), version="1.0")


def test_what_connection_names_goes_but_not_what_is_ours():
    got = sent((b"Connection", b"X-Foo, X-Forwarded-Host"), (b"X-Foo", b"1"), (b"X-Bar", b"1"))
    assert got[b"x-forwarded-host"] == b"foo.test"
    assert {b"x-foo", b"connection"} & set(got) == set()
    assert got[b"x-bar"] == b"1"


def test_names_kept_in_connection_reach_the_chain_and_not_the_server():
    incoming = request((b"Connection", b"X-Foo"), (b"X-Foo", b"1"))
    note_peer(incoming, make_trust(ForwardedHeaders(connection=("X-Foo",)), "gate"))
    assert incoming.headers.get(b"x-foo") == b"1"
    assert incoming.headers.get(b"connection") == b"x-foo"
    assert b"x-foo" not in for_upstream(incoming, append=True)


def test_hop_by_hop_fields_end_here_both_ways():
    fields = [
        (b"Connection", b"close, X-Foo"),
        (b"Keep-Alive", b"1"),
        (b"Proxy-Connection", b"x"),
        (b"Proxy-Authorization", b"x"),
        (b"Proxy-Authenticate", b"x"),
        (b"TE", b"gzip, trailers"),
        (b"Trailer", b"x"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Upgrade", b"x"),
        (b"Content-Length", b"1"),
        (b"X-Foo", b"1"),
        (b"X-Kept", b"1"),
    ]
    assert list(without_hop_fields(Headers(fields))) == [(b"Trailer", b"x"), (b"X-Kept", b"1")]
    got = sent(*fields)
    assert got[b"te"] == b"trailers"
    assert [name for name in got if not name.startswith((b"x-forwarded", b"x-real"))] == [b"x-kept", b"te"]


def test_trailers_may_not_frame_or_authorise():
    trailers = Headers(
        [(b"X-Sum", b"1"), (b"Content-Length", b"9"), (b"Host", b"x"), (b"Authorization", b"x")]
    )
    assert list(passable_trailers(trailers)) == [(b"X-Sum", b"1")]
    assert passable_trailers(Headers([(b"Transfer-Encoding", b"chunked")])) is None
    assert passable_trailers(None) is None


def test_empty_lines_of_forwarded_for_leave_a_proper_list():
    trusted = ForwardedHeaders(insecure=True)
    got = sent((b"X-Forwarded-For", b""), (b"X-Forwarded-For", b""), settings=trusted, ip="8.8.8.8")
    assert got[b"x-forwarded-for"] == b"8.8.8.8"
    got = sent((b"X-Forwarded-For", b""), (b"X-Forwarded-For", b"1.1.1.1"), settings=trusted, ip="8.8.8.8")
    assert got[b"x-forwarded-for"] == b"1.1.1.1, 8.8.8.8"


def test_a_lone_empty_forwarded_for_stays_a_legal_value_without_appending():
    incoming = request((b"X-Forwarded-For", b""), (b"X-Forwarded-For", b""))
    note_peer(incoming, make_trust(ForwardedHeaders(insecure=True), "gate"))
    assert for_upstream(incoming, append=False).get_all(b"x-forwarded-for") == [b""]
