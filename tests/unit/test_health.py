"""Health in the arena: what the master marks and what workers see in exchanges, for the whole proxy."""

from __future__ import annotations

import logging

import pytest

from shared import health
from shared.arena import Arena
from shared.config.dynamic import HealthCheck, LoadBalancer, PassiveHealthCheck
from shared.health import Mark
from worker.health import MasterHealth, ObservedHealth, make_health

URL = "http://h:1"


class Proxy:
    """A master and two workers with one server, by a clock of its own."""

    def __init__(self, **settings) -> None:
        self.now = 1000.0
        self.arena = Arena.create(4)
        self.master = self.arena.claim("server", "s h")
        self.columns = [self.arena.take_column() for _ in range(2)]
        self.views = [Arena.attach(self.arena.fd, column) for column in self.columns]
        self.blocks = [view.find("server", "s h") for view in self.views]
        self.options = LoadBalancer(**settings)
        self.health = make_health("s", self.options, lambda: self.now)

    def up(self) -> list[bool]:
        return [self.health.is_up(block) for block in self.blocks]

    def note(self, worker: int, *failures: bool) -> None:
        for is_failure in failures:
            self.health.note_outcome(self.blocks[worker], URL, is_failure=is_failure)

    def lose(self, worker: int) -> None:
        """The worker dies, and another takes its column."""
        self.arena.retire_column(self.columns[worker])
        assert self.arena.take_column() == self.columns[worker]
        self.blocks[worker] = Arena.attach(self.arena.fd, self.columns[worker]).find("server", "s h")

    def close(self) -> None:
        self.blocks.clear()
        del self.master
        for view in (*self.views, self.arena):
            view.close()


@pytest.fixture
def make_proxy():
    made = []

    def make(**settings) -> Proxy:
        made.append(Proxy(**settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def passive(max_failed_attempts: int = 1, failure_window: float = 10.0) -> PassiveHealthCheck:
    return PassiveHealthCheck(max_failed_attempts=max_failed_attempts, failure_window=failure_window)


def test_marks_of_the_master_are_seen_by_all(make_proxy):
    proxy = make_proxy()
    assert type(proxy.health) is MasterHealth
    assert proxy.up() == [True, True]
    proxy.master.set(health.MARKS, Mark.DOWN)
    assert proxy.up() == [False, False]
    assert not proxy.health.is_draining(proxy.blocks[0])
    proxy.master.set(health.MARKS, Mark.DRAINING)
    assert proxy.up() == [True, True]
    assert [proxy.health.is_draining(block) for block in proxy.blocks] == [True, True]


def test_failures_do_not_matter_without_a_passive_check(make_proxy):
    proxy = make_proxy()
    proxy.note(0, True, True, True)
    assert proxy.up() == [True, True]


def test_one_failure_is_enough_by_default(make_proxy, caplog):
    caplog.set_level(logging.WARNING)
    proxy = make_proxy(passive_health_check=passive())
    proxy.note(0, True)
    assert proxy.up() == [False, False]
    assert "server http://h:1 of service s is down: 1 failed exchanges within 10 s" in caplog.text
    proxy.now += 9.99
    assert proxy.up() == [False, False]
    proxy.now += 0.02
    assert proxy.up() == [True, True]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 12, 100])
def test_failures_of_all_workers_count_together(make_proxy, limit):
    proxy = make_proxy(passive_health_check=passive(limit))
    for number in range(limit):
        assert proxy.up() == [True, True], number
        proxy.now += 0.01
        proxy.note(number % 2, True)
    assert proxy.up() == [False, False]


def test_a_good_exchange_in_any_worker_forgets_the_failures_of_all(make_proxy):
    proxy = make_proxy(passive_health_check=passive(3))
    proxy.note(0, True, True)
    proxy.now += 1
    proxy.note(1, False)
    proxy.now += 1
    proxy.note(0, True, True)
    assert proxy.up() == [True, True]
    proxy.note(1, True)
    assert proxy.up() == [False, False]


def test_failures_outside_the_window_do_not_count(make_proxy):
    proxy = make_proxy(passive_health_check=passive(2, failure_window=5.0))
    for _ in range(10):
        proxy.note(0, True)
        proxy.now += 5.01
    assert proxy.up() == [True, True]


def test_a_server_may_be_put_out_again(make_proxy):
    proxy = make_proxy(passive_health_check=passive(2))
    proxy.note(0, True)
    proxy.note(1, True)
    proxy.now += 10.1
    assert proxy.up() == [True, True]
    proxy.note(1, True, True)
    assert proxy.up() == [False, False]


def test_failures_while_it_is_out_do_not_make_it_longer(make_proxy):
    proxy = make_proxy(passive_health_check=passive())
    proxy.note(0, True)
    proxy.now += 9
    proxy.note(1, True)
    proxy.now += 1.1
    assert proxy.up() == [True, True]


def test_with_an_active_check_only_that_brings_it_back(make_proxy):
    proxy = make_proxy(passive_health_check=passive(), health_check=HealthCheck(path="/"))
    proxy.master.set_f(health.CHECKED_GOOD_AT, proxy.now - 1)
    proxy.note(0, True)
    proxy.now += 1000
    assert proxy.up() == [False, False]
    proxy.master.set_f(health.CHECKED_GOOD_AT, proxy.now)
    assert proxy.up() == [True, True]


def test_what_a_dead_worker_found_stays_and_what_it_suspected_leaves_with_it(make_proxy):
    proxy = make_proxy(passive_health_check=passive(2))
    proxy.note(0, True, True)
    assert proxy.up() == [False, False]
    proxy.lose(0)
    assert proxy.up() == [False, False]
    proxy.now += 11
    assert proxy.up() == [True, True]
    proxy.note(0, True)
    proxy.lose(0)
    proxy.note(1, True)
    assert proxy.up() == [True, True]


def test_a_window_that_is_not_positive_means_the_default():
    assert (
        health.window_s(passive(failure_window=0.0)) == health.window_s(passive(failure_window=-1.0)) == 10.0
    )


def test_more_failures_than_entries_share_the_closest_ones():
    group: list[int] = []
    for at in (1.0, 2.0, 3.0, 3.1, 4.0, 5.0, 6.0):
        group = health.with_failure(group, 0.0, at)
    assert len(group) == health.MAX_FAILURES
    entries = health._entries(group)
    assert sum(count for _, count in entries) == 7
    assert entries == [(1.0, 1), (2.0, 1), (4.0, 3), (5.0, 1), (6.0, 1)]


def test_old_failures_make_room():
    group: list[int] = []
    for at in range(1, 20):
        group = health.with_failure(group, at - 3.5, float(at))
    assert health._entries(group) == [(16.0, 1), (17.0, 1), (18.0, 1), (19.0, 1)]


def test_the_kind_of_health_follows_the_options():
    assert isinstance(make_health("s", LoadBalancer(passive_health_check=passive()), float), ObservedHealth)
