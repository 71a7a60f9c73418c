"""Many citizens, one incident: shown together, answered one by one, by a person who ticked each."""

import itertools
import json
import re
from datetime import timedelta
from html import unescape

import pytest

from bot import incidents, organisation
from bot.db import now, transaction
from bot.models import Approval, AuditEntry, Department, Draft, Inquiry, InquiryStatus
from tests.city import DATA, USER, City, Desk

THIRD = "U" + "3" * 32
TREE = {
    USER: "中央公園の大きな木が倒れて、歩道をふさいでいます",
    "U" + "2" * 32: "公園の木が倒れてます！中央公園です。歩道が通れません",
    THIRD: "さっきの風で中央公園の木が倒れたみたいです。歩道をふさいでいます",
}
ALSO = re.compile(r'name="also" value="([^"]+)"')


def _told(city: City) -> list[Inquiry]:
    """Three citizens tell of one tree; their cases, oldest first."""
    for user, text in TREE.items():
        city.line_says(text, user=user)
        city.work()
    return [city.case(user) for user in TREE]


def _form(city: City, desk: Desk, case: Inquiry, body: str) -> tuple[dict[str, object], list[str]]:
    form: dict[str, object] = dict(desk.form(case))
    head, _, closing = str(form["text"]).split("\n\n", 2)
    form["text"] = "\n\n".join([head, body, closing])
    page = desk.page(f"/desk/cases/{case.id}")
    keys = re.findall(r'name="confirmed" value="([0-9a-f]+)"', unescape(desk.post(case, "check", form).text))
    form["confirmed"] = keys
    return form, ALSO.findall(page)


def test_near_duplicates_are_grouped_and_others_are_not(city: City) -> None:
    first, *rest = _told(city)
    assert first.incident_id
    assert {one.incident_id for one in rest} == {first.incident_id}
    city.line_says("中央公園の遊具が壊れています。直してください", user="U" + "4" * 32)
    city.work()
    assert city.case("U" + "4" * 32).incident_id is None


def test_one_approval_answers_each_citizen_with_their_own_number(city: City, desk: Desk) -> None:
    cases = _told(city)
    form, listed = _form(city, desk, cases[0], "倒れた木は、本日中に片付けます。")
    assert "ほかの案件には、日本語の文面だけを送ります" in desk.page(f"/desk/cases/{cases[0].id}")
    assert {entry.partition(":")[0] for entry in listed} == {str(c.id) for c in cases[1:]}
    answer = desk.post(cases[0], "approve", {**form, "also": listed})
    assert answer.status_code == 303, answer.text
    city.deliver_all()
    approvals = city.all(Approval)
    assert len(approvals) == 3
    assert {a.staff_id for a in approvals} == {approvals[0].staff_id}
    for case, user in zip(cases, TREE, strict=True):
        [text] = [t for t in city.line.texts(user) if "片付けます" in t]
        assert case.receipt_number in text
        assert not any(other.receipt_number in text for other in cases if other is not case)
    assert {city.case(user).status for user in TREE} == {InquiryStatus.answered}
    assert {len(a.confirmed) for a in approvals} == {len(approvals[0].confirmed)}
    assert approvals[0].confirmed


@pytest.mark.parametrize("with_second", [False, True])
def test_a_line_that_a_person_drew_cuts_nothing_from_the_others_answer(
    city: City, desk: Desk, with_second: bool
) -> None:
    cases = _told(city)
    form, ticked = _form(
        city, desk, cases[0], "職員が現地を確認します。\n\n──────────\n\n通行にご注意ください。"
    )
    second = {"second_kind": "en", "second_text": "We will look at it.", "second_made_from": ""}
    typed = form | {"also": ticked} | (second if with_second else {})
    answer = desk.post(cases[0], "approve", typed)
    if answer.status_code == 422:
        keys = re.findall(r'name="confirmed" value="([^"]+)"', answer.text)
        answer = desk.post(cases[0], "approve", typed | {"confirmed": [unescape(key) for key in keys]})
    assert answer.status_code == 303, answer.text
    for case in city.all(Approval):
        assert "通行にご注意ください。" in case.text
    assert sum("We will" in approval.text for approval in city.all(Approval)) == with_second
    alone = [approval for approval in city.all(Approval) if "We will" not in approval.text]
    assert not [f for approval in alone for f in approval.confirmed if f["kind"].startswith("second")]
    assert len(city.all(Approval)) == 1 + len(ticked)


def test_who_is_not_ticked_is_not_answered(city: City, desk: Desk) -> None:
    cases = _told(city)
    form, listed = _form(city, desk, cases[0], "倒れた木は、本日中に片付けます。")
    chosen = [entry for entry in listed if entry.startswith(str(cases[1].id))]
    assert desk.post(cases[0], "approve", {**form, "also": chosen}).status_code == 303
    assert len(city.all(Approval)) == 2
    assert city.case(THIRD).status != InquiryStatus.answered


def test_a_case_that_changed_meanwhile_stops_the_whole_sending(city: City, desk: Desk) -> None:
    cases = _told(city)
    form, listed = _form(city, desk, cases[0], "倒れた木は、本日中に片付けます。")
    city.line_says("中央公園の木、枝が電線にもかかっています", user=THIRD)
    city.work()
    refused = desk.post(cases[0], "approve", {**form, "also": listed})
    assert refused.status_code == 409
    assert "何も送っていません" in refused.text
    assert refused.text.count('name="also"') == 2
    assert not city.all(Approval)


@pytest.mark.parametrize("ticked", ["rubbish", "1:2", f"{'0' * 8}-0000-4000-8000-{'0' * 12}:1"])
def test_a_forged_tick_sends_nothing(city: City, desk: Desk, ticked: str) -> None:
    cases = _told(city)
    form, _ = _form(city, desk, cases[0], "倒れた木は、本日中に片付けます。")
    assert desk.post(cases[0], "approve", {**form, "also": [ticked]}).status_code in {404, 409}
    assert not city.all(Approval)


def test_a_case_outside_the_incident_cannot_be_ticked_in(city: City, desk: Desk) -> None:
    cases = _told(city)
    stranger = "U" + "5" * 32
    city.line_says("粗大ごみの出し方を教えてください", user=stranger)
    city.work()
    other = city.case(stranger)
    form, _ = _form(city, desk, cases[0], "倒れた木は、本日中に片付けます。")
    refused = desk.post(cases[0], "approve", {**form, "also": [f"{other.id}:{other.version}"]})
    assert refused.status_code == 409
    assert not city.all(Approval)


def test_a_text_without_its_number_goes_to_one_citizen_only(city: City, desk: Desk) -> None:
    cases = _told(city)
    form, listed = _form(city, desk, cases[0], "倒れた木は、本日中に片付けます。")
    form["text"] = str(form["text"]).replace(cases[0].receipt_number, "")
    form["confirmed"] = re.findall(r'name="confirmed" value="(\w+)"', desk.post(cases[0], "check", form).text)
    assert desk.post(cases[0], "approve", {**form, "also": listed}).status_code == 422
    assert not city.all(Approval)


def test_leaving_is_one_press_and_for_good(city: City, desk: Desk) -> None:
    cases = _told(city)
    assert desk.post(cases[2], "leave", {"csrf": desk.csrf}).status_code == 303
    assert city.case(THIRD).incident_id is None
    assert "同じ出来事と思われる案件" not in desk.page(f"/desk/cases/{cases[2].id}")
    assert cases[2].receipt_number not in desk.page(f"/desk/cases/{cases[0].id}")
    city.line_says("中央公園の木が倒れて歩道をふさいでいます", user="U" + "6" * 32)
    city.work()
    assert city.case("U" + "6" * 32).incident_id == cases[0].incident_id
    assert city.case(THIRD).incident_id is None
    assert city.all(AuditEntry, AuditEntry.action == "leave_incident")
    assert len(city.all(Draft)) >= 3
    with transaction(city.engine) as session:
        incidents.join(session, session.get_one(Inquiry, cases[2].id))  # as a late press on its buttons does
    assert city.case(THIRD).incident_id is None


def _transfer(city: City, desk: Desk, case: Inquiry) -> Inquiry:
    form = desk.form(case) | {"department": "disaster_safety", "reason": "倒木は危機管理課のため"}
    assert desk.post(case, "transfer", form).status_code == 303
    [moved] = city.all(Inquiry, Inquiry.id == case.id)
    return moved  # type: ignore[no-any-return]


def test_a_case_that_goes_to_another_department_leaves_its_group(city: City, desk: Desk) -> None:
    cases = _told(city)
    moved = _transfer(city, desk, cases[2])
    assert moved.incident_id is None
    assert moved.receipt_number not in desk.page(f"/desk/cases/{cases[0].id}")
    [left] = city.all(AuditEntry, AuditEntry.action == "leave_incident")
    assert (left.actor, left.subject) == ("tantou", f"inquiry:{moved.receipt_number}")
    city.line_says("中央公園の木が倒れて歩道をふさいでいます", user="U" + "6" * 32)
    city.work()
    assert city.case("U" + "6" * 32).incident_id == cases[0].incident_id
    assert {c.incident_id for c in city.all(Inquiry, Inquiry.department_id != "roads_parks")} == {None}


def test_a_group_from_before_holds_no_box_for_a_case_of_another_department(city: City, desk: Desk) -> None:
    """Rows of an older version: a transferred case still stands in its group."""
    cases = _told(city)
    moved = _transfer(city, desk, cases[2])
    with transaction(city.engine) as session:
        session.get_one(Inquiry, moved.id).incident_id = cases[0].incident_id
    form, listed = _form(city, desk, cases[0], "倒れた木は、本日中に片付けます。")
    assert {entry.partition(":")[0] for entry in listed} == {str(cases[1].id)}
    refused = desk.post(cases[0], "approve", {**form, "also": [f"{moved.id}:{moved.version}"]})
    assert refused.status_code == 409
    assert not city.all(Approval)


def test_a_group_survives_the_reorganisation_of_its_department(city: City, desk: Desk) -> None:
    cases = _told(city)
    with transaction(city.engine) as session:
        row = session.get_one(Department, "roads_parks")
        row.valid_to, row.successor_id = now().date() - timedelta(days=2), "general_affairs"
    with transaction(city.engine) as session:
        assert organisation.reroute(session, now().date(), drafting=True) == len(cases)
    city.work()
    form, listed = _form(city, desk, cases[0], "倒れた木は、本日中に片付けます。")
    assert len(listed) == 2
    assert desk.post(cases[0], "approve", {**form, "also": listed}).status_code == 303
    assert len(city.all(Approval)) == 3


def test_the_measured_grouping_holds() -> None:
    """The figures of bot/incidents.py: most members join, and unrelated messages hardly ever do."""
    lines = (DATA / "evaluation" / "incidents.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    joined = 0
    for _, group in itertools.groupby(rows, lambda row: row["incident"]):
        first, *rest = [row["text"] for row in group]
        together = [first]
        for text in rest:
            if any(incidents.alike(text, one) for one in together):
                together.append(text)
        joined += len(together)
    assert joined >= 0.8 * len(rows)
    apart = [
        (a["text"], b["text"])
        for a, b in itertools.combinations(rows, 2)
        if a["incident"] != b["incident"] and a["department"] == b["department"]
    ]
    assert not any(incidents.alike(*pair) for pair in apart)
    lines = (DATA / "inquiries" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [row["text"] for row in map(json.loads, lines) if row["department"] == "roads_parks"]
    pairs = list(itertools.combinations(texts, 2))
    assert sum(incidents.alike(*pair) for pair in pairs) < 0.01 * len(pairs)
