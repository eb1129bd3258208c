"""Which of the rules that do not hold a person wants to see first."""

from __future__ import annotations

from shared.rules import conditions as c
from shared.rules.nearness import nearness
from tests.support.oracle import PlainRequest

REQUEST = PlainRequest(host="shop.test", path="/api/cart", method="GET")


def order(*rules):
    return sorted(rules, key=lambda rule: nearness(rule, REQUEST), reverse=True)


def test_the_requests_host_is_nearer_than_no_host_and_that_nearer_than_another():
    own = c.All((c.HostIs("shop.test"), c.PathIs("/x"), c.MethodIs("PUT")))
    none = c.All((c.PathStarts("/api"), c.MethodIs("PUT")))
    other = c.All((c.HostIs("other.test"), c.PathStarts("/api"), c.MethodIs("GET")))
    assert order(other, none, own) == [own, none, other]


def test_of_one_host_the_rule_of_which_more_holds_is_nearer():
    host = c.HostIs("shop.test")
    two_of_three = c.All((host, c.PathStarts("/api"), c.MethodIs("PUT")))
    one_of_three = c.All((host, c.PathIs("/x"), c.MethodIs("PUT")))
    assert order(one_of_three, two_of_three) == [two_of_three, one_of_three]


def test_among_equals_the_path_with_more_in_common_is_nearer():
    host = c.HostIs("shop.test")
    rules = [c.All((host, c.PathIs(path))) for path in ("/api/carts", "/api", "/x")]
    assert order(*reversed(rules)) == rules


def test_an_alternative_counts_by_its_best_part_and_a_negated_host_is_no_host():
    best = c.Either((c.All((c.PathIs("/api/cart"), c.MethodIs("PUT"))), c.PathIs("/x")))
    assert nearness(best, REQUEST) == (1, 0.5, len("/api/cart"))
    assert nearness(c.Not(c.HostIs("shop.test")), REQUEST) == (1, 0.0, 0)
