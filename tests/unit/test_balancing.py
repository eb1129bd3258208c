"""The strategies, against the documented sequences and their laws."""

import random
from collections import Counter

import pytest

from tests.support.vectors import vectors
from worker.balancing.base import Member
from worker.balancing.highest_random_weight import HighestRandomWeight, fnv1a
from worker.balancing.interleaved import InterleavedRoundRobin
from worker.balancing.least_time import LeastTime, Turns
from worker.balancing.power_of_two import PowerOfTwoChoices
from worker.balancing.rebalancer import Rebalancer, Step, find_bad
from worker.balancing.weighted_round_robin import WeightedRoundRobin

ROUNDS = [WeightedRoundRobin, InterleavedRoundRobin]


def members(weights):
    pairs = weights.items() if isinstance(weights, dict) else zip("abcdefgh", weights, strict=False)
    return [Member(key, weight) for key, weight in pairs]


def picks(balancer, names, count):
    return "".join(names[balancer.pick()] for _ in range(count))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((1, 1), "abab"),
        ((3, 1), "aabaaaabaaba"),
        ((1, 3), "bbabbbbabbab"),
        ((2, 1), "abaabaaba"),
        ((1, 1, 1), "acbcbabac"),
        ((1, 2, 3), "cbcbcacbccba"),
        ((5, 1, 1), "aaaacabaaaaabc"),
        ((3, 0), "aaaa"),
    ],
)
def test_earliest_deadline_first_gives_the_documented_sequences(weights, expected):
    assert picks(WeightedRoundRobin(members(weights)), "abc", len(expected)) == expected


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((10, 1), "aaaaaaaaaab"),
        ((1, 10), "bbbbbbbbbab"),
        ((3, 1, 2), "aacabc"),
        ((1, 2), "bab"),
        ((2, 1), "aab"),
        ((5, 1, 1), "aaaaabc"),
        ((2, 3), "babab"),
        ((4, 2), "aab"),
        ((4, 6, 2), "bababc"),
        ((1, 1, 1), "abc"),
    ],
)
def test_interleaved_rounds_give_the_documented_sequences(weights, expected):
    assert picks(InterleavedRoundRobin(members(weights)), "abc", 3 * len(expected)) == expected * 3


@pytest.mark.parametrize("vector", vectors("v1", "wrr"))
def test_vectors_of_v1(vector):
    weights = vector["config"]["weights"]
    expected = vector["expect"].get("sequence")
    if expected is None:
        if not weights:
            assert InterleavedRoundRobin([]).pick() is None
        else:
            assert min(weights) < 0  # the translation refuses it, see test_legacy
        return
    assert picks(InterleavedRoundRobin(members(weights)), "abcdefgh", len(expected)) == expected


@pytest.mark.parametrize("vector", vectors("v2", "lb.wrr.edf"))
def test_vectors_of_v2(vector):
    names = vector["config"]["insertionOrder"]
    weights = vector["config"]["weights"]
    balancer = WeightedRoundRobin([Member(name, weights[name]) for name in names])
    assert [names[balancer.pick()] for _ in range(vector["request"]["n"])] == vector["expect"]["sequence"]


@pytest.mark.parametrize("vector", vectors("v2", "lb.hrw"))
def test_vectors_of_hashing(vector):
    servers = vector["config"]["servers"]
    picked = HighestRandomWeight(members(servers)).pick(client=vector["request"]["clientIP"])
    assert list(servers)[picked] == vector["expect"]["server"]


@pytest.mark.parametrize("vector", vectors("v1", "drr"))
def test_vectors_of_rebalancing(vector):
    if "ratings" in vector["config"]:
        assert sorted(find_bad(vector["config"]["ratings"])) == vector["expect"]["bad"]
        return
    assert run_timeline() == [tuple(each) for each in vector["expect"]["weights_over_time_ms"]]


def run_timeline():
    balancer = InterleavedRoundRobin(members((1, 1)))
    rebalancer = Rebalancer((1, 1), 0.0)
    good, bad = [0, 0], [0, 0]
    timeline = [(0, 1, 1)]
    for now_ms in range(0, 125_000, 50):
        position = balancer.pick()
        counts = bad if position == 1 and now_ms < 60_000 else good
        counts[position] += 1
        for number, meter in enumerate(rebalancer.meters):
            meter.see(good[number], bad[number], now_ms / 1000)
        if rebalancer.adjust(now_ms / 1000):
            balancer.set_weights(rebalancer.state.weights)
            timeline.append((now_ms, *rebalancer.state.weights))
    return timeline


def test_the_newest_step_of_any_worker_is_adopted():
    rebalancer = Rebalancer((1, 1), 100.0)
    assert rebalancer.adopt(Step(105.0, (4, 1)))
    assert not rebalancer.adopt(Step(104.0, (16, 1)))
    assert not rebalancer.adopt(Step(106.0, (1, 1, 1))), "of another set of servers"
    assert rebalancer.state.weights == (4, 1)


@pytest.mark.parametrize("kind", ROUNDS)
@pytest.mark.parametrize("weights", [(1, 1), (3, 1, 2), (7, 0, 2, 5), (100, 1, 50)])
def test_proportions_are_exact_over_whole_rounds(kind, weights):
    balancer = kind(members(weights))
    counted = Counter(balancer.pick() for _ in range(7 * sum(weights)))
    for position, weight in enumerate(weights):
        assert abs(counted[position] - 7 * weight) <= 1


@pytest.mark.parametrize("kind", ROUNDS)
def test_only_usable_members_are_picked_and_a_heavy_one_that_is_down_costs_no_wait(kind):
    balancer = kind(members((1_000_000, 1, 1)))
    asked = 0

    def usable(position):
        nonlocal asked
        asked += 1
        return position != 0

    counted = Counter(balancer.pick(usable) for _ in range(20))
    assert counted.keys() <= {1, 2}
    assert asked < 20 * 20
    assert balancer.pick(lambda position: False) is None


@pytest.mark.parametrize("kind", ROUNDS)
@pytest.mark.parametrize("weights", [(), (0,), (0, 0)])
def test_nobody_is_nobody(kind, weights):
    assert kind(members(weights)).pick() is None


@pytest.mark.parametrize("kind", ROUNDS)
def test_several_workers_keep_the_shares_however_uneven_their_requests(kind):
    weights = (50, 30, 15, 5)
    workers = [kind(members(weights), start=number) for number in range(8)]
    chances = [1000, 100, 30, 10, 5, 3, 2, 1]
    draw = random.Random(7)
    counted = Counter(worker.pick() for worker in draw.choices(workers, chances, k=10_000))
    for position, weight in enumerate(weights):
        assert abs(counted[position] - 100 * weight) <= 100, counted


@pytest.mark.parametrize("kind", ROUNDS)
def test_a_thousand_workers_that_serve_one_request_each_spread_it(kind):
    counted = Counter(kind(members((1, 1, 2)), start=number).pick() for number in range(1000))
    assert chi_square(counted, (250, 250, 500)) < 13.8  # 2 degrees of freedom, p = 0.001


@pytest.mark.parametrize("kind", ROUNDS)
def test_a_thousand_reloads_do_not_bias_the_round(kind):
    draw = random.Random(11)
    balancer, counted = kind(members((2, 1, 1))), Counter()
    for _ in range(1000):
        scale = draw.choice((1, 2, 3))
        balancer = kind(members((2 * scale, scale, scale)), balancer)
        counted.update(balancer.pick() for _ in range(draw.randrange(4)))
    total = sum(counted.values())
    assert chi_square(counted, (total / 2, total / 4, total / 4)) < 13.8


def chi_square(counted, expected):
    return sum((counted[position] - wanted) ** 2 / wanted for position, wanted in enumerate(expected))


@pytest.mark.parametrize("kind", ROUNDS)
def test_a_member_that_is_added_or_removed_disturbs_nobody(kind):
    balancer = kind(members({"a": 1, "b": 1}))
    balancer.pick()
    balancer = kind(members({"a": 1, "b": 1, "c": 1}), balancer)
    counted = Counter(balancer.pick() for _ in range(30))
    assert all(abs(counted[position] - 10) <= 1 for position in range(3))
    balancer = kind(members({"c": 1, "a": 1}), balancer)
    counted = Counter(balancer.pick() for _ in range(30))
    assert all(abs(counted[position] - 15) <= 1 for position in range(2))


def test_two_choices_take_the_less_busy_one():
    busy = [5, 0, 9]
    balancer = PowerOfTwoChoices(members((1, 1, 1)), busy.__getitem__, random.Random(1).randrange)
    counted = Counter(balancer.pick() for _ in range(600))
    assert counted[2] == 0
    assert counted[1] == pytest.approx(400, abs=60)
    assert balancer.pick(lambda position: position == 2) == 2
    assert balancer.pick(lambda position: False) is None
    draws = iter((0, 0))
    tied = PowerOfTwoChoices(members((1, 1)), lambda position: 0, lambda below: next(draws))
    assert tied.pick() == 0


def test_least_time_prefers_the_untried_then_the_quick_and_idle():
    average, busy = [0.0, 0.0], [0, 0]
    turns = Turns()
    balancer = LeastTime(members((1, 1)), busy.__getitem__, average.__getitem__, turns)
    assert [balancer.pick() for _ in range(4)] == [0, 1, 0, 1]
    average[:] = [10.0, 30.0]
    assert [balancer.pick() for _ in range(4)] == [0, 0, 0, 0]
    busy[0] = 3
    assert balancer.pick() == 1
    again = LeastTime(members((1, 1)), busy.__getitem__, average.__getitem__, turns)
    assert again.pick() == 1
    assert again.pick(lambda position: position == 0) == 0


def test_fnv1a():
    assert fnv1a(b"") == 0xCBF29CE484222325
    assert fnv1a(b"a") == 0xAF63DC4C8601EC8C
    assert fnv1a(b"bc", fnv1a(b"a")) == fnv1a(b"abc")


def test_hashing_moves_only_the_clients_of_the_member_that_went():
    names = [f"http://10.0.0.{number}:8080" for number in (1, 2, 3)]  # FNV mixes short names badly
    balancer = HighestRandomWeight(members(dict(zip(names, (1, 1, 2), strict=True))))
    clients = [f"10.0.{number // 256}.{number % 256}" for number in range(4000)]
    before = {client: balancer.pick(client=client) for client in clients}
    after = {client: balancer.pick(lambda position: position != 0, client) for client in clients}
    assert all(after[client] == before[client] for client in clients if before[client] != 0)
    counted = Counter(before.values())
    assert chi_square(counted, (1000, 1000, 2000)) < 100
