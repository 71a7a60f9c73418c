"""Compare a whole reply, edits included, with what its draft may quote, place by place."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from sqlmodel import Session, col, select

from bot.articles import in_force
from bot.drafting import Frame, register, stored_passage
from bot.inquiries import PAST, Checker
from bot.models import Department, Draft, Inquiry, KnowledgeArticle, Staff
from bot.privacy import MARKS, bare, find
from channels.message import MAX_TEXT_UNITS, utf16_units
from responders.checks import DOCUMENT, Finding, check, support
from responders.facts import written_place
from responders.japanese import tokens
from responders.knowledge import Passage, split_sentences

_PERSONAL_JA = {"card": "カード番号", "email": "メールアドレス", "phone": "電話番号"}
_NEEDS_NO_SOURCE = frozenset({"municipality", "glyph", "control_token", "assertion"})
MOST_UNITS = 2 * MAX_TEXT_UNITS
"""Of a text that is checked: one twice as long as a message may be is no edit, and would hold up a worker."""
_MARK = re.compile("|".join(map(re.escape, MARKS.values())))


@dataclass(frozen=True, slots=True)
class ReviewedSentence:
    """One sentence of the reply's body and what the checks say about it."""

    text: str
    support: str
    """``supported``, ``partial``, ``unsupported``; empty where nothing has to be supported."""
    sources: tuple[str, ...]
    """The sentences of the articles that carry it, best first."""
    findings: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Review:
    """The checks of one text, in reading order.

    A finding is a `responders.checks.Finding` as a dictionary with ``key`` (same words, same place, same
    fault: same key), ``start`` and ``end`` (UTF-16 units in the whole text, as a browser counts).
    """

    sentences: list[ReviewedSentence]
    whole: list[dict[str, Any]]
    """Findings about the whole text."""

    @property
    def findings(self) -> list[dict[str, Any]]:
        """All of them."""
        return self.whole + [finding for sentence in self.sentences for finding in sentence.findings]

    @property
    def blocked(self) -> bool:
        """Whether a place must be mended or confirmed before the text may go."""
        return any(finding["hard"] for finding in self.findings)


def review(session: Session, frame: Frame, text: str, draft: Draft) -> Review:
    """Check a person's text against the passages of its draft.

    A holding text that nobody changed states no fact, so nothing in it needs a source.
    """
    if far_too_long(text):
        return _unchecked(text)
    inquiry = session.get_one(Inquiry, draft.inquiry_id)
    department = session.get_one(Department, inquiry.department_id)
    text = text.replace("\r\n", "\n")
    body = frame.body_of(text, department, inquiry.receipt_number)
    if draft.origin == "holding" and body == frame.body_of(draft.text, department, inquiry.receipt_number):
        return Review([], [])
    passages = [stored_passage(stored) for stored in draft.passages]
    bodies = split_sentences(body)
    own = replace(register(session, frame.city), urls=_pages(session, passages))
    found = check(bodies, passages, own)
    places = list(_places(text, bodies))
    sentences = [
        _reviewed(number, sentence, place, found, text, passages)
        for number, (sentence, place) in enumerate(zip(bodies, places, strict=True))
    ]
    whole = [_placed(f, (0, len(text)), text) for f in found if f.sentence == DOCUMENT]
    articles = _of_articles(passages)
    # A phone number of no source is a finding of the sentence's already.
    personal = _personal(text, articles, ("card", "email"))
    return Review(sentences, [*whole, *personal, *_staff_names(session, text, articles)])


def _pages(session: Session, passages: Sequence[Passage]) -> frozenset[str]:
    """The public pages of cited articles: the screen links to them, so a person may name them."""
    cited = {passage.article for passage in passages}
    query = select(KnowledgeArticle.url).where(in_force(), col(KnowledgeArticle.article).in_(cited))
    return frozenset(session.exec(query)) - {""}


def review_by_hand(session: Session, frame: Frame, text: str, inquiry: Inquiry) -> Review:
    """Check a person's own words, which quote nothing, for what is wrong without any source too."""
    if far_too_long(text):
        return _unchecked(text)
    department = session.get_one(Department, inquiry.department_id)
    text = text.replace("\r\n", "\n")
    bodies = split_sentences(frame.body_of(text, department, inquiry.receipt_number))
    places = list(_places(text, bodies))
    own = register(session, frame.city)
    found = [f for f in check(bodies, [], own) if f.kind in _NEEDS_NO_SOURCE]
    said = [_placed(f, places[f.sentence], text) for f in found]
    personal = _personal(text, own.text, ("card", "email", "phone"))
    return Review([], [*said, *personal, *_staff_names(session, text, "")])


def far_too_long(text: str) -> bool:
    """Whether a text is so long that it is not checked."""
    return utf16_units(text) > MOST_UNITS


def _unchecked(text: str) -> Review:
    units = utf16_units(text)
    message = f"長すぎるため、点検していません({units}字)。{MAX_TEXT_UNITS}字以内にしてください。"
    finding = Finding(DOCUMENT, "too_long", f"{units}", True, message)
    return Review([], [_placed(finding, (0, len(text)), text)])


def checker(session: Session, frame: Frame) -> Checker:
    """The check that an approval runs on the final text."""
    return lambda text, draft: review(session, frame, text, draft).findings


def checker_by_hand(session: Session, frame: Frame) -> Checker:
    """The check that a person's own words pass before they are sent."""

    def found(text: str, draft: Draft) -> list[dict[str, Any]]:
        return review_by_hand(session, frame, text, session.get_one(Inquiry, draft.inquiry_id)).findings

    return found


def _reviewed(
    number: int,
    sentence: str,
    place: tuple[int, int],
    found: Sequence[Finding],
    text: str,
    passages: Sequence[Passage],
) -> ReviewedSentence:
    own = [_placed(f, place, text) for f in found if f.sentence == number]
    level, cited = support(sentence, passages)
    if any(finding["hard"] for finding in own):
        level = "unsupported"
    by_id = {passage.id: passage for passage in passages}
    sources = tuple(f"{by_id[i].article_title}: {by_id[i].text}" for i in cited[:2])
    return ReviewedSentence(sentence, level, sources, own)


def _places(text: str, sentences: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where each sentence stands in the text, as character offsets; its mark is not part of it."""
    at = 0
    for sentence in sentences:
        start = text.find(sentence, at)
        if start < 0:
            start = at
        at = start + len(sentence)
        yield start, at


def _placed(finding: Finding, place: tuple[int, int], text: str) -> dict[str, Any]:
    start, end = place
    # What is missing, such as a condition, has the whole sentence for its place.
    if written := written_place(finding.text, text[start:end], finding.nth):
        start, end = start + written[0], start + written[1]
    sentence = "" if finding.sentence == DOCUMENT else text[place[0] : place[1]]
    words = f"{finding.text}|{finding.nth}" if finding.nth else finding.text
    sentence += f"|{finding.repeat}" if finding.repeat else ""
    key = hashlib.sha256(f"{finding.kind}|{words}|{sentence}".encode(errors="replace")).hexdigest()
    units = {"start": utf16_units(text[:start]), "end": utf16_units(text[:end])}
    return {**asdict(finding), "key": key[:16], **units}


def _personal(text: str, known: str, kinds: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Personal data in an outgoing text: whoever put it there, it goes only after a second look."""
    public = {bare(known[place.start : place.end]) for place in find(known)}
    for place in find(text):
        words = text[place.start : place.end]
        if place.kind in kinds and bare(words) not in public:
            message = (
                f"{_PERSONAL_JA[place.kind]}と思われる「{words}」があります。"
                "個人情報を送らないよう確認してください。"
            )
            yield _personal_at((place.start, place.end), text, message)
    for mark in _MARK.finditer(text):
        message = f"伏せた箇所「{mark[0]}」が残っています。書き直してください。"
        yield _personal_at(mark.span(), text, message)


def _personal_at(place: tuple[int, int], text: str, message: str) -> dict[str, Any]:
    words = text[slice(*place)]
    # Whoever confirms an address in one place has not looked at the next one.
    nth = text.count(words, 0, place[0])
    return _placed(Finding(DOCUMENT, "personal", words, True, message, nth), place, text)


def _staff_names(session: Session, text: str, articles: str) -> Iterator[dict[str, Any]]:
    """A reply speaks for the city, not for the person who wrote it."""
    names = session.exec(select(Staff.name).order_by(Staff.name).distinct())
    for pattern in _name_patterns(tuple(names)):
        for found in pattern.finditer(text):
            if found[0] not in articles:
                message = f"職員の名前「{found[0]}」があります。名前を出さないか、確認してください。"
                yield _personal_at(found.span(), text, message)


# The live check asks at each keystroke.
@lru_cache(maxsize=1)
def _name_patterns(names: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    # An account may be called 管理者: a word that every reply may hold.
    return tuple(
        _name_pattern(name)
        for name in names
        if any(m.is_oov() or m.part_of_speech()[2] == "人名" for m in tokens(name))
    )


def _name_pattern(name: str) -> re.Pattern[str]:
    """The whole name, or the family alone where it is named as a person's."""
    family, *rest = map(re.escape, name.split())
    whole = r"\s*".join([family, *rest])
    return re.compile(rf"{whole}|(?<=[のは、:：]){family}(?=が|と申|です|まで|さん|[係課部]長|主[任査事])")


def _of_articles(passages: Sequence[Passage]) -> str:
    """What the city publishes. A past answer was written to somebody else and is no reason to repeat it."""
    return "\n".join(passage.context for passage in passages if not passage.article.startswith(PAST))
