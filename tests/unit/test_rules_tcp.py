"""Rules of TCP routers: the vectors, and what else their language allows and refuses."""

from __future__ import annotations

import pytest

from shared.errors import ConfigError
from shared.rules.predicates import compile_predicate
from shared.rules.tcp import default_tcp_priority, read_tcp_rule
from tests.support.vectors import vectors
from worker.tcp.facts import Facts
from worker.tls.client_hello import ClientHello


def facts_of(request):
    """What a vector says about a connection."""
    hello = ClientHello(request.get("sni", "").lower(), tuple(request.get("alpn", ())))
    host, _, _ = request.get("remoteAddr", "").rpartition(":")
    return Facts(host.strip("[]"), hello)


@pytest.mark.parametrize("vector", vectors("v2", "tcp.rule.v3", "tcp.rule.v2"))
def test_a_connection_matches(vector):
    syntax = vector["area"].rpartition(".")[2]
    rule = read_tcp_rule(vector["config"]["rule"], syntax)
    assert compile_predicate(rule.condition)(facts_of(vector["request"])) is vector["expect"]["match"]


@pytest.mark.parametrize("vector", vectors("v2", "tcp.rule.v3.invalid"))
def test_a_rule_is_refused(vector):
    with pytest.raises(ConfigError) as caught:
        read_tcp_rule(vector["config"]["rule"], "v3")
    assert caught.value.path == ""
    assert caught.value.reason


@pytest.mark.parametrize(
    "vector", [each for each in vectors("v2", "priority") if "tcp" in each.values[0]["config"]]
)
def test_the_priority_of_a_router_that_sets_none(vector):
    text = vector["config"]["tcp"]["rule"]
    rule = read_tcp_rule(text, "v3")
    found = default_tcp_priority(text, is_catch_all=rule.is_catch_all)
    assert found == vector["expect"]["computedPriority"]


@pytest.mark.parametrize(
    ("rule", "syntax"),
    [
        ("HostSNI(`a.test`, `b.test`)", "v3"),
        ("HostSNI(`a b`)", "v3"),
        ("HostSNI(`*.*.test`)", "v3"),
        ("HostSNI(`a*`)", "v3"),
        ("HostSNI(`*.test`)", "v2"),
        ("HostSNIRegexp(`(`)", "v3"),
        ("HostSNIRegexp(`{a`)", "v2"),
        ("ALPN(`h2`, `mqtt`)", "v3"),
        ("ALPN(`acme-tls/1`)", "v2"),
        ("ClientIP(`10.0.0.0/33`)", "v3"),
        ("HostHeader(`a`)", "v2"),
        ("", "v3"),
    ],
)
def test_other_rules_that_are_refused(rule, syntax):
    with pytest.raises(ConfigError):
        read_tcp_rule(rule, syntax)


@pytest.mark.parametrize(
    ("rule", "syntax", "sni", "alpn", "ip", "expected"),
    [
        ("HostSNI(`*.test`)", "v3", "a.b.test", (), "1.1.1.1", False),
        ("HostSNI(`*.test`)", "v3", "test", (), "1.1.1.1", False),
        ("HostSNI(`a.test.`)", "v3", "a.test", (), "1.1.1.1", True),
        ("hostsni(`a.test`)", "v3", "a.test", (), "1.1.1.1", True),
        ("HostSNI(`a.test`, `b.test`)", "v2", "b.test", (), "1.1.1.1", True),
        ("HostSNIRegexp(`{x:[a-z]+}.test`)", "v2", "a.test.more", (), "1.1.1.1", False),
        ("HostSNIRegexp(`^$`)", "v3", "", (), "1.1.1.1", True),
        ("ALPN(`mqtt`)", "v3", "", ("h2", "mqtt"), "1.1.1.1", True),
        ("ALPN(`mqtt`)", "v3", "", ("MQTT",), "1.1.1.1", False),
        ("!ALPN(`h2`)", "v3", "", (), "1.1.1.1", True),
        ("ClientIP(`1.1.1.0/24`) && HostSNI(`*`)", "v3", "", (), "1.1.1.9", True),
        ("ClientIP(`2.2.2.2`, `1.1.1.9`)", "v2", "", (), "1.1.1.9", True),
    ],
)
def test_other_rules_match(rule, syntax, sni, alpn, ip, expected):
    holds = compile_predicate(read_tcp_rule(rule, syntax).condition)
    assert holds(Facts(ip, ClientHello(sni, alpn))) is expected


@pytest.mark.parametrize(
    ("rule", "is_catch_all", "needs_tls"),
    [
        ("HostSNI(`*`)", True, False),
        ("  hostsni( `*` )", True, False),
        ("HostSNI(`*`) && ClientIP(`::1`)", False, False),
        ("HostSNI(`a.test`)", False, True),
        ("ClientIP(`::1`) || HostSNI(`a.test`)", False, True),
        ("HostSNI(`*`) || HostSNI(`a.test`)", False, False),  # as the original: the first name decides
        ("!HostSNI(`a.test`)", False, False),  # as observed; its documents count denied names too
        ("!(ClientIP(`::1`) || !HostSNI(`a.test`))", False, True),
        ("HostSNIRegexp(`a`)", False, False),
        ("ALPN(`h2`)", False, False),
    ],
)
def test_what_a_rule_says_about_its_router(rule, is_catch_all, needs_tls):
    found = read_tcp_rule(rule, "v3")
    assert (found.is_catch_all, found.needs_tls) == (is_catch_all, needs_tls)
