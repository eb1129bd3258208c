"""The circuit breaker: vectors by virtual clock, and several workers as one."""

import msgspec
import pytest

from shared.arena import Arena
from shared.cells import BreakerCell, Kept
from shared.config.middlewares import CircuitBreaker
from shared.identities import breaker_question
from tests.support.vectors import vectors
from worker.breaker import LATENCY_BUCKETS, LATENCY_WIDTH_S, RATIO_BUCKETS, RATIO_WIDTH_S, Breaker, State
from worker.window import Window

HALF_FAIL = "NetworkErrorRatio() > 0.5"
START_S = 1000.0


class Proxy:
    """Workers with one breaker, and a clock that stands still."""

    def __init__(self, expression=HALF_FAIL, workers=1, **options):
        self.now = START_S
        self.options = CircuitBreaker(expression=expression, **options)
        self.question = breaker_question(expression)
        self.master = Arena.create(workers + 3)
        self.master.claim("middleware", "b", kept=Kept.SHARE)
        for number in range(len(self.question.counters)):
            self.master.claim("window", f"b {number}", kept=Kept.WINDOW)
        self.columns = [self.master.take_column() for _ in range(workers)]
        self.breakers = [self.make(column) for column in self.columns]

    def make(self, column):
        arena = Arena.attach(self.master.fd, column)
        windows = tuple(
            Window(arena.find("window", f"b {number}"), LATENCY_BUCKETS, LATENCY_WIDTH_S)
            if counter.is_latency
            else Window(arena.find("window", f"b {number}"), RATIO_BUCKETS, RATIO_WIDTH_S)
            for number, counter in enumerate(self.question.counters)
        )
        block = arena.find("middleware", "b")
        return Breaker("b", self.options, self.question, block, windows, lambda: self.now)

    def request(self, status=200, worker=0, latency_s=0.0):
        """What the client gets: the server's status, or 503."""
        if not self.breakers[worker].admit():
            return 503
        self.breakers[worker].record(status, latency_s)
        return status

    def replace(self, worker):
        """The worker is gone, and another comes in its place."""
        self.master.retire_column(self.columns[worker])
        self.columns[worker] = self.master.take_column()
        self.breakers[worker] = self.make(self.columns[worker])


BACKENDS = {
    "always 502": lambda at_ms: 502,
    "always 500": lambda at_ms: 500,
    "504 at t=0.5 s only": lambda at_ms: 504 if at_ms == 500 else 200,
}
TIMELINES = [each for each in vectors("v1", "circuitbreaker") if "status_runs" in each.values[0]["expect"]]


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("vector", TIMELINES)
def test_timeline_vector(vector, workers):
    config, runs = vector["config"], vector["expect"]["status_runs"]
    proxy = Proxy(config["expression"], workers)
    backend, every_ms = BACKENDS[config["backend"]], config["request_every_ms"]
    expected = [status for status, count, _ in runs for _ in range(count)]
    got = []
    for number in range(len(expected)):
        proxy.now = START_S + number * every_ms / 1000
        got.append(proxy.request(backend(number * every_ms), worker=number % workers))
    assert got == expected


def test_v2_vectors_trip():
    for vector in vectors("v2", "middleware.circuitBreaker"):
        vector = vector.values[0]
        options = msgspec.convert(vector["config"]["circuitBreaker"], CircuitBreaker)
        proxy = Proxy(options.expression, workers=2)
        status = 500 if vector["request"]["upstream"] == "all 500" else 502
        assert [proxy.request(status), proxy.request(status, worker=1)] == [status, 503]


def test_one_worker_sees_what_all_counted():
    proxy = Proxy("RequestThreshold() >= 5 && ResponseCodeRatio(500, 600, 0, 600) > 0.3", workers=4)
    statuses = [500, 200, 200, 500, 200]
    for step, status in enumerate(statuses):
        assert proxy.request(status, worker=step % 4) == status
        proxy.now += 0.2
    assert proxy.breakers[3].state is State.TRIPPED
    assert [proxy.request(worker=worker) for worker in range(4)] == [503] * 4
    assert proxy.master.find("middleware", "b").sum(BreakerCell.TRIPS) == 1


def test_it_is_checked_once_per_period_and_at_once_at_first():
    proxy = Proxy("RequestThreshold() >= 3")
    assert [proxy.request() for _ in range(9)] == [200] * 9
    proxy.now += 0.101
    assert [proxy.request(), proxy.request()] == [200, 503]


def test_what_is_older_than_ten_seconds_is_forgotten():
    proxy = Proxy("NetworkErrorRatio() > 0.5 && RequestThreshold() > 1", workers=2)
    assert proxy.request(502) == 502
    proxy.now += 11
    assert proxy.request(200, worker=1) == 200
    proxy.now += 0.2
    assert proxy.request(200, worker=1) == 200
    assert proxy.breakers[0].state is State.STANDBY


def test_latencies_are_remembered_for_a_minute():
    proxy = Proxy("LatencyAtQuantileMS(50.0) > 100", workers=2)
    for _ in range(4):
        proxy.request(latency_s=0.1009)  # 100 whole milliseconds
        proxy.now += 0.2
    assert proxy.breakers[0].state is State.STANDBY
    for _ in range(5):
        proxy.request(latency_s=0.101, worker=1)
        proxy.now += 10
    assert proxy.breakers[0].state is State.TRIPPED


def test_the_share_while_recovering_is_that_of_the_whole_proxy():
    proxy = Proxy(workers=4)
    proxy.request(502)
    proxy.now += 10
    admitted = 0
    for number in range(2000):
        proxy.now = START_S + 10 + number * 0.005
        admitted += proxy.request(200, worker=(number * 7) % 4) == 200
    assert proxy.breakers[0].state is State.RECOVERING
    assert admitted / 2000 == pytest.approx(0.5, abs=0.02)
    proxy.now = START_S + 20.1
    assert [proxy.request(worker=worker) for worker in range(4)] == [200] * 4
    assert {each.state for each in proxy.breakers} == {State.STANDBY}


@pytest.mark.parametrize("lost", [(), (1,), (0, 1, 2)])
def test_what_workers_counted_that_are_gone_still_counts(lost):
    proxy = Proxy("RequestThreshold() > 8 && ResponseCodeRatio(500, 600, 0, 600) > 0.5", workers=3)
    for number in range(8):
        proxy.request(500 if number < 5 else 200, worker=number % 3)
        proxy.now += 0.2
    for _ in range(2):  # also when the next one to have the column goes
        for worker in lost:
            proxy.replace(worker)
    assert proxy.breakers[0].state is State.STANDBY
    proxy.request(200, worker=2)
    assert proxy.breakers[0].state is State.TRIPPED


def test_counts_of_the_dead_expire_like_all_others():
    proxy = Proxy("RequestThreshold() > 2", workers=2)
    proxy.request(worker=1)
    proxy.now += 0.2
    proxy.request(worker=1)
    proxy.replace(1)
    proxy.now += RATIO_BUCKETS * RATIO_WIDTH_S
    proxy.request(worker=0)
    assert proxy.breakers[0].state is State.STANDBY


def test_the_share_while_recovering_minds_the_dead():
    proxy = Proxy(workers=4)
    proxy.request(502)
    proxy.now += 10
    admitted = 0
    for number in range(2000):
        proxy.now = START_S + 10 + number * 0.005
        if number % 100 == 50:
            proxy.replace(number // 100 % 4)
        admitted += proxy.request(200, worker=(number * 7) % 4) == 200
    assert admitted / 2000 == pytest.approx(0.5, abs=0.02)


def test_it_stays_open_when_all_workers_are_replaced():
    proxy = Proxy(workers=2)
    proxy.request(502, worker=1)
    proxy.replace(1)
    proxy.replace(0)
    assert [proxy.request(worker=worker) for worker in (0, 1)] == [503, 503]
    proxy.now += 9.9
    assert proxy.request() == 503
    proxy.now += 0.2
    assert proxy.request(worker=1) == 503  # the share has just begun to grow
    assert proxy.breakers[0].state is State.RECOVERING


def test_a_trip_forgets_what_was_counted_before_it():
    proxy = Proxy("NetworkErrorRatio() >= 0.5", workers=2, fallback_duration=0.5, recovery_duration=0.5)
    assert proxy.request(502) == 502
    proxy.now += 0.6
    assert proxy.request() == 503  # recovery begins
    proxy.now += 0.6
    assert proxy.request(200, worker=1) == 200  # closed; one of two would trip it, one of one does not
    proxy.now += 0.2
    assert proxy.request(200) == 200
    assert proxy.breakers[0].state is State.STANDBY
