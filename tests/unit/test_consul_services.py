"""What the Consul catalog's instances and tags come to, in both eras."""

import pytest

from providers.consul_catalog import make_providers
from providers.consul_services import (
    CatalogRulesV1,
    read_instances,
    tags_to_labels,
    translate_v1,
    workloads_v2,
)
from providers.labels_constraints import tag_constraints, tag_expression
from providers.labels_rules_v2 import V2Rules, translate_v2
from providers.labels_template import compile_template
from providers.reachability import RoutingTable
from shared.config.dynamic_reading import read_dynamic
from shared.config.sources import load_static
from shared.config.static_v1 import V1ConsulCatalog
from shared.errors import ConfigError
from tests.support.labelled import fits, v1_columns, v1_structs
from tests.support.vectors import vectors

EVERYWHERE = RoutingTable(None)


def instance(service="api", tags=(), number=1, node="n1", address="10.0.0.1", port=80, **more):
    checks = [{"CheckID": f"c{at}", "Status": status} for at, status in enumerate(more.get("checks", ()))]
    return {
        "Node": {"Node": node, "Address": more.get("node_address", "10.9.9.9")},
        "Service": {
            "ID": f"{service}-{number}",
            "Service": service,
            "Tags": list(tags),
            "Address": address,
            "Port": port,
        },
        "Checks": checks,
    }


def translate_old(raw, **settings):
    rules = CatalogRulesV1(
        settings.get("domain", "localhost"),
        settings.get("prefix", "traefik"),
        settings.get("exposed", True),
        compile_template("rule", settings.get("rule", V1ConsulCatalog().front_end_rule)),
        tag_constraints("constraints", settings.get("constraints", ())),
    )
    document, problems = translate_v1("consul_catalog", read_instances(raw), rules, EVERYWHERE)
    return document, [str(each) for each in (*problems, *read_dynamic(document).found)]


def translate_new(raw, prefix="traefik", constraints="", exposed=True, rule="Host(`{{ normalize .Name }}`)"):
    rules = V2Rules(
        exposed, compile_template("rule", rule), lambda labels: True, tag_expression("c", constraints)
    )
    workloads = workloads_v2(read_instances(raw), prefix, EVERYWHERE)
    document, problems = translate_v2("consulcatalog", workloads, rules)
    reading = read_dynamic(document)
    return reading.config.http, [str(each) for each in (*problems, *reading.found)]


@pytest.mark.parametrize("vector", vectors("v1", "consulcatalog"))
def test_vector(vector):
    config = vector["config"]
    raw = [
        instance(
            config["service"],
            node["tags"],
            number,
            node["node"],
            node["service_address"],
            node["port"],
            node_address=node["node_address"],
        )
        for number, node in enumerate(config["passing_nodes"])
    ]
    document, _ = translate_old(raw, domain=config["domain"])
    frontends, backends = v1_structs(document)
    expected = v1_columns(vector)
    assert expected.keys() <= {"frontends", "backends", "url", "servers", "backend", "weight"}
    for name, actual in (("frontends", frontends), ("backends", backends)):
        if name in expected:
            assert fits(expected[name], actual)
            assert expected[name].keys() == actual.keys()
    servers = [server for each in backends.values() for server in each["servers"].values()]
    assert "url" not in expected or [each["url"] for each in servers] == [expected["url"]]
    assert "servers" not in expected or [each["url"] for each in servers] == expected["servers"]
    assert "backend" not in expected or list(backends) == [expected["backend"]]
    assert "weight" not in expected or [each["weight"] for each in servers] == [expected["weight"]]


def test_v1_attributes_of_a_service_come_from_all_its_instances():
    document, problems = translate_old(
        [
            instance(number=1, tags=["traefik.frontend.priority=3", "traefik.backend.weight=2"]),
            instance(number=2, tags=["traefik.frontend.rule=Host:x.test", "traefik.protocol=https"], port=81),
        ]
    )
    frontends, backends = v1_structs(document)
    assert fits(
        {"priority": 3, "routes": {"route-host-api": {"rule": "Host:x.test"}}}, frontends["frontend-api"]
    )
    servers = [(each["url"], each["weight"]) for each in backends["backend-api"]["servers"].values()]
    assert servers == [("http://10.0.0.1:80", 2), ("https://10.0.0.1:81", 0)]
    assert problems == []


@pytest.mark.parametrize(
    ("settings", "tags", "rule"),
    [
        ({"exposed": False}, [], None),
        ({"exposed": False}, ["traefik.enable=true"], "Host:api.localhost"),
        ({"constraints": ["tag==web"]}, ["traefik.tags=web,x"], "Host:api.localhost"),
        ({"constraints": ["tag==web"]}, ["web"], None),
        ({"prefix": "foo"}, ["foo.frontend.rule=Host:y", "traefik.frontend.rule=Host:z"], "Host:y"),
        (
            {"rule": 'Host:{{ .ServiceName }}-{{ index .Attributes "stage" }}.x'},
            ["traefik.stage=b"],
            "Host:api-b.x",
        ),
    ],
)
def test_v1_settings(settings, tags, rule):
    document, _ = translate_old([instance(tags=tags)], **settings)
    rules = [each["routes"]["route-host-api"]["rule"] for each in document.tree["frontends"].values()]
    assert rules == ([] if rule is None else [rule])


def test_v2_instances_of_a_service_are_its_servers():
    tags = ["traefik.http.routers.r.rule=Host(`a=b.test`)", "traefik.http.routers.r.tls", "web"]
    http, problems = translate_new(
        [instance(number=1, tags=tags), instance(number=2, tags=tags, address="", port=81)]
    )
    assert {name: each.rule for name, each in http.routers.items()} == {"r": "Host(`a=b.test`)"}
    urls = [each.url for each in http.services["api"].load_balancer.servers]
    assert urls == ["http://10.0.0.1:80", "http://10.9.9.9:81"]
    assert problems == []


def test_v2_settings():
    raw = [instance("My.Api", ["foo.enable=true", "prod"]), instance("other", ["foo.enable=true", "dev-1"])]
    http, _ = translate_new(raw, "foo", "Tag(`prod`) || !TagRegex(`^dev`)", False, "Host(`{{ .Name }}`)")
    assert {name: each.rule for name, each in http.routers.items()} == {"My-Api": "Host(`My.Api`)"}
    http, _ = translate_new(raw, "bar", exposed=False)
    assert http.routers == {}


def test_a_canary_is_a_service_of_its_own():
    tags = ["traefik.consulcatalog.canary=true"]
    http, _ = translate_new([instance(number=1), instance(number=2, tags=tags, port=81)])
    names = sorted(http.services)
    assert len(names) == 2
    assert names[0] == "api"
    assert names[1].startswith("api-")
    assert names[1].removeprefix("api-").isdecimal()


def test_a_bad_tag_is_named_with_its_instance():
    tags = ["traefik.http.services.api.loadbalancer.server.weight=much"]
    http, problems = translate_new([instance(number=7, tags=tags)])
    assert http.services["api"].load_balancer.servers == ()
    assert "instance api-7@n1: label traefik.http.services.api.loadbalancer.server.weight" in problems[0]


@pytest.mark.parametrize(
    ("checks", "status"),
    [
        ([], "passing"),
        (["passing", "warning"], "warning"),
        (["warning", "critical"], "critical"),
        (["passing", "passing"], "passing"),
    ],
)
def test_the_worst_check_counts(checks, status):
    (found,) = read_instances([instance(checks=checks)])
    assert found.status == status


@pytest.mark.parametrize("raw", [{}, [1], [{"Node": {}}], [{"Node": {}, "Service": {"Port": "80"}}], None])
def test_what_is_no_list_of_instances_is_refused(raw):
    with pytest.raises(ValueError, match=r".+"):
        read_instances(raw)


def test_tags_are_split_at_the_first_equals_sign():
    assert tags_to_labels(["Traefik.a=b=c", "traefik.a=d", "traefik.b", "x.y=z"], "traefik") == {
        "traefik.a": "b=c"
    }


def made(tmp_path, *flags):
    return make_providers(load_static(flags, {}, tmp_path, system_directory=tmp_path / "etc").config, None)


def test_a_provider_for_each_namespace(tmp_path):
    found = made(tmp_path, "--providers.consulCatalog.namespaces=one,two")
    assert [each.name for each in found] == ["consulcatalog-one", "consulcatalog-two"]
    assert [each.name for each in made(tmp_path, "--consulCatalog.domain=x")] == ["consul_catalog"]


@pytest.mark.parametrize(
    "flag", ["connectAware=true", "constraints=Label(`a`,`b`)", "defaultRule={{", "endpoint.scheme=ftp"]
)
def test_settings_that_cannot_work_stop_the_start(tmp_path, flag):
    with pytest.raises(ConfigError, match=r"^providers\.consulCatalog\."):
        made(tmp_path, f"--providers.consulCatalog.{flag}")
