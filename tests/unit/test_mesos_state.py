"""A Mesos master's state as frontends and backends: ports, addresses, states, names."""

import pytest

from providers.labels_constraints import tag_constraints
from providers.mesos import make_providers
from providers.mesos_leader import parse_zookeeper_url
from providers.mesos_state import MesosRules, read_state, read_tasks, translate_tasks
from providers.reachability import RoutingTable
from shared.config.dynamic_reading import read_dynamic
from shared.config.sources import load_static
from shared.errors import ConfigError
from tests.support.mesos import MesosStandIn, make_task

OVERLAY = [
    {
        "timestamp": 2.0,
        "container_status": {
            "network_infos": [
                {"ip_addresses": [{"ip_address": "2001:db8::2"}, {"ip_address": "10.32.0.7"}], "name": "one"},
                {"ip_addresses": [{"ip_address": "10.33.0.7"}], "name": "two"},
            ]
        },
    },
    {"timestamp": 1.0, "healthy": False},
]


def translate(*tasks, constraints=(), **rules):
    made = MesosRules(
        **{
            "domain": "mesos.test",
            "exposed_by_default": True,
            "takes_tags": tag_constraints("mesos.constraints", constraints),
            **rules,
        }
    )
    master = MesosStandIn(5050)
    master.tasks = {each["id"]: each for each in tasks}
    state = read_state(master.state)
    document, problems = translate_tasks("mesos", state, read_tasks(state), made, RoutingTable(None))
    return document, [str(each) for each in (*problems, *read_dynamic(document).found)]


def urls(document):
    return [
        server["url"] for each in document.tree["backends"].values() for server in each["servers"].values()
    ]


def test_tasks_of_one_name_share_a_backend():
    document, problems = translate(
        make_task("web.shop", {}, 31001), make_task("web.shop", {}, 31002, number=2)
    )
    assert list(document.tree["frontends"]) == ["frontend-web-shop"]
    routes = document.tree["frontends"]["frontend-web-shop"]["routes"]
    assert routes == {"route-host-web-shop": {"rule": "Host:web.shop.mesos.test"}}
    assert urls(document) == ["http://127.0.0.1:31001", "http://127.0.0.1:31002"]
    assert problems == []


@pytest.mark.parametrize(
    ("labels", "more", "rules", "url"),
    [
        ({}, {}, {}, "127.0.0.1:31001"),
        ({"traefik.portIndex": "1"}, {}, {}, "127.0.0.1:31002"),
        (
            {"traefik.port": "8080"},
            {"discovery": {}, "resources": {}, "statuses": OVERLAY},
            {},
            "10.32.0.7:8080",
        ),
        ({}, {"discovery": {}}, {}, "127.0.0.1:31001"),
        ({}, {"resources": {"ports": "[41000-41002]"}, "discovery": {}}, {}, "127.0.0.1:41000"),
        ({}, {"statuses": OVERLAY}, {"ip_sources": ("netinfo", "host")}, "10.32.0.7:31001"),
        ({}, {"statuses": []}, {"ip_sources": ("netinfo", "host")}, "127.0.0.1:31001"),
    ],
    ids=["first port", "index", "own address", "resources", "range", "sources", "next source"],
)
def test_address_and_port(labels, more, rules, url):
    document, problems = translate(make_task("a", labels, 31001, 31002, **more), **rules)
    assert urls(document) == [f"http://{url}"]
    assert problems == []


@pytest.mark.parametrize(
    ("labels", "more", "said"),
    [
        ({"traefik.portIndex": "2"}, {}, "no index of its 1 ports"),
        ({"traefik.portIndex": "0", "traefik.port": "1"}, {}, "exclude each other"),
        ({"traefik.port": "0"}, {}, "is not a number from 1"),
        ({}, {"discovery": {}, "resources": {}}, "port is missing"),
        ({"traefik.port": "80"}, {"discovery": {}, "resources": {}, "statuses": []}, ""),
    ],
)
def test_a_task_that_cannot_be_reached_is_said_alone(labels, more, said):
    document, problems = translate(make_task("bad", labels, 31001, **more), make_task("good", {}, 31002))
    assert "http://127.0.0.1:31002" in urls(document)
    assert (len(urls(document)), len(problems)) == ((1, 1) if said else (2, 0))
    assert not said or ("task bad.instance-1._app.1: " in problems[0] and said in problems[0])


@pytest.mark.parametrize(
    "more",
    [
        {"state": "TASK_STAGING"},
        {"state": "TASK_UNREACHABLE"},
        {"slave_id": "agent-S9"},
        {"statuses": [{"timestamp": 1.0, "healthy": True}, {"timestamp": 2.0, "healthy": False}]},
    ],
    ids=["staging", "unreachable", "agent lost", "sick"],
)
def test_what_is_not_served(more):
    assert urls(translate(make_task("a", {}, 31001, **more))[0]) == []


def test_names_and_filters():
    document, _ = translate(make_task("a/b", {}, 31001), groups_as_sub_domains=True)
    (frontend,) = document.tree["frontends"].values()
    assert frontend["routes"]["route-host-a-b"]["rule"] == "Host:b.a.mesos.test"
    tagged = make_task("a", {"traefik.tags": "x", "traefik.backend": "own"}, 31001)
    document, _ = translate(tagged, make_task("b", {}, 31002), constraints=["tag==x"])
    assert list(document.tree["backends"]) == ["backend-own"]
    assert urls(translate(make_task("a", {}, 31001), exposed_by_default=False)[0]) == []
    assert urls(translate(make_task("a", {"traefik.enable": "false"}, 31001))[0]) == []


@pytest.mark.parametrize("raw", [{}, [], None, {"frameworks": 1}, {"frameworks": [], "slaves": [{}]}])
def test_what_is_no_state_is_refused(raw):
    with pytest.raises(ValueError, match=r".+"):
        read_state(raw)


def test_what_is_no_task_is_refused():
    with pytest.raises(ValueError, match="a task"):
        read_tasks(read_state({"frameworks": [{"tasks": [{"name": 1}]}]}))


@pytest.mark.parametrize(
    "flag", ["IPSources=host,dns", "endpoint=zk://h:1", "endpoint=zk://u:p@h:1/m", "endpoint=x://y"]
)
def test_settings_that_cannot_work_stop_the_start(tmp_path, flag):
    config = load_static([f"--mesos.{flag}"], {}, tmp_path, system_directory=tmp_path / "etc").config
    with pytest.raises(ConfigError, match=r"^mesos\."):
        make_providers(config, None)


def test_a_zookeeper_endpoint():
    assert parse_zookeeper_url("x", "zk://a:1,b:2/mesos/") == ("a:1,b:2", "/mesos")
