"""An endpoint that hangs: the draft stays in the city's sentences, the model is asked once more, later."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from bot import drafting, jobs
from bot.models import Draft
from responders.llm import Llm
from tests.city import City, open_city
from tests.platforms.line import Line
from tests.responders.conftest import FakeEndpoint

ASK = "粗大ごみの出し方を教えてください"


@pytest.fixture
def impatient(
    engine: Engine, database_url: str, line: Line, model: FakeEndpoint, tmp_path: Path
) -> Iterator[City]:
    """The city, with little time for its model."""
    llm = Llm(model.url, "site-model", "", timeout_seconds=0.5)
    with open_city(engine, database_url, line, tmp_path, llm=llm) as city:
        model.mode = "hang"
        city.line_says(ASK)
        city.work()
        model.mode = "answer"
        yield city
    llm.close()


def _delayed(city: City) -> list[str]:
    table = "workflow_status" if city.engine.dialect.name == "sqlite" else "dbos.workflow_status"
    query = f"SELECT name FROM {table} WHERE status = 'DELAYED'"
    with city.engine.connect() as connection:
        return list(connection.execute(sa.text(query)).scalars())


def _again(city: City) -> bool:
    """The delayed job's time has come."""
    return drafting.improve(city.engine, city.case().id, city.case().version, city.writer)


def test_a_model_that_hung_is_asked_once_more_later(impatient: City) -> None:
    [draft] = impatient.all(Draft)
    assert (draft.origin, draft.ready, draft.flags) == ("template", True, ["model_timeout"])
    assert _delayed(impatient) == [jobs.REWORD]
    assert _again(impatient)
    [draft] = impatient.all(Draft)
    assert (draft.origin, draft.ready, draft.flags) == ("model", True, ["model_retried"])
    assert not _again(impatient), "a job may run twice"
    assert _delayed(impatient) == [jobs.REWORD], "no third try"


def test_a_model_that_hangs_twice_is_left_alone(impatient: City, model: FakeEndpoint) -> None:
    model.mode = "hang"
    assert _again(impatient)
    [draft] = impatient.all(Draft)
    assert (draft.origin, draft.flags) == ("template", ["model_timeout", "model_retried"])
    assert _delayed(impatient) == [jobs.REWORD], "no third try"
    page = impatient.hire("tantou").page(f"/desk/cases/{impatient.case().id}")
    assert "AIの応答が時間内に終わらなかったため、記事の文のままです" in page


def test_whoever_went_on_meanwhile_is_not_disturbed(impatient: City) -> None:
    desk = impatient.hire("tantou")
    form = desk.form(impatient.case())
    asked = impatient.case().version
    assert desk.post(impatient.case(), "approve", form).status_code == 303
    assert not drafting.improve(impatient.engine, impatient.case().id, asked, impatient.writer)
