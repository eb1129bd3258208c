"""The rate limit: one bucket, however many workers take from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.arena import Arena
from shared.cells import Kept
from worker.token_bucket import TokenBuckets, decide, make_rate

RATE = make_rate(10, 1.0, 3)


class Workers:
    """Workers that share one limit; each makes its decisions at once."""

    def __init__(self, rate, count):
        self.master = Arena.create(count + 3)
        self.master.claim("middleware", "limit", keyed=True, kept=Kept.RATES)
        self.columns = [self.master.take_column() for _ in range(count)]
        self.rate = rate
        self.buckets = [self.make(column) for column in self.columns]

    def make(self, column):
        return TokenBuckets(self.rate, Arena.attach(self.master.fd, column).keyed("middleware", "limit"))

    def take(self, worker, now, key=b"k"):
        return self.buckets[worker].take(key, now)[0]

    def replace(self, worker, now):
        """The worker is gone, and another comes in its place."""
        self.master.clock = lambda: now
        self.master.retire_column(self.columns[worker])
        self.columns[worker] = self.master.take_column()
        self.buckets[worker] = self.make(self.columns[worker])


def one_bucket(rate, moments):
    """The definition: which requests one bucket admits."""
    tokens, before = float(rate.burst), None
    admitted = []
    for now in moments:
        if before is not None:
            if now - before >= rate.forget_s:
                tokens = float(rate.burst)
            tokens = min(rate.burst, tokens + (now - before) / rate.interval_s)
        before = now
        delay_s = max(0.0, (1 - tokens) * rate.interval_s)
        is_taken = delay_s <= rate.max_delay_s + 1e-9
        tokens -= is_taken
        admitted.append(is_taken)
    return admitted


ARRIVALS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 400)), min_size=1, max_size=120
)  # worker, milliseconds since the one before
RATES = st.builds(
    make_rate, st.integers(1, 50), st.sampled_from([0.5, 1.0, 10.0]), st.sampled_from([0, 1, 5, 20])
)


@given(RATES, ARRIVALS)
def test_any_workers_in_any_order_admit_what_one_bucket_does(rate, arrivals):
    workers = Workers(rate, 4)
    now, moments, admitted = 1000.0, [], []
    for worker, after_ms in arrivals:
        # Off the grid of the intervals: which side of a tie a float falls on is not the point.
        now += after_ms / 1000 + 0.000_137
        moments.append(now)
        admitted.append(workers.take(worker, now))
    assert admitted == one_bucket(rate, moments)


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True), min_size=5, max_size=40))
def test_decisions_of_the_same_moment_are_caught_up_with(rounds):
    """Workers of one round all read before any of them writes: the worst that a race can do."""
    rate = make_rate(10, 1.0, 5)
    full_at = 0.0
    told = {}
    admitted = 0
    for number, workers in enumerate(rounds):
        now = 1000.0 + number * 0.01
        total = sum(each[0] for each in told.values())
        latest = max(told.values(), key=lambda each: each[1], default=(0, 0.0, 0))
        full_at = latest[1] + max(0, total - latest[2]) * rate.interval_s
        after, delay_s = decide(rate, full_at, now)
        if delay_s <= rate.max_delay_s:
            for worker in workers:
                told[worker] = (told.get(worker, (0,))[0] + 1, after, total + 1)
            admitted += len(workers)
    exact = rate.burst + (len(rounds) - 1) * 0.01 / rate.interval_s
    assert admitted <= exact + 4 + 1


def test_sources_have_buckets_of_their_own():
    workers = Workers(RATE, 2)
    assert [workers.take(0, 1000.0, b"a") for _ in range(4)] == [True, True, True, False]
    assert workers.take(1, 1000.0, b"b")
    assert not workers.take(1, 1000.0, b"a")


def test_a_request_waits_if_its_token_comes_soon():
    buckets = Workers(RATE, 1).buckets[0]
    for _ in range(3):
        assert buckets.take(b"k", 1000.0) == (True, 0.0)
    assert buckets.take(b"k", 1000.0) == (False, pytest.approx(0.1))
    assert buckets.take(b"k", 1000.06) == (True, pytest.approx(0.04))


def test_who_says_nothing_for_long_starts_with_a_full_bucket():
    rate = make_rate(1, 1.0, 5)  # 5 s to fill, forgotten after 2
    workers = Workers(rate, 2)
    assert [workers.take(0, 1000.0) for _ in range(6)] == [True] * 5 + [False]
    assert not workers.take(1, 1000.4)
    assert [workers.take(1, 1002.5) for _ in range(6)] == [True] * 5 + [False]


def test_a_bucket_that_only_the_dead_worker_knew_is_as_empty_as_before():
    workers = Workers(RATE, 2)
    assert [workers.take(0, 1000.0) for _ in range(4)] == [True] * 3 + [False]
    assert [workers.take(0, 1000.0, key=b"other") for _ in range(2)] == [True] * 2
    for _ in range(3):
        workers.replace(0, 1000.01)
        assert [workers.take(worker, 1000.01) for worker in (0, 1)] == [False, False]
    assert [workers.take(1, 1000.01, key=b"other") for _ in range(2)] == [True, False]


@given(RATES, ARRIVALS, st.sets(st.integers(0, 119), max_size=20))
def test_workers_that_come_and_go_admit_what_one_bucket_does(rate, arrivals, ends):
    workers = Workers(rate, 4)
    now, moments, admitted = 1000.0, [], []
    for number, (worker, after_ms) in enumerate(arrivals):
        now += after_ms / 1000 + 0.000_137
        if number in ends:
            workers.replace(worker, now)
        moments.append(now)
        admitted.append(workers.take(worker, now))
    assert admitted == one_bucket(rate, moments)


def test_what_is_forgotten_is_not_inherited():
    rate = make_rate(1, 1.0, 5)
    workers = Workers(rate, 2)
    assert [workers.take(0, 1000.0) for _ in range(6)] == [True] * 5 + [False]
    workers.replace(0, 1002.5)
    assert [workers.take(1, 1002.5) for _ in range(6)] == [True] * 5 + [False]


def test_a_replaced_worker_loses_only_what_nobody_had_seen():
    rate = make_rate(100, 1.0, 10)
    workers = Workers(rate, 3)
    now, admitted = 1000.0, 0
    for number in range(10_000):  # 10 s, ten times what is allowed
        now = 1000.0 + number / 1000
        if number % 1500 == 700:
            workers.replace(number % 3, now)
        admitted += workers.take(number % 3, now)
    assert admitted == pytest.approx(10 + 100 * 10, rel=0.02)


@pytest.mark.parametrize(
    ("average", "period_s", "burst", "interval_s", "max_delay_s", "forget_s"),
    [
        (10, 1.0, 3, 0.1, 0.05, 2),
        (1, 10.0, 0, 10.0, 0.5, 11),
        (1, 1.0, 1, 1.0, 0.5, 2),
        (3, 2.0, 1, 2 / 3, 0.5, 2),
    ],
)
def test_what_a_rate_means(average, period_s, burst, interval_s, max_delay_s, forget_s):
    rate = make_rate(average, period_s, burst)
    assert rate.interval_s == pytest.approx(interval_s)
    assert (rate.max_delay_s, rate.forget_s, rate.burst) == (max_delay_s, forget_s, max(burst, 1))
