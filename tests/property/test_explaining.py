"""What explain says won is what matching says and what a linear scan says, and every reason it gives is true.

The oracle checks the reasons; it shares no code with matching and none with explaining.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config.static import EntryPoint, StaticConfig
from shared.errors import DownstreamError
from shared.explanation import NEAREST_SHOWN, Question
from shared.rules.nearness import nearness
from shared.rules.predicates import compile_predicate
from shared.table.reader import open_table
from shared.table.writer import write_table
from tests.property.test_table import _encodable, requests, rule_lists
from tests.support.oracle import holds, linear_match
from tests.support.tables import ENTRYPOINT, table_of
from worker.explaining.judging import judge_routers, nearest, reasons_of
from worker.explaining.question import read_question
from worker.main import explain_request
from worker.matching import match
from worker.request_head import Peer, make_rules, parse_request

REQUESTS_PER_TABLE = 8
TABLES = 250
TABLES_LONG = 12_500
"""Times eight: 2,000 cases by default, 100,000 in the long campaign."""

STATIC = StaticConfig(entry_points={ENTRYPOINT: EntryPoint(address=":80")})
ODD_PATHS = ["/%61", "/ü", "/%zz", "/a b"]
asked = st.lists(requests, min_size=REQUESTS_PER_TABLE, max_size=REQUESTS_PER_TABLE)
questions = st.builds(
    Question,
    url=st.builds(
        lambda host, path, query: f"http://{host}{path}{query}",
        st.sampled_from(["a", "b", "a.b", "B.b", "a.", "b.b.b.", "[::1]", "a:80"]),
        st.sampled_from(
            ["", "/", "/a", "/a/", "/a/../b", "/a%2Fb", "//a", "/a/b/a", "/%61", "/ü", "/%zz", "/a b"]
        ),
        st.sampled_from(["", "?", "?x-a=a", "?x-a=b&x-a=a", "?x-b=%61b", "?x-b=ü;x-a=a"]),
    ),
    method=st.sampled_from(["GET", "PUT", "get", "OPTIONS"]),
    headers=st.lists(
        st.tuples(st.sampled_from(["X-A", "x-b"]), st.sampled_from(["a", "b", "ab", "ü"])), max_size=3
    ).map(tuple),
    client_ip=st.sampled_from(["10.1.1.1", "127.0.0.1", "::ffff:10.1.1.1"]),
    show_all=st.booleans(),
)


def check_judgements(rules, asked):
    content = table_of([rule for rule in rules if _encodable(rule)])
    table = open_table(write_table(content, 1))

    def compiled(number):
        return compile_predicate(table.router(number).condition)

    for request in asked:
        judged = list(judge_routers(table, ENTRYPOINT, False, request))
        assert [each.rank for each in judged] == list(range(len(content.routers)))
        first = next((each.rank for each in judged if each.verdict.holds), None)
        by_index = match(table, compiled, ENTRYPOINT, False, request)
        assert first == by_index == linear_match(content, ENTRYPOINT, False, request)
        for each in judged:
            assert each.verdict.holds is holds(each.router.condition, request)
            for evidence in each.verdict.evidence:
                assert evidence.holds is holds(evidence.leaf, request)
            assert (nearness(each.router.condition, request).share == 1.0) is each.verdict.holds
            assert bool(reasons_of(each, request)) is bool(each.verdict.evidence)
        near = nearest(judged, request, NEAREST_SHOWN)
        assert len(near) == min(len(judged), NEAREST_SHOWN)
        far = [each for each in judged if each not in near]
        matching_far = [each for each in far if each.verdict.holds]
        assert not matching_far or all(each.verdict.holds for each in near)


def check_explanation(rules, questions):
    content = table_of([rule for rule in rules if _encodable(rule)])
    data = write_table(content, 7)
    for question in questions:
        found = explain_request(data, STATIC, question)
        assert found.generation == 7
        request = arrived(question)
        if request is None:
            assert found.answer is not None
            assert found.answer.status == 400
            assert found.received is found.router is None
            continue
        winner = linear_match(content, ENTRYPOINT, False, request)
        assert (found.router.name if found.router else None) == (
            None if winner is None else content.routers[winner].name
        )
        check_others(found, content, request, winner, question)
        if winner is None:
            assert found.answer.status == 404
            assert found.upstream is None
        else:
            assert found.answer is None
            assert found.upstream.headers[0][0] == "Host"
            assert [each.outcome for each in found.chain] == ["passed on"]


def check_others(found, content, request, winner, question):
    ranks = [each.rank for each in found.others]
    assert ranks == sorted(set(ranks))
    all_others = len(content.routers) - (winner is not None)
    assert len(ranks) + found.others_left_out == all_others
    assert len(ranks) == (all_others if question.show_all else min(all_others, NEAREST_SHOWN))
    for each in found.others:
        router = content.routers[each.rank - 1]
        assert each.name == router.name
        assert (each.fate == "outranked") is holds(router.condition, request)
        assert (each.outranked_by != "") is (each.fate == "outranked")
        assert each.fate == "failed" or each.rank > found.router.rank


def arrived(question):
    """The request as a connection would have parsed it; None if it is refused."""
    arrival = read_question(question, STATIC)
    rules = make_rules(STATIC.entry_points[ENTRYPOINT].http)
    try:
        return parse_request(arrival.raw_head, rules, Peer(arrival.client_ip, 0)).request
    except DownstreamError:
        return None


@settings(max_examples=TABLES)
@given(rules=rule_lists, asked=asked)
def test_the_winner_is_everyones_winner_and_every_reason_is_true(rules, asked):
    check_judgements(rules, asked)


@settings(max_examples=TABLES)
@given(
    rules=rule_lists,
    questions=st.lists(questions, min_size=REQUESTS_PER_TABLE, max_size=REQUESTS_PER_TABLE),
)
def test_an_explained_request_goes_where_a_real_one_would(rules, questions):
    check_explanation(rules, questions)


@pytest.mark.long
@settings(max_examples=TABLES_LONG)
@given(rules=rule_lists, asked=asked)
def test_the_winner_is_everyones_winner_and_every_reason_is_true_for_long(rules, asked):
    check_judgements(rules, asked)


@pytest.mark.long
@settings(max_examples=TABLES_LONG)
@given(
    rules=rule_lists,
    questions=st.lists(questions, min_size=REQUESTS_PER_TABLE, max_size=REQUESTS_PER_TABLE),
)
def test_an_explained_request_goes_where_a_real_one_would_for_long(rules, questions):
    check_explanation(rules, questions)
