"""Marathon's applications as frontends and backends: ports, addresses, states, names."""

import pytest

from providers.labels_constraints import tag_constraints
from providers.marathon import parse_endpoints
from providers.marathon_apps import MarathonRules, read_apps, translate_apps
from providers.reachability import RoutingTable
from shared.config.dynamic_reading import read_dynamic
from shared.errors import ConfigError
from tests.support.labelled import fits, v1_columns, v1_structs
from tests.support.marathon import make_app
from tests.support.vectors import vectors


def translate(*apps, constraints=(), **rules):
    made = MarathonRules(
        **{
            "domain": "marathon.test",
            "exposed_by_default": True,
            "takes_tags": tag_constraints("marathon.constraints", constraints),
            **rules,
        }
    )
    read, found = read_apps({"apps": list(apps)}, "marathon")
    document, problems = translate_apps("marathon", read, made, RoutingTable(None), found)
    return document, [str(each) for each in (*problems, *read_dynamic(document).found)]


def urls(document):
    return sorted(
        server["url"] for each in document.tree["backends"].values() for server in each["servers"].values()
    )


def task(number=1, **more):
    return {
        "id": f"t.{number}",
        "host": "10.0.0.1",
        "ports": [31000 + number],
        "state": "TASK_RUNNING",
        **more,
    }


@pytest.mark.parametrize("vector", vectors("v1", "marathon"))
def test_vector(vector):
    config, expected = vector["config"], v1_columns(vector)
    if "endpoint" in config:
        assert [each.url for each in parse_endpoints("endpoint", config["endpoint"])] == expected
        return
    apps = [
        {**app, "tasks": [each for each in config["tasks"] if each["appId"] == app["id"]]}
        for app in config["apps"]
    ]
    document, _ = translate(*apps, domain=config["domain"])
    frontends, backends = v1_structs(document)
    assert expected.keys() <= {"kept", "frontends", "backends"}
    assert "kept" not in expected or bool(urls(document)) == expected["kept"]
    assert "kept" not in expected or bool(frontends) == expected["kept"]
    for name, actual in (("frontends", frontends), ("backends", backends)):
        wanted = expected.get(name, {})
        assert fits(wanted, actual)
        assert not wanted or wanted.keys() == actual.keys()


BRIDGE = {"portMappings": [{"containerPort": 8080, "hostPort": 0}, {"containerPort": 9090, "hostPort": 0}]}
OVERLAY = {"portMappings": [{"containerPort": 8080}]}
OLD_OVERLAY = {"docker": {"network": "USER", "portMappings": [{"containerPort": 8080}]}}
OWN = [{"ipAddress": "10.32.0.7"}]
TWO = [{"ipAddress": "10.32.0.7"}, {"ipAddress": "10.33.0.7"}]


@pytest.mark.parametrize(
    ("app", "its_task", "url"),
    [
        (
            {"container": BRIDGE, "networks": [{"mode": "container/bridge"}]},
            {"ipAddresses": OWN},
            "10.0.0.1:31001",
        ),
        (
            {"container": OVERLAY, "networks": [{"mode": "container"}]},
            {"ipAddresses": OWN, "ports": []},
            "10.32.0.7:8080",
        ),
        ({"container": OLD_OVERLAY}, {"ipAddresses": OWN, "ports": []}, "10.32.0.7:8080"),
        (
            {"ipAddress": {"discovery": {"ports": [{"number": 7070}]}}},
            {"ipAddresses": OWN, "ports": []},
            "10.32.0.7:7070",
        ),
        ({"portDefinitions": [{"port": 10001}]}, {"ports": []}, "10.0.0.1:10001"),
        ({"ports": [10002]}, {"host": "node-1.test"}, "node-1.test:31001"),
        (
            {"ipAddress": {}, "labels": {"traefik.port": "81"}},
            {"ipAddresses": [{"ipAddress": "fd00::7"}]},
            "[fd00::7]:81",
        ),
    ],
    ids=["bridge", "overlay", "old overlay", "discovery", "definitions", "very old", "IPv6"],
)
def test_address_and_port_follow_the_network(app, its_task, url):
    document, problems = translate({"id": "/a", **app, "tasks": [task(**its_task)]})
    assert urls(document) == [f"http://{url}"]
    assert problems == []


def test_of_several_addresses_a_label_chooses():
    app = {
        "id": "/a",
        "container": OVERLAY,
        "networks": [{"mode": "container"}],
        "tasks": [task(ipAddresses=TWO)],
    }
    document, problems = translate(app)
    assert urls(document) == []
    assert "app /a: its tasks have 2 addresses; say which" in problems[0]
    assert urls(translate({**app, "labels": {"traefik.ipAddressIdx": "1"}})[0]) == ["http://10.33.0.7:8080"]
    assert "no index" in translate({**app, "labels": {"traefik.ipAddressIdx": "2"}})[1][0]
    assert urls(translate(app, force_task_hostname=True)[0]) == ["http://10.0.0.1:8080"]


@pytest.mark.parametrize(
    ("its_task", "served"),
    [
        ({}, True),
        ({"state": "TASK_STAGING"}, False),
        ({"state": "TASK_UNREACHABLE"}, False),
        ({"healthCheckResults": []}, True),
        ({"healthCheckResults": None}, True),
        ({"healthCheckResults": [None]}, True),
        ({"healthCheckResults": [{"alive": True}, {"alive": False}]}, False),
    ],
)
def test_only_running_tasks_without_a_failed_check_are_served(its_task, served):
    document, _ = translate({"id": "/a", "tasks": [task(1), task(2, **its_task)]})
    assert len(urls(document)) == 1 + served


def test_readiness_is_respected_when_asked_for():
    app = {
        "id": "/a",
        "version": "new",
        "readinessChecks": [{}],
        "deployments": [{"id": "d"}],
        "readinessCheckResults": [{"taskId": "t.2", "ready": False}, {"taskId": "t.3", "ready": True}],
        "tasks": [task(1, version="old"), *(task(number, version="new") for number in (2, 3, 4))],
    }
    assert len(urls(translate(app)[0])) == 4
    assert urls(translate(app, respect_readiness=True)[0]) == [
        "http://10.0.0.1:31001",
        "http://10.0.0.1:31003",
    ]
    assert len(urls(translate({**app, "deployments": []}, respect_readiness=True)[0])) == 4


@pytest.mark.parametrize(
    ("labels", "rules", "rule"),
    [
        ({}, {}, "Host:a-b-c.marathon.test"),
        ({}, {"groups_as_sub_domains": True}, "Host:c.b.a.marathon.test"),
        ({}, {"domain": ""}, "Host:a-b-c"),
        ({"traefik.domain": "x.test"}, {}, "Host:a-b-c.x.test"),
        ({"HAPROXY_0_VHOST": "lb.test"}, {}, "Host:a-b-c.marathon.test"),
        ({"HAPROXY_0_VHOST": "lb.test"}, {"lb_compatibility": True}, "Host:lb.test"),
        (
            {"HAPROXY_GROUP": "ext"},
            {"lb_compatibility": True, "constraints": ["tag==ext"]},
            "Host:a-b-c.marathon.test",
        ),
        ({"traefik.tags": "int"}, {"constraints": ["tag==ext"]}, None),
        ({}, {"exposed_by_default": False}, None),
    ],
)
def test_names_and_filters(labels, rules, rule):
    document, _ = translate({"id": "/a/b/c", "labels": labels, "tasks": [task()]}, **rules)
    rules = [
        route["rule"] for each in document.tree["frontends"].values() for route in each["routes"].values()
    ]
    assert rules == ([] if rule is None else [rule])


def test_the_backend_label_is_taken_verbatim_behind_backend():
    document, _ = translate({"id": "/a/b", "labels": {"traefik.backend": "x"}, "tasks": [task()]})
    assert list(document.tree["backends"]) == ["backendx"]
    assert list(document.tree["frontends"]) == ["frontend-a-b"]


def test_several_services_of_an_application():
    labels = {
        "traefik.api.portIndex": "1",
        "traefik.api.frontend.rule": "Host:api.test",
        "traefik.web.port": "80",
    }
    document, problems = translate({"id": "/a", "labels": labels, "tasks": [task(ports=[31001, 31002])]})
    assert urls(document) == ["http://10.0.0.1:31002", "http://10.0.0.1:80"]
    assert sorted(document.tree["frontends"]) == ["frontend-a-api", "frontend-a-web"]
    assert problems == []


def test_an_application_that_makes_no_sense_is_left_out_alone():
    document, problems = translate({"id": "/bad", "labels": {"a": 1}}, make_app("/good", {}, 80), 7)
    assert urls(document) == ["http://127.0.0.1:80"]
    assert ["app /bad: cannot be read" in problems[0], "without an id" in problems[1]] == [True, True]


@pytest.mark.parametrize("raw", [{}, [], {"apps": None}, "x", None])
def test_what_is_no_list_of_applications_is_refused(raw):
    with pytest.raises(ValueError, match="no list of apps"):
        read_apps(raw, "marathon")


@pytest.mark.parametrize("text", ["", ",", "ssh://x", "http://"])
def test_endpoints_that_are_none_stop_the_start(text):
    with pytest.raises(ConfigError, match=r"^marathon\.endpoint"):
        parse_endpoints("marathon.endpoint", text)
