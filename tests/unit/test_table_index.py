"""The index gives few candidates, whatever the routers differ by and however many there are."""

from __future__ import annotations

import pytest

from shared.rules import conditions as c
from shared.table.claims import MAX_CLAIMS, MAX_COPIES, claims_of
from shared.table.reader import open_table
from shared.table.writer import write_table
from tests.support.oracle import PlainRequest
from tests.support.tables import ENTRYPOINT, table_of

COUNT = 600
SHARED = (c.HostIs("one"), c.PathStarts("/"))
FAMILIES = {
    "host": (lambda i: c.HostIs(f"h{i}"), lambda i: PlainRequest(host=f"h{i}.")),
    "parent": (lambda i: c.HostUnder(f"h{i}"), lambda i: PlainRequest(host=f"www.h{i}")),
    "path": (lambda i: c.All((*SHARED, c.PathIs(f"/{i}"))), lambda i: PlainRequest("one", f"/{i}")),
    "prefix": (lambda i: c.PathStarts(f"/s{i}/", True), lambda i: PlainRequest(decoded_path=f"/s{i}/x")),
    "host or path": (
        lambda i: c.Either((c.HostIs(f"h{i}"), c.All((c.PathIs(f"/{i}"), c.MethodIs("GET"))))),
        lambda i: PlainRequest(path=f"/{i}"),
    ),
    "many hosts": (
        lambda i: c.Either(tuple(c.HostIs(f"h{i}-{j}") for j in range(40))),
        lambda i: PlainRequest(host=f"h{i}-39"),
    ),
    "method": (lambda i: c.MethodIs(f"M{i}"), lambda i: PlainRequest(method=f"M{i}")),
    "header": (
        lambda i: c.All((*SHARED, c.HeaderIs("x-tenant", str(i)))),
        lambda i: PlainRequest("one", headers=[("x-tenant", "?"), ("x-tenant", str(i))]),
    ),
    "query": (
        lambda i: c.All((*SHARED, c.QueryIs("t", str(i), True))),
        lambda i: PlainRequest("one", query=[("t", str(i)), ("t", "?")]),
    ),
    "not not": (lambda i: c.Not(c.Either((c.Not(c.HostIs(f"h{i}")),))), lambda i: PlainRequest(f"h{i}")),
    "anchored host": (
        lambda i: c.HostMatches(rf"^[a-z]+\.t{i}\.org$"),
        lambda i: PlainRequest(f"www.t{i}.org"),
    ),
    "host expression": (lambda i: c.HostMatches(f"-t{i}-"), lambda i: PlainRequest(f"a-t{i}-b")),
    "path expression": (lambda i: c.PathMatches(f"t{i}/"), lambda i: PlainRequest(path=f"/t{i}/")),
    "decoded expression": (
        lambda i: c.PathMatches(f"t{i}/", True),
        lambda i: PlainRequest(decoded_path=f"/t{i}/"),
    ),
    "header expression": (
        lambda i: c.All((*SHARED, c.HeaderMatches("x", f"t{i}$"))),
        lambda i: PlainRequest("one", headers=[("x", f"t{i}")]),
    ),
    "query expression": (
        lambda i: c.All((*SHARED, c.QueryMatches("q", f"t{i}$"))),
        lambda i: PlainRequest("one", query=[("q", f"t{i}")]),
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_few_candidates_of_many(family):
    condition, request = FAMILIES[family]
    table = open_table(write_table(table_of([condition(i) for i in range(COUNT)]), 1))
    table.warm()
    for i in (0, COUNT // 2, COUNT - 1):
        candidates = table.candidates(ENTRYPOINT, False, request(i))
        assert i in candidates
        assert len(candidates) <= 4
    assert len(table.candidates(ENTRYPOINT, False, PlainRequest("no", "*", "NO"))) <= 4


def test_a_rule_that_cannot_hold_is_filed_nowhere():
    never = c.Not(c.Always())
    assert claims_of(never) == claims_of(c.All((c.HostIs("a"), never))) == claims_of(c.Either(())) == ()
    table = open_table(write_table(table_of([never] * 9), 1))
    assert table.candidates(ENTRYPOINT, False, PlainRequest()) == []


def test_claims_of_one_rule_are_bounded():
    pair = c.All(
        tuple(
            c.Either(
                (c.HostIs(f"h{i}"), c.All((c.PathIs(f"/{i}"), c.MethodIs("GET"))), c.HeaderIs("x", str(i)))
            )
            for i in range(12)
        )
    )
    assert len(claims_of(pair)) <= MAX_CLAIMS
    wide = c.All(
        (
            c.Either(tuple(c.HostIs(f"h{i}") for i in range(200))),
            c.Either(tuple(c.PathIs(f"/{i}") for i in range(200))),
        )
    )
    (claim,) = claims_of(wide)
    copies = 1
    for keys in claim.values():
        copies *= len(keys)
    assert copies <= MAX_COPIES


def test_many_prefix_lengths_still_find_all():
    rules = [c.PathStarts("/" + "x" * length) for length in range(200)]
    table = open_table(write_table(table_of(rules), 1))
    assert table.candidates(ENTRYPOINT, False, PlainRequest(path="/" + "x" * 300)) == list(range(200))


def test_many_values_in_a_request_find_each_router_once():
    rules = [c.HeaderIs("x", str(number)) for number in range(50)]
    table = open_table(write_table(table_of(rules), 1))
    values = [("x", str(number % 60)) for number in range(5_000)]
    assert table.candidates(ENTRYPOINT, False, PlainRequest(headers=values)) == list(range(50))
