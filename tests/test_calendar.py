"""The city's own calendar file: a holiday counts however it is written, and a list that runs out is told."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from bot import doctor
from bot.calendar import load_calendar
from bot.city import BadCityFile
from bot.db import now
from tests.city import DATA, settings_for
from tests.platforms.line import Line


def _file(folder: Path, *holidays: str) -> Path:
    kept = (DATA / "calendar.yaml").read_text(encoding="utf-8").partition("holidays:")[0]
    lines = "".join(f"\n  - {day}" for day in holidays) or " []"
    path = folder / "calendar.yaml"
    path.write_text(f"{kept}holidays:{lines}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("written", ["2026-01-12", '"2026-01-12"'])
def test_a_holiday_is_one_in_quotes_too(tmp_path: Path, written: str) -> None:
    assert not load_calendar(_file(tmp_path, written)).is_business_day(date(2026, 1, 12))


@pytest.mark.parametrize("written", ["1月12日", "01-12", "2026-1-12"])
def test_a_holiday_that_is_no_date_is_named(tmp_path: Path, written: str) -> None:
    with pytest.raises(BadCityFile, match=f"calendar.yaml: .*{written}"):
        load_calendar(_file(tmp_path, written))


@pytest.mark.parametrize(
    ("days", "told"), [(70, "まで"), (50, "もうすぐ終わります"), (-1, "過ぎています"), (None, "ありません")]
)
def test_the_doctor_tells_when_the_holidays_run_out(
    sqlite_url: str, line: Line, tmp_path: Path, days: int | None, told: str
) -> None:
    last = [] if days is None else [str(now().date() + timedelta(days=days))]
    _file(tmp_path, *last)
    settings = settings_for(sqlite_url, line, tmp_path).model_copy(update={"city_dir": tmp_path})
    [finding] = [one for one in doctor.examine(settings) if one.what == "holidays"]
    assert finding.ok is (days == 70)
    assert told in finding.detail
