"""The plan of health checks, by a clock of its own."""

from __future__ import annotations

import math

from master.health_plan import Check, HealthPlan, Watched
from shared.config.dynamic import HealthCheck
from shared.table.client_tls import DEFAULT_TLS


def watched(*urls: str, service: str = "s", **settings) -> Watched:
    return Watched(service, HealthCheck(**{"path": "/h", "interval": 10.0, **settings}), DEFAULT_TLS, urls)


class Bench:
    """A plan, and what its servers would answer."""

    def __init__(self, *services: Watched, now: float = 100.0) -> None:
        self.plan = HealthPlan()
        self.now = now
        self.down: set[str] = set()
        self.log: list[tuple[float, str]] = []
        self.plan.update(services, now)

    def run_until(self, end: float) -> list[tuple[float, str]]:
        """Go from tick to tick; every check is answered at once. Returns when each server was checked."""
        self.log = []
        while (at := self.plan.next_at()) <= end:
            self.now = max(at, self.now)
            for check in self.plan.take_due(self.now):
                self.log.append((self.now, check.url))
                self.conclude(check)
        self.now = end
        return self.log

    def conclude(self, check: Check) -> bool:
        return self.plan.conclude(check, "status 500" if check.url in self.down else "", self.now)

    def up(self, service: str = "s") -> dict[str, bool]:
        schedule = self.plan._schedules[service]
        return {url: server.health.is_up for url, server in schedule.servers.items()}


def test_nothing_to_check_is_never_due():
    plan = HealthPlan()
    assert plan.update([], 0.0) == []
    assert plan.next_at() == math.inf
    assert plan.take_due(1e9) == []


def test_v2_begins_one_interval_after_the_load_and_keeps_its_rhythm():
    bench = Bench(watched("a", "b"))
    assert bench.run_until(131.0) == [(at, url) for at in (110.0, 120.0, 130.0) for url in "ab"]


def test_v1_begins_at_once():
    bench = Bench(watched("a", is_v1=True))
    assert bench.run_until(121.0) == [(100.0, "a"), (110.0, "a"), (120.0, "a")]


def test_servers_that_are_down_have_a_ticker_of_their_own():
    bench = Bench(watched("a", "b", interval=10.0, unhealthy_interval=3.0))
    bench.down = {"b"}
    assert bench.run_until(110.0) == [(110.0, "a"), (110.0, "b")]
    assert bench.up() == {"a": True, "b": False}
    assert bench.run_until(119.0) == [(112.0, "b"), (115.0, "b"), (118.0, "b")]
    bench.down = set()
    assert bench.run_until(121.0) == [(120.0, "a"), (121.0, "b")]
    assert bench.up() == {"a": True, "b": True}


def test_v1_tests_those_that_are_down_first():
    bench = Bench(watched("a", "b", is_v1=True))
    bench.down = {"b"}
    bench.run_until(100.0)
    assert bench.run_until(110.0) == [(110.0, "b"), (110.0, "a")]


def test_since_and_the_last_failure():
    bench = Bench(watched("a"))
    bench.run_until(111.0)
    assert bench.plan.health("s", "a") == (True, 100.0, "")
    bench.down = {"a"}
    bench.run_until(131.0)
    assert bench.plan.health("s", "a") == (False, 120.0, "status 500")
    bench.down = set()
    bench.run_until(151.0)
    assert bench.plan.health("s", "a") == (True, 140.0, "status 500")


def test_a_check_that_still_runs_is_not_started_again():
    bench = Bench(watched("a"))
    (check,) = bench.plan.take_due(110.0)
    assert bench.plan.take_due(120.0) == []
    assert bench.plan.conclude(check, "late", 121.0)
    assert not bench.plan.conclude(check, "twice", 121.0)
    assert [each.url for each in bench.plan.take_due(130.0)] == ["a"]


def test_missed_ticks_are_not_made_up_for_and_the_rhythm_stays():
    bench = Bench(watched("a"))
    assert len(bench.plan.take_due(147.0)) == 1
    assert bench.plan.next_at() == 150.0


def test_a_reload_that_changes_nothing_forgets_nothing():
    bench = Bench(watched("a", "b"))
    bench.down = {"b"}
    bench.run_until(115.0)
    assert bench.plan.update([watched("a", "b")], 115.0) == []
    assert bench.up() == {"a": True, "b": False}
    assert bench.run_until(120.0) == [(120.0, "b"), (120.0, "a")]


def test_servers_come_and_go_in_a_service_that_stays():
    bench = Bench(watched("a", "b"))
    bench.down = {"a", "b"}
    bench.run_until(115.0)
    assert sorted(bench.plan.update([watched("b", "c")], 115.0)) == [("s", "a"), ("s", "c")]
    assert bench.up() == {"b": False, "c": True}
    assert bench.plan.health("s", "a") is None


def test_a_new_server_of_a_v1_service_is_tested_at_once():
    bench = Bench(watched("a", is_v1=True))
    bench.run_until(105.0)
    bench.plan.update([watched("a", "b", is_v1=True)], 105.0)
    assert sorted(bench.run_until(105.0)) == [(105.0, "a"), (105.0, "b")]


def test_other_settings_begin_anew():
    bench = Bench(watched("a", "b"))
    bench.down = {"a"}
    bench.run_until(115.0)
    assert bench.plan.update([watched("a", path="/other")], 115.0) == [("s", "a"), ("s", "b")]
    assert bench.up() == {"a": True}
    assert bench.plan.next_at() == 125.0


def test_a_service_that_is_not_checked_any_more_is_forgotten():
    bench = Bench(watched("a"), watched("b", service="t"))
    bench.down = {"b"}
    bench.run_until(115.0)
    assert bench.plan.update([watched("a")], 115.0) == [("t", "b")]
    assert bench.plan.health("t", "b") is None
    assert {url for _, url in bench.run_until(140.0)} == {"a"}


def test_the_answer_to_old_settings_does_not_count():
    bench = Bench(watched("a"))
    (check,) = bench.plan.take_due(110.0)
    bench.plan.update([watched("a", path="/other")], 111.0)
    assert not bench.plan.conclude(check, "status 500", 112.0)
    assert bench.up() == {"a": True}
    bench.plan.update([], 113.0)
    assert not bench.plan.conclude(check, "status 500", 114.0)


def test_many_services_are_due_in_order_of_time():
    services = [watched("u", service=f"s{each}", interval=1.0 + each / 10) for each in range(50)]
    bench = Bench(*services, now=0.0)
    times = [at for at, _ in bench.run_until(30.0)]
    assert times == sorted(times)
    assert len(times) == sum(int(30.0 / (1.0 + each / 10) + 1e-9) for each in range(50))
