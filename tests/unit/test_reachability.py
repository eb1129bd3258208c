"""Whether the host has a way to an address, by its routing tables."""

import ipaddress

import pytest

from providers import reachability
from providers.reachability import RoutingTable, read_routing_table, why_not

ROUTES_4 = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
br-1\t00631EAC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
down\t0000000A\t00000000\t0000\t0\t0\t0\t000000FF\t0\t0\t0
*\t0000100A\t00000000\t0200\t0\t0\t0\t0000FFFF\t0\t0\t0
"""
ROUTES_6 = (
    "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
)


@pytest.fixture
def table(tmp_path, monkeypatch):
    (tmp_path / "route").write_text(ROUTES_4)
    (tmp_path / "ipv6_route").write_text(ROUTES_6)
    monkeypatch.setattr(reachability, "ROUTES_4", tmp_path / "route")
    monkeypatch.setattr(reachability, "ROUTES_6", tmp_path / "ipv6_route")
    return read_routing_table()


@pytest.mark.parametrize(
    ("address", "way"),
    [
        ("172.30.99.7", "direct"),
        ("172.30.98.7", "default"),
        ("10.0.0.1", "default"),
        ("127.0.0.5", "direct"),
        ("::1", "direct"),
        ("fd00::7", "direct"),
        ("fd01::7", "none"),
        ("shop.test", "direct"),
    ],
)
def test_the_way_to_an_address(table, address, way):
    assert table.way_to(address) == way


@pytest.mark.parametrize(
    ("address", "here", "said"),
    [
        ("172.30.99.7", True, ""),
        ("172.30.98.7", True, "this host is not in its network"),
        ("172.30.98.7", False, ""),
        ("8.8.8.8", True, ""),
        ("fd01::7", False, "this host has no route to it"),
        ("shop.test", True, ""),
    ],
)
def test_only_what_is_certain_is_called_unreachable(table, address, here, said):
    assert why_not(table, address, on_this_machine=here) == said


def test_without_tables_everything_counts_as_reachable(tmp_path, monkeypatch):
    monkeypatch.setattr(reachability, "ROUTES_4", tmp_path / "none")
    assert read_routing_table().way_to("10.0.0.1") == "direct"


def test_without_ipv6_no_ipv6_address_is_reachable(table, tmp_path, monkeypatch):
    monkeypatch.setattr(reachability, "ROUTES_6", tmp_path / "none")
    assert read_routing_table().way_to("fd00::7") == "none"


def test_this_host_has_a_table():
    assert read_routing_table().way_to("127.0.0.1") == "direct"
    assert RoutingTable([ipaddress.ip_network("0.0.0.0/0")]).way_to("10.0.0.1") == "default"
