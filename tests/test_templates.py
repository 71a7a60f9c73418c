"""The pages as they are written, before any value is in them."""

import re
from pathlib import Path

import pytest

BOT = Path(__file__).resolve().parent.parent / "bot"
TEMPLATES = sorted((BOT / "templates").glob("*.html"))
PHONE = re.compile(r"\d{2,4}-\d{2,4}-\d{4}")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_every_column_of_a_table_has_a_heading(template: Path) -> None:
    assert "<th></th>" not in template.read_text("utf-8")


def test_the_city_s_telephone_number_stands_once() -> None:
    files = [*TEMPLATES, *sorted((BOT / "static").glob("*.js"))]
    found = [(file.name, number) for file in files for number in PHONE.findall(file.read_text("utf-8"))]
    assert found == [("chat.html", "0000-12-3100")]
