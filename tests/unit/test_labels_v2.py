"""v2's labels: grammar, what is completed, what is merged, and where a mistake is reported."""

import msgspec
import pytest

from providers.docker_containers import ContainerView, read_containers
from providers.labels_rules_v2 import translate_v2
from shared.config.decode import decode
from shared.config.diagnostics import Diagnostics
from shared.config.dynamic import Domain, RouterTls
from shared.config.dynamic_reading import read_dynamic
from shared.config.middlewares import Middleware
from tests.support.labelled import container_entry, fits, plain, read_v2, v2_rules, workload
from tests.support.vectors import vectors


def read_vector(config):
    containers = config.get("containers") or [config["container"]]
    entries = [container_entry(each, f"{number}") for number, each in enumerate(containers)]
    settings = config.get("provider", {})
    view = ContainerView(allow_empty=settings.get("allowEmptyServices", False))
    workloads, found = read_containers(entries, view)
    document, _ = translate_v2("docker", workloads, v2_rules(**settings), found)
    return read_dynamic(document).config


def decoded_middlewares(expected):
    """Expected middlewares with durations and defaults as the model has them."""
    good = {name: decode(Middleware, each, (), Diagnostics()) for name, each in expected.items()}
    return plain(good)


def check_sections(expected, config):
    actual = plain(config)
    for root, kinds in expected.items():
        if not kinds:
            assert not any(actual[root].values()), root
        for kind, objects in kinds.items():
            wanted = decoded_middlewares(objects) if kind == "middlewares" else objects
            assert fits(wanted, actual[root][kind]), (kind, actual[root][kind])


@pytest.mark.parametrize("vector", vectors("v2", "provider.docker", "provider.docker.merge"))
def test_vector(vector):
    config = read_vector(vector["config"])
    expected = dict(vector["expect"])
    known = {"routers", "services", "serverURL", "servers", "rule", "http", "tcp", "udp"}
    assert expected.keys() <= known, "an expectation that this test does not look at"
    check_sections({root: expected[root] for root in ("http", "tcp", "udp") if root in expected}, config)
    urls = [each.url for service in config.http.services.values() for each in service.load_balancer.servers]
    if "routers" in expected:
        assert sorted(config.http.routers) == sorted(expected["routers"])
    if "services" in expected:
        assert sorted(config.http.services) == sorted(expected["services"])
    if "serverURL" in expected:
        assert urls == [expected["serverURL"]]
    if "servers" in expected:
        assert urls == expected["servers"]
    if "rule" in expected:
        assert [each.rule for each in config.http.routers.values()] == [expected["rule"]]


def test_names_are_matched_in_any_case_and_keep_the_first_spelling():
    labels = {
        "traefik.http.routers.Web.Rule": "Host(`a.test`)",
        "traefik.HTTP.Routers.web.EntryPoints": "one, two",
        "traefik.http.routers.WEB.priority": "7",
    }
    reading, problems = read_v2(workload("w", labels))
    (name, router), *others = reading.config.http.routers.items()
    assert (name, router.priority, router.entry_points, others) == ("web", 7, ("one", "two"), []), (
        "HTTP sorts first"
    )
    assert problems == []


def test_items_of_a_list_come_in_the_order_of_their_text():
    tls = "traefik.http.routers.r.tls.domains"
    labels = {f"{tls}[2].main": "two", f"{tls}[10].main": "ten", f"{tls}.10.sans": "a,b"}
    reading, _ = read_v2(workload("w", labels))
    domains = reading.config.http.routers["r"].tls.domains
    assert domains == (Domain(main="ten", sans=("a", "b")), Domain(main="two"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", RouterTls(options="strict")), ("TRUE", RouterTls(options="strict")), ("false", None)],
)
def test_a_section_with_a_value_keeps_what_is_below_it_only_when_true(value, expected):
    labels = {"traefik.http.routers.r.tls": value, "traefik.http.routers.r.tls.options": "strict"}
    reading, _ = read_v2(workload("w", labels))
    assert reading.config.http.routers["r"].tls == expected


def test_a_bad_label_disables_its_object_alone_and_is_named():
    labels = {
        "traefik.http.routers.good.rule": "Host(`good.test`)",
        "traefik.http.routers.bad.rule": "Host(`bad.test`)",
        "traefik.http.routers.bad.entrypoint": "web",
        "traefik.http.middlewares.m.retry": "true",
        "traefik.http.middlewares.n.addprefix.prefix": "/x",
    }
    reading, problems = read_v2(workload("shop", labels))
    assert list(reading.config.http.routers) == ["good"]
    assert list(reading.config.http.middlewares) == ["n"]
    assert list(reading.config.http.services) == ["shop"]
    assert [text.split(": ")[:3] for text in problems] == [
        ["docker", "container shop", "label traefik.http.routers.bad.entrypoint"],
        ["docker", "container shop", "label traefik.http.middlewares.m.retry"],
    ]
    assert 'did you mean "entryPoints"?' in problems[0]


def test_a_bad_weight_costs_one_server_and_is_found_at_its_container():
    bad = {"traefik.http.services.s.loadbalancer.server.weight": "heavy"}
    good = {"traefik.http.services.s.loadbalancer.server.weight": "3"}
    one, two = workload("one", good), workload("two", bad, address="10.0.0.2")
    reading, problems = read_v2(one, two)
    servers = reading.config.http.services["s"].load_balancer.servers
    assert [(each.url, each.weight) for each in servers] == [("http://10.0.0.1:80", 3)]
    assert [text.split(": ")[1:3] for text in problems] == [["container two", f"label {next(iter(bad))}"]]


def test_containers_of_one_service_share_it_and_equal_addresses_count_once():
    one, two, again = (
        workload("a", {}, service_name="s"),
        workload("b", {}, address="10.0.0.2", service_name="s"),
        workload("c", {}, service_name="s"),
    )
    reading, problems = read_v2(one, two, again, defaultRule="Host(`{{ .Name }}.test`)")
    assert [each.url for each in reading.config.http.services["s"].load_balancer.servers] == [
        "http://10.0.0.1:80",
        "http://10.0.0.2:80",
    ]
    assert problems == []


@pytest.mark.parametrize("order", [1, -1])
def test_objects_that_contradict_each_other_are_left_out_everywhere(order):
    one = workload("one", {"traefik.http.routers.r.rule": "Host(`one.test`)"})
    two = workload("two", {"traefik.http.routers.r.rule": "Host(`two.test`)"})
    reading, problems = read_v2(*[one, two][::order])
    assert reading.config.http.routers == {}
    assert sorted(reading.config.http.services) == ["one", "two"]
    assert problems == [
        "docker: container two: label traefik.http.routers.r.rule: http.routers.r is defined differently by "
        "container one; it is left out everywhere"
    ]


def test_a_service_without_a_port_is_left_out_and_its_name_stays_taken():
    labels = {
        "traefik.http.services.a.loadbalancer.server.port": "99999",
        "traefik.http.services.b.loadbalancer.server.port": "81",
        "traefik.http.routers.r.rule": "Path(`/`)",
    }
    reading, problems = read_v2(workload("w", labels))
    assert list(reading.config.http.services) == ["b"]
    assert reading.config.http.routers == {}, "never linked to b because a is broken"
    assert any('"99999" is not a number' in each for each in problems)


@pytest.mark.parametrize(
    ("label", "said"),
    [("weighted.services[0].name", "only loadBalancer"), ("loadbalancer.server.url", "excludes port")],
)
def test_a_service_that_labels_cannot_have_is_left_out(label, said):
    of_service = "traefik.http.services.s"
    labels = {f"{of_service}.{label}": "http://x", f"{of_service}.loadbalancer.server.port": "80"}
    reading, problems = read_v2(workload("w", labels))
    assert reading.config.http.services == {}
    assert [said in each for each in problems] == [True]


def test_a_workload_that_is_not_ready_keeps_its_routes_without_a_server():
    reading, _ = read_v2(workload("w", {}, is_ready=False))
    assert list(reading.config.http.routers) == ["w"]
    assert reading.config.http.services["w"].load_balancer.servers == ()


def test_an_address_that_cannot_be_used_is_said_and_not_used():
    reading, problems = read_v2(workload("w", {}, address="", trouble="this host has no route to it"))
    assert (reading.config.http.routers, reading.config.http.services) == ({}, {})
    assert problems == ["docker: container w: this host has no route to it"]


def test_a_published_port_is_used_when_asked_for():
    from providers.labels import Port

    ports = (Port(80, "tcp", "127.0.0.1", 8080), Port(443, "tcp", "0.0.0.0", 8443))
    made = msgspec.structs.replace(workload("w", {}), ports=ports, by_binding=True)
    reading, _ = read_v2(made)
    assert reading.config.http.services["w"].load_balancer.servers[0].url == "http://127.0.0.1:8080"
    on_all = {"traefik.http.services.w.loadbalancer.server.port": "443"}
    reading, _ = read_v2(msgspec.structs.replace(made, labels=on_all))
    assert reading.config.http.services["w"].load_balancer.servers[0].url == "http://10.0.0.1:443"


def test_an_ipv6_address_stands_in_brackets():
    labels = {"traefik.tcp.routers.t.rule": "HostSNI(`*`)"}
    reading, _ = read_v2(workload("w", {}, address="fd00::5"), workload("t", labels, address="fd00::5"))
    assert reading.config.http.services["w"].load_balancer.servers[0].url == "http://[fd00::5]:80"
    assert reading.config.tcp.services["t"].load_balancer.servers[0].address == "[fd00::5]:80"


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("traefik.htpp.routers.r.rule", 'did you mean "traefik.http"?'),
        ("traefik.frontend.rule", "a label of v1"),
        ("Traefik.http.routers.r.rule", "invalid label root Traefik"),
        ("traefik.http.routers..rule", "not a name of settings"),
        ("traefik.http.foo.r.rule", 'unknown key "foo"'),
    ],
)
def test_labels_that_mean_nothing_are_said(label, said):
    reading, problems = read_v2(workload("w", {label: "x"}))
    assert list(reading.config.http.routers) == ["w"]
    assert [said in each and f"label {label}" in each for each in problems] == [True]


def test_enable_has_to_be_true_or_false():
    reading, problems = read_v2(workload("w", {"traefik.enable": "yes"}))
    assert reading.config.http.routers == {}
    assert problems == ['docker: container w: label traefik.enable: "yes" is not true or false; not exposed']


def test_nothing_that_labels_say_raises():
    for value in ("", "true", "\0", "x" * 100, "[", "{{"):
        for name in (
            "",
            ".",
            "..",
            "[0]",
            "a[0",
            "routers",
            "routers.r",
            "routers.r.tls.domains[x]",
            "services.s",
        ):
            for root in ("http", "tcp", "udp", "tls.stores.default", ""):
                read_v2(workload("w", {f"traefik.{root}.{name}": value, f"traefik.{root}": value}))


def test_no_workload_means_no_routes_rather_than_nothing():
    reading, problems = read_v2()
    assert reading.document.tree["http"]["routers"] == {}
    assert problems == []
