"""Questions that the city's articles do not answer, grouped, so that somebody writes the missing one."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from sklearn.cluster import AgglomerativeClustering
from sklearn.feature_extraction.text import TfidfVectorizer
from sqlmodel import Session, col, select

from bot import city, inquiries
from bot.db import now
from bot.drafting import Frame, register
from bot.errors import NotFound
from bot.models import Approval, Draft, DraftStatus, HandOffReason, Inquiry, KnowledgeArticle, Staff
from bot.privacy import mask
from bot.second_text import Frames, parts_of

DAYS = 180
MAX_QUESTIONS = 500
"""Only the newest questions are grouped: the page stays quick, and older ones say little about today."""
EXAMPLES, EXAMPLE_CHARS, TITLE_CHARS = 3, 200, 100
FAR = 0.75
"""Cosine distance, averaged over a group, above which two groups stay apart."""
_POLITE = re.compile(
    r"教えて(?:下さい|ください|ほしい(?:です)?)?|(?:お願い|おねがい)(?:します|いたします|できますか)?|について|"
    r"でしょうか|(?:知|し)りたい(?:です)?|し?たいの?(?:です)?が?|(?:でき|あり|なり)ま(?:す|せん)か?|"
    r"(?:いい|よい|良い)ですか|どう(?:すれば|したら|やって)|どこ(?:に|で)?|です(?:か|が)?|ます(?:か|が)?|"
    r"ましたか?|こんにちは|すみません|[。、,.??!!\s]"
)


@dataclass(frozen=True, slots=True)
class Gap:
    """A group of like questions of one department without a source."""

    department: str
    """Name of the department in whose queue they lie."""
    cases: tuple[Inquiry, ...]
    """Newest first; only such as the person may see."""
    examples: tuple[str, ...]
    """Different wordings, personal data masked."""
    approval_id: UUID | None
    """The newest answer that a colleague approved for one of them."""

    @property
    def count(self) -> int:
        """How many cases asked this."""
        return len(self.cases)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What an approved answer gives a new article to start from; personal data masked."""

    title: str
    body: str
    department_id: str


def find(session: Session, staff: Staff, seconds: Frames) -> list[Gap]:
    """Groups of questions without a source of the last 180 days, the largest first.

    Once somebody made an article from an answer, and while it is in force, only those of its group count that
    were asked later: the article did not help them.

    Args:
        session: Only reads, and long: best one without the write lock.
        staff: Who looks: only cases that they may see are counted and quoted.
        seconds: The city's, to tell a second text from what an answer says.
    """
    unsourced = _unsourced(session, staff)
    told = inquiries.words_of(session, unsourced)
    asked = [(inquiry, words) for inquiry in unsourced if (words := told[inquiry.id].strip())]
    by_department: dict[str, list[tuple[Inquiry, str]]] = defaultdict(list)
    for inquiry, words in asked:
        by_department[inquiry.department_id].append((inquiry, words))
    names = city.department_names(session)
    answers = _answers(session, [inquiry.id for inquiry, _ in asked], seconds)
    written = _written(session)
    groups = [
        (names[department], _after(written, [questions[i] for i in group]))
        for department, questions in by_department.items()
        for group in cluster([words for _, words in questions])
    ]
    gaps = [_gap(department, group, answers) for department, group in groups if group]
    return sorted(gaps, key=lambda gap: (-gap.count, gap.department))


def _unsourced(session: Session, staff: Staff) -> Sequence[Inquiry]:
    held = select(Draft.inquiry_id).where(Draft.origin == "holding", Draft.status != DraftStatus.superseded)
    sourced = select(Draft.inquiry_id).where(
        col(Draft.origin).in_(["template", "model"]), Draft.status == DraftStatus.approved
    )
    query = select(Inquiry).where(
        inquiries.visible(staff),
        col(Inquiry.id).not_in(sourced),
        Inquiry.created_at >= now() - timedelta(days=DAYS),
        (col(Inquiry.hand_off_reason) == HandOffReason.no_source) | col(Inquiry.id).in_(held),
    )
    return session.exec(query.order_by(col(Inquiry.created_at).desc()).limit(MAX_QUESTIONS)).all()


def _written(session: Session) -> dict[UUID, datetime]:
    """Case → when an article was made from its answer, if that article is in force."""
    standing = select(KnowledgeArticle.article).where(col(KnowledgeArticle.retired_at).is_(None))
    query = (
        select(Approval.inquiry_id, KnowledgeArticle.imported_at)
        .join(KnowledgeArticle, col(KnowledgeArticle.made_from) == col(Approval.id))
        .where(col(KnowledgeArticle.article).in_(standing))
    )
    return dict(session.exec(query).all())


def _after(written: dict[UUID, datetime], group: Sequence[tuple[Inquiry, str]]) -> list[tuple[Inquiry, str]]:
    """Those of a group who asked after the newest article about it was there."""
    newest = max((written[i.id] for i, _ in group if i.id in written), default=None)
    return [(i, words) for i, words in group if newest is None or i.created_at > newest]


def _answers(session: Session, inquiry_ids: Sequence[UUID], seconds: Frames) -> dict[UUID, UUID]:
    """Case → its newest approval that says something."""
    query = _answering(seconds).where(col(Approval.inquiry_id).in_(inquiry_ids))
    newest_last = session.scalars(query.order_by(col(Approval.approved_at)))
    return {approval.inquiry_id: approval.id for approval in newest_last}


def _answering(seconds: Frames) -> sa.Select[Approval]:
    """Approvals but for holding words sent as they were, a second text aside: those state no fact."""
    said, held = col(Approval.text), col(Draft.text)
    with_second = (said.like(held + f"{frame.heading}%") for frame in seconds.values())
    only_holds = (col(Draft.origin) == "holding") & sa.or_(said == held, *with_second)
    return sa.select(Approval).join(Draft, col(Approval.draft_id) == col(Draft.id)).where(~only_holds)


def _gap(department: str, asked: Sequence[tuple[Inquiry, str]], answers: dict[UUID, UUID]) -> Gap:
    wordings = dict.fromkeys(words for _, words in asked)
    return Gap(
        department=department,
        cases=tuple(inquiry for inquiry, _ in asked),
        examples=tuple(_cut(words, EXAMPLE_CHARS) for words in list(wordings)[:EXAMPLES]),
        approval_id=next((answers[i.id] for i, _ in asked if i.id in answers), None),
    )


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"


def cluster(texts: Sequence[str]) -> list[list[int]]:
    """Group like texts.

    Args:
        texts: Japanese questions; short ones compare best.

    Returns:
        The indices of each group, in the order of the texts; a text that is like no other is its own group.

    Source: TF-IDF over character n-grams (they need no word boundaries, McNamee and Mayfield 2004,
    doi:10.1023/B:INRT.0000009441.78971.be); average linkage, Sokal and Michener 1958.
    """
    if len(texts) < 2:
        return [[i] for i in range(len(texts))]
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True)
    vectors = vectorizer.fit_transform([_core(text) for text in texts])
    distances = np.clip(1.0 - (vectors @ vectors.T).toarray(), 0.0, 1.0)
    linkage = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=FAR
    )
    groups: dict[int, list[int]] = defaultdict(list)
    for i, label in enumerate(linkage.fit_predict(distances)):
        groups[int(label)].append(i)
    return list(groups.values())


def _core(text: str) -> str:
    """The text without the polite words that every question shares."""
    return _POLITE.sub("", text) or text


def answer(session: Session, approval_id: UUID, staff: Staff, seconds: Frames) -> Approval:
    """An approval that says something, to a case that this person may see.

    Raises:
        NotFound: There is none.
    """
    query = (
        _answering(seconds)
        .join(Inquiry, col(Approval.inquiry_id) == col(Inquiry.id))
        .where(col(Approval.id) == approval_id, inquiries.visible(staff))
    )
    if (approval := session.scalars(query).first()) is None:
        raise NotFound
    return approval


def suggest(session: Session, approval_id: UUID, staff: Staff, frame: Frame, seconds: Frames) -> Suggestion:
    """What a new article may start from: the citizen's question, and the answer without its frame.

    Personal data in either is masked, save what is public: the article is for everybody.

    Raises:
        NotFound: No such answer for this person, or the citizen took the question back.
    """
    approval = answer(session, approval_id, staff, seconds)
    inquiry = session.get_one(Inquiry, approval.inquiry_id)
    if not (question := inquiries.words(session, inquiry).strip()):
        raise NotFound("市民が発言を取り消したため、この回答からは作れません。")
    japanese, _ = parts_of(approval.text, seconds)
    body = frame.body_of_any(japanese, city.departments(session), inquiry.receipt_number)
    draft = session.get_one(Draft, approval.draft_id)
    public = " ".join([register(session, frame.city).text, *(p["text"] for p in draft.passages)])
    title = _cut(_first_line(question.split("\n")), TITLE_CHARS)
    return Suggestion(title, mask(body, public)[0], inquiry.department_id)


def _first_line(lines: Iterable[str]) -> str:
    return next((line.strip() for line in lines if line.strip()), "")
