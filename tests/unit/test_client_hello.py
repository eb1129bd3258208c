"""The ClientHello, as OpenSSL writes it, whole and in pieces, and as nobody should."""

import contextlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.tls.client_hello import BadClientHello, ClientHello, parse_client_hello


def hello_of(server_name=None, protocols=()):
    """The bytes that OpenSSL sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(protocols)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def in_records(hello, size):
    """The same message in records of so many bytes."""
    message = hello[5:]
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(hello[:3] + len(part).to_bytes(2) + part for part in parts)


@pytest.mark.parametrize(
    ("server_name", "protocols"),
    [("shop.example", ["h2", "http/1.1"]), ("SHOP.example", []), (None, ["http/1.1"]), (None, [])],
)
def test_name_and_protocols(server_name, protocols):
    found = parse_client_hello(hello_of(server_name, protocols))
    assert found == ClientHello((server_name or "").lower(), tuple(protocols))


def test_every_beginning_is_incomplete_and_what_follows_does_not_matter():
    hello = hello_of("a.test", ["http/1.1"])
    for size in range(len(hello)):
        assert parse_client_hello(hello[:size]) is None
    assert parse_client_hello(hello + b"\x17\x03\x03") == ClientHello("a.test", ("http/1.1",))


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_a_hello_in_several_records(size):
    assert parse_client_hello(in_records(hello_of("a.test"), size)) == ClientHello("a.test")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x02\x00\x00\x05",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03",
    ],
)
def test_what_is_no_hello(data):
    with pytest.raises(BadClientHello):
        parse_client_hello(data)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_damage_is_a_hello_or_an_error(noise, at):
    hello = bytearray(hello_of("a.test", ["http/1.1"]))
    hello[at : at + len(noise)] = noise
    with contextlib.suppress(BadClientHello):
        parse_client_hello(bytes(hello))
