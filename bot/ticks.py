"""The search learns from the sentences that caseworkers ticked, under a supervisor's eyes.

As in `bot.learning`, a supervisor releases each finished case with its words masked, and what a citizen takes
back goes. ``madoguchi knowledge ticks`` puts the released ones where ``python -m bot.evaluation`` reads them,
and takes out what is not released any more.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from bot import audit
from bot.errors import Conflict
from bot.inquiries import PAST
from bot.learning import FINISHED, as_read, pages, words_of
from bot.models import FRONT_DESK, Draft, DraftStatus, Inquiry, SearchExample, Staff
from classifiers.dataset import read_lines
from responders.evaluate import load_cases

CASE = "case-"
"""How the ids of exported cases begin; no authored question has such a one."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A finished case whose answer stands on sentences that a person chose."""

    inquiry: Inquiry
    text: str
    """Personal data masked, as the search would learn it."""
    gold: list[dict[str, str]]
    """``article`` and ``sentence``; those of past answers are left out."""


def lessons(session: Session, limit: int = 50) -> list[Tick]:
    """Such cases that no supervisor has looked at yet, oldest first."""
    query = _teaching().order_by(col(Inquiry.created_at), col(Draft.id))

    def that_teach() -> Iterator[Tick]:
        for page in pages(session, query, limit):
            texts = words_of(session, [inquiry for inquiry, _ in page])
            ticks = [_tick(inquiry, draft, texts[inquiry.id]) for inquiry, draft in page]
            yield from (tick for tick in ticks if tick.text and tick.gold)

    return list(islice(that_teach(), limit))


def _teaching() -> sa.Select[Inquiry, Draft]:
    return (
        sa.select(Inquiry, Draft)
        .join(Draft, col(Draft.inquiry_id) == col(Inquiry.id))
        .where(
            col(Draft.ticked).is_(True),
            col(Draft.status) == DraftStatus.approved,
            col(Inquiry.id).not_in(select(SearchExample.inquiry_id)),
            col(Inquiry.status).in_(FINISHED),
            col(Inquiry.emergency).is_(False),
            col(Inquiry.department_id) != FRONT_DESK,
        )
    )


def _tick(inquiry: Inquiry, draft: Draft, text: str) -> Tick:
    gold = [
        {"article": str(p["article"]), "sentence": str(p["text"])}
        for p in draft.passages
        if not str(p["article"]).startswith(PAST)
    ]
    return Tick(inquiry, text, gold)


def judge(
    session: Session, inquiry_id: UUID, *, staff: Staff, use: bool, seen_version: int, screen: str
) -> None:
    """A supervisor releases a case for the search to learn from, or refuses it.

    Raises:
        As `bot.learning.judge`.
    """
    as_read(session, inquiry_id, staff, seen_version)
    newest = _teaching().where(col(Inquiry.id) == inquiry_id).order_by(col(Draft.decided_at).desc())
    row = session.execute(newest).first()
    if row is None:
        raise Conflict
    inquiry, draft = row
    tick = _tick(inquiry, draft, words_of(session, [inquiry])[inquiry.id])
    session.add(
        SearchExample(
            inquiry_id=inquiry_id,
            text=tick.text if use else "",
            department_id=tick.inquiry.department_id,
            gold=tick.gold if use else [],
            used=use,
            authorised_by=staff.id,
        )
    )
    action, subject = "release_example" if use else "refuse_example", f"search:{tick.inquiry.receipt_number}"
    audit.record(session, actor=staff.login, action=action, subject=subject, screen=screen)


def export(session: Session, standing: Collection[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """The released cases as ``data/evaluation/tuning.jsonl`` has its questions, oldest first.

    Args:
        session: The caller's transaction.
        standing: Article and sentence of whatever the search will learn over; a case of which none stands
            there any more is left out.
    """
    query = select(SearchExample).where(col(SearchExample.used).is_(True))
    for example in session.exec(query.order_by(col(SearchExample.authorised_at))):
        gold = [g for g in example.gold if (g["article"], g["sentence"]) in standing]
        if gold and example.text.strip():
            yield {
                "id": f"{CASE}{example.id}",
                "text": example.text,
                "department": example.department_id,
                "answer": "yes",
                "trap": "",
                "gold": gold,
                "must": [],
                "must_not": [],
            }


def put(path: Path, cases: Sequence[dict[str, Any]]) -> int:
    """Write exported cases below a file's authored questions, in the place of those exported before.

    Args:
        path: As `responders.evaluate.load_cases` reads it; replaced as a whole, or not at all.
        cases: See `export`.

    Returns:
        How many of those exported before are left out: taken back, or their sentences stand no more.

    Raises:
        BadArticle: A line is no question.
    """
    ids = [case.id for case in load_cases(path)]
    authored = [line for one, line in zip(ids, read_lines(path), strict=True) if not one.startswith(CASE)]
    exported = [json.dumps(case, ensure_ascii=False) for case in cases]
    new = path.with_name(f".{path.name}")
    new.write_text("".join(line.rstrip("\n") + "\n" for line in authored + exported), encoding="utf-8")
    new.replace(path)
    return len({one for one in ids if one.startswith(CASE)} - {case["id"] for case in cases})
