"""Business time of the city: a case is due when a business day ends; weekends and 年末年始 are none."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import yaml

from bot.city import BadCityFile

JAPAN = ZoneInfo("Asia/Tokyo")
"""Whose days and hours the console goes by."""


class Dated(Protocol):
    """What counts from one day to another."""

    @property
    def valid_from(self) -> date | None:
        """First day; None: open."""

    @property
    def valid_to(self) -> date | None:
        """Last day; None: open."""


def valid_on(dated: Dated, today: date) -> bool:
    """Whether a department works, or an article may be quoted, on this day."""
    return (dated.valid_from or today) <= today <= (dated.valid_to or today)


@dataclass(frozen=True, slots=True)
class Calendar:
    """When the city hall works."""

    zone: ZoneInfo
    blocks: tuple[tuple[time, time], ...]
    """Opening blocks of a business day, in order."""
    closed_weekdays: frozenset[int]
    closed_month_days: frozenset[str]
    holidays: frozenset[date]
    reply_within_business_days: int

    def is_business_day(self, day: date) -> bool:
        """Whether the city hall opens on this local day."""
        return (
            day.weekday() not in self.closed_weekdays
            and day.strftime("%m-%d") not in self.closed_month_days
            and day not in self.holidays
        )

    def is_open(self, at: datetime) -> bool:
        """Whether somebody works at this moment; the lunch break counts as open."""
        local = at.astimezone(self.zone)
        return self.is_business_day(local.date()) and self.blocks[0][0] <= local.time() < self.blocks[-1][1]

    def due(self, start: datetime) -> datetime:
        """Closing time of the n-th business day after ``start``, in UTC."""
        day, left = start.astimezone(self.zone).date(), self.reply_within_business_days
        while left:
            day += timedelta(days=1)
            left -= self.is_business_day(day)
        return datetime.combine(day, self.blocks[-1][1], self.zone).astimezone(UTC)


def load_calendar(path: Path) -> Calendar:
    """Read ``calendar.yaml``.

    Raises:
        BadCityFile: A holiday is no date.
    """
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    blocks = tuple((time.fromisoformat(a), time.fromisoformat(b)) for a, b in raw["business_hours"])
    return Calendar(
        zone=ZoneInfo(raw["timezone"]),
        blocks=blocks,
        closed_weekdays=frozenset(raw["closed_weekdays"]),
        closed_month_days=frozenset(raw["closed_month_days"]),
        holidays=frozenset(_holiday(day, path) for day in raw["holidays"]),
        reply_within_business_days=raw["reply_within_business_days"],
    )


def _holiday(day: object, path: Path) -> date:
    """Of a date, or of one in quotes, which YAML leaves a text."""
    try:
        return date.fromisoformat(str(day))
    except ValueError as wrong:
        raise BadCityFile(f"{path}: a holiday is no date like 2026-01-12: {day}") from wrong
