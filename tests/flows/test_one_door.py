"""No table write, route or command sends a model's words without a person's approval."""

import uuid

import pytest
import sqlalchemy as sa

from bot import outbox
from bot.db import transaction
from bot.models import Approval, Draft, DraftStatus, Inquiry, Message, OutboxMessage, Role
from tests.city import City

QUESTION = "転入届に必要なものを教えてください"


def _refused(city: City, *rows: object) -> None:
    with pytest.raises(sa.exc.DBAPIError, match="one door"), transaction(city.engine) as session:
        session.add_all(rows)


def _outbox(case: Inquiry, text: str, fixed_text_id: uuid.UUID | None = None) -> OutboxMessage:
    return OutboxMessage(
        conversation_id=case.conversation_id,
        inquiry_id=case.id,
        seq=900,
        text=text,
        text_sha256=outbox.digest(text),
        fixed_text_id=fixed_text_id,
    )


@pytest.fixture
def case(city: City) -> Inquiry:
    city.line_says(QUESTION)
    city.work()
    return city.case()


def test_the_database_refuses_a_text_without_approval(city: City, case: Inquiry) -> None:
    with pytest.raises(sa.exc.DBAPIError), transaction(city.engine) as session:
        session.add(_outbox(case, "モデルの文章です。"))
    fixed = city.all(OutboxMessage)[0].fixed_text_id
    _refused(city, _outbox(case, "モデルの文章です。", fixed_text_id=fixed))
    _refused(
        city,
        Message(conversation_id=case.conversation_id, seq=900, direction="out", text="モデルの文章です。"),
    )


def test_the_database_refuses_another_text_than_the_approved_one(city: City, case: Inquiry) -> None:
    desk = city.hire("uketsuke")
    desk.post(case, "write", desk.form(case) | {"text": "承認した文章です。"})
    [approval] = city.all(Approval)
    for change in ("text = 'モデルの文章です。'", "text_sha256 = 'x'", "approval_id = NULL"):
        for table in ("outboxmessage", "approval"):
            if table == "approval" and "approval_id" in change:
                continue
            with pytest.raises(sa.exc.DBAPIError, match="one door"), transaction(city.engine) as session:
                session.execute(sa.text(f"UPDATE {table} SET {change} WHERE text = '承認した文章です。'"))
    with pytest.raises(sa.exc.DBAPIError, match="one door"), transaction(city.engine) as session:
        session.execute(sa.text("DELETE FROM approval"))
    assert approval.text == "承認した文章です。"


def test_an_auditor_or_nobody_cannot_approve(city: City, case: Inquiry) -> None:
    auditor = city.hire("kansa", role=Role.auditor)
    assert auditor.post(case, "write", auditor.form(case) | {"text": "はい"}).status_code == 403
    draft = Draft(inquiry_id=case.id, status=DraftStatus.pending, origin="model", text="モデル", ready=True)
    with transaction(city.engine) as session:
        session.add(draft)
        session.flush()
        draft_id = draft.id
    with pytest.raises(sa.exc.DBAPIError), transaction(city.engine) as session:
        session.add(
            Approval(
                draft_id=draft_id, inquiry_id=case.id, staff_id=uuid.uuid4(), text="モデル",
                text_sha256=outbox.digest("モデル"), screen="sql",
            )
        )  # fmt: skip


def test_no_route_decides_without_a_signed_in_person_and_their_own_form(city: City, case: Inquiry) -> None:
    verbs = ("approve", "write", "return", "transfer", "close", "redraft", "acknowledge", "check")
    for verb in verbs:
        url = f"/desk/cases/{case.id}/{verb}"
        assert city.client.post(url, data={"text": "x"}, follow_redirects=False).status_code == 401
        nobody = city.client.post(url, follow_redirects=False)
        assert nobody.headers["location"] == "/desk/login"
        desk = city.hire("uketsuke")
        form = desk.form(case) | {"csrf": "forged", "text": "x", "draft_id": str(uuid.uuid4())}
        assert desk.post(case, verb, form).status_code == 403
    city.deliver_all()
    assert not city.all(Approval)


def test_a_case_is_out_of_sight_for_another_department(city: City, case: Inquiry) -> None:
    water = city.hire("suido", department="water")
    assert water.client.get(f"/desk/cases/{case.id}").status_code == 404
    answer = water.post(case, "write", {"csrf": water.csrf, "version": "1", "text": "x"})
    assert answer.status_code == 404
    desk = city.hire("uketsuke")
    form = desk.form(case)
    assert desk.post(case, "check", form).status_code == 200
    assert water.post(case, "check", form | {"csrf": water.csrf}).status_code == 404


def test_a_text_altered_behind_our_back_is_not_sent(city: City, case: Inquiry) -> None:
    desk = city.hire("uketsuke")
    desk.post(case, "write", desk.form(case) | {"text": "承認した文章です。"})
    with city.engine.begin() as connection:
        drop = "DROP TRIGGER outbox_frozen" + (
            " ON outboxmessage" if city.engine.dialect.name == "postgresql" else ""
        )
        connection.exec_driver_sql(drop)
        connection.exec_driver_sql(
            "UPDATE outboxmessage SET text = '改ざん' WHERE text = '承認した文章です。'"
        )
    city.deliver_all()
    assert "改ざん" not in [d["text"] for d in city.line.delivered]
    assert "照合" in city.hire("kakaricho", role=Role.supervisor).page("/supervise")
