"""The knowledge console: staff read, write, retire and restore the articles that drafts quote."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlmodel import Session

from bot import articles, auth, city, gaps, knowledge
from bot.db import reading
from bot.errors import BotError, Conflict, NotFound, TextRefused
from bot.knowledge import ArticleRefused
from bot.models import FRONT_DESK, Department, KnowledgeArticle, Role, Staff
from bot.routes.deps import Deciding, Known, LookedUp, SessionDep, SignedIn, city_date
from bot.routes.desk import frame_values
from bot.templating import page
from channels.message import storable
from responders.knowledge import DATA_CLASSES, MAX_ARTICLE_BYTES, Article, split_passages

router = APIRouter(prefix="/desk/knowledge")
SCREEN = "knowledge"
PAGE = 100
MAX_TITLE_CHARS, MAX_URL_CHARS, MAX_OWNER_CHARS, MAX_SEARCH_CHARS = 200, 2000, 100, 100
_ID = re.compile(r"[^\s#]{1,100}")
_URL = re.compile(r"https?://[^\s<>\"]+")

Field = Annotated[str, Form()]
Version = Annotated[int, Form()]
ArticleId = Annotated[LookedUp, Query(max_length=100)]


@dataclass(frozen=True, slots=True)
class ArticleForm:
    """The fields of an article's screen, as typed."""

    id: Field = ""
    title: Field = ""
    department: Field = ""
    body: Field = ""
    url: Field = ""
    valid_from: Field = ""
    valid_to: Field = ""
    review_on: Field = ""
    owner: Field = ""
    data_class: Field = "public"
    approval: Annotated[UUID | None, Form()] = None
    """The approved answer with which a new article begins."""
    version: Annotated[int, Form()] = 0
    """The version that the person saw when they began to type; 0: a new article."""

    @classmethod
    def of(cls, row: KnowledgeArticle) -> "ArticleForm":
        """The fields as a version has them."""
        return cls(
            id=row.article,
            title=row.title,
            department=row.department_id,
            body=row.body,
            url=row.url,
            valid_from=_iso(row.valid_from),
            valid_to=_iso(row.valid_to),
            review_on=_iso(row.review_on),
            owner=row.owner,
            data_class=row.data_class,
            version=row.version,
        )


FormDep = Annotated[ArticleForm, Depends(ArticleForm)]


def _iso(value: date | None) -> str:
    return value.isoformat() if value else ""


def _decode(form: ArticleForm, departments: list[Department]) -> tuple[Article, date | None]:
    """The article and its review date.

    Raises:
        ArticleRefused: With one sentence for each field that is not what it should be.
    """
    troubles: list[str] = []

    def ensure(holds: object, message_ja: str) -> None:
        if not holds:
            troubles.append(message_ja)

    def day(name: str, value: str) -> date | None:
        try:
            return date.fromisoformat(value.strip()) if value.strip() else None
        except ValueError:
            troubles.append(f"{name}は、2026-04-01のような日付で入力してください。")
            return None

    article = Article(
        id=form.id,
        title=_line(form.title),
        department=form.department,
        text=_clean(form.body),
        url=_line(form.url) or None,
        valid_from=day("有効期間の開始日", form.valid_from),
        valid_to=day("有効期間の最終日", form.valid_to),
        data_class=form.data_class,
        owner=_line(form.owner),
    )
    review_on = day("見直し予定日", form.review_on)
    ensure(
        _ID.fullmatch(form.id) and _clean(form.id) == form.id,
        "記事IDは、空白と「#」を含まない100字以内にしてください。",
    )
    ensure(article.title, "題名を入力してください。")
    ensure(len(article.title) <= MAX_TITLE_CHARS, f"題名は{MAX_TITLE_CHARS}字以内にしてください。")
    ensure(form.department in {d.id for d in departments}, "担当課を選んでください。")
    ensure(form.data_class in DATA_CLASSES, "公開区分を選んでください。")
    ensure(len(article.owner) <= MAX_OWNER_CHARS, f"管理する係は{MAX_OWNER_CHARS}字以内にしてください。")
    ensure(_is_web_address(article.url), "公開ページは、http(s)://で始まるURLにしてください。")
    ensure(_in_order(article), "有効期間の最終日が、開始日より前になっています。")
    troubles += _body_troubles(article)
    if troubles:
        raise ArticleRefused("".join(troubles))
    return article, review_on


def _is_web_address(url: str | None) -> bool:
    return url is None or (len(url) <= MAX_URL_CHARS and _URL.fullmatch(url) is not None)


def _in_order(article: Article) -> bool:
    return not (article.valid_from and article.valid_to and article.valid_to < article.valid_from)


def _body_troubles(article: Article) -> list[str]:
    size = len(article.text.encode("utf-8", "replace"))
    if size > MAX_ARTICLE_BYTES:
        return [f"本文が長すぎます({size // 1000}KB)。{MAX_ARTICLE_BYTES // 1000}KB以内に分けてください。"]
    if not any(passage.quotable for passage in split_passages(article)):
        return ["本文を入力してください。"]
    return []


def _line(text: str) -> str:
    return " ".join(_clean(text).split())


def _clean(text: str) -> str:
    """Without the control and invisible characters that a paste brings along; the importer drops them too."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs")).strip()


def _uses(request: Request, _known: Known) -> dict[str, int]:
    with reading(request.app.state.engine) as session:
        return articles.uses(session)


# First among a route's parameters, as every such reading: the transaction must not wait for it.
Uses = Annotated[dict[str, int], Depends(_uses)]


@router.get("", response_class=HTMLResponse)
def list_articles(
    used: Uses,
    request: Request,
    session: SessionDep,
    signed_in: SignedIn,
    department: LookedUp = "",
    q: LookedUp = "",
    retired: bool = False,
    start: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> str:
    """The articles in force, or those out of use."""
    words = q[:MAX_SEARCH_CHARS]
    rows, total = articles.listing(
        session,
        department_id=department,
        words=words,
        retired=retired,
        today=city_date(request),
        used=used,
        start=start,
        limit=PAGE,
    )
    departments = city.departments(session)
    return page(
        "knowledge.html",
        **frame_values(session, signed_in),
        rows=rows,
        total=total,
        start=start,
        size=PAGE,
        departments=departments,
        department=department,
        q=words,
        retired=retired,
        may_write=bool(_own(signed_in[0], departments)),
    )


def _own(staff: Staff, departments: list[Department]) -> list[Department]:
    """The departments whose articles this person keeps."""
    return [d for d in departments if knowledge.may_edit(staff, d.id)]


def _found_gaps(request: Request, staff: Known) -> list[gaps.Gap]:
    with reading(request.app.state.engine) as session:
        return gaps.find(session, staff, request.app.state.city.seconds)


@router.get("/gaps", response_class=HTMLResponse)
def list_gaps(
    found: Annotated[list[gaps.Gap], Depends(_found_gaps)], session: SessionDep, signed_in: SignedIn
) -> str:
    """Questions that no article answers, the most frequent first."""
    return page(
        "gaps.html",
        **frame_values(session, signed_in),
        gaps=found,
        days=gaps.DAYS,
        may_write=signed_in[0].role != Role.auditor,
    )


@router.get("/new", response_class=HTMLResponse)
def new_article(
    request: Request, session: SessionDep, signed_in: SignedIn, approval: UUID | None = None
) -> str:
    """An empty form, or one that begins with an approved answer."""
    staff = signed_in[0]
    auth.require(staff, Role.caseworker, Role.supervisor, Role.admin)
    form = ArticleForm(department="" if staff.department_id == FRONT_DESK else staff.department_id)
    if approval:
        place = request.app.state.city
        found = gaps.suggest(session, approval, staff, place.frame, place.seconds)
        form = replace(
            form, title=found.title, body=found.body, department=found.department_id, approval=approval
        )
    return _article_page(request, session, signed_in, None, form)


@router.get("/article", response_class=HTMLResponse)
def show_article(
    used: Uses,
    request: Request,
    session: SessionDep,
    signed_in: SignedIn,
    id: ArticleId,
    version: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
) -> str:
    """One article with its versions; with ``version`` an old one to read."""
    newest = _existing(session, id)
    viewed = articles.version_of(session, newest.article, version) if version else newest
    form = ArticleForm.of(viewed)
    return _article_page(request, session, signed_in, newest, form, viewed=viewed, used=used)


def _existing(session: Session, article_id: str) -> KnowledgeArticle:
    newest = articles.newest_version(session, storable(article_id))
    if newest is None:
        raise NotFound("記事が見つかりません。")
    return newest


def _article_page(
    request: Request,
    session: Session,
    signed_in: SignedIn,
    newest: KnowledgeArticle | None,
    form: ArticleForm,
    *,
    viewed: KnowledgeArticle | None = None,
    used: dict[str, int] | None = None,
    error: str = "",
    kept: bool = False,
    conflict: bool = False,
) -> str:
    """The article's screen; after a refusal with what the person typed, so that nothing is lost.

    Args:
        request: For the city's date.
        session: The caller's transaction.
        signed_in: The person.
        newest: The newest version; None: a new article.
        form: What the fields hold.
        viewed: The version that is shown.
        used: How many drafts cite each article; None: the page leaves it out.
        error: Why nothing was saved.
        kept: The fields hold what the person typed, not a version.
        conflict: Somebody was faster: their text is shown beside the person's own.
    """
    departments, staff = city.departments(session), signed_in[0]
    keeps = newest is None or knowledge.may_edit(staff, newest.department_id)
    return page(
        "article.html",
        **frame_values(session, signed_in),
        newest=newest,
        viewed=viewed or newest,
        form=form,
        error=error,
        kept=kept,
        conflict=conflict,
        departments=_own(staff, departments),
        keeps=keeps,
        versions=articles.versions(session, newest.article) if newest else [],
        used=used.get(newest.article, 0) if newest and used is not None else None,
        today=city_date(request),
        names={d.id: d.name for d in departments},
        done="done" in request.query_params,
    )


class _Editor:
    """A form of an article's screen: one verb; a refusal shows the screen again with what was typed."""

    def __init__(self, request: Request, session: SessionDep, signed_in: SignedIn, staff: Deciding) -> None:
        self.request, self.session, self.signed_in, self.staff = request, session, signed_in, staff

    def decode(self, form: ArticleForm) -> tuple[Article, date | None]:
        """The typed fields as an article. Raises: ArticleRefused."""
        return _decode(form, city.departments(self.session))

    def run(
        self, verb: Callable[[], KnowledgeArticle], article_id: str, typed: ArticleForm | None
    ) -> Response:
        """Do it.

        Args:
            verb: What the person asked for.
            article_id: To which article; empty: a new one.
            typed: What they typed, if the form has fields.
        """
        try:
            with self.session.begin_nested():
                row = verb()
        except (Conflict, TextRefused) as refused:
            return self._again(refused, article_id, typed)
        return RedirectResponse(f"/desk/knowledge/article?id={quote(row.article, safe='')}&done=1", 303)

    def _again(self, refused: BotError, article_id: str, typed: ArticleForm | None) -> Response:
        self.session.expire_all()
        newest = _existing(self.session, article_id) if article_id else None
        conflict = isinstance(refused, Conflict) and typed is not None
        if conflict and typed and newest:
            # Only now does the person see the others' text. After another refusal they still have not.
            typed = replace(typed, version=newest.version)
        html = _article_page(
            self.request,
            self.session,
            self.signed_in,
            newest,
            typed or ArticleForm.of(_existing(self.session, article_id)),
            error=refused.message_ja,
            kept=typed is not None,
            conflict=conflict,
        )
        return HTMLResponse(html, refused.status)


EditorDep = Annotated[_Editor, Depends(_Editor, scope="function")]


@router.post("/new")
def create(form: FormDep, editor: EditorDep) -> Response:
    """The person saved a new article."""

    def verb() -> KnowledgeArticle:
        article, review_on = editor.decode(replace(form, id=form.id.strip() or "c-"))
        if not form.id.strip():
            article = knowledge.with_free_id(editor.session, article, editor.staff)
        seconds = editor.request.app.state.city.seconds
        made_from = form.approval and gaps.answer(editor.session, form.approval, editor.staff, seconds).id
        return knowledge.create_article(
            editor.session,
            article,
            staff=editor.staff,
            review_on=review_on,
            screen=SCREEN,
            made_from=made_from,
        )

    return editor.run(verb, "", form)


@router.post("/article")
def save(form: FormDep, editor: EditorDep) -> Response:
    """The person saved an article that they saw in this version."""
    newest = _existing(editor.session, form.id)

    def verb() -> KnowledgeArticle:
        article, review_on = editor.decode(form)
        return knowledge.edit_article(
            editor.session,
            article,
            staff=editor.staff,
            review_on=review_on,
            seen_version=form.version,
            screen=SCREEN,
        )

    return editor.run(verb, newest.article, form)


@router.post("/revert")
def revert(
    editor: EditorDep,
    id: Field,
    version: Version,
    to: Annotated[int, Form(ge=1, le=1_000_000)],
) -> Response:
    """「この版に戻す」: the old content becomes a new version."""
    return _press(editor, id, knowledge.revert_article, to_version=to, seen_version=version)


@router.post("/retire")
def retire(editor: EditorDep, id: Field, version: Version) -> Response:
    """Take the article out of use."""
    return _press(editor, id, knowledge.retire_article, seen_version=version)


@router.post("/restore")
def restore(editor: EditorDep, id: Field, version: Version) -> Response:
    """Bring the article back."""
    return _press(editor, id, knowledge.restore_article, seen_version=version)


def _press(
    editor: _Editor,
    article_id: str,
    verb: Callable[..., KnowledgeArticle],
    **arguments: Any,  # noqa: ANN401
) -> Response:
    article = _existing(editor.session, article_id).article
    return editor.run(
        lambda: verb(editor.session, article, staff=editor.staff, screen=SCREEN, **arguments), article, None
    )
