"""Health checks of mode grpc: against a server over real sockets, and messages byte by byte."""

from __future__ import annotations

import ssl

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from master.grpc_probe import grpc_address, read_state
from master.health_probe import Probe
from shared.config.dynamic import HealthCheck
from shared.table.client_tls import DEFAULT_TLS, ClientTlsEntry
from tests.support.certificates import make_authority, make_pair
from tests.support.grpc_health import NOT_SERVING, framed, running_grpc_health
from tests.support.origins import answer, running_origin, scripted
from tests.support.ports import reserve_port

UNKNOWN_FIELDS = b"\x12\x02hi" + b"\x19" + bytes(8) + b"\x25" + bytes(4) + b"\x28\x96\x01"


def probe(url, tls=DEFAULT_TLS, **options):
    async def run():
        made = Probe()
        try:
            check = HealthCheck(mode="grpc", **options)
            return await made.check(url, check, tls)
        finally:
            await made.aclose()

    return trio.run(run)


def test_a_server_that_serves_is_healthy_and_was_asked_as_grpc_asks():
    with running_grpc_health() as server:
        assert probe(server.url) == ""
        (call,) = server.calls
    assert call[":method"] == "POST"
    assert call[":path"] == "/grpc.health.v1.Health/Check"
    assert call["te"] == "trailers"
    assert call["content-type"] == "application/grpc"
    assert call[":authority"] == server.url.removeprefix("http://")


@pytest.mark.parametrize(
    ("conduct", "failure"),
    [
        ({"state": NOT_SERVING}, "it says NOT_SERVING"),
        ({"state": 0}, "it says UNKNOWN"),
        ({"state": 77}, "it says 77"),
        ({"state": None, "grpc_status": 12}, "the server does not implement grpc.health.v1"),
        ({"state": None, "grpc_status": 5}, "gRPC status 5 as told"),
        ({"grpc_status": 13}, "gRPC status 13 as told"),
        ({"http_status": 404}, "status 404 instead of a gRPC answer"),
        ({"message": b""}, "the answer is no plain gRPC message"),
        ({"message": b"\1\0\0\0\0"}, "the answer is no plain gRPC message"),
        ({"message": framed(b"\x08")}, "the answer has a number without an end"),
        ({"message": framed(b"\x0b")}, "the answer has a field of wire type 3"),
        ({"message": framed(bytes(5_000))}, "the answer has more than 4096 bytes"),
        ({"message": framed(UNKNOWN_FIELDS + b"\x08\x01")}, ""),
    ],
)
def test_what_else_a_server_may_say(conduct, failure):
    with running_grpc_health() as server:
        for name, value in conduct.items():
            setattr(server, name, value)
        assert probe(server.url) == failure


def test_a_server_of_http_1_is_not_healthy():
    with running_origin(scripted(answer(200))) as origin:
        assert probe(origin.url, timeout=5.0) != ""


def test_nobody_there():
    with reserve_port() as port:
        assert "refused" in probe(f"http://127.0.0.1:{port.number}").lower()


def test_the_check_has_a_port_of_its_own():
    with running_grpc_health() as server, reserve_port() as elsewhere:
        assert probe(f"http://127.0.0.1:{elsewhere.number}", port=server.address[1]) == ""


@pytest.mark.parametrize("is_trusted", [True, False])
def test_over_tls_as_the_transport_says(tmp_path, is_trusted):
    authority = make_authority(tmp_path)
    leaf = make_pair(tmp_path, authority)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(leaf.certificate, leaf.key)
    context.set_alpn_protocols(["h2"])
    tls = ClientTlsEntry(root_cas=authority.certificate.read_bytes() if is_trusted else b"")
    with running_grpc_health(context) as server:
        failure = probe(server.url, tls, scheme="https")
    assert ("certificate" in failure.lower()) is not is_trusted
    assert (failure == "") is is_trusted


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("http://h:8080", {}, ("h", 8080, False)),
        ("h2c://h", {}, ("h", 80, False)),
        ("https://h", {}, ("h", 443, True)),
        ("https://h:1", {"scheme": "h2c"}, ("h", 1, False)),
        ("http://[::1]:8080", {"port": 9, "scheme": "https"}, ("::1", 9, True)),
    ],
)
def test_where_it_goes(url, options, expected):
    assert grpc_address(url, HealthCheck(mode="grpc", **options)) == expected


@given(st.binary(max_size=60))
def test_any_message_has_a_state_or_is_none(content):
    try:
        assert read_state(framed(content)) >= 0
    except ValueError:
        return
