"""When the clock rotates a log file, and what the period that is over is called."""

from __future__ import annotations

import datetime
import random
import time

import pytest

from pydurable._schedule import Schedule

ZONES = ["UTC", "Europe/Berlin", "America/Havana", "Asia/Kathmandu", "Australia/Lord_Howe"]


@pytest.fixture(params=ZONES)
def zone(request, monkeypatch):
    """The time zone of this process, for one test."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def utc(text: str) -> float:
    return datetime.datetime.fromisoformat(text + "+00:00").timestamp()


@pytest.mark.parametrize(
    ("when", "at_time", "moment", "boundary", "name"),
    [
        ("midnight", None, "2026-11-28 00:00", "2026-11-29 00:00", "2026-11-28"),
        ("midnight", None, "2026-11-28 23:59", "2026-11-29 00:00", "2026-11-28"),
        ("midnight", "03:30", "2026-11-28 03:29", "2026-11-28 03:30", "2026-11-27"),
        ("midnight", datetime.time(3, 30), "2026-11-28 03:30", "2026-11-29 03:30", "2026-11-28"),
        ("D", None, "2026-11-28 12:00", "2026-11-29 00:00", "2026-11-28"),
        ("W0", None, "2026-11-28 12:00", "2026-11-30 00:00", "2026-11-23"),
        ("w6", "01:00", "2026-11-29 01:00", "2026-12-06 01:00", "2026-11-29"),
        ("H", None, "2026-11-28 12:00", "2026-11-28 13:00", "2026-11-28_12"),
        ("6h", None, "2026-11-28 05:59", "2026-11-28 06:00", "2026-11-28_00"),
        ("7h", None, "2026-11-28 22:00", "2026-11-29 00:00", "2026-11-28_21"),
        ("30M", None, "2026-11-28 12:31", "2026-11-28 13:00", "2026-11-28_12-30"),
        ("10 s", None, "2026-11-28 12:00:09", "2026-11-28 12:00:10", "2026-11-28_12-00-00"),
    ],
)
def test_boundaries_and_names(when, at_time, moment, boundary, name):
    """The boundary after a moment, and the period before it by its beginning."""
    schedule = Schedule.parse(when, at_time, True)
    found = schedule.after(utc(moment))
    assert found == utc(boundary)
    assert schedule.name(found) == name


def test_days_are_counted_alike_whenever_a_program_starts():
    """Two processes that start on different days rotate on the same ones."""
    schedule = Schedule.parse("3d", None, True)
    boundaries = {schedule.after(utc(f"2026-11-{day:02}") + 5) for day in range(1, 29)}
    assert {b - a for a in boundaries for b in boundaries if b > a} >= {3 * 86400.0}
    assert len(boundaries) == 10


@pytest.mark.parametrize("when", ["S", "15m", "H", "5h", "midnight", "W3", "3d"])
def test_time_goes_on_in_every_zone(zone, when):
    """A boundary is later than its moment, no longer than a period away, and the next one later."""
    schedule = Schedule.parse(when, None, False)
    longest = max(schedule.seconds, schedule.days * 86400) + 2 * 3600
    dice = random.Random(when + zone)
    # A year with both changes of the clocks, and the hours around them.
    moments = [utc("2026-01-01") + dice.random() * 366 * 86400 for _ in range(50)]
    for change in ("2026-03-29 01:00", "2026-10-25 01:00", "2026-11-01 05:00", "2026-04-04 15:00"):
        moments += [utc(change) + step * 900 for step in range(-10, 11)]
    for moment in moments:
        boundary = schedule.after(moment)
        assert moment < boundary <= moment + longest
        assert schedule.after(boundary) > boundary
        assert schedule.name(boundary)


def test_a_local_midnight_is_midnight_after_the_clocks_change(monkeypatch):
    """The day of 25 hours is one period."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        schedule = Schedule.parse("midnight", None, False)
        begin = utc("2026-10-24 22:00")  # midnight in Berlin
        assert schedule.after(begin) == begin + 25 * 3600
        assert schedule.name(begin + 25 * 3600) == "2026-10-25"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("when", "at_time", "error"),
    [
        ("", None, ValueError),
        ("noon", None, ValueError),
        ("W7", None, ValueError),
        ("0h", None, ValueError),
        ("25h", None, ValueError),
        ("-1d", None, ValueError),
        ("H", "03:30", ValueError),
        ("midnight", "late", ValueError),
        ("midnight", "03:30+01:00", ValueError),
        ("midnight", 3, TypeError),
        (6, None, TypeError),
    ],
)
def test_nonsense_is_refused(when, at_time, error):
    """What makes no sense is an error that names the option."""
    with pytest.raises(error):
        Schedule.parse(when, at_time, False)
