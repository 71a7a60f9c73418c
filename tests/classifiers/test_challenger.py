"""A challenger learns from released cases by the real training, on the tiny city."""

from pathlib import Path

import pytest

from bot import learning
from bot.db import transaction
from bot.models import Inquiry, InquiryStatus, ModelStatus, RoutingModel, Staff, TrainingExample
from tests.city import USER, City

LESSON = "うちの庭木の枝を切ってほしい"


def _release(city: City, text: str, department: str) -> None:
    """A finished case that a supervisor released, as the supervisor's page leaves it."""
    city.hire("kakaricho")
    city.line_says(text)
    city.work()
    [staff] = city.all(Staff)
    with transaction(city.engine) as session:
        inquiry = session.get_one(Inquiry, city.case(USER).id)
        inquiry.status = InquiryStatus.closed
        session.add(inquiry)
        session.add(
            TrainingExample(
                inquiry_id=inquiry.id, text=text, department_id=department, used=True, authorised_by=staff.id
            )
        )


def test_a_challenger_learns_the_released_cases_and_is_compared_with_the_champion(
    city: City, data_dir: Path, tiny_hub: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _release(city, LESSON, "tax")
    changes = {"city_dir": data_dir, "backbone": str(tiny_hub), "classifier_dir": trained}
    settings = city.settings.model_copy(update=changes)
    row = learning.train_challenger(settings, city.engine)

    assert (row.examples, row.status) == (1, ModelStatus.challenger)
    words = (settings.data_dir / "models" / row.folder / "known_words.txt").read_text(encoding="utf-8")
    assert "庭木" in words.split()
    assert "庭木" not in (trained / "known_words.txt").read_text(encoding="utf-8").split()
    assert row.metrics["champion"]["macro_f1"] > 0
    assert row.metrics["better"] == (
        row.metrics["challenger"]["macro_f1"] > row.metrics["champion"]["macro_f1"]
        and not row.metrics["worse"]
    )
    newer = learning.train_challenger(settings, city.engine)
    statuses = {m.folder: m.status for m in city.all(RoutingModel)}
    assert statuses == {row.folder: ModelStatus.refused, newer.folder: ModelStatus.challenger}
