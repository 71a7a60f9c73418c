"""What a caseworker may build a draft on besides the articles that the search found.

A past answer cites its case number. It is offered only to its own department, or to who took that over, and
only while the sentences it was built on still stand in articles in force: an old fee must not come back
through an old reply.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlmodel import Session, col, select

from bot import city, inquiries
from bot.articles import article_versions, find_articles, passages_of
from bot.calendar import valid_on
from bot.db import now
from bot.drafting import Frame, register
from bot.inquiries import PAST
from bot.models import FRONT_DESK, Approval, Draft, Inquiry, KnowledgeArticle
from bot.privacy import mask
from bot.second_text import Frames, parts_of
from responders.japanese import words
from responders.knowledge import Passage, split_sentences
from responders.retrieve import Index

WINDOW = timedelta(days=365)
MOST_COMPARED = 200
MOST_OFFERED = 3
LEAST_LIKE = 0.35
MOST_FOUND = 5


@dataclass(frozen=True, slots=True)
class PastAnswer:
    """An approved reply of the same department, or of one that it took over, to a similar question."""

    inquiry: Inquiry
    question: str
    """What was asked, personal data masked."""
    passages: tuple[Passage, ...]
    """The body's sentences, cited by the case number; personal data masked, save what is public."""
    by_hand: bool
    """A person wrote it; no article stands behind it."""
    answered_at: datetime


def past_answers(
    session: Session, inquiry: Inquiry, frame: Frame, seconds: Frames, today: date
) -> list[PastAnswer]:
    """The most similar past answers of the case's department, best first, without what stands around them."""
    asked = {*words(inquiries.words(session, inquiry))}
    if not asked:
        return []
    best: dict[tuple[str, ...], tuple[float, PastAnswer]] = {}
    rows = _approved(session, inquiry, today)
    questions = inquiries.words_of(session, [answered for _, _, answered, _ in rows])
    own, departments = register(session, frame.city).text, city.departments(session)
    for approval, draft, answered, last_day in rows:
        question = questions[answered.id]
        likeness = _likeness(asked, {*words(question)})
        if likeness < LEAST_LIKE:
            continue
        japanese, _ = parts_of(approval.text, seconds)
        body = frame.body_of_any(japanese, departments, answered.receipt_number)
        public = " ".join([own, *(p["text"] for p in draft.passages)])
        passages = _as_passages(answered, mask(body, public)[0], last_day)
        answer = PastAnswer(answered, question[:80], passages, not draft.passages, approval.approved_at)
        same_words = tuple(p.text for p in passages)
        best.setdefault(same_words, (likeness, answer))  # the newest of equal answers comes first
    ranked = sorted(best.values(), key=lambda pair: -pair[0])
    return [answer for _, answer in ranked[:MOST_OFFERED]]


def _approved(
    session: Session, inquiry: Inquiry, today: date
) -> list[tuple[Approval, Draft, Inquiry, date | None]]:
    """Answers whose every source stands today, with the first last day of these."""
    query = (
        select(Approval, Draft, Inquiry)
        .join(Draft, col(Approval.draft_id) == col(Draft.id))
        .join(Inquiry, col(Approval.inquiry_id) == col(Inquiry.id))
        .where(
            col(Inquiry.department_id).in_(inquiries.taken_over(inquiry.department_id)),
            Inquiry.id != inquiry.id,
            Draft.origin != "holding",
            Approval.approved_at > now() - WINDOW,
        )
        .order_by(col(Approval.approved_at).desc())
        .limit(MOST_COMPARED)
    )
    rows = list(session.exec(query))
    cited = {str(p["article"]) for _, draft, _ in rows for p in draft.passages}
    standing = {(p.article, p.text): p.valid_to for p in passages_of(session, cited) if valid_on(p, today)}
    kept = []
    for approval, draft, answered in rows:
        under = [(str(p["article"]), str(p["text"])) for p in draft.passages]
        if all(source in standing for source in under):
            last_days = [day for source in under if (day := standing[source])]
            kept.append((approval, draft, answered, min(last_days, default=None)))
    return kept


def _likeness(one: set[str], other: set[str]) -> float:
    """Cosine of two sets of words."""
    return len(one & other) / (len(one) * len(other)) ** 0.5 if one and other else 0.0


def _as_passages(inquiry: Inquiry, body: str, last_day: date | None) -> tuple[Passage, ...]:
    said = (text for text in split_sentences(body) if any(char.isalnum() for char in text))  # no drawn line
    return tuple(
        Passage(
            article=f"{PAST}{inquiry.receipt_number}",
            article_title=f"過去の回答 {inquiry.receipt_number}",
            department=inquiry.department_id,
            ordinal=number,
            text=text.removeprefix("・"),
            valid_to=last_day,
        )
        for number, text in enumerate(said, start=1)
    )


def canned(session: Session, inquiry: Inquiry) -> list[KnowledgeArticle]:
    """The department's canned answers (定型回答): articles that are offered by hand and never searched."""
    return find_articles(session, data_class="canned", department_id=inquiry.department_id)


def look_up(
    session: Session, index: Index, inquiry: Inquiry, words: str, today: date
) -> list[KnowledgeArticle]:
    """Articles for a caseworker's words.

    First what drafting's own search finds among those of the case's department in force today, best first; at
    the front desk among all. Then, of any department and date, those that hold every word.
    """
    department = None if inquiry.department_id == FRONT_DESK else inquiry.department_id
    hits = [hit.article for hit in index.search(words, top=MOST_FOUND, department=department, today=today)]
    rows = article_versions(session, hits, today)
    found = {article: rows[article] for article in hits if article in rows}
    named = find_articles(session, words=words, limit=2 * MOST_FOUND)
    return [*found.values(), *(row for row in named if row.article not in found)]


def ticked(
    session: Session, inquiry: Inquiry, ids: Sequence[str], frame: Frame, seconds: Frames, today: date
) -> list[Passage]:
    """The passages with these ids, in this order, that may stand in a reply to this case.

    Ids of past answers that are not offered for this case, of other departments' canned answers and of
    articles out of force are left out.
    """
    articles = {one.rpartition("#")[0] for one in ids}
    found = {p.id: p for p in passages_of(session, articles) if valid_on(p, today)}
    rows = article_versions(session, articles, today).values()
    kept = {r.article for r in rows if r.data_class == "canned" and r.department_id != inquiry.department_id}
    if any(article.startswith(PAST) for article in articles):
        past = past_answers(session, inquiry, frame, seconds, today)
        found |= {p.id: p for answer in past for p in answer.passages}
    return [found[one] for one in ids if one in found and found[one].article not in kept]
