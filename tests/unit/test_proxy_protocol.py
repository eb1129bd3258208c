"""The PROXY protocol: what is a header, what it says, and what we write; any bytes are survived."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.config.trust import ProxyProtocolTrust
from worker.proxy_protocol import (
    MAX_V1_BYTES,
    MAX_V2_BYTES,
    BadProxyHeader,
    Ends,
    ProxyHeader,
    ProxyTrust,
    format_header,
    parse_header,
)

V2 = b"\r\n\r\n\x00\r\nQUIT\n"
FOUR = Ends(("192.0.2.1", 4000), ("198.51.100.7", 443))
SIX = Ends(("2001:db8::1", 4000), ("2001:db8::2", 443))


@pytest.mark.parametrize(
    ("data", "ends"),
    [
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 4000 443\r\n", FOUR),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 4000 443\r\n", SIX),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff:f...f:ffff whatever 1 2\r\n", None),
        (V2 + b"\x21\x11\x00\x0c" + bytes([192, 0, 2, 1, 198, 51, 100, 7]) + b"\x0f\xa0\x01\xbb", FOUR),
        (V2 + b"\x20\x00\x00\x00", None),
        (V2 + b"\x20\x11\x00\x0c" + bytes(12), None),  # LOCAL: its addresses are not meant
        (V2 + b"\x21\x00\x00\x03" + b"abc", None),
        (V2 + b"\x21\x31\x00\xd8" + bytes(216), None),  # a Unix socket
    ],
)
@pytest.mark.parametrize("rest", [b"", b"GET / HTTP/1.1\r\n", b"PROXY TCP4", V2])
def test_a_header_is_read_and_the_rest_is_left(data, ends, rest):
    assert parse_header(data + rest) == ProxyHeader(len(data), ends)
    for cut in range(1, len(data)):
        assert parse_header(data[:cut]) is None


def test_notes_behind_the_addresses_belong_to_the_header():
    note = b"\x04\x00\x05hello"
    data = V2 + b"\x21\x11\x00\x14" + bytes([192, 0, 2, 1, 198, 51, 100, 7]) + b"\x0f\xa0\x01\xbb" + note
    assert parse_header(data + b"GET") == ProxyHeader(len(data), FOUR)


@pytest.mark.parametrize("data", [b"GET / ", b"POST", b"PUT ", b"\r\nG", b"\x16\x03\x01", b"\x00", b"PROXYx"])
def test_other_beginnings_are_no_header(data):
    assert parse_header(data) == ProxyHeader(0, None)


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
        b"PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1\n2.2.2.2 1 2\r\n",
        b"PROXY " + b"x" * MAX_V1_BYTES,
        V2 + b"\x11\x11\x00\x0c" + bytes(12),
        V2 + b"\x22\x11\x00\x0c" + bytes(12),
        V2 + b"\x21\x11\x00\x0b" + bytes(11),
        V2 + b"\x21\x21\x00\x23" + bytes(35),
        V2 + b"\x21\x11" + MAX_V2_BYTES.to_bytes(2) + bytes(12),
    ],
)
def test_a_broken_header_is_refused(data):
    with pytest.raises(BadProxyHeader):
        parse_header(data)


@given(
    prefix=st.sampled_from(
        [b"", b"PROXY ", b"PROXY TCP4 1.1.1.1 ", V2, V2 + b"\x21\x11", V2 + b"\x21\x21\x00"]
    ),
    rest=st.binary(max_size=300),
)
@example(prefix=V2, rest=b"\x21\x11\x00")
def test_any_bytes_are_a_header_or_none_or_refused(prefix, rest):
    data = prefix + rest
    try:
        found = parse_header(data) if data else None
    except BadProxyHeader:
        return
    if found is None:
        assert len(data) < MAX_V2_BYTES
    else:
        assert 0 <= found.size <= len(data)
        assert parse_header(data[: found.size] + b"more") == found if found.size else True


ADDRESSES = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)),
    st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)),
)
PORTS = st.integers(0, 65_535)


@given(version=st.sampled_from([1, 2]), addresses=ADDRESSES, source_port=PORTS, target_port=PORTS)
def test_what_we_write_reads_back(version, addresses, source_port, target_port):
    source, target = (str(getattr(each, "ipv4_mapped", None) or each) for each in addresses)
    ends = Ends((source, source_port), (target, target_port))
    data = format_header(version, ends)
    found = parse_header(data)
    assert found is not None
    assert found.size == len(data)
    assert found.ends == (ends if (":" in source) is (":" in target) else None)


@pytest.mark.parametrize("version", [1, 2])
def test_ends_of_different_families_are_not_told(version):
    data = format_header(version, Ends(("192.0.2.1", 1), ("::1", 2)))
    assert parse_header(data) == ProxyHeader(len(data), None)


@pytest.mark.parametrize(
    ("settings", "ip", "expected"),
    [
        (ProxyProtocolTrust(trusted_ips=("10.0.0.0/8",)), "10.1.2.3", True),
        (ProxyProtocolTrust(trusted_ips=("10.0.0.0/8",)), "11.1.2.3", False),
        (ProxyProtocolTrust(trusted_ips=("10.0.0.0/8",)), "::ffff:10.1.2.3", True),
        (ProxyProtocolTrust(insecure=True), "11.1.2.3", True),
    ],
)
def test_whose_headers_are_believed(settings, ip, expected):
    assert ProxyTrust(settings).covers(ip) is expected
