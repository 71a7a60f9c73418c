"""How the city's articles change: versions by import and by hand.

An import and a person on the console share one path, `_replace`: a change is a new version, the old one is
kept, and the pending drafts that cite the article are made anew.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from bot import audit, inquiries
from bot.article_index import stored, vectors_of
from bot.articles import as_article, in_force, newest_version, version_of
from bot.db import PAUSE_SECONDS, now, reading, transaction
from bot.errors import Conflict, NotAllowed, NotFound, TextRefused
from bot.models import (
    FRONT_DESK,
    Department,
    Draft,
    DraftStatus,
    Inquiry,
    KnowledgeArticle,
    KnowledgePassage,
    Role,
    Staff,
)
from responders.draft import Wish
from responders.errors import BadArticle
from responders.knowledge import Article, split_passages
from responders.retrieve import Embed


class ArticleChanged(Conflict):
    """Somebody saved, retired or restored the article since the page was loaded."""

    message_ja = (
        "この記事は、画面を開いたあとにほかの職員が更新しました。操作はまだ反映していません。"
        "最新の内容と見比べて、もう一度操作してください。"
    )


class ArticleRefused(TextRefused):
    """A field of an article is empty, too long or not what it should be."""

    message_ja = "この内容では保存できません。"


WRITE_AT_ONCE = 500
"""Articles that an import writes in one transaction, a second or two on SQLite, where nobody else writes
meanwhile; on PostgreSQL each holds one of the server's locks."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import changed."""

    new: int
    updated: int
    unchanged: int
    retired: int
    unknown_departments: dict[str, str]
    """Article → the department it names, which the city does not have; it went to the front desk."""

    @property
    def read(self) -> int:
        """How many articles there were to import."""
        return self.new + self.updated + self.unchanged


def import_articles(
    engine: Engine,
    articles: Sequence[Article],
    *,
    actor: str,
    embed: Embed | None,
    retire_missing: bool = True,
) -> ImportReport:
    """Bring the knowledge to the state of these articles; unchanged ones cost nothing.

    A changed or retired article supersedes the pending drafts that cite it: those cases get a new draft.
    An article of a department that the city does not have goes to the front desk, and the report says so.
    What a person wrote or retired on the console stands until the imported article itself changes: a start
    of the product, which imports the city's folder, does not undo their work. What a person saves while the
    import runs is left alone too.

    It writes in transactions of `WRITE_AT_ONCE` articles, each with its audit entry, and retires last. Cut
    short, it is run again, and does what is left.

    Args:
        engine: The product's database.
        articles: The whole knowledge, or a part of it with ``retire_missing=False``.
        actor: Who imports.
        embed: Makes the vectors of what no version has embedded yet; None, or more than `EMBED_AT_IMPORT`
            texts: the worker does it later.
        retire_missing: Imported articles that are not in the list are retired.
    """
    with reading(engine) as session:
        known = _standings(session)
        departments = set(session.exec(select(Department.id)))
    unknown = {a.id: a.department for a in articles if a.department not in departments}
    # Settled before it is digested: once the city has the department, the article goes there.
    settled = [replace(a, department=FRONT_DESK) if a.id in unknown else a for a in articles]
    changes: list[_Change] = [(a.id, a) for a in settled if _is_due(a, known.get(a.id))]
    texts = {p.ranked for _, article in changes if article for p in split_passages(article)}
    vectors = vectors_of(texts, embed)
    if retire_missing:
        missing = sorted(known.keys() - {a.id for a in articles})
        changes += [(i, None) for i in missing if _is_due(None, known[i])]
    written = []
    for start in range(0, len(changes) or 1, WRITE_AT_ONCE):
        if start:
            time.sleep(PAUSE_SECONDS)
        with transaction(engine) as session:
            part = _write(session, changes[start : start + WRITE_AT_ONCE], known, vectors)
            details = asdict(part)
            audit.record(
                session, actor=actor, action="import_knowledge", subject="knowledge", screen="cli", **details
            )
        written.append(part)
    new, updated = sum(part.new for part in written), sum(part.updated for part in written)
    return ImportReport(
        new=new,
        updated=updated,
        unchanged=len(articles) - new - updated,
        retired=sum(part.retired for part in written),
        unknown_departments=unknown,
    )


def troubles_ja(bad: Sequence[BadArticle], report: ImportReport) -> list[str]:
    """What staff must look at after an import, one line each; empty: all is well."""
    lines = [str(error) for error in bad]
    if not bad and report.read == 0:
        lines.append(
            "取り込む記事が一つもありません。フォルダーを確かめてください。取込み済みの記事はそのまま残しています。"
        )
    if bad:
        lines.append(f"読めない記事が{len(bad)}件あります。取り込まず、ほかの記事も取り下げていません。")
    return lines + [
        f"記事「{article}」の担当課「{department}」は登録されていません。総合窓口の記事として取り込みました。"
        for article, department in report.unknown_departments.items()
    ]


def _digest(article: Article) -> str:
    return hashlib.sha256(repr(article).encode("utf-8", "replace")).hexdigest()


_Change = tuple[str, Article | None]
"""An article's id with its new content; None: it is not in the folder any more."""


@dataclass(frozen=True, slots=True)
class _Written:
    """What one transaction of an import changed."""

    new: int
    updated: int
    retired: int


@dataclass(slots=True)
class _Standing:
    """What an import must know of an article that the database has."""

    version: int = 0
    in_force: bool = False
    by_hand: bool = False
    """A person wrote the newest version, or retired it."""
    imported_sha256: str = ""
    """Of the newest imported version; empty: it was never imported."""

    def differs(self, sha256: str) -> bool:
        """Whether an imported article with this digest becomes a new version."""
        return sha256 != self.imported_sha256 or not (self.in_force or self.by_hand)


def _standings(session: Session, article_ids: Sequence[str] | None = None) -> dict[str, _Standing]:
    """What stands of these articles; None: of all."""
    query = sa.select(
        col(KnowledgeArticle.article),
        col(KnowledgeArticle.version),
        col(KnowledgeArticle.content_sha256),
        col(KnowledgeArticle.edited_by),
        col(KnowledgeArticle.retired_at),
        col(KnowledgeArticle.retired_by),
    ).order_by(col(KnowledgeArticle.version))
    if article_ids is not None:
        query = query.where(col(KnowledgeArticle.article).in_(article_ids))
    found: dict[str, _Standing] = {}
    for article, version, sha256, editor, retired_at, retired_by in session.execute(query):
        standing = found.setdefault(article, _Standing())
        standing.version, standing.in_force = version, retired_at is None
        standing.by_hand = bool(editor or retired_by)
        standing.imported_sha256 = standing.imported_sha256 if editor else sha256
    return found


def _is_due(article: Article | None, standing: _Standing | None) -> bool:
    """Whether an import has something to write: a new version or, without an article, that it is gone."""
    if article is None:
        return standing is not None and standing.in_force and not standing.by_hand
    return standing is None or standing.differs(_digest(article))


def _write(
    session: Session,
    changes: Sequence[_Change],
    known: Mapping[str, _Standing],
    vectors: Mapping[str, NDArray[np.float32]],
) -> _Written:
    """Write what is still due, now that nobody else can change these articles."""
    ids = [article_id for article_id, _ in changes]
    _lock(session, ids)
    current = _standings(session, ids)
    edited = {i for i, s in current.items() if s.by_hand and s != known.get(i)}
    due = [(i, article) for i, article in changes if i not in edited and _is_due(article, current.get(i))]
    for article_id, article in due:
        if article is None:
            _retire(session, article_id)
        else:
            _replace(session, article, vectors=vectors)
    in_force = {i for i, _ in due if i in current and current[i].in_force}
    _renew_drafts(session, in_force)
    retired = sum(article is None for _, article in due)
    return _Written(new=len(due) - len(in_force), updated=len(in_force) - retired, retired=retired)


def _replace(
    session: Session,
    article: Article,
    *,
    vectors: Mapping[str, NDArray[np.float32]] | None = None,
    edited_by: UUID | None = None,
    review_on: date | None = None,
    made_from: UUID | None = None,
) -> KnowledgeArticle:
    """The one way to a new version: it takes the place of the one in force.

    Args:
        session: The caller's transaction.
        article: The new content; its department must exist.
        vectors: By what is ``ranked``; what is missing stays empty for the worker.
        edited_by: The person on the console; None: an import, which keeps the review date there was.
        review_on: When to look at it again, if a person says so.
        made_from: The approved answer that it began as.
    """
    newest = _locked(session, article.id)
    _retire(session, article.id)
    row = KnowledgeArticle(
        article=article.id,
        version=newest.version + 1 if newest else 1,
        title=article.title,
        department_id=article.department,
        body=article.text,
        url=article.url or "",
        owner=article.owner,
        data_class=article.data_class,
        valid_from=article.valid_from,
        valid_to=article.valid_to,
        review_on=newest.review_on if newest and not edited_by else review_on,
        content_sha256=_digest(article),
        edited_by=edited_by,
        made_from=made_from,
    )
    session.add(row)
    session.flush()
    _add_passages(session, row.id, article, vectors or {})
    return row


def _locked(session: Session, article_id: str) -> KnowledgeArticle | None:
    """The newest version, after everybody else who was changing the article has finished."""
    _lock(session, [article_id])
    return newest_version(session, article_id)


def _lock(session: Session, article_ids: Iterable[str]) -> None:
    """Wait for everybody who is changing these articles, and keep others out until the transaction ends.

    On SQLite the write lock is held already; on PostgreSQL a lock on the id also covers an article that
    does not exist yet. They are taken by id, so that two imports do not wait for each other.
    """
    if session.get_bind().dialect.name == "postgresql":
        lock = sa.text("SELECT pg_advisory_xact_lock(hashtext('knowledge'), hashtext(:article))")
        for article_id in sorted(article_ids):
            session.execute(lock, {"article": article_id})


def _retire(session: Session, article_id: str, retired_by: UUID | None = None) -> None:
    session.execute(
        sa.update(KnowledgeArticle)
        .where(col(KnowledgeArticle.article) == article_id, in_force())
        .values(retired_at=now(), retired_by=retired_by)
    )


def _add_passages(
    session: Session, article_row: UUID, article: Article, vectors: Mapping[str, NDArray[np.float32]]
) -> None:
    for passage in split_passages(article):
        vector = vectors.get(passage.ranked)
        session.add(
            KnowledgePassage(
                article_row=article_row,
                passage=passage.id,
                ordinal=passage.ordinal,
                heading=passage.heading,
                text=passage.text,
                vector=None if vector is None else stored(vector),
            )
        )


def _renew_drafts(session: Session, articles: set[str]) -> None:
    if not articles:
        return
    pending = session.exec(
        select(Draft, Inquiry)
        .join(Inquiry, col(Draft.inquiry_id) == col(Inquiry.id))
        .where(Draft.status == DraftStatus.pending)
        .order_by(col(Inquiry.id))
    ).all()
    for draft, inquiry in pending:
        if not articles & {*(str(p.get("article")) for p in draft.passages), *draft.article_versions}:
            continue
        # Somebody may be approving it at this moment: wait for them, then look again.
        session.refresh(inquiry, with_for_update={"key_share": True})
        session.refresh(draft)
        if draft.status == DraftStatus.pending:
            inquiries.request_draft(session, inquiry, Wish(**inquiry.wish))


def may_edit(staff: Staff, department_id: str) -> bool:
    """Whether this person keeps the articles of this department: caseworkers their own, others all."""
    if staff.role == Role.caseworker:
        return staff.department_id in (FRONT_DESK, department_id)
    return staff.role in (Role.supervisor, Role.admin)


def create_article(
    session: Session,
    article: Article,
    *,
    staff: Staff,
    review_on: date | None,
    screen: str,
    made_from: UUID | None = None,
) -> KnowledgeArticle:
    """A person writes a new article, perhaps ``made_from`` an approved answer; again changes nothing.

    Raises:
        NotAllowed: Not their department. ArticleRefused: The id is taken.
    """
    _require_editor(staff, article.department)
    if newest := _locked(session, article.id):
        if newest.edited_by == staff.id and _stands_as(newest, article):
            return newest
        raise ArticleRefused("この記事IDは、すでに使われています。別のIDにするか、空欄にしてください。")
    row = _replace(session, article, edited_by=staff.id, review_on=review_on, made_from=made_from)
    _record(session, row, staff, "create_article", screen, made_from=made_from)
    return row


def with_free_id(session: Session, article: Article, staff: Staff) -> Article:
    """The article with an id such as ``c-3f9a2b``: the same id when a person sends the same text twice."""
    digest = hashlib.sha256(f"{staff.id} {_digest(article)}".encode()).hexdigest()
    for start in range(0, len(digest) - 6):
        named = replace(article, id=f"c-{digest[start : start + 6]}")
        newest = newest_version(session, named.id)
        if newest is None or _stands_as(newest, named):
            return named
    raise ArticleRefused("記事IDを付けられません。記事IDを入力してください。")


def _stands_as(newest: KnowledgeArticle, article: Article) -> bool:
    return newest.retired_at is None and newest.content_sha256 == _digest(article)


def edit_article(
    session: Session,
    article: Article,
    *,
    staff: Staff,
    review_on: date | None,
    seen_version: int,
    screen: str,
) -> KnowledgeArticle:
    """A person changes an article in force; saving it as it was changes nothing.

    Raises:
        NotFound: No such article. NotAllowed: Not their department, before or after the change.
        ArticleChanged: Somebody was faster.
    """
    newest = _for_change(session, article.id, staff)
    _require_editor(staff, article.department)
    if _stands_as(newest, article) and newest.review_on == review_on:
        return newest  # also a second press: what it asks for is done
    _require_seen(newest, seen_version)
    return _save(
        session, article, newest, staff=staff, review_on=review_on, action="edit_article", screen=screen
    )


def revert_article(
    session: Session, article_id: str, to_version: int, *, staff: Staff, seen_version: int, screen: str
) -> KnowledgeArticle:
    """Make a new version with the content of an old one.

    Raises:
        NotFound: No such article or version. Others: `edit_article`.
    """
    newest = _for_change(session, article_id, staff)
    _require_seen(newest, seen_version)
    old = version_of(session, article_id, to_version)
    _require_editor(staff, old.department_id)
    return _save(
        session,
        as_article(old),
        newest,
        staff=staff,
        review_on=old.review_on,
        action="revert_article",
        screen=screen,
        to_version=to_version,
    )


def retire_article(
    session: Session, article_id: str, *, staff: Staff, seen_version: int, screen: str
) -> KnowledgeArticle:
    """Take an article out of use; drafts that cite it are made anew. Raises: as `edit_article`."""
    newest = _for_change(session, article_id, staff)
    _require_seen(newest, seen_version)
    _retire(session, article_id, staff.id)
    _renew_drafts(session, {article_id})
    _record(session, newest, staff, "retire_article", screen)
    return newest


def restore_article(
    session: Session, article_id: str, *, staff: Staff, seen_version: int, screen: str
) -> KnowledgeArticle:
    """Bring a retired article back, as a new version. Raises: as `edit_article`."""
    newest = _for_change(session, article_id, staff)
    _require_seen(newest, seen_version, in_force=False)
    return _save(
        session,
        as_article(newest),
        newest,
        staff=staff,
        review_on=newest.review_on,
        action="restore_article",
        screen=screen,
    )


def _for_change(session: Session, article_id: str, staff: Staff) -> KnowledgeArticle:
    newest = _locked(session, article_id)
    if newest is None:
        raise NotFound("記事が見つかりません。")
    _require_editor(staff, newest.department_id)
    return newest


def _require_seen(newest: KnowledgeArticle, seen_version: int, *, in_force: bool = True) -> None:
    if newest.version != seen_version or (newest.retired_at is None) != in_force:
        raise ArticleChanged


def _require_editor(staff: Staff, department_id: str) -> None:
    if not may_edit(staff, department_id):
        raise NotAllowed("この課の記事を編集する権限がありません。")


def _save(
    session: Session,
    article: Article,
    before: KnowledgeArticle,
    *,
    staff: Staff,
    review_on: date | None,
    action: str,
    screen: str,
    **details: object,
) -> KnowledgeArticle:
    row = _replace(session, article, edited_by=staff.id, review_on=review_on)
    # Another review date alone leaves the sentences, and what quotes them, as they are.
    if row.content_sha256 != before.content_sha256:
        _renew_drafts(session, {article.id})
    _record(session, row, staff, action, screen, before=before.version, **details)
    return row


def _record(
    session: Session, row: KnowledgeArticle, staff: Staff, action: str, screen: str, **details: object
) -> None:
    audit.record(
        session,
        actor=staff.login,
        action=action,
        subject=f"article:{row.article}",
        screen=screen,
        version=row.version,
        department=row.department_id,
        sha256=row.content_sha256,
        **details,
    )
