"""v1's labels on containers: names, filters, and where a mistake is reported."""

import pytest

from providers.docker_containers import ContainerView, read_containers
from providers.labels_containers_v1 import translate_containers
from shared.config.dynamic_reading import read_dynamic
from tests.support.labelled import container_entry, fits, plain, v1_columns, v1_rules, v1_structs, workload
from tests.support.vectors import vectors


def translate(*workloads, **settings):
    settings.setdefault("domain", "docker.localhost")
    document, problems = translate_containers("docker", workloads, v1_rules(**settings))
    reading = read_dynamic(document)
    return document, reading, [str(each) for each in (*problems, *reading.found)]


@pytest.mark.parametrize("vector", vectors("v1", "docker"))
def test_vector(vector):
    config = vector["config"]
    entries = [container_entry(each, f"{number}") for number, each in enumerate(config["containers"])]
    workloads, _ = read_containers(entries, ContainerView())
    document, reading, _ = translate(
        *workloads,
        domain=config["domain"],
        exposedByDefault=config.get("exposedByDefault", True),
        constraints=config.get("constraints", ()),
    )
    expected = dict(v1_columns(vector))
    frontends, backends = v1_structs(document)
    assert expected.keys() <= {"kept", "frontends", "backends", "rule", "url"}
    if "kept" in expected:
        assert bool(reading.config.http.routers) == expected["kept"]
    for name, actual in (("frontends", frontends), ("backends", backends)):
        wanted = expected.get(name, {})
        assert fits(wanted, actual)
        assert not wanted or wanted.keys() == actual.keys()
    rules = [route["rule"] for each in frontends.values() for route in each["routes"].values()]
    urls = [server["url"] for each in backends.values() for server in each["servers"].values()]
    assert "rule" not in expected or rules == [expected["rule"]]
    assert "url" not in expected or urls == [expected["url"]]


def test_two_field_rules_of_the_first_version_work():
    labels = {"traefik.frontend.rule": "PathPrefix", "traefik.frontend.value": "/shop"}
    document, reading, problems = translate(workload("w", labels))
    assert list(document.tree["frontends"]) == ["frontend-PathPrefix-shop"]
    route = document.tree["frontends"]["frontend-PathPrefix-shop"]["routes"]
    assert route == {"route-frontend-PathPrefix-shop": {"rule": "PathPrefix", "value": "/shop"}}
    assert list(reading.config.http.routers) == ["frontend-PathPrefix-shop"]
    assert problems == []


def test_the_domain_label_is_honoured():
    document, _, _ = translate(workload("w", {"traefik.domain": "other.test"}))
    assert list(document.tree["frontends"]) == ["frontend-Host-w-other-test"]


def test_containers_with_one_rule_share_a_frontend_and_the_first_settings_count():
    labels = {"traefik.frontend.rule": "Host:shared.test", "traefik.backend": "b"}
    first = workload("a", {**labels, "traefik.frontend.priority": "7"})
    second = workload("b", {**labels, "traefik.frontend.priority": "9"}, address="10.0.0.2")
    document, reading, problems = translate(second, first)
    assert {name: each.priority for name, each in reading.config.http.routers.items()} == {
        "frontend-Host-shared-test": 7
    }
    assert list(document.tree["backends"]["backend-b"]["servers"]) == ["server-a", "server-b"]
    assert problems == []


def test_every_label_has_its_setting():
    labels = {
        "traefik.backend.circuitbreaker.expression": "NetworkErrorRatio() > 0.5",
        "traefik.backend.loadbalancer.method": "drr",
        "traefik.backend.loadbalancer.stickiness.cookieName": "me",
        "traefik.backend.maxconn.amount": "10",
        "traefik.backend.maxconn.extractorfunc": "client.ip",
        "traefik.backend.healthcheck.path": "/ok",
        "traefik.backend.healthcheck.interval": "3s",
        "traefik.weight": "4",
        "traefik.frontend.passHostHeader": "false",
        "traefik.frontend.priority": "12",
        "traefik.frontend.entryPoints": "http, https",
        "traefik.frontend.auth.basic": "a:$apr1$x$y,b:$apr1$x$z",
        "traefik.frontend.whiteList.sourceRange": "10.0.0.0/8",
        "traefik.frontend.headers.customRequestHeaders": "X-One:1||X-Two:a:b",
        "traefik.frontend.headers.frameDeny": "true",
        "traefik.frontend.errors.page.backend": "errors",
        "traefik.frontend.errors.page.status": "500-599,404",
        "traefik.frontend.errors.page.query": "/{status}.html",
    }
    document, _, problems = translate(workload("w", labels))
    frontends, backends = v1_structs(document)
    assert fits(
        {
            "circuitBreaker": {"expression": "NetworkErrorRatio() > 0.5"},
            "loadBalancer": {"method": "drr", "stickiness": {"cookieName": "me"}},
            "maxConn": {"amount": 10, "extractorFunc": "client.ip"},
            "healthCheck": {"path": "/ok", "interval": "3s"},
            "servers": {"server-w": {"url": "http://10.0.0.1:80", "weight": 4}},
        },
        backends["backend-w"],
    )
    frontend = frontends["frontend-Host-w-docker-localhost"]
    assert fits(
        {
            "passHostHeader": False,
            "priority": 12,
            "entryPoints": ["http", "https"],
            "basicAuth": ["a:$apr1$x$y", "b:$apr1$x$z"],
            "whiteList": {"sourceRange": ["10.0.0.0/8"]},
            "headers": {"customRequestHeaders": {"X-One": "1", "X-Two": "a:b"}, "frameDeny": True},
            "errors": {
                "page": {"backend": "backend-errors", "status": ["500-599", "404"], "query": "/{status}.html"}
            },
        },
        frontend,
    ), plain(frontend)
    assert [each for each in problems if "unknown label" in each] == []


@pytest.mark.parametrize(
    ("labels", "lost", "said"),
    [
        ({"traefik.weight": "ten"}, "servers", "label traefik.weight"),
        ({"traefik.frontend.rule": "Host:("}, "", ""),
        ({"traefik.frontend.rule": "Nonsense:x"}, "routers", "label traefik.frontend.rule"),
        ({"traefik.frontend.passHostHeader": "maybe"}, "routers", "label traefik.frontend.passHostHeader"),
        ({"traefik.backend.maxconn.amount": "5"}, "", "need each other"),
        ({"traefik.frontend.rul": "x"}, "", 'did you mean "traefik.frontend.rule"?'),
        ({"traefik.http.routers.r.rule": "x"}, "", "a label of v2"),
    ],
)
def test_a_bad_label_costs_the_smallest_object_and_is_named(labels, lost, said):
    _, reading, problems = translate(workload("bad", labels), workload("good", {}))
    http = reading.config.http
    servers = [server for each in http.services.values() for server in each.load_balancer.servers]
    assert "frontend-Host-good-docker-localhost" in http.routers
    assert (len(http.routers), len(servers)) == (1 if lost == "routers" else 2, 1 if lost == "servers" else 2)
    assert all("container bad" in each for each in problems)
    assert any(said in each for each in problems) or not said


def test_segments_fall_back_to_the_containers_own_labels():
    labels = {
        "traefik.protocol": "https",
        "traefik.one.port": "81",
        "traefik.one.protocol": "http",
        "traefik.two.port": "82",
        "traefik.two.frontend.priority": "3",
    }
    document, reading, problems = translate(workload("w", labels))
    _, backends = v1_structs(document)
    urls = {name: each["servers"]["service"]["url"] for name, each in backends.items()}
    assert urls == {"backend-w-one": "http://10.0.0.1:81", "backend-w-two": "https://10.0.0.1:82"}
    assert reading.config.http.routers["frontend-w-two"].priority == 3
    assert problems == []
