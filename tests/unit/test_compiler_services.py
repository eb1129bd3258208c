"""What the compiler says about services over services."""

import pytest

from master.aggregator import Aggregator
from providers.base import Snapshot
from shared.config.documents import parse_document
from shared.config.static import EntryPoint, StaticConfig
from shared.table.reader import open_table

ROUTER = "http:\n  routers:\n    r: {rule: 'PathPrefix(`/`)', service: top}\n  services:\n"
LEAF = "    leaf: {loadBalancer: {servers: [{url: 'http://127.0.0.1:1'}]}}\n"
CHECKED = "    leaf: {loadBalancer: {healthCheck: {path: /}, servers: [{url: 'http://127.0.0.1:1'}]}}\n"


def compiled(services):
    document = parse_document(ROUTER + services, "rules.yml", "yaml")
    aggregator = Aggregator(StaticConfig(entry_points={"web": EntryPoint(address=":80")}))
    aggregator.take(Snapshot("file", (document,)))
    return aggregator.compile(1)


@pytest.mark.parametrize(
    "service",
    [
        "top: {mirroring: {service: leaf, mirrors: [{name: leaf, percent: 10}]}}",
        "top: {failover: {service: leaf, fallback: leaf, errors: {status: ['500-599']}}}",
        "top: {highestRandomWeight: {services: [{name: leaf}]}}",
        "top: {weighted: {services: [{name: leaf, weight: 2}], sticky: {cookie: {}}}}",
        "top: {loadBalancer: {strategy: p2c, servers: [{url: 'http://127.0.0.1:1'}]}}",
    ],
)
def test_every_kind_is_accepted_and_children_are_qualified(service):
    result = compiled(f"{LEAF}    {service}\n")
    assert result.found == ()
    table = open_table(memoryview(result.table))
    names = {table.service(number).name for number in range(table.service_count)}
    assert "top@file" in names
    assert {each.kind for each in result.identities} == {"service", "server"}


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ("{mirroring: {service: leaf, mirrors: [{name: leaf, percent: 101}]}}", "between 0 and 100"),
        ("{mirroring: {service: leaf, mirrors: [{name: none}]}}", 'service "none@file" does not exist'),
        ("{failover: {service: leaf, fallback: leaf}}", "healthCheck not enabled"),
        ("{failover: {service: leaf, fallback: leaf, errors: {status: [5xx]}}}", "neither a status"),
        ("{weighted: {healthCheck: {}, services: [{name: leaf}]}}", "healthCheck not enabled"),
        ("{mirroring: {service: top}}", "in a circle"),
        ("{failover: {service: leaf, fallback: top, errors: {status: ['500']}}}", "in a circle"),
        ("{highestRandomWeight: {services: [{name: top}]}}", "in a circle"),
        ("{loadBalancer: {strategy: v1-drr}}", "unsupported load-balancer strategy"),
        ("{loadBalancer: {v1Method: drr}}", "v1Method"),
    ],
)
def test_what_is_wrong_with_one_disables_its_router(service, message):
    result = compiled(f"{LEAF}    top: {service}\n")
    assert message in "\n".join(map(str, result.found))


def test_failover_goes_by_the_health_of_its_main_service():
    assert compiled(f"{CHECKED}    top: {{failover: {{service: leaf, fallback: leaf}}}}\n").routers[
        0
    ].status == ("enabled")
