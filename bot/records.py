"""The record of a case's drafts: what made each, what it stood on, who decided, what was changed by hand."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal
from uuid import UUID

from sqlmodel import Session, col, select

from bot import inquiries
from bot.errors import NotFound
from bot.models import Approval, Draft, DraftStatus, Inquiry, Staff
from bot.second_text import Frames, parts_of, plain

STATUS_JA = {
    DraftStatus.pending: "承認待ち",
    DraftStatus.approved: "承認",
    DraftStatus.returned: "差戻し",
    DraftStatus.superseded: "新しい下書きか職員の文面に置き換え",
}
ORIGIN_JA = {
    "model": "AIが整えた文",
    "template": "記事の文のまま",
    "holding": "仮の返事(根拠となる記事なし)",
    "staff": "職員が書いた文",
}
MODE_JA = {
    "rewrite": "言い換え方式(市民の発言は見ていない)",
    "answer": "回答方式(市民の発言も読んだ)",
    "translate": "翻訳(市の文面を一文ずつ)",
}
STEP_JA = {"select": "記事の選択", "template": "記事の文の組立て", "model": "AIの文章作成", "check": "点検"}
_RUN = re.compile(r"[一-鿿々]+|[ぁ-ゖー]+|[ァ-ヺー]+|[0-9A-Za-z,.]+|\s|.", re.DOTALL)
"""Runs of one script: close to words, and no tokenizer can fail on them."""


@dataclass(frozen=True, slots=True)
class Change:
    """A stretch of text on both sides of a decision."""

    kind: Literal["same", "deleted", "inserted"]
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """An article under a draft."""

    title: str
    version: int | None
    """Unknown for drafts from before versions were kept."""
    sentences: list[str]


@dataclass(frozen=True, slots=True)
class DraftRecord:
    """One draft with everything that is kept about it."""

    draft: Draft
    decided_by: str
    """Name; empty while nobody decided."""
    approval: Approval | None
    sources: list[Source]
    changes: list[Change]
    """From the draft to the sent text; empty when it was sent unchanged or not at all."""
    second_changes: list[Change]
    """The same of the second text; all of it is deleted when the reply went without."""


def of_case(
    session: Session, inquiry_id: UUID, staff: Staff, seconds: Frames
) -> tuple[Inquiry, list[DraftRecord]]:
    """Every draft of a case, newest first.

    Args:
        session: The caller's transaction.
        inquiry_id: The case.
        staff: Who reads.
        seconds: The city's, to tell a second text from the Japanese one above it.

    Raises:
        NotFound: No such case, or not for this person.
    """
    inquiry = session.exec(select(Inquiry).where(Inquiry.id == inquiry_id, inquiries.visible(staff))).first()
    if inquiry is None:
        raise NotFound
    query = (
        select(Draft, Staff.name, Approval)
        .outerjoin(Staff, col(Draft.decided_by) == col(Staff.id))
        .outerjoin(Approval, col(Approval.draft_id) == col(Draft.id))
        .where(Draft.inquiry_id == inquiry_id)
        .order_by(col(Draft.created_at).desc())
    )
    return inquiry, [
        _record(draft, name or "", approval, seconds) for draft, name, approval in session.exec(query)
    ]


def _record(draft: Draft, name: str, approval: Approval | None, seconds: Frames) -> DraftRecord:
    second = plain(draft.second_text)
    sent, sent_second = parts_of(approval.text, seconds) if approval else (draft.text, second)
    return DraftRecord(
        draft=draft,
        decided_by=name,
        approval=approval,
        sources=list(_sources(draft)),
        changes=list(difference(draft.text, sent)) if sent != draft.text else [],
        second_changes=list(difference(second, sent_second)) if sent_second != second else [],
    )


def _sources(draft: Draft) -> Iterator[Source]:
    passages: list[dict[str, Any]] = list(draft.passages)
    for article, of_article in groupby(passages, key=lambda p: str(p["article"])):
        own = list(of_article)
        yield Source(
            str(own[0]["article_title"]), draft.article_versions.get(article), [str(p["text"]) for p in own]
        )


def difference(before: str, after: str) -> Iterator[Change]:
    """What a person changed, in stretches of whole words."""
    old, new = _RUN.findall(before), _RUN.findall(after)
    for verb, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if verb == "equal":
            yield Change("same", "".join(old[a:b]))
            continue
        if b > a:
            yield Change("deleted", "".join(old[a:b]))
        if d > c:
            yield Change("inserted", "".join(new[c:d]))
