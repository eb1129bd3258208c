"""Addresses, networks and the ways to find the client's address."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.addresses import (
    MAX_ADDRESS_CHARS,
    ClientIpRule,
    compile_client_ip_rule,
    parse_ip,
    parse_networks,
    pick_client_ip,
)
from shared.config.middlewares import IpStrategy
from shared.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:DB8::1", "2001:db8::1"),
    ],
)
def test_spellings_of_one_address_are_one(text, expected):
    assert str(parse_ip(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0",
        "010.0.0.1",
        "10.0.0.1/8",
        "a",
        "1.2.3.4 ",
        "10.0.0.1%eth0",
        "1" * (MAX_ADDRESS_CHARS + 1),
    ],
)
def test_what_is_no_address(text):
    assert parse_ip(text) is None


def test_networks_hold_addresses_and_ranges_of_both_families():
    networks = parse_networks(
        ["10.0.0.0/8", " 192.168.1.7/32", "172.16.5.9/16", "2001:db8::/32", "::1", "8.8.8.8"]
    )
    inside = [
        "10.255.0.1",
        "192.168.1.7",
        "172.16.0.0",
        "2001:db8:ffff::",
        "::1",
        "8.8.8.8",
        "::ffff:8.8.8.8",
    ]
    assert [text for text in inside if not networks.contains(text)] == []
    outside = ["11.0.0.1", "192.168.1.8", "172.17.0.0", "2001:db9::", "::2", "8.8.8.9", "0.0.0.1", "", "x"]
    assert [text for text in outside if networks.contains(text)] == []


def test_a_port_beside_the_address_is_ignored():
    networks = parse_networks(["10.0.0.1", "::1"])
    assert networks.contains("10.0.0.1:8080")
    assert networks.contains("[::1]:8080")
    assert networks.contains("[::1]")
    assert not networks.contains("10.0.0.1:http")
    assert not networks.contains("::2:1")


def test_a_zone_is_ignored():
    assert parse_networks(["fe80::/10"]).contains("fe80::1%eth0")
    assert parse_networks(["fe80::1%eth0"]).contains("fe80::1")


def test_an_ipv4_range_written_as_ipv6_holds_ipv4_addresses():
    networks = parse_networks(["::ffff:10.0.0.0/104"])
    assert networks.contains("10.1.2.3")
    assert not networks.contains("11.1.2.3")


def test_everything_is_in_the_zero_networks_of_its_family():
    assert parse_networks(["0.0.0.0/0"]).contains("1.2.3.4")
    assert not parse_networks(["0.0.0.0/0"]).contains("::1")
    assert parse_networks(["::/0"]).contains("::1")
    assert not parse_networks([]).contains("1.2.3.4")


@pytest.mark.parametrize(
    "text",
    ["10.0.0.300/8", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "x", "", "10.0.0.0/", "::/129", "10.0.0.0/-1"],
)
def test_a_bad_range_is_named_with_its_index(text):
    with pytest.raises(ConfigError) as caught:
        parse_networks(["10.0.0.1", text], "sourceRange")
    assert caught.value.path == "sourceRange[1]"
    assert caught.value.reason == f"invalid CIDR address: {text}"


@given(st.ip_addresses(v=4), st.integers(0, 32), st.ip_addresses(v=4))
def test_membership_agrees_with_the_standard_library(start, bits, address):
    network = ipaddress.ip_network(f"{start}/{bits}", strict=False)
    assert parse_networks([f"{start}/{bits}"]).contains(str(address)) is (address in network)
    assert parse_networks([f"{start}/{bits}"]).contains(str(start))


@pytest.mark.parametrize(
    ("strategy", "forwarded", "expected"),
    [
        (None, "1.1.1.1", "9.9.9.9"),
        (IpStrategy(), "1.1.1.1", "9.9.9.9"),
        (IpStrategy(depth=-1), "1.1.1.1", "9.9.9.9"),
        (IpStrategy(depth=1), "1.1.1.1, 2.2.2.2", "2.2.2.2"),
        (IpStrategy(depth=2), "1.1.1.1, 2.2.2.2", "1.1.1.1"),
        (IpStrategy(depth=3), "1.1.1.1, 2.2.2.2", ""),
        (IpStrategy(depth=1), "", ""),
        (IpStrategy(depth=2), "1.1.1.1,,2.2.2.2", ""),
        (IpStrategy(depth=1, excluded_ips=("2.2.2.2",)), "1.1.1.1, 2.2.2.2", "2.2.2.2"),
        (IpStrategy(excluded_ips=("2.2.2.2",)), "1.1.1.1, 2.2.2.2", "1.1.1.1"),
        (IpStrategy(excluded_ips=("2.0.0.0/8",)), "1.1.1.1,, 2.2.2.2 ,", "1.1.1.1"),
        (IpStrategy(excluded_ips=("0.0.0.0/0",)), "1.1.1.1, 2.2.2.2", ""),
        (IpStrategy(excluded_ips=("0.0.0.0/0",)), "1.1.1.1, unknown, 2.2.2.2", "unknown"),
        (IpStrategy(excluded_ips=("2.2.2.2",)), "", ""),
        (IpStrategy(depth=1, ipv6_subnet=64), "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        (IpStrategy(depth=1, ipv6_subnet=64), "1.2.3.4", "1.2.3.4"),
        (IpStrategy(depth=1, ipv6_subnet=64), "unknown", "unknown"),
        (IpStrategy(ipv6_subnet=8), "2001:db8::1", "9.9.9.9"),
        (IpStrategy(excluded_ips=("::1",), ipv6_subnet=8), "2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_clients_address(strategy, forwarded, expected):
    assert pick_client_ip(compile_client_ip_rule(strategy), "9.9.9.9", forwarded) == expected


def test_a_subnet_masks_the_peer():
    rule = compile_client_ip_rule(IpStrategy(ipv6_subnet=48))
    assert pick_client_ip(rule, "2001:db8:1:2::3", "") == "2001:db8:1::"


@pytest.mark.parametrize("subnet", [0, -1, 129, 200])
def test_an_impossible_subnet_is_refused(subnet):
    with pytest.raises(ConfigError) as caught:
        compile_client_ip_rule(IpStrategy(ipv6_subnet=subnet), "ipStrategy")
    assert caught.value.path == "ipStrategy.ipv6Subnet"
    assert caught.value.reason.startswith(f"invalid IPv6 subnet {subnet} value")


def test_a_bad_excluded_range_is_named():
    with pytest.raises(ConfigError) as caught:
        compile_client_ip_rule(IpStrategy(excluded_ips=("x",)), "ipStrategy")
    assert caught.value.path == "ipStrategy.excludedIPs[0]"


@given(st.integers(0, 5), st.text(max_size=60))
def test_any_header_is_answered(depth, forwarded):
    networks = parse_networks(["10.0.0.0/8"])
    for rule in (ClientIpRule(depth), ClientIpRule(excluded=networks), ClientIpRule(depth, ipv6_subnet=64)):
        assert networks.contains(pick_client_ip(rule, "9.9.9.9", forwarded)) in (True, False)
