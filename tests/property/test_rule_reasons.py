"""Explanations agree with matching, and what is proved about two rules is true for every request."""

from __future__ import annotations

from hypothesis import assume, given

from shared.rules import conditions as c
from shared.rules.explain import explain, reason
from shared.rules.predicates import compile_predicate
from shared.rules.relations import excludes, implies
from tests.property.test_rules import conditions, requests


@given(conditions, requests)
def test_an_explanation_says_what_matching_says_and_every_reason_is_true(condition, request):
    verdict = explain(condition, request)
    assert verdict.holds is compile_predicate(condition)(request)
    for evidence in verdict.evidence:
        assert compile_predicate(evidence.leaf)(request) is evidence.holds
        assert reason(evidence, request)


@given(conditions, requests, requests)
def test_the_reasons_alone_settle_the_verdict(condition, request, other):
    """Any request that agrees on the reasons gets the same verdict."""
    verdict = explain(condition, request)
    assume(all(compile_predicate(each.leaf)(other) is each.holds for each in verdict.evidence))
    assert compile_predicate(condition)(other) is verdict.holds


@given(conditions, conditions, requests)
def test_a_proved_relation_holds_for_every_request(first, second, request):
    one, two = compile_predicate(first)(request), compile_predicate(second)(request)
    if implies(first, second):
        assert two or not one
    if excludes(first, second):
        assert not (one and two)


def test_the_relations_that_matter_are_proved():
    host, path = c.HostIs("a.test"), c.PathStarts("/api")
    assert implies(c.All((host, path)), path)
    assert implies(c.All((host, c.PathIs("/api/x"))), c.All((c.HostIs("a.test"), path)))
    assert implies(host, c.HostMatches("^.+$"))
    assert implies(c.HostIs("b.a.test"), c.HostUnder("a.test"))
    assert not implies(path, c.All((host, path)))
    assert excludes(c.All((host, path)), c.All((c.HostIs("b.test"), path)))
    assert excludes(c.PathStarts("/a"), c.PathStarts("/b"))
    assert excludes(c.All((c.Not(host), path)), host)
    assert not excludes(host, path)
