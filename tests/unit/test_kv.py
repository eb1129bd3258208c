"""Keys to documents: both layouts, spellings of the root, the alias, what is left out, and where it stood."""

import pytest

from providers import kv
from providers.kv import KeyTree, TreeTooLargeError, document_of, spellings, tree_of
from shared.config.dynamic_reading import read_dynamic
from tests.support.vectors import vectors


def encoded(pairs):
    return {key: value if isinstance(value, bytes) else value.encode() for key, value in dict(pairs).items()}


def document(pairs, root="traefik", **options):
    return document_of(tree_of(root, encoded(pairs)), "etcd", **options)


def read(pairs, root="traefik", **options):
    """What the pairs come to, and every message."""
    made, problems = document(pairs, root, **options)
    reading = read_dynamic(made)
    return reading, [str(each) for each in (*problems, *reading.found)]


ROUTER = {
    "traefik/http/routers/web/rule": "Host(`a.test`)",
    "traefik/http/routers/web/service": "web",
    "traefik/http/services/web/loadBalancer/servers/0/url": "http://127.0.0.1:1",
}


# ------------------------------------------------------------------------------------------- vectors


ELSEWHERE = ("kv-alias-watch", "boltdb-value")
"""Vectors of the area that are about one store."""


@pytest.mark.parametrize(
    "vector", [each for each in vectors("v1", "kv") if each.values[0]["id"] not in ELSEWHERE]
)
def test_v1_vector(vector):
    expect = vector["expect"]
    expected = expect.get("C") or expect["all"]
    (reading, _) = read(vector["config"]["pairs"], vector["config"]["prefix"])
    http = reading.config.http
    backends = expected.get("backends", {})
    assert {name: as_v1_backend(each) for name, each in http.services.items()} == {
        name: expected_backend(each) for name, each in backends.items()
    }
    assert {name: as_v1_frontend(each, http) for name, each in http.routers.items()} == {
        name: expected_frontend(each) for name, each in expected.get("frontends", {}).items()
    }


def as_v1_backend(service):
    balancer = service.load_balancer
    return {
        "servers": [(each.url, each.weight) for each in balancer.servers],
        "method": balancer.v1_method,
        "steps": len(service.middlewares),
    }


def expected_backend(expected):
    servers = expected.get("servers", {})
    return {
        "servers": [(each["url"], each["weight"] or 1) for _, each in sorted(servers.items())],
        "method": expected.get("loadBalancer", {}).get("method", "wrr"),
        "steps": sum(key in expected for key in ("circuitBreaker", "maxConn")),
    }


def as_v1_frontend(router, http):
    return {
        "rule": router.rule,
        "backend": router.service,
        "passHostHeader": http.services[router.service].load_balancer.pass_host_header,
        "entryPoints": router.entry_points,
        "priority": router.priority,
    }


def expected_frontend(expected):
    rules = [each["rule"] for each in expected["routes"].values()]
    # Empty entrypoints become the default ones and priority 0 the rule's length further on.
    default = expected.get("entryPoints") == ["http"]
    return {
        "rule": ";".join(rules),
        "backend": expected["backend"],
        "passHostHeader": expected["passHostHeader"],
        "entryPoints": () if default else tuple(expected.get("entryPoints", ())),
        "priority": expected.get("priority") or sum(map(len, rules)),
    }


@pytest.mark.parametrize("vector", vectors("v2", "provider.kv"))
def test_v2_vector(vector):
    config = vector["config"]
    pairs = {**config["pairs"], f"{config['rootKey']}/http/routers/r/rule": "Path(`/`)"}
    if not config["pairs"]:
        pairs = {}
    reading, messages = read(pairs, config["rootKey"])
    routers, expect = reading.config.http.routers, vector["expect"]
    for key, value in expect.items():
        match key:
            case "error":
                assert reading.broken == {("http", "routers", "r")}
                assert [f'unknown key "{value.rpartition(" ")[2]}"' in each for each in messages] == [True]
            case "entryPoints":
                assert list(routers["r"].entry_points) == value
            case "middlewares":
                assert list(routers["r"].middlewares) == value
            case "tls" if value is None:
                assert routers["r"].tls is None
            case "tls":
                domains = [{"main": each.main, "sans": list(each.sans)} for each in routers["r"].tls.domains]
                assert domains == value.get("domains", [])
            case "tcp":
                servers = reading.config.tcp.services["s"].load_balancer.servers
                assert [{"address": each.address} for each in servers] == value["servers"]
            case "http":
                assert value == {"routers": {}}
                assert routers == {}
            case _:
                pytest.fail(f"the vector expects {key}, which is not looked at")


# --------------------------------------------------------------------------------------------- roots


def test_the_leading_slash_of_a_root_means_nothing():
    for root in ("traefik", "/traefik", "/traefik/"):
        for lead in ("", "/"):
            reading, messages = read({lead + key: value for key, value in ROUTER.items()}, root)
            assert (list(reading.config.http.routers), messages) == (["web"], [])
    assert spellings("/a/b/") == ("/a/b", "a/b")


def test_of_two_spellings_the_configured_one_counts():
    pairs = {**ROUTER, "/traefik/http/routers/web/rule": "Host(`b.test`)"}
    assert read(pairs, "traefik")[0].config.http.routers["web"].rule == "Host(`a.test`)"
    assert read(pairs, "/traefik")[0].config.http.routers["web"].rule == "Host(`b.test`)"


def test_only_keys_below_the_root_count():
    pairs = {**ROUTER, "traefik2/http/routers/other/rule": "x", "traefik": "x", "a/traefik/http/x": "y"}
    reading, messages = read(pairs)
    assert (list(reading.config.http.routers), messages) == (["web"], [])


def test_other_roots_are_left_alone():
    pairs = {
        **ROUTER,
        "traefik/entrypoints/web/address": ":80",
        "traefik/acme/x": b"\xff",
        "traefik/note": "x",
    }
    assert read(pairs)[1] == []


def test_a_tree_has_a_limit(monkeypatch):
    monkeypatch.setattr(kv, "MAX_KEYS", 2)
    with pytest.raises(TreeTooLargeError, match="more than 2 keys"):
        document(ROUTER)
    monkeypatch.setattr(kv, "MAX_KEYS", 100)
    monkeypatch.setattr(kv, "MAX_TREE_BYTES", 50)
    with pytest.raises(TreeTooLargeError, match="50 bytes"):
        document(ROUTER)


def test_a_key_has_a_depth(monkeypatch):
    monkeypatch.setattr(kv, "MAX_DEPTH", 8)
    reading, messages = read({**ROUTER, "traefik/http/routers/web/a/b/c/d/e/f": "x"})
    assert list(reading.config.http.routers) == ["web"]
    assert messages == [
        "etcd:traefik/http/routers/web/a/b/c/d/e/f: more than 8 path elements; it is left out"
    ]


# --------------------------------------------------------------------------------------------- alias


def test_an_alias_replaces_the_root_whole():
    below = {key.replace("traefik/", "/other/1/"): value for key, value in ROUTER.items()}
    tree = tree_of("traefik", encoded({**below, "traefik/alias": "/other/1/", "traefik/http/routers/x": "y"}))
    assert tree.is_aliased
    assert tree.root == "/other/1"
    reading = read_dynamic(document_of(tree, "etcd")[0])
    assert list(reading.config.http.routers) == ["web"]
    assert str(reading.document.locate(("http", "routers", "web"))) == "etcd:/other/1/http/routers/web"


def test_an_empty_alias_is_none():
    reading, _ = read({**ROUTER, "traefik/alias": " "})
    assert list(reading.config.http.routers) == ["web"]


def test_an_alias_is_followed_once():
    tree = tree_of("a", encoded({"a/alias": "b", "b/alias": "c", "c/http/routers/r/rule": "x"}))
    assert tree == KeyTree("b", {"alias": b"c"}, True)


# --------------------------------------------------------------------------------- nesting and values


def test_names_are_read_in_any_case_and_located_as_written():
    pairs = {key.replace("/http/", "/HTTP/").replace("rule", "Rule"): value for key, value in ROUTER.items()}
    reading, _ = read(pairs)
    assert reading.config.http.routers["web"].rule == "Host(`a.test`)"
    where = reading.document.locate(("http", "routers", "web", "rule"))
    assert str(where) == "etcd:traefik/HTTP/routers/web/Rule"


def test_lists_are_in_the_order_of_their_keys_as_text():
    pairs = {f"traefik/http/routers/web/entrypoints/{at}": f"e{at}" for at in (2, 10, 0)}
    reading, _ = read({**ROUTER, **pairs})
    assert reading.config.http.routers["web"].entry_points == ("e0", "e10", "e2")


def test_folders_and_doubled_slashes_mean_nothing():
    reading, messages = read({**ROUTER, "traefik/http/": "", "traefik/http/routers//web/priority": "7"})
    assert messages == []
    assert reading.config.http.routers["web"].priority == 7


def test_a_value_that_is_no_text_disables_its_object_alone():
    pairs = {
        **ROUTER,
        "traefik/http/routers/bad/rule": b"\xff\xfe",
        "traefik/http/routers/bad/service": "web",
    }
    reading, messages = read(pairs)
    assert list(reading.config.http.routers) == ["web"]
    assert reading.broken == {("http", "routers", "bad")}
    assert messages == [
        "etcd:traefik/http/routers/bad/rule: http.routers.bad.rule: "
        "expected text, got 2 bytes that are not text"
    ]


def test_of_a_services_servers_only_the_broken_one_is_left_out():
    pairs = {**ROUTER, "traefik/http/services/web/loadBalancer/servers/1/bogus": "x"}
    reading, messages = read(pairs)
    servers = reading.config.http.services["web"].load_balancer.servers
    assert [each.url for each in servers] == ["http://127.0.0.1:1"]
    assert [each.partition(": ")[0] for each in messages] == [
        "etcd:traefik/http/services/web/loadBalancer/servers/1/bogus"
    ]


def test_certificates_are_a_list_of_indexes():
    pairs = {"traefik/tls/certificates/0/certFile": "c", "traefik/tls/certificates/0/keyFile": "k"}
    reading, messages = read(pairs)
    assert messages == []
    assert [each.cert_file for each in reading.config.tls.certificates] == ["c"]


# ------------------------------------------------------------------------------------------------ v1

V1 = {
    "traefik/backends/b/servers/s/url": "http://127.0.0.1:1",
    "traefik/frontends/f/backend": "b",
    "traefik/frontends/f/routes/r/rule": "Host:a.test",
}


def test_both_dialects_may_stand_in_one_tree():
    reading, messages = read({**V1, **ROUTER})
    assert (sorted(reading.config.http.routers), messages) == (["f", "web"], [])


def test_the_two_field_rule_of_the_first_releases():
    pairs = {
        **V1,
        "traefik/frontends/f/routes/r/rule": "Host",
        "traefik/frontends/f/routes/r/value": "a.test",
    }
    assert read(pairs)[0].config.http.routers["f"].rule == "Host:a.test"


def test_pass_host_header_may_be_switched_off():
    reading, _ = read({**V1, "traefik/frontends/f/passHostHeader": "false"})
    assert reading.config.http.services["b"].load_balancer.pass_host_header is False


def test_sticky_counts_only_with_a_method():
    sticky = {**V1, "traefik/backends/b/loadbalancer/sticky": "true"}
    reading, messages = read(sticky)
    assert reading.config.http.services["b"].load_balancer.sticky is None
    assert messages == [
        "etcd:traefik/backends/b/loadbalancer/sticky: backends.b.loadbalancer.sticky: "
        "it counts only with method; left out"
    ]
    reading, messages = read({**sticky, "traefik/backends/b/loadbalancer/method": "wrr"})
    assert (reading.config.http.services["b"].load_balancer.sticky is not None, messages) == (True, [])


def test_a_half_written_frontend_and_server_are_left_out():
    half = {"traefik/frontends/g/routes/r/rule": "Host:b", "traefik/backends/b/servers/t/weight": "1"}
    reading, messages = read({**V1, **half})
    assert list(reading.config.http.routers) == ["f"]
    assert len(reading.config.http.services["b"].load_balancer.servers) == 1
    assert messages == [
        "etcd:traefik/backends/b/servers/t: backends.b.servers.t: it has no url; the server is left out",
        "etcd:traefik/frontends/g: frontends.g: it names no backend; the frontend is left out",
    ]


def test_a_bad_number_costs_its_server():
    pairs = {
        **V1,
        "traefik/backends/b/servers/t/url": "http://127.0.0.1:2",
        "traefik/backends/b/servers/t/weight": "ten",
    }
    reading, messages = read(pairs)
    assert [each.url for each in reading.config.http.services["b"].load_balancer.servers] == [
        "http://127.0.0.1:1"
    ]
    assert messages == [
        "etcd:traefik/backends/b/servers/t/weight: backends.b.servers.t.weight: "
        'expected a whole number, got "ten"'
    ]


def test_tags_are_for_constraints():
    pairs = {**V1, "traefik/backends/b/servers/s/tags": "blue, green"}
    asked = []
    reading, messages = read(pairs, keeps=lambda tags: asked.append(tags) or "red" in tags)
    assert (asked, messages) == ([["blue", "green"]], [])
    assert reading.config.http.services["b"].load_balancer.servers == ()
