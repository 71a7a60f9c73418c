"""The caseworker's desk: the queue, the case, the decision."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from sqlmodel import Session, col, select

from bot import (
    audit,
    auth,
    checking,
    drafting,
    incidents,
    inquiries,
    reports,
    second_text,
    sources,
    templating,
)
from bot.article_index import Knowledge
from bot.articles import article_versions, passages_of
from bot.calendar import valid_on
from bot.db import now
from bot.errors import CaseChanged, Conflict, DraftingOff, NotFound, SourceEnded, TextRefused
from bot.models import FRONT_DESK, Approval, Draft, Inquiry, KnowledgeArticle, Role
from bot.routes.deps import (
    COOKIE,
    City,
    Deciding,
    Known,
    LookedUp,
    ReaderDep,
    SessionDep,
    SettingsDep,
    SignedIn,
    TokenCookie,
    TypedSecond,
    city_date,
)
from bot.second_text import Second
from bot.templating import page
from responders.draft import NEAR, Length, Tone, Wish
from responders.knowledge import Passage
from responders.retrieve import Index

router = APIRouter(prefix="/desk")
SCREEN = "desk"


@router.get("/login", response_class=HTMLResponse)
def login_page() -> str:
    """The form to sign in."""
    return page("login.html", error="")


def _attempt(
    request: Request,
    login: Annotated[LookedUp, Form()] = "",
    password: Annotated[str, Form()] = "",
) -> auth.Attempt:
    return auth.attempt(request.app.state.engine, login.strip(), password)


# First among the route's parameters: nobody who writes should wait for a comparison of passwords.
AttemptDep = Annotated[auth.Attempt, Depends(_attempt)]


@router.post("/login")
def login(tried: AttemptDep, session: SessionDep, settings: SettingsDep) -> Response:
    """Open a session; every failure looks the same."""
    opened = auth.sign_in(session, tried)
    if opened is None:
        return HTMLResponse(
            page("login.html", error="職員IDかパスワードが違うか、一時的に利用できません。"), 401
        )
    response = RedirectResponse("/desk", 303)
    response.set_cookie(
        COOKIE, opened[0], httponly=True, samesite="strict", secure=settings.secure_cookies, path="/"
    )
    return response


@router.post("/logout")
def logout(_staff: Deciding, session: SessionDep, token: TokenCookie = None) -> Response:
    """End the session."""
    auth.sign_out(session, token)
    response = RedirectResponse("/desk/login", 303)
    response.delete_cookie(COOKIE, path="/")
    return response


def frame_values(session: Session, signed_in: SignedIn) -> dict[str, Any]:
    """What every page of the console shows around its content."""
    staff, row = signed_in
    return {"staff": staff, "csrf": row.csrf, "alarms": reports.alarms(session, staff)}


@router.get("/alarms")
def alarms(session: ReaderDep, token: TokenCookie = None) -> list[dict[str, str]]:
    """Emergencies nobody took note of yet; every open page of the console asks again and again.

    By itself, so it is no sign that somebody is there: an open page keeps nobody signed in.
    """
    staff, _row = auth.signed_in(session, token)
    return [
        {
            "id": str(i.id),
            "receipt_number": i.receipt_number,
            "since": templating.short(i.created_at),
            "escalated": "まだ誰も確認していません" if i.alarm_escalated_at else "",
        }
        for i in reports.alarms(session, staff)
    ]


Words = Annotated[LookedUp, Query(max_length=100)]


@router.get("", response_class=HTMLResponse)
def queue(
    session: SessionDep,
    signed_in: SignedIn,
    department: LookedUp = "",
    done: bool = False,
    start: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    number: Words = "",
) -> Response:
    """The department's queue; with a case's receipt ``number`` on to that case."""
    staff = signed_in[0]
    if number and (found := reports.find_case(session, staff, number)):
        return RedirectResponse(f"/desk/cases/{found}", 303)
    if not department and staff.role == Role.caseworker and staff.department_id != FRONT_DESK:
        department = staff.department_id
    rows, more = reports.queue(session, staff, department or None, done=done, start=start)
    html = page(
        "queue.html",
        **frame_values(session, signed_in),
        rows=rows,
        more=more,
        start=start,
        size=reports.QUEUE_PAGE,
        departments=reports.queue_counts(session),
        department=department,
        done=done,
        number=number.strip(),
        now=now(),
    )
    return HTMLResponse(html)


def _articles(request: Request, _known: Known, words: Words = "") -> Index | None:
    articles: Knowledge = request.app.state.articles
    return articles.index() if words.strip() else None


# First among a route's parameters: an index that is read anew must not be within a transaction.
ArticlesDep = Annotated[Index | None, Depends(_articles)]


@router.get("/cases/{inquiry_id}", response_class=HTMLResponse)
def show_case(
    index: ArticlesDep,
    request: Request,
    inquiry_id: UUID,
    session: SessionDep,
    signed_in: SignedIn,
    words: Words = "",
    article: Annotated[list[LookedUp] | None, Query()] = None,
) -> str:
    """One case; reading is logged too.

    ``words`` looks for other articles, ``article`` lays their sentences out to be ticked.
    """
    case = reports.case(session, inquiry_id, signed_in[0])
    audit.record(
        session,
        actor=signed_in[0].login,
        action="read",
        subject=f"inquiry:{case.inquiry.receipt_number}",
        screen=SCREEN,
    )
    today = city_date(request)
    found = sources.look_up(session, index, case.inquiry, words, today) if index else []
    return case_page(request, session, signed_in, inquiry_id, words=words, found=found, more=article or ())


def case_page(
    request: Request,
    session: Session,
    signed_in: SignedIn,
    inquiry_id: UUID,
    *,
    error: str = "",
    text: str | None = None,
    by_hand: bool = False,
    confirmed: Collection[str] = (),
    also: Collection[str] = (),
    keep_open: bool | None = None,
    words: str = "",
    found: Collection[KnowledgeArticle] = (),
    more: Collection[str] = (),
    second: Second | None = None,
    second_reason: str = "",
    again: Mapping[str, str] | None = None,
    ticked: Collection[str] = (),
    seen: str = "",
) -> str:
    """The case's screen; after a refusal with the person's own text, so that nothing typed is lost.

    ``again`` is a refused form without a text for the citizen: its ``verb`` and its fields. ``ticked`` are
    the sentences of a refused choice, ``seen`` is the `Draft.origin` of what ``text`` was typed into.
    """
    case, place = reports.case(session, inquiry_id, signed_in[0]), request.app.state.city
    frame, today = place.frame, city_date(request)
    own = text if by_hand else None
    shown = text if text is not None and not by_hand else (case.draft.text if case.draft else "")
    is_holding = case.draft is not None and case.draft.origin == "holding"
    unsent = (text, second) if text and not by_hand and case.draft is None else None
    may_draft = drafting.may_draft(session, inquiry_id, request.app.state.settings)
    return page(
        "case.html",
        **frame_values(session, signed_in),
        **_WORDS,
        **_source_values(session, case, place, today, more=more, found=found, ticked=ticked),
        **second_values(request, case, shown, second if text is not None else None),
        case=case,
        targets=[d for d in case.departments if valid_on(d, today)],
        error=error,
        again=again or {},
        text=shown,
        seen=seen or (case.draft.origin if case.draft else ""),
        unsent=unsent,
        hand_text=frame.around("", case.department, case.inquiry.receipt_number) if own is None else own,
        review=checking.review(session, frame, shown, case.draft) if case.draft else None,
        confirmed=() if by_hand else confirmed,
        hand_review=None if own is None else checking.review_by_hand(session, frame, own, case.inquiry),
        hand_confirmed=confirmed,
        # A holding reply promises an answer, so its case stays open unless the person says otherwise.
        keep_open=is_holding if keep_open is None or by_hand else keep_open,
        hand_keep_open=by_hand and keep_open,
        second_reason=second_reason,
        others=incidents.others(session, case.inquiry, signed_in[0]),
        also={entry.partition(":")[0] for entry in also},
        words=words,
        approvals=reports.approvals(session, inquiry_id),
        may_draft=may_draft,
        can_reword=may_draft and request.app.state.llm is not None,
        flags=dict.fromkeys(reports.flag_ja(f) for f in case.draft.flags) if case.draft else (),
    )


_WORDS = {
    "status_ja": reports.STATUS_JA,
    "reason_ja": reports.REASON_JA,
    "alarm_ja": reports.ALARM_JA,
    "alarm_minutes": inquiries.ALARM_MINUTES,
    "outbox_ja": reports.OUTBOX_JA,
    "channel_ja": reports.CHANNEL_JA,
}


def _source_values(
    session: Session,
    case: reports.Case,
    place: City,
    today: date,
    *,
    more: Collection[str],
    found: Collection[KnowledgeArticle],
    ticked: Collection[str],
) -> dict[str, Any]:
    """The sources' part of the screen: what a draft may be made from, and what it was made from."""
    draft = case.draft
    quoted = {f"{p['article']}#{p['ordinal']}" for p in draft.passages} if draft else set()
    chosen = {*ticked} or quoted
    near = [flag.removeprefix(NEAR) for flag in draft.flags if flag.startswith(NEAR)] if draft else []
    articles = {one.rpartition("#")[0] for one in (*quoted, *ticked)} | {*more, *near}
    choices = passages_of(session, articles)
    choosing = draft is not None or inquiries.takes_draft(case.inquiry)
    canned = sources.canned(session, case.inquiry) if choosing else []
    offered: list[Passage | KnowledgeArticle] = [*choices, *found, *canned]
    return {
        "articles": article_versions(session, articles, today),
        "choosing": choosing,
        "choices": choices,
        "found": found,
        "canned": canned,
        "ended": {item.article for item in offered if not valid_on(item, today)},
        "past": sources.past_answers(session, case.inquiry, place.frame, place.seconds, today)
        if choosing
        else [],
        "ticked": chosen,
        "unmade": chosen != quoted,
    }


def second_values(request: Request, case: reports.Case, text: str, second: Second | None) -> dict[str, Any]:
    """The second text's part of the screen: as typed, or as stored with the draft that is shown."""
    state, city = request.app.state, request.app.state.city
    stored = second_text.of_draft(case.draft) if case.draft else None
    return second_text.page_values(
        text,
        second or stored,
        stored,
        city.seconds,
        state.llm,
        made=second_text.by_rule(city.frame, city.seconds, case.department, case.inquiry.receipt_number),
        language=case.conversation.language,
        bundled=second_text.is_bundled(state.settings),
    )


class _Decision:
    """A form of the case's screen: one verb; a refusal shows the screen again with what was typed."""

    def __init__(self, request: Request, session: SessionDep, signed_in: SignedIn, staff: Deciding) -> None:
        self.request, self.session, self.signed_in, self.staff = request, session, signed_in, staff

    def run(
        self,
        inquiry_id: UUID,
        verb: Callable[[], object],
        on_refusal: Callable[[Exception], None] | None = None,
        **typed: Any,  # noqa: ANN401
    ) -> Response:
        """Do it.

        Args:
            inquiry_id: The case.
            verb: What the person asked for.
            on_refusal: What to change in its place, after it was refused and taken back.
            typed: What the person had typed or ticked, as `case_page` takes it.
        """
        try:
            with self.session.begin_nested():
                verb()
        except (Conflict, TextRefused) as refused:
            self.session.expire_all()
            if on_refusal:
                on_refusal(refused)
            html = case_page(
                self.request, self.session, self.signed_in, inquiry_id, error=refused.message_ja, **typed
            )
            return HTMLResponse(html, refused.status)
        return RedirectResponse(f"/desk/cases/{inquiry_id}?done=1", 303)


DecisionDep = Annotated[_Decision, Depends(_Decision, scope="function")]
Text = Annotated[str, Form()]
Version = Annotated[int, Form()]


@router.post("/cases/{inquiry_id}/approve")
def approve(
    inquiry_id: UUID,
    decision: DecisionDep,
    draft_id: Annotated[UUID, Form()],
    version: Version,
    text: Text = "",
    confirmed: Annotated[list[str] | None, Form()] = None,
    keep_open: Annotated[bool, Form()] = False,
    also: Annotated[list[str] | None, Form()] = None,
    second: TypedSecond = None,
    seen: Text = "",
) -> Response:
    """The person pressed 承認; ``text`` is what they saw, edits included.

    ``also`` names other cases of the same incident as ``id:version``, ticked in the list. ``seen`` is the
    `Draft.origin` of the wording before their edits: another may have come while they read.
    """
    city = decision.request.app.state.city
    today = city_date(decision.request)
    told: dict[str, Any] = {
        "staff": decision.staff, "screen": SCREEN, "today": today, "keep_open": keep_open
    }  # fmt: skip

    def verb() -> None:
        others = _seen_versions(also or ())
        # Before the draft is read: the model's wording may come between the two.
        inquiries.hold(decision.session, [inquiry_id, *others])
        draft = decision.session.get(Draft, draft_id)
        if draft is None or draft.inquiry_id != inquiry_id:
            raise NotFound
        if drafting.restore_verbatim(decision.session, inquiry_id, seen, city.frame):
            second_text.attach_easy(
                decision.session, inquiry_id, again=True, frame=city.frame, frames=city.seconds
            )
        checker = checking.checker(decision.session, city.frame)
        below = second_text.below(text, second, city.seconds)
        row = inquiries.approve(
            decision.session,
            draft_id,
            text=text,
            seen_version=version,
            check=second_text.also_checked(decision.session, checker, second, city.frame, city.seconds),
            confirmed=confirmed or (),
            below=below,
            **told,
        )
        approval = decision.session.get_one(Approval, row.approval_id)
        incidents.answer_others(decision.session, approval, others, below=below, **told)

    def renew(refused: Exception) -> None:
        if isinstance(refused, SourceEnded):
            inquiries.renew_ended(
                decision.session, draft_id, staff=decision.staff, today=today, screen=SCREEN
            )

    typed: dict[str, Any] = {"text": text, "confirmed": confirmed or (), "also": also or (), "second": second}
    return decision.run(inquiry_id, verb, on_refusal=renew, keep_open=keep_open, seen=seen, **typed)


def _seen_versions(ticked: Collection[str]) -> dict[UUID, int]:
    try:
        return {UUID(one): int(version) for one, _, version in (entry.partition(":") for entry in ticked)}
    except ValueError as error:
        raise CaseChanged from error


@router.post("/cases/{inquiry_id}/leave")
def leave_incident(inquiry_id: UUID, decision: DecisionDep) -> Response:
    """The case tells of something else: out of the group."""
    return decision.run(
        inquiry_id,
        lambda: incidents.leave(decision.session, inquiry_id, staff=decision.staff, screen=SCREEN),
    )


@router.post("/cases/{inquiry_id}/write")
def write_by_hand(
    inquiry_id: UUID,
    decision: DecisionDep,
    version: Version,
    text: Text = "",
    confirmed: Annotated[list[str] | None, Form()] = None,
    keep_open: Annotated[bool, Form()] = False,
) -> Response:
    """The person answers in their own words."""
    return decision.run(
        inquiry_id,
        lambda: inquiries.write_by_hand(
            decision.session,
            inquiry_id,
            staff=decision.staff,
            text=text,
            seen_version=version,
            screen=SCREEN,
            check=checking.checker_by_hand(decision.session, decision.request.app.state.city.frame),
            confirmed=confirmed or (),
            keep_open=keep_open,
        ),
        text=text,
        by_hand=True,
        confirmed=confirmed or (),
        keep_open=keep_open,
    )


@router.post("/cases/{inquiry_id}/recompose")
def recompose(
    inquiry_id: UUID,
    decision: DecisionDep,
    version: Version,
    draft_id: Annotated[UUID | None, Form()] = None,
    passage: Annotated[list[LookedUp] | None, Form()] = None,
) -> Response:
    """The person ticked other sentences: the draft is made of exactly these, at once.

    Without a ``draft_id`` the case has none yet.
    """
    place, settings = decision.request.app.state.city, decision.request.app.state.settings

    def verb() -> None:
        case = reports.case(decision.session, inquiry_id, decision.staff)
        today = city_date(decision.request)
        chosen = sources.ticked(
            decision.session, case.inquiry, passage or [], place.frame, place.seconds, today
        )
        drafting.recompose(
            decision.session,
            case.inquiry,
            draft_id,
            chosen,
            place.frame,
            staff=decision.staff,
            seen_version=version,
            screen=SCREEN,
        )
        if settings.easy_japanese == "always":
            again = draft_id is not None
            second_text.attach_easy(
                decision.session, inquiry_id, again=again, frame=place.frame, frames=place.seconds
            )

    return decision.run(inquiry_id, verb, ticked=passage or ())


@router.get("/cases/{inquiry_id}/draft")
def pending_draft(inquiry_id: UUID, session: SessionDep, signed_in: SignedIn) -> dict[str, str]:
    """The pending draft's text and origin: the page asks whether the rewording has come."""
    draft = reports.case(session, inquiry_id, signed_in[0]).draft
    return {"origin": draft.origin, "text": draft.text} if draft else {"origin": "", "text": ""}


@router.post("/cases/{inquiry_id}/return")
def return_draft(
    inquiry_id: UUID,
    decision: DecisionDep,
    draft_id: Annotated[UUID, Form()],
    version: Version,
    reason: Text = "",
) -> Response:
    """Send the draft back with a reason."""
    return decision.run(
        inquiry_id,
        lambda: inquiries.return_draft(
            decision.session,
            draft_id,
            staff=decision.staff,
            reason=reason,
            seen_version=version,
            screen=SCREEN,
        ),
        again={"verb": "return", "reason": reason},
    )


@router.post("/cases/{inquiry_id}/transfer")
def transfer(
    inquiry_id: UUID,
    decision: DecisionDep,
    settings: SettingsDep,
    version: Version,
    department: Annotated[LookedUp, Form()] = "",
    reason: Text = "",
) -> Response:
    """Hand the case to another department; afterwards it may be out of this person's sight."""
    answer = decision.run(
        inquiry_id,
        lambda: inquiries.transfer(
            decision.session,
            inquiry_id,
            staff=decision.staff,
            department_id=department,
            reason=reason,
            seen_version=version,
            screen=SCREEN,
            today=city_date(decision.request),
            drafting=settings.drafting_enabled,
        ),
        again={"verb": "transfer", "reason": reason, "department": department},
    )
    return RedirectResponse("/desk?done_transfer=1", 303) if answer.status_code == 303 else answer


@router.post("/cases/{inquiry_id}/close")
def close(
    inquiry_id: UUID, decision: DecisionDep, version: Version, reason: Text = "", belongs_to: Text = ""
) -> Response:
    """End the case; ``belongs_to``: one of `EXITS` where it was no department's matter."""
    return decision.run(
        inquiry_id,
        lambda: inquiries.close(
            decision.session,
            inquiry_id,
            staff=decision.staff,
            reason=reason,
            belongs_to=belongs_to,
            seen_version=version,
            screen=SCREEN,
        ),
        again={"verb": "close", "reason": reason, "belongs_to": belongs_to},
    )


@router.post("/cases/{inquiry_id}/redraft")
def redraft(
    inquiry_id: UUID,
    decision: DecisionDep,
    version: Version,
    hint: Text = "",
    length: Annotated[Length, Form()] = "normal",
    tone: Annotated[Tone, Form()] = "standard",
) -> Response:
    """Ask for a new draft, with wishes."""

    def verb() -> None:
        if not drafting.may_draft(decision.session, inquiry_id, decision.request.app.state.settings):
            raise DraftingOff
        inquiries.redraft(
            decision.session,
            inquiry_id,
            Wish(hint, length, tone),
            staff=decision.staff,
            seen_version=version,
            screen=SCREEN,
        )

    again = {"verb": "redraft", "hint": hint, "length": length, "tone": tone}
    return decision.run(inquiry_id, verb, again=again)


@router.post("/cases/{inquiry_id}/reword")
def reword(
    request: Request,
    inquiry_id: UUID,
    session: SessionDep,
    staff: Deciding,
    draft_id: Annotated[UUID, Form()],
) -> StreamingResponse:
    """The model rewords the draft while the person watches: JSON lines of `drafting.Piece`.

    Closing the connection stops the model.
    """
    state = request.app.state
    if state.llm is None or not drafting.may_draft(session, inquiry_id, state.settings):
        raise DraftingOff
    pieces = drafting.stream_rewording(
        state.engine, session, inquiry_id, draft_id, state.city.frame, state.llm, staff=staff
    )
    lines = (
        json.dumps({**asdict(p), "reason": reports.flag_ja(p.reason)}, ensure_ascii=False) + "\n"
        for p in pieces
    )
    return StreamingResponse(lines, media_type="application/x-ndjson", headers={"X-Accel-Buffering": "no"})


@router.post("/cases/{inquiry_id}/acknowledge")
def acknowledge(inquiry_id: UUID, decision: DecisionDep) -> Response:
    """A person took note of an emergency."""
    return decision.run(
        inquiry_id,
        lambda: inquiries.acknowledge(decision.session, inquiry_id, staff=decision.staff, screen=SCREEN),
    )


@router.post("/cases/{inquiry_id}/check", response_class=HTMLResponse)
def check(
    request: Request,
    inquiry_id: UUID,
    session: SessionDep,
    staff: Deciding,
    draft_id: Annotated[UUID, Form()],
    text: Text = "",
    confirmed: Annotated[list[str] | None, Form()] = None,
) -> str:
    """The review of an edited text, as a piece of the page, while the person types."""
    query = select(Draft).join(Inquiry, col(Draft.inquiry_id) == col(Inquiry.id))
    seen = query.where(Draft.id == draft_id, Inquiry.id == inquiry_id, inquiries.visible(staff))
    if (draft := session.exec(seen).first()) is None:
        raise NotFound
    found = checking.review(session, request.app.state.city.frame, text, draft)
    return page("review.html", review=found, confirmed=confirmed or ())
