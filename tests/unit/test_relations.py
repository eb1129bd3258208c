"""Trailing dots of hosts: a condition accepts one dot more or less than it says, and proofs know that."""

from __future__ import annotations

from itertools import product

from shared.rules import conditions as c
from shared.rules.predicates import compile_predicate
from shared.rules.relations import excludes, implies
from tests.support.oracle import PlainRequest

HOSTS = ["", ".", "a", "a.", "a..", "a...", "b", "x.a", "x.a.", "x.a..", "y.x.a"]
CONDITIONS = [
    *(c.HostIs(host, dots) for host, dots in product(HOSTS, (False, True))),
    *(c.HostUnder(parent) for parent in ("a", "a.", "x.a")),
    *(c.HostMatches(pattern) for pattern in (r"^a\.?$", r"\.$", "a", "^$")),
]


def test_no_host_disproves_what_is_proved():
    for first, second in product(CONDITIONS, repeat=2):
        one, two = compile_predicate(first), compile_predicate(second)
        requests = [PlainRequest(host=host) for host in HOSTS]
        if implies(first, second):
            assert all(two(each) for each in requests if one(each)), (first, second)
        if excludes(first, second):
            assert not any(one(each) and two(each) for each in requests), (first, second)


def test_what_should_be_proved_is():
    assert implies(c.HostIs("a", dot_counts=True), c.HostIs("a"))
    assert implies(c.HostIs("a"), c.HostIs("a."))
    assert not implies(c.HostIs("a."), c.HostIs("a"))  # a.. is one dot more
    assert excludes(c.HostIs("a"), c.HostIs("b"))
