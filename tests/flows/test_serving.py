"""The model server dies or hangs while it writes: the case keeps its draft, and gets the rewording later."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine

from bot.db import make_engine
from bot.models import Draft, DraftStatus, InquiryStatus
from bot.supervisor import Child, Supervisor
from responders.fetch import default_model_path
from responders.llm import Llm
from responders.serve import KEY_VARIABLE
from tests.city import City, open_city, wait_for
from tests.conftest import free_port
from tests.platforms.line import Line

pytestmark = pytest.mark.llm
ASK = "粗大ごみの出し方と手数料を教えてください"
KEY = "test-key"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """The embedded server as `make run` starts it."""
    if not default_model_path().exists():
        pytest.skip("the model file is not here: python -m responders.fetch")
    port = free_port()
    command = [sys.executable, "-m", "responders.serve", "--model", str(default_model_path())]
    child = Child(
        "llm",
        [*command, "--port", str(port), "--slots", "1"],
        {KEY_VARIABLE: KEY},
        f"http://127.0.0.1:{port}/health",
        hang_seconds=6.0,
    )
    child.start(tmp_path_factory.mktemp("logs"))
    wait_for(child.is_ready)
    yield child
    child.stop(signal.SIGKILL)
    assert child.process is not None
    child.process.wait()


@pytest.fixture
def llm(server: Child) -> Iterator[Llm]:
    llm = Llm(server.ready_url.replace("/health", "/v1"), "embedded", KEY, timeout_seconds=180.0)
    wait_for(server.is_ready)
    llm.rewrite(["窓口は平日に開いています。"])  # warm: what is killed below is a rewrite
    yield llm
    llm.close()


@pytest.fixture
def written(sqlite_url: str, line: Line, tmp_path: Path, llm: Llm) -> Iterator[City]:
    engine: Engine = make_engine(sqlite_url)
    with open_city(engine, sqlite_url, line, tmp_path, llm=llm) as city:
        yield city
    engine.dispose()


def _hit_while_writing(
    city: City, server: Child, how: signal.Signals, supervisor: Supervisor | None = None
) -> Draft:
    """Let the worker draft, and signal the server as soon as it works at the rewording.

    The supervisor looks from this thread, for its children die with the thread that started them.
    """
    city.line_says(ASK)
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    before = _busy(process)
    thread = threading.Thread(target=city.work)
    thread.start()
    wait_for(lambda: _busy(process) - before > 0.3 and city.all(Draft))
    [shown] = city.all(Draft)
    assert shown.origin == "template", "the verbatim draft is there while the model writes"
    os.kill(server.process.pid, how)
    while thread.is_alive():
        if supervisor:
            supervisor.watch()
        time.sleep(0.2)
    draft: Draft
    [draft] = city.all(Draft, Draft.status == DraftStatus.pending)
    assert draft.id == shown.id
    assert city.case().status == InquiryStatus.awaiting
    return draft


def _busy(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hangs"])
def test_a_server_that_dies_or_hangs_is_started_anew_and_asked_once_more(
    written: City, server: Child, tmp_path: Path, how: signal.Signals
) -> None:
    written.writer = replace(written.writer, patience_seconds=120.0)
    assert server.process is not None
    first = server.process.pid
    supervisor = Supervisor([server], tmp_path)
    supervisor.watch()
    assert server.answered_at
    draft = _hit_while_writing(written, server, how, supervisor)
    assert server.process.pid != first
    assert draft.flags[-1] == "model_retried"
    assert draft.origin == "model", draft.flags
    assert draft.ready


def test_a_server_that_stays_away_leaves_the_citys_sentences_with_the_reason(
    written: City, server: Child, tmp_path: Path
) -> None:
    written.writer = replace(written.writer, patience_seconds=0.5)
    draft = _hit_while_writing(written, server, signal.SIGKILL)
    assert (draft.origin, draft.ready, draft.flags) == ("template", True, ["model_unavailable"])
    page = written.hire("tantou").page(f"/desk/cases/{written.case().id}")
    assert "AIに接続できなかったため、記事の文のままです" in page
    assert server.process is not None
    server.process.wait()
    server.start(tmp_path)
