"""The console's pages as a screen reader meets them."""

from pathlib import Path

import pytest

TEMPLATES = sorted((Path(__file__).resolve().parent.parent / "bot" / "templates").glob("*.html"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_every_column_of_a_table_has_a_heading(template: Path) -> None:
    assert "<th></th>" not in template.read_text("utf-8")
