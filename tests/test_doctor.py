"""What the doctor says about the servers beside the database, and that it leaves nothing open."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from bot import doctor
from tests.city import settings_for
from tests.conftest import free_port
from tests.platforms.line import Line
from tests.responders.conftest import FakeEndpoint

SECRET = "秘密の値"


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    endpoint = FakeEndpoint()
    yield endpoint
    endpoint.close()


def _found(url: str, line: Line, folder: Path, **more: Any) -> dict[str, doctor.Finding]:  # noqa: ANN401
    return {finding.what: finding for finding in doctor.examine(settings_for(url, line, folder, **more))}


def test_the_doctor_tells_that_the_model_answers(
    sqlite_url: str, line: Line, tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    found = _found(sqlite_url, line, tmp_path, llm_base_url=endpoint.url)
    assert found["language model"].ok
    assert found["language model"].detail == "reachable"


@pytest.mark.parametrize("secret", [SECRET, "line\nbreak", "plain"])
def test_a_server_that_is_away_fails_without_a_word_of_its_secret(
    sqlite_url: str, line: Line, tmp_path: Path, secret: str
) -> None:
    away = f"http://user:{SECRET}@127.0.0.1:{free_port()}"
    keys = {"llm_api_key": SecretStr(secret), "rasa_secret": SecretStr(secret)}
    found = _found(sqlite_url, line, tmp_path, llm_base_url=f"{away}/v1", rasa_url=away, **keys)
    for finding in (found["language model"], found["dialogue"]):
        assert not finding.ok
        assert "not reachable" in finding.detail
        assert secret not in finding.detail
        assert SECRET not in finding.detail


def test_the_doctor_leaves_no_connection_open(postgres_url: str, line: Line, tmp_path: Path) -> None:
    engine = sa.create_engine(postgres_url)
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with engine.connect() as connection:
        assert _found(postgres_url, line, tmp_path)["database"].ok
        assert connection.scalar(sa.text(f"SELECT count(*) {others}")) == 0
    engine.dispose()
