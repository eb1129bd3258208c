"""TCP and UDP services of a worker: whose turn it is, over reloads and with servers that are down."""

from __future__ import annotations

import pytest

from shared import health
from shared.arena import Arena
from shared.config.dynamic import (
    ChildHealthCheck,
    ProxyProtocol,
    TcpLoadBalancer,
    TcpServer,
    TcpServersTransport,
    TcpService,
    UdpLoadBalancer,
    UdpServer,
    UdpService,
    Weighted,
    WeightedChild,
)
from shared.health import Mark
from shared.identities import TCP_SERVER, server_name
from shared.table.stream_routes import (
    TcpContent,
    TcpServiceEntry,
    TcpTransportEntry,
    UdpContent,
    UdpEntrance,
    UdpServiceEntry,
)
from tests.support.vectors import vectors
from worker.blocks import Blocks
from worker.tcp.services import TcpServices
from worker.tcp.transport import make_transport
from worker.udp.services import UdpServices

TRANSPORT = TcpTransportEntry("default@internal", TcpServersTransport())


def weighted_tcp(weights, *, minds_health=False):
    """A weighted service over services of one server each, whose address is ``NAME:1``."""
    children = [
        TcpServiceEntry(name, TcpService(load_balancer=TcpLoadBalancer((TcpServer(f"{name}:1"),))), (), 0)
        for name in weights
    ]
    members = tuple(WeightedChild(name, weight) for name, weight in weights.items())
    check = ChildHealthCheck() if minds_health else None
    options = TcpService(weighted=Weighted(members, health_check=check))
    top = TcpServiceEntry("top", options, tuple(range(len(children))), 0)
    return TcpContent(services=(*children, top), transports=(TRANSPORT,))


def weighted_udp(weights):
    children = [
        UdpServiceEntry(name, UdpService(load_balancer=UdpLoadBalancer((UdpServer(f"{name}:1"),))), ())
        for name in weights
    ]
    members = tuple(WeightedChild(name, weight) for name, weight in weights.items())
    top = UdpServiceEntry("top", UdpService(weighted=Weighted(members)), tuple(range(len(children))))
    return UdpContent((*children, top), (UdpEntrance("dns", "r", len(children)),))


def tcp_endpoint(services, content, blocks):
    return services.endpoint(content, len(content.services) - 1, blocks, {})


def take(endpoint, count):
    return [target.host if (target := endpoint.choose()) else None for _ in range(count)]


@pytest.mark.parametrize("vector", vectors("v2", "lb.wrr.tcpudp"))
def test_sequences_of_tcp_services(vector):
    endpoint = tcp_endpoint(TcpServices(), weighted_tcp(vector["config"]["weights"]), Blocks())
    assert take(endpoint, vector["request"]["n"]) == vector["expect"]["sequence"]


@pytest.mark.parametrize("vector", vectors("v2", "lb.wrr.tcpudp"))
def test_sequences_of_udp_services(vector):
    routes = UdpServices().routes(weighted_udp(vector["config"]["weights"]), Blocks())
    assert take(routes["dns"].endpoint, vector["request"]["n"]) == vector["expect"]["sequence"]


def test_a_reload_keeps_the_place_in_the_round():
    services, blocks = TcpServices(), Blocks()
    content = weighted_tcp({"a": 1, "b": 1, "c": 1})
    assert take(tcp_endpoint(services, content, blocks), 2) == ["a", "b"]
    assert take(tcp_endpoint(services, content, blocks), 2) == ["c", "a"]


def test_members_without_weight_get_nothing():
    endpoint = tcp_endpoint(TcpServices(), weighted_tcp({"a": 0, "b": 2}), Blocks())
    assert take(endpoint, 3) == ["b", "b", "b"]
    endpoint = tcp_endpoint(TcpServices(), weighted_tcp({"a": 0}), Blocks())
    assert take(endpoint, 2) == [None, None]


def master_and_worker(*names):
    """The master's arena and a worker's blocks, with a block for the server of each service."""
    arena = Arena.create(2)
    for name in names:
        arena.claim(TCP_SERVER, server_name(name, f"{name}:1"))
    return arena, Blocks(arena)


@pytest.mark.parametrize(("minds_health", "expected"), [(True, ["b", "b"]), (False, [None, "b"])])
def test_a_server_that_is_down_gets_nothing(minds_health, expected):
    arena, blocks = master_and_worker("a", "b")
    arena.find(TCP_SERVER, server_name("a", "a:1")).set(health.MARKS, int(Mark.DOWN))
    content = weighted_tcp({"a": 1, "b": 1}, minds_health=minds_health)
    assert take(tcp_endpoint(TcpServices(), content, blocks), 2) == expected


@pytest.mark.parametrize(
    ("transport", "balancer", "expected"),
    [
        (TcpServersTransport(), TcpLoadBalancer(), (0.1, 0)),
        (TcpServersTransport(), TcpLoadBalancer(termination_delay=250), (0.25, 0)),
        (TcpServersTransport(), TcpLoadBalancer(termination_delay=-1), (float("inf"), 0)),
        (TcpServersTransport(), TcpLoadBalancer(proxy_protocol=ProxyProtocol()), (0.1, 2)),
        (
            TcpServersTransport(termination_delay=3.0, proxy_protocol=ProxyProtocol(1)),
            TcpLoadBalancer(servers_transport="t", termination_delay=250, proxy_protocol=ProxyProtocol()),
            (3.0, 1),
        ),
        (TcpServersTransport(), TcpLoadBalancer(servers_transport="t", termination_delay=250), (0.1, 0)),
    ],
)
def test_a_named_transport_has_the_last_word(transport, balancer, expected):
    made = make_transport(TcpTransportEntry("t", transport), balancer)
    assert (made.termination_delay_s, made.proxy_version) == expected


@pytest.mark.parametrize(("written", "expected"), [(30.0, 30.0), (0.0, 15.0), (-1.0, None)])
def test_dial_keep_alive(written, expected):
    entry = TcpTransportEntry("t", TcpServersTransport(dial_keep_alive=written, dial_timeout=0.0))
    made = make_transport(entry, TcpLoadBalancer())
    assert made.keep_alive_s == expected
    assert made.dial_timeout_s == float("inf")
