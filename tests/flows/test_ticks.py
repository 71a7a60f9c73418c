"""What caseworkers tick teaches the search, once a supervisor has released it, without personal data."""

import json
import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlmodel import select

from bot import ticks
from bot.cli import main
from bot.db import now, reading, transaction
from bot.inquiries import PAST
from bot.models import AuditEntry, Draft, DraftStatus, Inquiry, InquiryStatus, Role, SearchExample
from responders.evaluate import load_cases
from tests.city import DATA, USER, City, Desk

PASSAGE = re.compile(r'name="passage" value="([^"]+)"')
ASK = "粗大ごみの戸別収集の手数料はいくらですか。山田太郎です。電話は090-1234-5678です"


def _ask(city: City) -> dict[str, Any]:
    event: dict[str, Any] = city.line.text(USER, ASK)
    city.webhook(city.line.body(event))
    city.work()
    assert city.case().department_id == "waste_environment"
    return event


def _tick(city: City, desk: Desk) -> list[str]:
    """Two other sentences than the search chose, and the reply approved."""
    case = city.case()
    [chosen] = city.all(Draft, Draft.inquiry_id == case.id)
    taken = {f"{p['article']}#{p['ordinal']}" for p in chosen.passages}
    ids = [one for one in PASSAGE.findall(desk.page(f"/desk/cases/{case.id}")) if one not in taken][:2]
    assert desk.post(case, "recompose", {**desk.form(case), "passage": ids}).status_code == 303
    assert desk.post(case, "approve", desk.form(case)).status_code == 303
    assert city.case().status == InquiryStatus.answered
    return [str(p["text"]) for p in city.all(Draft, Draft.id == chosen.id)[0].passages]


def _judge(desk: Desk, city: City, use: str) -> int:
    case = city.case()
    url, form = (
        f"/supervise/routing/ticks/{case.id}",
        {"csrf": desk.csrf, "version": case.version, "use": use},
    )
    return int(desk.client.post(url, data=form, follow_redirects=False).status_code)


@pytest.fixture
def exported(city: City, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """What the command leaves of cases in the city's file."""
    folder = shutil.copytree(DATA, tmp_path / "city")
    tuning = folder / "evaluation" / "tuning.jsonl"
    authored = tuning.read_text("utf-8")
    for name, value in {
        "DATABASE_URL": city.url, "SECRET_KEY": "k" * 40, "CITY_DIR": str(folder),
        "DATA_DIR": str(city.settings.data_dir),
    }.items():  # fmt: skip
        monkeypatch.setenv(f"MADOGUCHI_{name}", value)

    def run(left_out: int = 0) -> str:
        done = CliRunner().invoke(main, ["knowledge", "ticks"])
        assert done.exit_code == 0, done.output
        assert f"{left_out} exported before are left out" in done.stderr
        written = tuning.read_text("utf-8")
        assert written.startswith(authored)
        return written.removeprefix(authored)

    return run


def test_released_ticks_are_exported_as_the_search_learns_them(
    city: City, desk: Desk, exported: Callable[..., str], tmp_path: Path
) -> None:
    _ask(city)
    sentences = _tick(city, desk)
    boss = city.hire("kakaricho", role=Role.supervisor)
    page = boss.page("/supervise/routing").partition('id="ticks"')[2]
    assert all(sentence in page for sentence in sentences)
    assert "090-1234-5678" not in page
    assert "山田" not in page
    assert exported() == "", "nobody has released it"
    assert _judge(desk, city, "1") == 403
    assert _judge(boss, city, "1") == 303
    assert _judge(boss, city, "1") == 409

    (tmp_path / "ticks.jsonl").write_text(exported(), "utf-8")
    [case] = load_cases(tmp_path / "ticks.jsonl")
    assert (case.department, case.answerable) == ("waste_environment", True)
    assert [sentence for _, sentence in case.gold] == sentences
    assert "粗大ごみの戸別収集" in case.text
    assert "090-1234-5678" not in case.text
    assert "山田" not in case.text
    fields = (DATA / "evaluation" / "tuning.jsonl").read_text("utf-8").splitlines()[0]
    assert json.loads(exported()).keys() == json.loads(fields).keys()
    assert {e.actor for e in city.all(AuditEntry, AuditEntry.action == "release_example")} == {"kakaricho"}
    assert len(city.all(AuditEntry, AuditEntry.action == "export_ticks")) == 3


def test_what_is_taken_back_or_refused_teaches_nothing(
    city: City, desk: Desk, exported: Callable[..., str]
) -> None:
    event = _ask(city)
    _tick(city, desk)
    boss = city.hire("kakaricho", role=Role.supervisor)
    assert _judge(boss, city, "1") == 303
    assert exported() == exported() != ""
    unsend = city.line.event(USER, type="unsend", unsend={"messageId": event["message"]["id"]})
    city.webhook(city.line.body(unsend))
    assert city.all(SearchExample) == []
    assert exported(left_out=1) == ""


def test_a_refused_case_and_a_search_that_nobody_corrected_are_no_lessons(
    city: City, desk: Desk, exported: Callable[..., str]
) -> None:
    _ask(city)
    boss = city.hire("kakaricho", role=Role.supervisor)
    assert desk.post(city.case(), "approve", desk.form(city.case())).status_code == 303
    assert "確認を待つ案件はありません" in boss.page("/supervise/routing").partition('id="ticks"')[2]
    assert _judge(boss, city, "1") == 409
    city.line_says(ASK)
    city.work()
    _tick(city, desk)
    assert _judge(boss, city, "0") == 303
    [example] = city.all(SearchExample)
    assert (example.used, example.text, example.gold) == (False, "", [])
    assert exported() == ""


def test_cases_that_teach_nothing_hide_none_that_do(city: City, desk: Desk) -> None:
    city.line_says(ASK)
    city.work()
    _tick(city, desk)
    with transaction(city.engine) as session:
        [lesson] = session.exec(select(Inquiry))
        for number in range(3):  # older ones, answered from past answers alone
            old = Inquiry(
                conversation_id=lesson.conversation_id, receipt_number=f"R-{number}", department_id="tax",
                status=InquiryStatus.answered, due_at=now(), created_at=now() - timedelta(days=1),
            )  # fmt: skip
            session.add(old)
            session.flush()
            past = [{"article": f"{PAST}2026-00009", "ordinal": 1, "text": "お答えします。"}]
            session.add(
                Draft(
                    inquiry_id=old.id, text="お答えします。", origin="template", ready=True, passages=past,
                    status=DraftStatus.approved, ticked=True,
                )
            )  # fmt: skip
    with reading(city.engine) as session:
        assert [one.inquiry.id for one in ticks.lessons(session, limit=2)] == [lesson.id]
