"""Weighted round robin: the documented sequences, exact shares, and what a reload keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.balancing.base import Member
from worker.balancing.weighted_round_robin import WeightedRoundRobin


def make(weights, previous=None):
    return WeightedRoundRobin([Member(name, weight) for name, weight in weights.items()], previous)


def picks(balancer, names, count):
    return "".join(list(names)[balancer.pick()] for _ in range(count))


@pytest.mark.parametrize(
    ("weights", "sequence"),
    [
        ((1, 1), "abababab"),
        ((3, 1), "aabaaaabaaba"),
        ((1, 3), "bbabbbbabbab"),
        ((2, 1), "abaabaaba"),
        ((1, 1, 1), "acbcbabac"),
        ((1, 2, 3), "cbcbcacbccba"),
        ((5, 1, 1), "aaaacabaaaaabc"),
    ],
)
def test_documented_sequences(weights, sequence):
    named = dict(zip("abc", weights, strict=False))
    assert picks(make(named), named, len(sequence)) == sequence


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 4))
def test_shares_are_exact_within_one(weights, rounds):
    named = dict(zip("abcdef", weights, strict=False))
    got = picks(make(named), named, rounds * sum(weights))
    for name, weight in named.items():
        assert abs(got.count(name) - rounds * weight) <= 1


def test_members_without_weight_are_never_picked():
    assert picks(make({"a": 3, "b": 0, "c": -1}), "abc", 4) == "aaaa"
    assert make({"a": 0}).pick() is None
    assert make({}).pick() is None


def test_unusable_members_lose_their_turn():
    balancer = make({"a": 1000, "b": 1, "c": 1})
    assert [balancer.pick(lambda position: position == 1) for _ in range(3)] == [1, 1, 1]
    assert balancer.pick(lambda position: False) is None


def test_a_reload_goes_on_in_the_round_and_lets_new_members_in_fairly():
    first = make({"a": 1, "b": 1})
    assert first.pick() == 0
    second = make({"a": 1, "b": 1, "c": 1}, first)
    got = picks(second, "abc", 6)
    assert got[0] == "b"  # whose turn it was
    assert all(1 <= got.count(name) <= 3 for name in "abc")
    shrunk = make({"b": 1}, second)
    assert picks(shrunk, "b", 2) == "bb"
