"""Health checks: what an image and flags ask for, and what follows from each result."""

import doctest

import pytest

from minirun.engine import health
from minirun.errors import ImageError, UsageError

SECOND = 10**9
SHELL = ["CMD-SHELL", "curl -f localhost"]


def test_examples():
    assert doctest.testmod(health).failed == 0


def test_nothing_is_checked_where_nobody_asks():
    for check in (None, {}, {"Test": []}, {"Test": ["NONE"]}, {"Interval": SECOND}):
        assert health.wanted({"Healthcheck": check}, {}) is None
    assert health.wanted({}, {"health_interval": "5s"}) is None


def test_the_image_s_check_and_flags_that_change_it():
    image = {"Healthcheck": {"Test": SHELL, "Interval": 5 * SECOND, "Retries": 2, "Other": 1}}
    assert health.wanted(image, {}) == {"Test": SHELL, "Interval": 5 * SECOND, "Retries": 2}
    flags = {"health_cmd": "true", "health_interval": "1m30s", "health_retries": "7"}
    assert health.wanted(image, flags) == {
        "Test": ["CMD-SHELL", "true"], "Interval": 90 * SECOND, "Retries": 7}
    assert health.wanted(image, {"no_healthcheck": True}) is None


def test_the_image_s_shell_runs_its_check():
    image = {"Healthcheck": {"Test": SHELL}, "Shell": ["/bin/bash", "-c"]}
    assert health.command(health.wanted(image, {})) == ["/bin/bash", "-c", SHELL[1]]


@pytest.mark.parametrize("check", [
    "true", [], {"Test": "true"}, {"Test": [1]}, {"Test": ["CMD"]}, {"Test": ["SHELL", "x"]},
    {"Test": SHELL, "Interval": -1}, {"Test": SHELL, "Interval": "5s"},
    {"Test": SHELL, "Retries": 1.5}, {"Test": SHELL, "Timeout": True},
    {"Test": SHELL, "Timeout": 1 << 70},
])
def test_an_image_s_check_that_makes_no_sense(check):
    with pytest.raises(ImageError):
        health.wanted({"Healthcheck": check or "x"}, {})


@pytest.mark.parametrize("flags", [
    {"health_interval": "5"}, {"health_timeout": "-1s"}, {"health_interval": "1us"},
    {"health_retries": "-1"}, {"health_retries": "x"}, {"health_interval": "9999999999h"},
    {"no_healthcheck": True, "health_cmd": "true"},
])
def test_flags_that_make_no_sense(flags):
    with pytest.raises(UsageError):
        health.wanted({"Healthcheck": {"Test": SHELL}}, flags)


def lived(check: dict, *results: tuple[float, int]) -> list[str]:
    """The status after each (age, exit code)."""
    now, found = health.new(), []
    for age, code in results:
        result = {"start": age, "end": age, "exitCode": code, "output": ""}
        now = health.after(now, check, result, age)
        found.append(now["status"])
    assert len(now["log"]) <= 5
    return found


def test_three_failures_in_a_row_are_unhealthy_and_one_success_is_healthy():
    assert lived({}, (1, 1), (2, 1), (3, 0), (4, 1), (5, 1), (6, 1), (7, 0)) == [
        "starting", "starting", "healthy", "healthy", "healthy", "unhealthy", "healthy"]


def test_failures_do_not_count_while_it_starts_unless_it_was_well_before():
    check = {"StartPeriod": 10 * SECOND, "Retries": 1}
    assert lived(check, (1, 1), (9, 1), (10, 1)) == ["starting", "starting", "unhealthy"]
    assert lived(check, (1, 0), (2, 1)) == ["healthy", "unhealthy"]


def test_when_the_next_check_is_due():
    assert health.first({}) == 30
    check = {"StartPeriod": 60 * SECOND, "StartInterval": SECOND // 2, "Interval": 7 * SECOND}
    assert health.first(check) == 0.5
    assert health.pause(check, "starting", 61) == health.pause(check, "healthy", 1) == 7
