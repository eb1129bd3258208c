"""Compiling TCP and UDP: the smallest object is disabled, the last good one stays, messages have a place."""

from __future__ import annotations

import json

import pytest

from master.aggregator import Aggregator
from providers.base import Snapshot
from shared.config.diagnostics import Severity
from shared.config.documents import parse_document
from shared.config.static import EntryPoint, StaticConfig
from shared.table.listing import describe
from shared.table.reader import open_table
from tests.support.vectors import vectors

STATIC = StaticConfig(
    entry_points={
        "db": EntryPoint(address=":5432"),
        "web": EntryPoint(address=":80"),
        "dns": EntryPoint(address=":53/udp"),
    }
)
SERVICES = {"s": {"loadBalancer": {"servers": [{"address": "127.0.0.1:1"}]}}}


class Compilations:
    """One compilation after the other, as a provider that speaks again and again brings them about."""

    def __init__(self) -> None:
        self._aggregator = Aggregator(STATIC)
        self._generation = 0

    def compile(self, config):
        document = parse_document(json.dumps(config, indent=1), "dynamic.json", "json")
        self._aggregator.take(Snapshot("file", (document,)))
        self._generation += 1
        return self._aggregator.compile(self._generation)


def compile_once(config):
    return Compilations().compile(config)


def tcp(routers, services=None, **more):
    return {"tcp": {"routers": routers, "services": SERVICES if services is None else services, **more}}


def udp(routers, services=None):
    return {"udp": {"routers": routers, "services": SERVICES if services is None else services}}


def status_of(compiled, name):
    found = {(each.protocol, each.name): each for each in compiled.routers}
    return found[name.partition(" ")[0], name.partition(" ")[2]]


def errors(compiled):
    return [str(each) for each in compiled.found if each.severity is Severity.ERROR]


@pytest.mark.parametrize("vector", vectors("v2", "tcp.router"))
def test_router_vectors(vector):
    compiled = compile_once(tcp(vector["config"]["routers"]))
    assert status_of(compiled, "tcp t@file").status == vector["expect"]["routerStatus"]


def test_a_good_router_is_in_the_table():
    steps = {"few": {"inFlightConn": {"amount": 3}}, "us": {"ipWhiteList": {"sourceRange": ["10.0.0.0/8"]}}}
    router = {
        "rule": "HostSNI(`a.test`)",
        "entryPoints": ["db"],
        "service": "s",
        "middlewares": ["us", "few@file"],
        "tls": {"passthrough": True},
    }
    compiled = compile_once(tcp({"t": router}, middlewares=steps))
    assert errors(compiled) == []
    text = describe(open_table(compiled.table))
    assert "entrypoint db tcp\n  t@file\n" in text
    assert "tcp router t@file\n  rule HostSNI(`a.test`)\n  priority 17\n  tls passthrough\n" in text
    assert "  middleware us@file\n  middleware few@file\n  service s@file\n" in text
    entry = open_table(compiled.table).streams().tcp.routers[0]
    assert not entry.is_catch_all


@pytest.mark.parametrize(
    ("router", "key", "reason"),
    [
        ({"rule": "", "service": "s"}, "rule", "router has no rule"),
        ({"rule": "Host(`a`)", "service": "s"}, "rule", "unsupported function: Host"),
        ({"rule": "HostSNI(`a.test`)", "service": "s"}, "rule", "has HostSNI matcher, but no TLS on router"),
        ({"rule": "HostSNI(`*`)", "service": "x"}, "service", 'the service "x@file" does not exist'),
        ({"rule": "HostSNI(`*`)"}, "service", "the service is missing on the router"),
        ({"rule": "HostSNI(`*`)", "service": "s", "middlewares": ["m"]}, "middlewares", "m@file"),
        (
            {"rule": "HostSNI(`*`)", "service": "s", "entryPoints": ["dns"]},
            "entryPoints",
            "no valid entryPoint",
        ),
        ({"rule": "HostSNI(`*`)", "service": "s", "tls": {"options": "x"}}, "tls", '"x@file" do not exist'),
        (
            {"rule": "HostSNI(`*`)", "service": "s", "priority": 9223372036854775807},
            "priority",
            "exceeds the max user-defined priority",
        ),
    ],
)
def test_a_bad_router_is_disabled_alone(router, key, reason):
    good = {"rule": "ClientIP(`10.0.0.1`)", "service": "s"}
    compiled = compile_once(tcp({"bad": router, "good": good}))
    assert status_of(compiled, "tcp bad@file").status == "disabled"
    assert status_of(compiled, "tcp good@file").status == "enabled"
    (problem,) = errors(compiled)
    assert f"tcp.routers.bad.{key}" in problem
    assert reason in problem
    assert "the router is disabled" in problem
    assert "dynamic.json:" in problem


@pytest.mark.parametrize(
    ("service", "more", "reason"),
    [
        ({}, {}, "does not have any type defined"),
        ({"loadBalancer": {"servers": []}, "weighted": {"services": []}}, {}, "multi-types service"),
        ({"weighted": {"services": [{"name": "s"}]}}, {}, "in a circle: s@file -> s@file"),
        ({"weighted": {"services": [{"name": "nobody"}]}}, {}, '"nobody@file" does not exist'),
        ({"loadBalancer": {"proxyProtocol": {"version": 3}}}, {}, "unknown proxyProtocol version: 3"),
        ({"loadBalancer": {"serversTransport": "t"}}, {}, "servers transport not found t@file"),
        (
            {"loadBalancer": {"serversTransport": "t"}},
            {"serversTransports": {"t": {"proxyProtocol": {"version": 9}}}},
            "unknown proxyProtocol version: 9",
        ),
        (
            {"loadBalancer": {"serversTransport": "t"}},
            {"serversTransports": {"t": {"tls": {"spiffe": {"ids": ["spiffe://a/b"]}}}}},
            "SPIFFE is enabled for this transport, but not configured",
        ),
        (
            {"loadBalancer": {"serversTransport": "t"}},
            {"serversTransports": {"t": {"tls": {"serverName": "x", "spiffe": {}}}}},
            "TLS and SPIFFE configuration cannot be defined at the same time",
        ),
    ],
)
def test_a_bad_service_disables_its_routers(service, more, reason):
    router = {"rule": "HostSNI(`*`)", "service": "s"}
    compiled = compile_once(tcp({"t": router}, services={"s": service}, **more))
    assert status_of(compiled, "tcp t@file").status == "disabled"
    assert reason in errors(compiled)[0]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ipAllowList": {"sourceRange": []}}, "sourceRange is empty"),
        ({"ipAllowList": {"sourceRange": ["10.0.0.0/40"]}}, "invalid CIDR address: 10.0.0.0/40"),
        ({"ipWhiteList": {"sourceRange": ["x"]}}, "invalid CIDR address: x"),
        ({}, "exactly one"),
    ],
)
def test_a_bad_middleware_disables_its_routers(options, reason):
    router = {"rule": "HostSNI(`*`)", "service": "s", "middlewares": ["m"]}
    compiled = compile_once(tcp({"t": router}, middlewares={"m": options}))
    assert status_of(compiled, "tcp t@file").status == "disabled"
    assert any(reason in each for each in errors(compiled))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:", ":0", "a b:1", "a:70000", "http://a:1"])
def test_a_server_without_a_usable_address_is_left_out(address):
    servers = [{"address": address}, {"address": "good:1"}, {"address": "[::1]:2"}, {"address": ":3"}]
    services = {"s": {"loadBalancer": {"servers": servers}}}
    compiled = compile_once(tcp({"t": {"rule": "HostSNI(`*`)", "service": "s"}}, services=services))
    assert status_of(compiled, "tcp t@file").status == "enabled"
    (problem,) = errors(compiled)
    assert "tcp.services.s.loadBalancer.servers[0].address" in problem
    assert "this server is left out" in problem
    (service,) = open_table(compiled.table).streams().tcp.services
    assert [each.address for each in service.options.load_balancer.servers] == ["good:1", "[::1]:2", ":3"]


def test_a_router_that_breaks_stays_as_it_was():
    compilations = Compilations()
    good = {"t": {"rule": "HostSNI(`*`)", "service": "s"}}
    first = compilations.compile(tcp(good))
    second = compilations.compile(tcp({"t": {"rule": "HostSNI(", "service": "s"}}, services={}))
    assert status_of(second, "tcp t@file").status == "kept"
    assert "its last good version stays live" in errors(second)[0]
    assert second.digest == first.digest
    third = compilations.compile(tcp({"t": {"rulle": "HostSNI(`*`)", "service": "s"}}))  # not even readable
    assert status_of(third, "tcp t@file").status == "kept"
    assert compilations.compile(tcp(good)).digest == first.digest
    assert compilations.compile(tcp({})).digest != first.digest  # gone on purpose


def test_match_order_is_priority_then_name():
    routers = {
        "all": {"rule": "HostSNI(`*`)", "service": "s"},
        "long": {"rule": "HostSNI(`*`) && ClientIP(`10.0.0.1`)", "service": "s"},
        "b": {"rule": "ClientIP(`10.0.0.1`)", "service": "s"},
        "a": {"rule": "ClientIP(`10.0.0.2`)", "service": "s"},
        "first": {"rule": "HostSNI(`*`)", "service": "s", "priority": 1000},
        "last": {"rule": "HostSNI(`*`)", "service": "s", "priority": -7},
    }
    streams = open_table(compile_once(tcp(routers)).table).streams()
    assert [each.name.partition("@")[0] for each in streams.tcp.routers] == [
        *("first", "long", "a", "b", "all", "last")
    ]


def test_routers_without_entrypoints_get_the_tcp_ones():
    streams = open_table(compile_once(tcp({"t": {"rule": "HostSNI(`*`)", "service": "s"}})).table).streams()
    assert [each.entrypoint for each in streams.tcp.entrances] == ["db", "web"]


@pytest.mark.parametrize(
    ("https", "hosts", "catches_all"),
    [
        ("Host(`A.test`) || Host(`*.b.test`)", ("*.b.test", "a.test"), False),
        ("PathPrefix(`/`)", (), True),
        ("HostRegexp(`a`)", (), True),
        ("!Host(`a.test`)", (), True),
        ("!(PathPrefix(`/`) || !Host(`a.test`))", ("a.test",), False),
    ],
)
def test_what_tcp_knows_about_the_https_routers_beside_it(https, hosts, catches_all):
    config = tcp({"t": {"rule": "HostSNI(`*`)", "service": "s", "tls": {}, "entryPoints": ["web"]}})
    config["http"] = {
        "routers": {"h": {"rule": https, "service": "h", "tls": {}}},
        "services": {"h": {"loadBalancer": {"servers": [{"url": "http://127.0.0.1:1"}]}}},
    }
    (entrance,) = open_table(compile_once(config).table).streams().tcp.entrances
    assert (entrance.has_https, entrance.https_hosts, entrance.has_https_catch_all) == (
        True,
        hosts,
        catches_all,
    )


@pytest.mark.parametrize(
    ("router", "key", "reason"),
    [
        ({"service": "s"}, "entryPoints", "a UDP router must name its entryPoints"),
        ({"service": "s", "entryPoints": ["db"]}, "entryPoints", "no valid entryPoint"),
        ({"service": "x", "entryPoints": ["dns"]}, "service", 'the service "x@file" does not exist'),
    ],
)
def test_a_bad_udp_router_is_disabled_alone(router, key, reason):
    compiled = compile_once(udp({"bad": router, "good": {"service": "s", "entryPoints": ["dns"]}}))
    assert status_of(compiled, "udp bad@file").status == "disabled"
    assert status_of(compiled, "udp good@file").status == "enabled"
    (problem,) = errors(compiled)
    assert f"udp.routers.bad.{key}" in problem
    assert reason in problem
    assert "entrypoint dns udp\n  good@file\n" in describe(open_table(compiled.table))


def test_of_several_udp_routers_the_one_whose_name_sorts_last_serves():
    routers = {name: {"service": "s", "entryPoints": ["dns"]} for name in ("b", "c", "a")}
    compiled = compile_once(udp(routers))
    (entrance,) = open_table(compiled.table).streams().udp.entrances
    assert entrance.router == "c@file"
    warnings = [str(each) for each in compiled.found if each.severity is Severity.WARNING]
    assert len(warnings) == 2
    assert all("several routers want entrypoint dns" in each for each in warnings)
