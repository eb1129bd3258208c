"""The rule vectors: whether a rule is valid, whether it matches, and which router wins."""

from __future__ import annotations

import tomllib

import pytest

from shared.errors import ConfigError
from shared.patterns import compile_pattern
from shared.rules.language import default_priority, read_rule
from shared.rules.predicates import compile_predicate
from shared.rules.v1 import FrontendRule, read_frontend_rule
from tests.support.matchable import request_of_v1_vector, request_of_v2_vector
from tests.support.vectors import FILES, all_vectors, deviations, v1_expectation, vectors

LITERAL_EXAMPLE = "seed002-frontend3-literal"  # its advice is prose: see the test of its own below


def test_every_deviation_belongs_to_a_vector():
    known = {each["id"] for file in FILES for each in all_vectors(file)}
    assert set(deviations()) <= known
    assert all(reason.strip() for reason in deviations().values())


@pytest.mark.parametrize("vector", vectors("v2", "rule.v3", "rule.v2"))
def test_expression_matches(vector):
    config = vector["config"]
    holds = compile_predicate(read_rule(config["rule"], config["ruleSyntax"]))
    assert holds(request_of_v2_vector(vector["request"])) is vector["expect"]["match"]


@pytest.mark.parametrize("vector", vectors("v2", "rule.v3.invalid", "rule.v2.invalid"))
def test_expression_is_refused(vector):
    config = vector["config"]
    with pytest.raises(ConfigError) as caught:
        read_rule(config["rule"], config["ruleSyntax"])
    assert caught.value.path == ""
    assert caught.value.reason


@pytest.mark.parametrize(
    "vector", [each for each in vectors("v2", "priority") if "http" in each.values[0]["config"]]
)
def test_router_priority(vector):
    routers = vector["config"]["http"]["routers"]
    request = request_of_v2_vector(vector["request"])

    def rank(name):
        return -(routers[name].get("priority") or default_priority(routers[name]["rule"])), name

    matching = [
        name
        for name in sorted(routers, key=rank)
        if compile_predicate(read_rule(routers[name]["rule"], "v3"))(request)
    ]
    assert matching[0] == vector["expect"]["router"]


@pytest.mark.parametrize(
    "vector", [each for each in vectors("v1", "rules") if each.values[0]["id"] != LITERAL_EXAMPLE]
)
def test_frontends_of_v1(vector):
    config = tomllib.loads(vector["config"])
    frontends = config["frontends"]
    wanted = v1_expectation(vector, frontends)
    rules, skipped = _read_frontends(config)
    if "skipped" in wanted and "advice" not in vector:
        assert skipped == wanted["skipped"]
    request = request_of_v1_vector(vector["request"])
    winner = _winner(frontends, rules, request)
    if wanted["status"] == 404:
        assert winner is None
    elif wanted["status"] == 301:
        assert _redirect(rules[winner], request) == wanted["location"]
    else:
        assert winner == wanted["frontend"]
        assert _redirect(rules[winner], request) is None


@pytest.mark.parametrize("vector", vectors("v1", "rules"))
def test_one_string_form_means_the_same(vector):
    rules, _ = _read_frontends(tomllib.loads(vector["config"]))
    for rule in rules.values():
        assert read_rule(rule.text, "v1") == rule.condition


def test_rule_and_value_in_the_frontend_table_are_one_route():
    vector = next(each for each in all_vectors("v1") if each["id"] == LITERAL_EXAMPLE)
    frontend = tomllib.loads(vector["config"])["frontends"]["frontend3"]
    rule = read_frontend_rule([(frontend["rule"], frontend["value"])])
    holds = compile_predicate(rule.condition)
    assert not holds(request_of_v1_vector(vector["request"]))
    assert holds(request_of_v1_vector({**vector["request"], "target": "/test"}))


def _read_frontends(config):
    rules: dict[str, FrontendRule] = {}
    skipped = []
    for name, frontend in sorted(config["frontends"].items()):
        routes = frontend.get("routes", {}).values()
        if frontend["backend"] not in config["backends"]:
            skipped.append(name)
            continue
        try:
            rules[name] = read_frontend_rule([(route["rule"], route.get("value", "")) for route in routes])
        except ConfigError:
            skipped.append(name)
    return rules, skipped


def _winner(frontends, rules, request):
    def rank(name):
        written = frontends[name].get("priority", 0)
        return -(written if written > 0 else rules[name].text_length), name

    matching = (name for name in sorted(rules, key=rank) if compile_predicate(rules[name].condition)(request))
    return next(matching, None)


def _redirect(rule, request):
    path = request.decoded_path
    query = "" if request.query is None else f"?{request.query}"
    if any(compile_pattern(each).found_in(path) for each in rule.add_slash):
        return f"{path}/{query}"
    if any(compile_pattern(each).found_in(path) for each in rule.drop_slash):
        return f"{path[:-1]}{query}"
    return None
