"""Durations: what is read, what is refused, and how Go would print them."""

import pytest

from shared.units import format_duration, format_nanoseconds, parse_duration
from tests.support.vectors import vectors


@pytest.mark.parametrize(
    "vector", [each for each in vectors("v1", "duration") if "text" in each.values[0]["config"]]
)
def test_duration_vectors_are_read(vector):
    assert parse_duration(vector["config"]["text"]) == vector["expect"]["C"]["seconds"]


@pytest.mark.parametrize(
    "vector", [each for each in vectors("v1", "duration") if "nanoseconds" in each.values[0]["config"]]
)
def test_duration_vectors_are_printed(vector):
    assert format_nanoseconds(vector["config"]["nanoseconds"]) == vector["expect"]["text"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("42", 42),
        ("-42", -42),
        ("+7", 7),
        ("1m30s", 90),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("5.s", 5),
        ("-1.5h", -5400),
        ("1h2m3s4ms5us6ns", 3723.004005006),
        ("10µs", 10e-6),
        ("10\u03bcs", 10e-6),
        ("0s", 0),
    ],
)
def test_duration_is_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "abc", "1.5", "s", ".s", "-", "+", "1 s", "1d", "1m 30s", "1e3", "10sec", "٣", "9" * 20, "1s" * 60],
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize("nanoseconds", [1, 999, 1001, 10**9, 61 * 10**9, 3600 * 10**9 + 1, -(10**12), 2**62])
def test_a_printed_duration_reads_back(nanoseconds):
    assert parse_duration(format_nanoseconds(nanoseconds)) == nanoseconds / 10**9


@pytest.mark.parametrize(("seconds", "text"), [(0.1, "100ms"), (90.0, "1m30s"), (0.0, "0s"), (1.1, "1.1s")])
def test_seconds_are_printed_without_float_noise(seconds, text):
    assert format_duration(seconds) == text
