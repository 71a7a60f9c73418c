"""The city with a model behind its OpenAI-compatible address."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from responders.llm import Llm
from tests.city import City, open_city
from tests.platforms.line import Line
from tests.responders.conftest import FakeEndpoint, given_sentences


@pytest.fixture
def model() -> Iterator[FakeEndpoint]:
    """A model that repeats the sentences it was given."""
    endpoint = FakeEndpoint()
    endpoint.models = ["site-model"]
    endpoint.reply = lambda body: "".join(given_sentences(body))
    yield endpoint
    endpoint.close()


@pytest.fixture
def writing(
    engine: Engine, database_url: str, line: Line, model: FakeEndpoint, tmp_path: Path
) -> Iterator[City]:
    """The city whose worker and desk ask that model."""
    llm = Llm(model.url, "site-model", "", timeout_seconds=5.0)
    with open_city(engine, database_url, line, tmp_path, llm=llm) as city:
        yield city
    llm.close()
