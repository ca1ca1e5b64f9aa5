"""When a log file is rotated by the clock: pure functions of time."""

from __future__ import annotations

import datetime
import math
import re
import time
from dataclasses import dataclass

__all__ = ["Rotation", "Schedule"]

_DAY_S = 86_400
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_EVERY = re.compile(r"(\d*)\s*([smhd])", re.IGNORECASE)
_WEEKLY = re.compile(r"w([0-6])", re.IGNORECASE)
_BY_SIZE_STAMP = "%Y-%m-%d_%H-%M-%S"
_STAMPS = {"s": _BY_SIZE_STAMP, "m": "%Y-%m-%d_%H-%M", "h": "%Y-%m-%d_%H"}
_DATE = "%Y-%m-%d"


def parse_time(value: datetime.time | str | None) -> datetime.time:
    """The time of day that ``at_time`` means; a configuration file can only hold a string."""
    if value is None:
        return datetime.time()
    if isinstance(value, str):
        value = datetime.time.fromisoformat(value)
    if not isinstance(value, datetime.time):
        raise TypeError(f"at_time must be a datetime.time or a str, not {type(value).__name__}")
    if value.tzinfo is not None:
        raise ValueError("at_time must have no time zone: utc= says which clock is meant")
    return value


@dataclass(frozen=True)
class Schedule:
    """Boundaries in time that every process with the same settings agrees on.

    Seconds, minutes and hours are counted from midnight, days from the first of January of the
    year 1, weeks by the day of the week; so it does not matter when a program was started.
    """

    seconds: int  # between boundaries within a day; 0 if they lie days apart
    days: int
    weekday: int | None  # Monday is 0
    at: datetime.time
    utc: bool
    stamp: str
    """The strftime format that names a period by its beginning."""

    @staticmethod
    def parse(when: str, at_time: datetime.time | str | None, utc: bool) -> Schedule:
        """Read ``"midnight"``, ``"W0"`` to ``"W6"``, or a number with S, M, H or D."""
        if not isinstance(when, str):
            raise TypeError(f"when must be a str, not {type(when).__name__}")
        at = parse_time(at_time)
        weekly = _WEEKLY.fullmatch(when.strip())
        if weekly:
            return Schedule(0, 7, int(weekly[1]), at, bool(utc), _DATE)
        every = _EVERY.fullmatch("1d" if when.strip().lower() == "midnight" else when.strip())
        count = int(every[1] or 1) if every else 0
        if not every or not count:
            raise ValueError(
                f'when must be "midnight", "W0" to "W6", or a number and S, M, H or D, not {when!r}'
            )
        unit = every[2].lower()
        if unit == "d":
            return Schedule(0, count, None, at, bool(utc), _DATE)
        if at_time is not None:
            raise ValueError("at_time goes with days and weeks alone")
        seconds = count * _SECONDS[unit]
        if seconds > _DAY_S:
            raise ValueError(f"when={when!r} is more than a day: say so in days")
        return Schedule(seconds, 0, None, at, bool(utc), _STAMPS[unit])

    def after(self, moment: float) -> float:
        """The first boundary later than ``moment``, in seconds since the epoch."""
        day = self._wall(moment).date()
        if not self.seconds:
            while True:
                if self._is_due(day):
                    boundary = self._epoch(datetime.datetime.combine(day, self.at))
                    if boundary > moment:
                        return boundary
                day += datetime.timedelta(days=1)
        midnight = datetime.datetime.combine(day, datetime.time())
        # When clocks are put back an hour of wall time comes twice: go on until it is really later.
        past = int((self._wall(moment) - midnight).total_seconds())
        step = past // self.seconds + 1
        while True:
            offset = min(step * self.seconds, _DAY_S)
            boundary = self._epoch(midnight + datetime.timedelta(seconds=offset))
            if boundary > moment:
                return boundary
            if offset == _DAY_S:
                return moment + self.seconds
            step += 1

    def name(self, boundary: float) -> str:
        """The stamp of the period that ends at a boundary."""
        return self._wall(self._before(boundary)).strftime(self.stamp)

    def _before(self, boundary: float) -> float:
        """The boundary before this one, or the midnight between."""
        if self.seconds:
            wall = self._wall(boundary - 0.001)
            midnight = datetime.datetime.combine(wall.date(), datetime.time())
            past = int((wall - midnight).total_seconds())
            begin = midnight + datetime.timedelta(seconds=past // self.seconds * self.seconds)
        else:
            begin = self._wall(boundary) - datetime.timedelta(days=self.days)
        return self._epoch(begin)

    def _is_due(self, day: datetime.date) -> bool:
        if self.weekday is not None:
            return day.weekday() == self.weekday
        return day.toordinal() % self.days == 0

    def _wall(self, moment: float) -> datetime.datetime:
        zone = datetime.timezone.utc if self.utc else None
        return datetime.datetime.fromtimestamp(moment, zone).replace(tzinfo=None)

    def _epoch(self, wall: datetime.datetime) -> float:
        zone = datetime.timezone.utc if self.utc else None
        return wall.replace(tzinfo=zone).timestamp()


@dataclass(frozen=True)
class Rotation:
    """When a file is set aside."""

    max_bytes: float  # math.inf for never
    schedule: Schedule | None
    utc: bool

    def after(self, moment: float) -> float:
        """When the time of a file that is written at that moment is over."""
        return math.inf if self.schedule is None else self.schedule.after(moment)

    def stamp(self, moment: float) -> str:
        """What a file that is set aside now is called after; moment is when its time is over."""
        if self.schedule is not None:
            return self.schedule.name(moment)
        return time.strftime(_BY_SIZE_STAMP, time.gmtime() if self.utc else time.localtime())
