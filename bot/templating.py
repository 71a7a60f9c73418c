"""Jinja pages; every value is escaped."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_JST = ZoneInfo("Asia/Tokyo")


def _local(value: datetime | None) -> str:
    return f"{value.astimezone(_JST):%Y年%-m月%-d日 %H:%M}" if value else ""


def _short(value: datetime | None) -> str:
    return f"{value.astimezone(_JST):%-m/%-d %H:%M}" if value else ""


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {"local": _local, "short": _short}


def page(template: str, **values: object) -> str:
    """Render one page."""
    return _environment.get_template(template).render(**values)
