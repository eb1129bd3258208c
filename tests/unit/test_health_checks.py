"""Health checks of services as the compiler settles them, and who can tell a parent how it fares."""

from __future__ import annotations

import msgspec
import pytest

from master.compiler.catalog import Item
from master.compiler.checked import CheckedService, CheckedTransport
from master.compiler.health_checks import require_health, settle_health_checks
from shared.config.diagnostics import Diagnostics
from shared.config.dynamic import (
    ChildHealthCheck,
    Failover,
    HealthCheck,
    HighestRandomWeight,
    LoadBalancer,
    Mirroring,
    PassiveHealthCheck,
    ServersTransport,
    Service,
    Weighted,
)
from shared.config.legacy_backends import read_backends
from shared.config.static import StaticConfig
from shared.config.static_v1 import V1HealthCheck, V1Static
from shared.errors import ConfigError
from tests.support.vectors import vectors


def settle(check: HealthCheck | None, static: StaticConfig | None = None, **settings):
    balancer = LoadBalancer(health_check=check, **settings)
    found = Diagnostics()
    item = Item("s@file", "file", Service(load_balancer=balancer), path=("http", "services", "s"))
    return settle_health_checks(item, balancer, static or StaticConfig(), found), [
        str(each) for each in found
    ]


OPTIONS = [each for each in vectors("v1", "healthcheck") if "global_interval_s" in each.values[0]["config"]]


@pytest.mark.parametrize("vector", OPTIONS)
def test_vectors_of_options(vector):
    config, expect = vector["config"], vector["expect"]
    backend = {"servers": {"s": {"url": "http://h:1"}}}
    if config["healthCheck"] is not None:
        backend["healthCheck"] = config["healthCheck"]
    balancers, _ = read_backends({"b": backend}, ("backends",), Diagnostics())
    interval = V1HealthCheck(interval=float(config["global_interval_s"]))
    static = StaticConfig(v1=V1Static(health_check=interval))
    settled, _ = settle(balancers["b"].balancer.health_check, static)
    if "enabled" in expect:
        assert (settled.health_check is not None) == expect["enabled"]
    else:
        assert settled.health_check.interval == expect["interval_s"]


def test_v1_without_a_rhythm_of_its_own_or_a_general_one():
    settled, found = settle(HealthCheck(path="/", interval=0.0, is_v1=True))
    assert settled.health_check.interval == 30.0
    assert found == []


def test_what_is_right_stays_as_it_is():
    check = HealthCheck(path="/h", interval=1.0, unhealthy_interval=0.5, timeout=0.1, scheme="http", port=1)
    settled, found = settle(check, passive_health_check=PassiveHealthCheck())
    assert settled.health_check == check
    assert found == []


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ({"interval": 0.0}, {"interval": 30.0}, "healthCheck.interval: interval must be positive; using 30s"),
        ({"interval": -1.0}, {"interval": 30.0}, "interval must be positive"),
        ({"timeout": 0.0}, {"timeout": 5.0}, "timeout must be positive; using 5s"),
        ({"unhealthy_interval": 0.0}, {"unhealthy_interval": 30.0}, "unhealthyInterval must be positive"),
        ({"mode": "grp"}, {"mode": "grp"}, 'did you mean "grpc"'),
        ({"scheme": "htp"}, {"scheme": "htp"}, 'did you mean "http"'),
        ({"path": "http://other/"}, {"path": "http://other/"}, "must be relative"),
    ],
)
def test_what_is_wrong_is_said_and_repaired(wrong, right, message):
    settled, found = settle(HealthCheck(**wrong))
    assert settled.health_check == msgspec.structs.replace(HealthCheck(**wrong), **right)
    assert len(found) == 1
    assert message in found[0]
    assert "services.s.loadBalancer.healthCheck" in found[0]


def test_a_failure_window_that_is_not_positive():
    _, found = settle(None, passive_health_check=PassiveHealthCheck(failure_window=0.0))
    assert "passiveHealthCheck.failureWindow: the failure window must be positive; using 10s" in found[0]


def child(**kind) -> CheckedService:
    transport = CheckedTransport("t", ServersTransport())
    return CheckedService("c@file", Service(**kind), (), transport)


PARENT = Item("p@file", "file", Service())
SAID = ChildHealthCheck()


@pytest.mark.parametrize(
    "kind",
    [
        {"load_balancer": LoadBalancer(health_check=HealthCheck())},
        {"load_balancer": LoadBalancer(passive_health_check=PassiveHealthCheck())},
        {"weighted": Weighted(health_check=SAID)},
        {"highest_random_weight": HighestRandomWeight(health_check=SAID)},
        {"mirroring": Mirroring(health_check=SAID)},
        {"failover": Failover(health_check=SAID)},
    ],
    ids=lambda kind: next(iter(kind)),
)
def test_children_that_tell(kind):
    require_health(PARENT, child(**kind))


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ({"load_balancer": LoadBalancer()}, "load-balancer"),
        ({"weighted": Weighted()}, "weighted"),
        ({"highest_random_weight": HighestRandomWeight()}, "highest random weight"),
        ({"mirroring": Mirroring()}, "mirroring"),
        ({"failover": Failover()}, "failover"),
    ],
)
def test_children_that_did_not_opt_in(kind, shown):
    with pytest.raises(ConfigError) as failure:
        require_health(PARENT, child(**kind))
    wanted = f"healthCheck not enabled in config for this {shown} service"
    assert str(failure.value) == f"cannot register c@file as updater for p@file: {wanted}"


def test_children_that_cannot():
    with pytest.raises(ConfigError, match=r"child service c@file of p@file not a healthcheck\.StatusUpdater"):
        require_health(PARENT, child())
