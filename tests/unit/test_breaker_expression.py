"""The language of circuit breakers, and the counters that decide its conditions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.breaker_counters import MAX_COUNTERS, question_of
from shared.breaker_expression import (
    AllOf,
    AnyOf,
    Comparison,
    Measure,
    format_expression,
    parse_expression,
)
from shared.errors import ConfigError
from tests.support.vectors import vectors

OPERATORS = ("==", "!=", "<", "<=", ">", ">=")
GRAMMAR = [each for each in vectors("v1", "circuitbreaker") if "expression" in each.values[0]["config"]]

NUMBERS = st.one_of(st.integers(0, 10**6).map(float), st.floats(0, 1e9, allow_subnormal=False))
MEASURES = st.one_of(
    st.sampled_from([Measure("NetworkErrorRatio"), Measure("RequestThreshold")]),
    st.builds(lambda q: Measure("LatencyAtQuantileMS", (q,)), st.floats(0, 100, allow_subnormal=False)),
    st.builds(
        lambda codes: Measure("ResponseCodeRatio", tuple(map(float, codes))),
        st.lists(st.integers(0, 700), min_size=4, max_size=4),
    ),
)
COMPARISONS = st.builds(Comparison, MEASURES, st.sampled_from(OPERATORS), NUMBERS)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: AllOf(tuple(parts))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("vector", [each for each in GRAMMAR if "valid" in each.values[0]["expect"]])
def test_vector(vector):
    text = vector["config"]["expression"]
    if vector["expect"]["valid"]:
        parse_expression(text)
        return
    with pytest.raises(ConfigError):
        parse_expression(text)


@given(CONDITIONS)
def test_text_and_tree_say_the_same(condition):
    assert parse_expression(format_expression(condition)) == condition


@given(st.text(alphabet="NetworkErrorRatio()<>=&|!0.5e ANDOR,\n\x00é", max_size=60))
def test_any_text_is_a_condition_or_an_error(text):
    try:
        condition = parse_expression(text)
    except ConfigError:
        return
    assert parse_expression(format_expression(condition)) == condition


@pytest.mark.parametrize("operator", ["EQ", "NEQ", "LT", "LE", "GT", "GE"])
def test_spelled_out_operators(operator):
    symbol = dict(zip(("EQ", "NEQ", "LT", "LE", "GT", "GE"), OPERATORS, strict=True))[operator]
    words = (
        f"NetworkErrorRatio() {operator} 0.5 AND (RequestThreshold() {operator}(10) OR RequestThreshold()>1)"
    )
    symbols = (
        f"NetworkErrorRatio() {symbol} 0.5 && (RequestThreshold() {symbol} 10 || RequestThreshold() > 1)"
    )
    assert parse_expression(words) == parse_expression(symbols)


def test_and_binds_tighter_than_or():
    parts = parse_expression("RequestThreshold() > 1 || RequestThreshold() > 2 && RequestThreshold() > 3")
    assert isinstance(parts, AnyOf)
    assert isinstance(parts.parts[1], AllOf)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "networkErrorRatio() > 0.5",
            '1:1: unsupported function: networkErrorRatio; did you mean "NetworkErrorRatio"?',
        ),
        ("NetworkErrorRatio() > 0.5 &&\n  Foo() > 1", "2:3: unsupported function: Foo"),
        ("NetworkErrorRatio() > 0.5;", "1:26: expected 'EOF', found ';'"),
        ("NetworkErrorRatio(1) > 0.5", "1:1: NetworkErrorRatio takes 0 arguments, not 1"),
        ("LatencyAtQuantileMS(101) > 5", "1:1: a quantile is 0 to 100, not 101"),
        ("ResponseCodeRatio(500, 600.5, 0, 600) > 1", "1:1: status codes are whole numbers"),
        ("NetworkErrorRatio() > 1e999", "1:23: 1e999 is too large"),
        ("(" * 40, "1:33: more than 32 parentheses inside each other"),
        ("x" * 5000, "an expression has at most 4096 characters"),
    ],
)
def test_errors_say_where(text, reason):
    with pytest.raises(ConfigError) as caught:
        parse_expression(text)
    assert str(caught.value) == reason


def test_too_many_figures_are_refused():
    parts = " || ".join(f"ResponseCodeRatio({code}, 600, 0, 600) > 1" for code in range(MAX_COUNTERS + 1))
    with pytest.raises(ConfigError, match="different figures"):
        question_of(parse_expression(parts))


def quantile_of(latencies, quantile):
    """The definition: the smallest latency that so many responses do not exceed."""
    if not latencies:
        return 0
    rank = max(1, min(len(latencies), int(quantile / 100 * len(latencies) + 0.5)))
    return sorted(latencies)[rank - 1]


def figure(measure, responses):
    def count(low, high):
        return sum(low <= status < high for status, _ in responses)

    def ratio(part, whole):
        return part / whole if whole else 0.0

    match measure.function:
        case "NetworkErrorRatio":
            return ratio(count(502, 503) + count(504, 505), len(responses))
        case "RequestThreshold":
            return len(responses)
        case "ResponseCodeRatio":
            a, b, c, d = measure.arguments
            return ratio(count(a, b), count(c, d))
        case _:
            return quantile_of([latency for _, latency in responses], measure.arguments[0])


def holds(condition, responses):
    match condition:
        case AllOf(parts):
            return all(holds(each, responses) for each in parts)
        case AnyOf(parts):
            return any(holds(each, responses) for each in parts)
    value, number = figure(condition.measure, responses), condition.number
    return {
        "==": value == number, "!=": value != number, "<": value < number,
        "<=": value <= number, ">": value > number, ">=": value >= number,
    }[condition.operator]  # fmt: skip


SMALL = st.recursive(
    st.builds(
        Comparison,
        MEASURES,
        st.sampled_from(OPERATORS),
        st.one_of(st.integers(0, 12).map(float), st.sampled_from([0.25, 0.5, 1.0, 2.5, 1e9])),
    ),
    lambda inner: st.lists(inner, min_size=2, max_size=2).map(lambda parts: AllOf(tuple(parts))),
    max_leaves=3,
)


@given(
    SMALL, st.lists(st.tuples(st.sampled_from([200, 404, 500, 502, 504]), st.integers(0, 12)), max_size=12)
)
def test_counters_decide_what_the_figures_would(condition, responses):
    question = question_of(condition)
    values = [sum(each.counts(status, ms) for status, ms in responses) for each in question.counters]
    assert question.holds(values) is holds(condition, responses)


def test_equal_counters_are_counted_once():
    question = question_of(parse_expression("NetworkErrorRatio() > 0.5 || RequestThreshold() > 9"))
    assert len(question.counters) == 2
    assert not math.isnan(question.counters[0].below_ms)
