"""The second text below a Japanese reply: やさしい日本語, or the citizen's language.

It is a part of the same reply: a person approves both together, and what goes out is one text, the Japanese
one, a line, the second one. So the approval, its hash, the outbox and the database's own rule
know nothing of it.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import yaml
from sqlmodel import Session

from bot import inquiries, outbox
from bot.checking import far_too_long
from bot.drafting import Attach, Frame, load_frame
from bot.errors import DraftNotPending, NotFound, TextRefused
from bot.inquiries import Checker
from bot.models import Department, Draft, DraftStatus, Inquiry, Staff
from bot.settings import Settings
from channels.message import MAX_TEXT_UNITS, utf16_units
from responders import ruby
from responders.easy import easy
from responders.easy_check import check_easy
from responders.llm import Llm
from responders.translate import (
    BUNDLED,
    Language,
    Translation,
    differing_facts,
    foreign_remarks,
    place_of,
    translate,
)

LINE_BETWEEN = "──────────"
EASY = "easy"


@dataclass(frozen=True, slots=True)
class SecondFrame:
    """The fixed words around a second text of one kind."""

    kind: str
    """``easy`` or a language code."""
    name_ja: str
    """For staff: 英語."""
    title: str
    """The first line below the line between the two texts."""
    greeting: str
    closing: str
    notes: str
    """Heading of the explained words."""

    @property
    def heading(self) -> str:
        """What stands between a Japanese text and a second one of this kind."""
        return f"\n\n{LINE_BETWEEN}\n{self.title}\n\n"

    def around(self, body: str, department: Department, receipt_number: str) -> str:
        """The whole second text."""
        values = {"department": department.name, "phone": department.phone, "receipt_number": receipt_number}
        return f"{self.greeting.format(**values)}\n\n{body}\n\n{self.closing.format(**values)}"


@dataclass(frozen=True, slots=True)
class Second:
    """A second text as it stands on a person's screen."""

    kind: str
    text: str
    made_from: str
    """SHA-256 of the Japanese text for which it was made or read."""


Frames = Mapping[str, SecondFrame]


def load_frames(city_dir: Path) -> dict[str, SecondFrame]:
    """Read ``second_texts.yaml``."""
    raw = yaml.safe_load((city_dir / "second_texts.yaml").read_text(encoding="utf-8"))
    return {
        kind: SecondFrame(kind, v["ja"], v["title"], v["greeting"], v["closing"], v.get("notes", ""))
        for kind, v in raw.items()
    }


def plain(text: str) -> str:
    """A text without what a browser's form adds."""
    return text.replace("\r\n", "\n").strip()


def digest(text: str) -> str:
    """SHA-256 of a text, whether it comes from a browser's form or from the database."""
    return outbox.digest(plain(text))


def below(text: str, second: Second | None, frames: Frames) -> str:
    """What goes out under a Japanese text: a line, the heading and the second text; empty without one.

    Raises:
        TextRefused: It is empty, of no known kind, or both together are longer than one message may be.
    """
    if second is None:
        return ""
    if second.kind not in frames:
        raise TextRefused("いっしょに送る文の種類が正しくありません。画面を更新してください。")
    own = plain(second.text)
    if not own:
        raise TextRefused("いっしょに送る文が空です。書くか、「この文を外す」を押してください。")
    part = f"{frames[second.kind].heading}{own}"
    if (units := utf16_units(plain(text) + part)) > MAX_TEXT_UNITS:
        raise TextRefused(
            f"日本語の文面と「{frames[second.kind].name_ja}」の文を合わせて長すぎます({units}字)。"
            f"合わせて{MAX_TEXT_UNITS}字以内にしてください。"
        )
    return part


def parts_of(text: str, frames: Frames) -> tuple[str, str]:
    """The Japanese text and the second one of a sent text; the second is empty when there is none.

    A line without one of the headings below it parts nothing: a person drew it.
    """
    heading = "|".join(re.escape(frame.heading) for frame in frames.values())
    japanese, *second = re.split(heading, text, maxsplit=1)
    return japanese, "".join(second)


def ruby_of(text: str, frames: Frames) -> list[ruby.Piece]:
    """A sent text as pieces and readings, for the web chat; empty when its second text has no readings."""
    above, heading, below_it = text.partition(frames[EASY].heading)
    pieces = ruby.pieces_of(below_it)
    return [(above + heading, ""), *pieces] if any(reading for _, reading in pieces) else []


def in_easy_japanese(body: str, frame: SecondFrame, department: Department, receipt_number: str) -> str:
    """The whole second text in やさしい日本語, readings in brackets, by rule."""
    made = easy(body)
    notes = "\n".join(f"・{word}: {meaning}" for word, meaning in made.notes)
    text = made.body + (f"\n\n{frame.notes}\n{notes}" if notes else "")
    return ruby.bracketed(frame.around(text, department, receipt_number))


def by_rule(
    frame: Frame, frames: Frames, department: Department, receipt_number: str
) -> Callable[[str], str]:
    """What makes the whole second text in やさしい日本語 of a case's Japanese text."""
    return lambda japanese: in_easy_japanese(
        frame.body_of(japanese, department, receipt_number), frames[EASY], department, receipt_number
    )


def attacher(city_dir: Path) -> Attach:
    """`attach_easy` with the city's frames, for the worker."""
    return partial(attach_easy, frame=load_frame(city_dir), frames=load_frames(city_dir))


def attach_easy(session: Session, inquiry_id: UUID, *, again: bool, frame: Frame, frames: Frames) -> None:
    """Put やさしい日本語 below the pending draft, for cities that want it on every reply.

    Args:
        session: The caller's transaction.
        inquiry_id: The case.
        again: The draft is not new, only its wording or its sentences: where a person took the second text
            away meanwhile, or put another language there, it stays so.
        frame: Stands around the body.
        frames: The city's.
    """
    draft = inquiries.pending_draft(session, inquiry_id)
    if draft is None or (again and draft.second_kind != EASY):
        return
    inquiry = session.get_one(Inquiry, inquiry_id)
    department = session.get_one(Department, inquiry.department_id)
    text = by_rule(frame, frames, department, inquiry.receipt_number)(draft.text)
    _keep(session, draft, Second(EASY, text, digest(draft.text)), draft.text, frames)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a second text is made from; read in one transaction, so that the model needs none."""

    draft_id: UUID
    kind: str
    japanese: str
    body: str
    department: Department
    receipt_number: str


def ask(
    session: Session, inquiry_id: UUID, draft_id: UUID, kind: str, text: str, frame: Frame, *, staff: Staff
) -> Asked:
    """What making needs, if this person may decide about the draft.

    Args:
        session: The caller's transaction.
        inquiry_id: The case.
        draft_id: The draft on the person's screen.
        kind: ``easy`` or a language.
        text: The Japanese text on the screen, edits included.
        frame: Stands around the body.
        staff: Who asks.

    Raises:
        NotFound, NotAllowed, DraftNotPending: See `inquiries.approve`.
    """
    draft = _pending(session, inquiry_id, draft_id, staff)
    inquiry = session.get_one(Inquiry, draft.inquiry_id)
    department = session.get_one(Department, inquiry.department_id)
    japanese = plain(text)
    body = frame.body_of(japanese, department, inquiry.receipt_number)
    return Asked(draft.id, kind, japanese, body, department, inquiry.receipt_number)


def _pending(session: Session, inquiry_id: UUID, draft_id: UUID, staff: Staff) -> Draft:
    inquiry = inquiries.for_decision(session, inquiry_id, staff)
    draft = session.get(Draft, draft_id)
    if draft is None or draft.inquiry_id != inquiry.id:
        raise NotFound
    if draft.status != DraftStatus.pending:
        raise DraftNotPending
    return draft


def make(asked: Asked, frames: Frames, llm: Llm | None, *, bundled: bool) -> tuple[Second, Translation]:
    """Make the second text; no transaction is open while a model writes.

    Returns:
        The text, and how the translation went. Without a usable one the text is the frame alone: a person
        writes the middle.
    """
    frame = frames[asked.kind]
    made_from = digest(asked.japanese)
    if asked.kind == EASY:
        text = in_easy_japanese(asked.body, frame, asked.department, asked.receipt_number)
        return Second(EASY, text, made_from), Translation("translated")
    language = cast(Language, asked.kind)
    if not can_translate(asked.kind, llm, bundled=bundled):
        done = Translation("unsupported", reason_ja=_UNSUPPORTED_JA)
    else:
        assert llm is not None  # noqa: S101  (can_translate)
        done = translate(asked.body, language, llm)
    text = frame.around(done.text, asked.department, asked.receipt_number)
    return Second(asked.kind, text, made_from), done


_UNSUPPORTED_JA = "この言語の訳は、今は機械で作れません。あいさつと結びの文だけを入れました。"


def can_translate(kind: str, llm: Llm | None, *, bundled: bool) -> bool:
    """Whether the model at hand may be asked for this language."""
    return llm is not None and (not bundled or kind in BUNDLED)


def keep(
    session: Session,
    inquiry_id: UUID,
    asked: Asked,
    second: Second,
    how: Translation,
    frames: Frames,
    *,
    staff: Staff,
    screen: str,
) -> None:
    """Store a person's second text with the draft, or take it away (kind empty), with how it was made.

    Raises:
        NotFound, NotAllowed, DraftNotPending: See `inquiries.approve`.
    """
    draft = _pending(session, inquiry_id, asked.draft_id, staff)
    _keep(session, draft, second, asked.japanese, frames)
    draft.second_model = how.model
    inquiry, told = session.get_one(Inquiry, inquiry_id), inquiries.for_log(how.model)
    inquiries.note(
        session, inquiry, staff.login, "second_text", screen, draft=draft.id, kind=second.kind, model=told
    )


def _keep(session: Session, draft: Draft, second: Second, japanese: str, frames: Frames) -> None:
    draft.second_kind, draft.second_text, draft.second_made_from = second.kind, second.text, second.made_from
    draft.second_findings, draft.second_model = findings(japanese, second, frames), {}
    session.add(draft)


def of_draft(draft: Draft) -> Second | None:
    """The stored second text of a draft."""
    if not draft.second_kind:
        return None
    return Second(draft.second_kind, draft.second_text, draft.second_made_from)


Found = tuple[str, str, bool, str, tuple[int, int]]
"""Kind, words, whether it blocks, the remark, and where: characters in the second text."""


def typed_into(text: str, second: Second | None, stored: Second | None, made: Callable[[str], str]) -> bool:
    """Whether a person wrote into the やさしい日本語 on their screen.

    The stored one may be newer than what they read: it is made anew when the model's wording comes.

    Args:
        text: The Japanese text on the screen.
        second: The second text on the screen.
        stored: The one that is kept with the draft.
        made: `by_rule` of the case.
    """
    if second is None or second.kind != EASY:
        return False
    own = plain(second.text)
    if far_too_long(text):
        return True
    kept = stored is not None and stored.kind == EASY and own == plain(stored.text)
    return not kept and own != plain(made(plain(text)))


def findings(
    text: str, second: Second | None, frames: Frames, *, typed: bool = False
) -> list[dict[str, Any]]:
    """What a person must confirm, or may mend, in a second text; hard ones block, as in `bot.checking`.

    No rule compares what a person has ``typed`` into やさしい日本語 with the Japanese text. ``start`` and
    ``end`` are UTF-16 units in the second text; of what it lacks, in the Japanese one (``in_japanese``).
    """
    if second is None or second.kind not in frames:
        return []
    japanese, own = plain(text), plain(second.text)
    whole = (0, len(own))
    if far_too_long(japanese) or far_too_long(own):
        message = f"長すぎるため、点検していません。合わせて{MAX_TEXT_UNITS}字以内にしてください。"
        found_long = ("too_long", "", True, message, whole)
        return [_finding(found_long, (japanese, own), second.text, in_japanese=False)]
    found: list[Found] = []
    if second.made_from != digest(japanese):
        message = "日本語の文面が変わりました。作り直すか、確認してください。"
        found.append(("second_stale", "", True, message, whole))
    missing, extra = differing_facts(japanese, ruby.without_readings(own), second.kind)
    lacking = [_lacking(value, place_of(value, japanese, "ja")) for value in _once(missing)]
    found += [_surplus(value, place_of(value, own, second.kind)) for value in _once(extra)]
    if second.kind == EASY:
        found += [(r.kind, r.text, False, r.message_ja, (r.start, r.end)) for r in check_easy(own)]
        if typed:
            message = "やさしい日本語の文を直しました。日本語の文面と同じ内容か、確かめましたか。"
            found.append(("second_edited", "", True, message, whole))
    else:
        found += [
            ("second_script", "", True, why, (start, end))
            for why, start, end in foreign_remarks(own, second.kind)
        ]
        message = f"この文({frames[second.kind].name_ja})を、読める人が日本語の文面と比べて確かめましたか。"
        found.append(("second_unread", "", True, message, whole))
    both = (japanese, own)
    return [_finding(one, both, text, in_japanese=True) for one in lacking] + [
        _finding(one, both, second.text, in_japanese=False) for one in found
    ]


def _lacking(value: str, at: tuple[int, int]) -> Found:
    return "second_missing", value, True, f"日本語の文面にある「{value}」が、この文にありません。", at


def _surplus(value: str, at: tuple[int, int]) -> Found:
    return "second_extra", value, True, f"この文の「{value}」は、日本語の文面にありません。", at


def _once(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _finding(found: Found, both: tuple[str, str], shown: str, *, in_japanese: bool) -> dict[str, Any]:
    """A confirmation counts for these two texts and for no others.

    Args:
        found: The remark.
        both: The Japanese text and the second one, as they are compared.
        shown: The one of them with the place, as the browser has it: nothing stripped.
        in_japanese: Which of the two that is.
    """
    kind, text, hard, message, (start, end) = found
    japanese, own = both
    key = hashlib.sha256(f"{kind}|{text}|{japanese}|{own}".encode(errors="replace")).hexdigest()[:16]
    shown = shown.replace("\r\n", "\n")
    lead = len(shown) - len(shown.lstrip())
    return {
        "sentence": -1,
        "kind": kind,
        "text": text,
        "hard": hard,
        "message_ja": message,
        "key": key,
        "in_japanese": in_japanese,
        "start": utf16_units(shown[: lead + start]),
        "end": utf16_units(shown[: lead + end]),
    }


def page_values(
    text: str,
    second: Second | None,
    stored: Second | None,
    frames: Frames,
    llm: Llm | None,
    *,
    made: Callable[[str], str],
    language: str,
    bundled: bool,
) -> dict[str, Any]:
    """What ``second_text.html`` shows.

    Args:
        text: The Japanese text on the screen.
        second: The second text on the screen.
        stored: The one that is kept with the draft.
        frames: The city's.
        llm: The model at hand.
        made: `by_rule` of the case.
        language: The conversation's.
        bundled: Whether the model is the small one that comes with the product.
    """
    others = [frame for kind, frame in frames.items() if kind not in (EASY, language)]
    return {
        "second": second,
        "second_kept": second and stored and plain(second.text) == plain(stored.text),
        "second_findings": findings(text, second, frames, typed=typed_into(text, second, stored, made)),
        "second_frame": frames.get(second.kind) if second else None,
        "second_ruby": ruby.pieces_of(second.text) if second and second.kind == EASY else [],
        "own_language": frames.get(language),
        "other_languages": others,
        "usable": {kind for kind in frames if can_translate(kind, llm, bundled=bundled)},
    }


def is_bundled(settings: Settings) -> bool:
    """Whether the small model that comes with the product answers, and not one that the city chose."""
    return settings.llm_model == "embedded" and settings.llm_model_path is None


def also_checked(
    session: Session, check: Checker, second: Second | None, frame: Frame, frames: Frames
) -> Checker:
    """The check of a Japanese text, and the second text's with it."""

    def found(text: str, draft: Draft) -> list[dict[str, Any]]:
        inquiry = session.get_one(Inquiry, draft.inquiry_id)
        department = session.get_one(Department, inquiry.department_id)
        made = by_rule(frame, frames, department, inquiry.receipt_number)
        typed = typed_into(text, second, of_draft(draft), made)
        return check(text, draft) + findings(text, second, frames, typed=typed)

    return found
