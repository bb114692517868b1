"""Budgets: what fits, what no longer does, and how a rate recovers."""

import pytest

from ringfence.network.budget import Budget, Limits


def test_without_limits_everything_fits() -> None:
    budget = Budget(Limits(), 0)
    assert not Limits().any()
    for _ in range(1000):
        assert budget.missing(0) == ""
        budget.take()
        assert budget.spend(1 << 30) == ""


def test_requests_are_counted() -> None:
    budget = Budget(Limits(requests=2), 0)
    for _ in range(2):
        assert budget.missing(0) == ""
        budget.take()
    assert "2 requests" in budget.missing(10_000)


def test_asking_takes_nothing() -> None:
    budget = Budget(Limits(requests=1, rate=1), 0)
    assert [budget.missing(0) for _ in range(3)] == ["", "", ""]


@pytest.mark.parametrize(
    ("spent", "exceeded"), [([100], False), ([99, 1], False), ([99, 2], True), ([101], True), ([50, 50, 1], True)]
)
def test_bytes_are_counted(spent: list[int], exceeded: bool) -> None:
    budget = Budget(Limits(bytes=100), 0)
    assert bool([budget.spend(count) for count in spent][-1]) is exceeded


def test_no_request_begins_when_the_bytes_are_gone() -> None:
    budget = Budget(Limits(bytes=100), 0)
    budget.spend(100)
    assert "100 bytes" in budget.missing(0)


def allowed(budget: Budget, now: float, tries: int = 100) -> int:
    count = 0
    for _ in range(tries):
        if not budget.missing(now):
            budget.take()
            count += 1
    return count


def test_a_rate_allows_a_minutes_worth_and_then_so_many_a_minute() -> None:
    budget = Budget(Limits(rate=6), 0)
    assert allowed(budget, 0) == 6
    assert "6 requests a minute" in budget.missing(9.9)
    assert allowed(budget, 10) == 1
    assert allowed(budget, 40) == 3


def test_how_long_a_rate_makes_wait() -> None:
    budget = Budget(Limits(rate=6), 0)
    assert budget.pause_s(0) == 0
    assert allowed(budget, 0) == 6
    assert (budget.pause_s(0), budget.pause_s(4.5), budget.pause_s(10)) == (10, 6, 0)


@pytest.mark.parametrize("limits", [Limits(rate=1, requests=1), Limits(rate=1, bytes=1)])
def test_waiting_does_not_help_where_something_else_is_used_up(limits: Limits) -> None:
    budget = Budget(limits, 0)
    budget.take()
    budget.spend(1)
    assert budget.pause_s(0) == 0


def test_whose_limit_it_is_is_said() -> None:
    budget = Budget(Limits(requests=1, bytes=5), 0, " of the whole run")
    budget.take()
    assert budget.missing(0) == "1 request of the whole run has been made"
    assert budget.spend(6) == "5 bytes of the whole run have passed"


def test_a_pause_is_not_saved_up() -> None:
    budget = Budget(Limits(rate=6), 0)
    assert allowed(budget, 3600) == 6


def test_a_clock_that_goes_back_gives_nothing() -> None:
    budget = Budget(Limits(rate=6), 100)
    assert allowed(budget, 100) == 6
    assert allowed(budget, 0) == 0
    assert allowed(budget, 10) == 1


def test_limits_may_change_while_the_use_stays() -> None:
    budget = Budget(Limits(requests=5), 0)
    for _ in range(3):
        budget.take()
    budget.limits = Limits(requests=3)
    assert budget.missing(0)
