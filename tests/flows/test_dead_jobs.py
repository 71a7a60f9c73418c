"""A job that ended in an error is on the supervisor's page until its work is done, whoever does it."""

import json
import re

import pytest
import sqlalchemy as sa

from bot import jobs
from bot.db import transaction
from bot.models import AuditEntry, Draft, Inquiry, InquiryStatus, Message, Role
from tests.city import City, Desk

ASK = "粗大ごみの戸別収集の手数料はいくらですか"
JOB = re.compile(r'name="job" value="([^"]+)"')


def _table(city: City) -> str:
    return "workflow_status" if city.engine.dialect.name == "sqlite" else "dbos.workflow_status"


def _die(city: City, name: str) -> None:
    """The engine's row as a failing worker leaves it."""
    error = json.dumps({"name": "ValueError", "message": "090-1234-5678", "code": None, "data": None})
    with city.engine.begin() as connection:
        connection.execute(
            sa.text(
                f"UPDATE {_table(city)} SET status = 'ERROR', error = :error, updated_at = created_at"
                " WHERE name = :name"
            ),
            {"error": error, "name": name},
        )


def _alive(city: City, name: str) -> list[str]:
    query = f"SELECT workflow_uuid FROM {_table(city)} WHERE status = 'ENQUEUED' AND name = :name"
    with city.engine.connect() as connection:
        return list(connection.execute(sa.text(query), {"name": name}).scalars())


@pytest.fixture
def boss(city: City) -> Desk:
    return city.hire("kakaricho", role=Role.supervisor)


def _retry(desk: Desk, job: str) -> int:
    form = {"csrf": desk.csrf, "job": job}
    return int(desk.client.post("/supervise/jobs/retry", data=form, follow_redirects=False).status_code)


def test_a_dead_draft_is_shown_with_its_case_and_tried_again(city: City, boss: Desk) -> None:
    city.line_says(ASK)
    assert "止まった処理はありません" in boss.page("/supervise"), "it waits, and that is no death"
    city.work()
    with transaction(city.engine) as session:
        case = session.get_one(Inquiry, city.case().id)
        case.status, case.generation = InquiryStatus.drafting, case.generation + 1
        jobs.draft(session, case.id, case.generation)
    _die(city, jobs.DRAFT)
    page = boss.page("/supervise")
    [job] = JOB.findall(page)
    assert "下書きの作成" in page
    assert city.case().receipt_number in page.partition("止まった処理")[2]
    assert "ValueError" in page
    assert "090-1234-5678" not in page, "an error may quote a citizen"

    assert _retry(boss, job) == 303
    assert len(_alive(city, jobs.DRAFT)) == 1
    assert "止まった処理はありません" in boss.page("/supervise"), "it is under way again"
    assert _retry(boss, job) == 409
    [entry] = city.all(AuditEntry, AuditEntry.action == "retry_job")
    assert (entry.actor, entry.subject) == ("kakaricho", f"job:{job}")
    _die(city, jobs.DRAFT)
    assert "2回" in boss.page("/supervise").partition("止まった処理")[2]
    city.work()
    assert city.all(Draft)
    assert "止まった処理はありません" in boss.page("/supervise"), "the draft came another way"


def test_dead_lanes_are_shown_while_something_waits_in_them(city: City, boss: Desk) -> None:
    city.line_says(ASK)
    _die(city, jobs.TRIAGE)
    page = boss.page("/supervise")
    assert "受け付けた発言の振り分け" in page
    assert "案件になる前の発言" in page
    assert _retry(boss, JOB.findall(page)[0]) == 303
    _die(city, jobs.TRIAGE)
    city.line.faults.extend(["500_before"] * 9)
    city.work()
    assert not city.all(Message, Message.triaged_at.is_(None))  # type: ignore[union-attr]
    _die(city, jobs.DELIVER)
    page = boss.page("/supervise")
    assert "受け付けた発言の振り分け" not in page
    assert ">送信</td>" in page
    city.line.faults.clear()
    city.deliver_all()
    assert "止まった処理はありません" in boss.page("/supervise")


def test_only_a_supervisor_tries_again(city: City) -> None:
    city.line_says(ASK)
    _die(city, jobs.TRIAGE)
    auditor = city.hire("kansa", role=Role.auditor)
    page = auditor.page("/supervise")
    assert "受け付けた発言の振り分け" in page
    assert not JOB.findall(page)
    boss = city.hire("kakaricho", role=Role.supervisor)
    [job] = JOB.findall(boss.page("/supervise"))
    assert _retry(auditor, job) == 403
    assert _retry(city.hire("tantou"), job) == 403
    assert not city.all(AuditEntry, AuditEntry.action == "retry_job")
