"""The supervisor of all processes: what must be there for the product to run, and what may be missing."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot import supervisor
from bot.supervisor import Child, Supervisor, children
from tests.city import settings_for
from tests.platforms.line import Line

FOREVER = [sys.executable, "-c", "import time; time.sleep(600)"]
NOWHERE = "http://127.0.0.1:9/"
BROKEN = [sys.executable, "-c", "raise SystemExit('the model file is damaged')"]


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {how: signal.getsignal(how) for how in (signal.SIGINT, signal.SIGTERM)}
    yield
    for how, handler in before.items():
        signal.signal(how, handler)


def _run(kept: list[Child], folder: Path) -> int:
    """Until Ctrl-C some seconds later, as a terminal or systemd sends it."""
    ctrl_c = threading.Timer(4.0, os.kill, (os.getpid(), signal.SIGTERM))
    ctrl_c.start()
    try:
        return Supervisor(kept, folder).run(["http://here"])
    finally:
        ctrl_c.cancel()


def test_a_part_that_drafting_can_do_without_does_not_stop_the_product(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervisor, "READY_SECONDS", 1.0)
    web = Child("web", FOREVER)
    assert _run([Child("llm", BROKEN, ready_url=NOWHERE, needed=False), web], tmp_path) == 0
    said = capsys.readouterr().err
    assert "llm did not get ready" in said
    assert "Ready." in said
    assert web.process is not None
    assert web.process.poll() is not None


def test_without_a_part_that_it_needs_the_product_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervisor, "READY_SECONDS", 1.0)
    assert _run([Child("web", BROKEN, ready_url=NOWHERE), Child("worker", FOREVER)], tmp_path) == 1
    assert "web did not get ready" in capsys.readouterr().err


def test_dialogue_and_model_may_be_missing_and_nothing_else(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RASA_PYTHON", Path(sys.executable))
    kept = children(settings_for("", line, tmp_path), demo=False)
    assert {child.name: child.needed for child in kept} == {
        "rasa": False,
        "llm": False,
        "web": True,
        "worker": True,
    }
