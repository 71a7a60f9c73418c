"""What every page and every sweep asks must not grow with the history: no query reads a whole table of it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, event

from bot import workflow
from bot.db import make_engine, transaction
from bot.models import HandOffReason, InboundEvent, Inquiry
from tests.city import OTHER, USER, City, open_city
from tests.platforms.line import Line

GROWING = "message|auditentry|outboxmessage|inquiry|draft|approval|transfer|inboundevent"


@contextmanager
def _listening(city: City) -> Iterator[list[tuple[str, Any]]]:
    asked: list[tuple[str, Any]] = []

    def keep(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:  # noqa: ANN401
        if statement.lstrip().upper().startswith("SELECT"):
            asked.append((statement, parameters))

    event.listen(city.engine, "before_cursor_execute", keep)
    yield asked
    event.remove(city.engine, "before_cursor_execute", keep)


@pytest.fixture
def city(sqlite_url: str, line: Line, tmp_path: Path) -> Iterator[City]:
    """On SQLite alone: PostgreSQL reads a small table whole whatever its indexes."""
    with open_city(engine := make_engine(sqlite_url), sqlite_url, line, tmp_path) as city:
        yield city
    engine.dispose()


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/desk/knowledge", "件の下書きで使用"),
        ("/desk/knowledge/article?id=waste-bulky", "件の下書きで使用"),
        ("/desk/knowledge/gaps", "該当する質問はありません"),
    ],
)
def test_what_reads_every_draft_keeps_nobody_from_writing(city: City, path: str, shown: str) -> None:
    desk, locking = city.hire("uketsuke"), []

    def keep(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:  # noqa: ANN401
        if "FROM draft" in statement:
            locking.append(not connection.get_execution_options().get("read_only", False))

    event.listen(city.engine, "before_cursor_execute", keep)
    assert shown in desk.page(path)
    assert locking == [False]


def test_the_questions_without_an_article_are_read_at_once_however_many_they_are(city: City) -> None:
    for number, text in enumerate(["冷蔵庫の捨て方を教えてください", "保育園の空きはありますか"]):
        city.line_says(text, user=f"U{number:032}")
    city.work()
    with transaction(city.engine) as session:
        session.execute(sa.update(Inquiry).values(hand_off_reason=HandOffReason.no_source))
    desk = city.hire("uketsuke")
    with _listening(city) as asked:
        page = desk.page("/desk/knowledge/gaps")
    assert page.count("<td>1件</td>") == 2
    assert len([statement for statement, _ in asked if "FROM message" in statement]) == 1


@pytest.mark.parametrize("what", ["queue", "done", "case", "alarms", "sweep", "routing", "new message"])
def test_no_query_reads_the_whole_history(city: City, what: str) -> None:
    city.line_says("粗大ごみの出し方を教えてください")
    city.line_says("粗大ごみを出したいです", user=OTHER)
    city.work()
    desk, case = city.hire("uketsuke"), city.case()
    paths = {"queue": "/desk", "done": "/desk?done=1", "case": f"/desk/cases/{case.id}"}
    with _listening(city) as asked:
        if what in paths:
            desk.page(paths[what])
        elif what == "alarms":
            desk.client.get("/desk/alarms")
        elif what == "routing":
            city.client.get("/metrics")
        elif what == "sweep":
            workflow.sweep(city.engine)
        else:
            city.line_says("冷蔵庫はどう捨てますか")
            city.work()
    assert asked
    with city.engine.connect() as connection:
        for statement, parameters in asked:
            plan = [
                row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            ]
            whole = [step for step in plan if re.fullmatch(rf"SCAN ({GROWING})", step)]
            newest = "LIMIT" in statement and "WHERE" not in statement and len(plan) == 1
            assert not whole or newest, f"{plan}: {statement}"


def test_words_taken_back_are_sought_among_the_events_since_they_came(city: City) -> None:
    event = city.line.text(USER, "秘密の言葉です")
    again = event | {"webhookEventId": "redelivered"}
    for one in (event, again):
        city.webhook(city.line.body(one))
    unsend = city.line.event(USER, type="unsend", unsend={"messageId": event["message"]["id"]})
    with _listening(city) as asked:
        city.webhook(city.line.body(unsend))
    [(statement, parameters)] = [one for one in asked if "FROM inboundevent" in one[0]]
    with city.engine.connect() as connection:
        [step] = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    assert "ix_inboundevent_received_at (received_at>?)" in step[3]
    assert sorted(row.raw == "{}" for row in city.all(InboundEvent)) == [False, True, True]
