"""Budgets: a burst, a rate, and what is earned."""

from worker.h2.budgets import Budget


def test_a_burst_and_then_the_rate():
    budget = Budget(3, 2, 0.0)
    assert [budget.spend(1, 0.0) for _ in range(4)] == [True, True, True, False]
    assert budget.spend(1, 1.0)
    assert not budget.spend(1, 1.0)


def test_what_is_earned_is_bounded_by_the_burst():
    budget = Budget(2, 0, 0.0)
    for _ in range(10):
        budget.earn(1)
    assert [budget.spend(1, 9.0) for _ in range(3)] == [True, True, False]


def test_time_alone_gives_no_more_than_the_burst():
    budget = Budget(2, 100, 0.0)
    assert [budget.spend(1, 50.0) for _ in range(3)] == [True, True, False]
