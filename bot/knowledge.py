"""The city's articles in the database: versions by import and by hand, and the index that search reads.

An import and a person on the console share one path, `_replace`: a change is a new version, the old one is
kept, and the pending drafts that cite the article are made anew.
"""

import hashlib
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy import Engine
from sqlalchemy.orm import defer
from sqlmodel import Session, col, select

from bot import audit, inquiries
from bot.calendar import valid_on
from bot.db import now, reading, transaction
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
    VectorSource,
)
from responders.draft import Wish
from responders.errors import BadArticle
from responders.knowledge import Article, Passage, split_passages
from responders.retrieve import Embed, Index, Read

EMBED_AT_ONCE = 64
"""Texts that are embedded between two short transactions."""
EMBED_AT_IMPORT = 2_000
"""An import with more new texts leaves them to the worker: found by their words at once, by sense soon."""


class ArticleChanged(Conflict):
    """Somebody saved, retired or restored the article since the page was loaded."""

    message_ja = (
        "この記事は、画面を開いたあとにほかの職員が更新しました。操作はまだ反映していません。"
        "最新の内容と見比べて、もう一度操作してください。"
    )


class ArticleRefused(TextRefused):
    """A field of an article is empty, too long or not what it should be."""

    message_ja = "この内容では保存できません。"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import changed."""

    new: int
    updated: int
    unchanged: int
    retired: int
    unknown_departments: dict[str, str]
    """Article → the department it names, which the city does not have; it went to the front desk."""


def import_articles(
    session: Session,
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
    of the product, which imports the city's folder, does not undo their work.

    Args:
        session: The caller's transaction.
        articles: The whole knowledge, or a part of it with ``retire_missing=False``.
        actor: Who imports.
        embed: Makes the vectors of what no version has embedded yet; None, or more than `EMBED_AT_IMPORT`
            texts: the worker does it later.
        retire_missing: Imported articles that are not in the list are retired.
    """
    known = _standings(session)
    changed = [a for a in articles if (s := known.get(a.id)) is None or s.differs(_digest(a))]
    listed = {a.id for a in articles}
    gone = {i for i, s in known.items() if s.in_force and not s.by_hand and i not in listed}
    gone = gone if retire_missing else set()
    updated = {a.id for a in changed if a.id in known and known[a.id].in_force}
    departments = set(session.exec(select(Department.id)))
    vectors = _vectors_of({p.ranked for a in changed for p in split_passages(a)}, embed)
    for article in changed:
        department = article.department if article.department in departments else FRONT_DESK
        _replace(session, article, department, vectors=vectors)
    for article_id in sorted(gone):
        _retire(session, article_id)
    _renew_drafts(session, updated | gone)
    report = ImportReport(
        new=len(changed) - len(updated),
        updated=len(updated),
        unchanged=len(articles) - len(changed),
        retired=len(gone),
        unknown_departments={a.id: a.department for a in articles if a.department not in departments},
    )
    audit.record(
        session,
        actor=actor,
        action="import_knowledge",
        subject="knowledge",
        screen="cli",
        new=report.new,
        updated=report.updated,
        retired=report.retired,
    )
    return report


def troubles_ja(bad: Sequence[BadArticle], report: ImportReport) -> list[str]:
    """What staff must look at after an import, one line each; empty: all is well."""
    lines = [str(error) for error in bad]
    if bad:
        lines.append(f"読めない記事が{len(bad)}件あります。取り込まず、ほかの記事も取り下げていません。")
    return lines + [
        f"記事「{article}」の担当課「{department}」は登録されていません。総合窓口の記事として取り込みました。"
        for article, department in report.unknown_departments.items()
    ]


def _in_force() -> sa.ColumnElement[bool]:
    return col(KnowledgeArticle.retired_at).is_(None)


def _digest(article: Article) -> str:
    return hashlib.sha256(repr(article).encode("utf-8", "replace")).hexdigest()


@dataclass(slots=True)
class _Standing:
    """What an import must know of an article that the database has."""

    in_force: bool = False
    by_hand: bool = False
    """A person wrote the newest version, or retired it."""
    imported_sha256: str = ""
    """Of the newest imported version; empty: it was never imported."""

    def differs(self, sha256: str) -> bool:
        """Whether an imported article with this digest becomes a new version."""
        return sha256 != self.imported_sha256 or not (self.in_force or self.by_hand)


def _standings(session: Session) -> dict[str, _Standing]:
    query = sa.select(
        col(KnowledgeArticle.article),
        col(KnowledgeArticle.content_sha256),
        col(KnowledgeArticle.edited_by),
        col(KnowledgeArticle.retired_at),
        col(KnowledgeArticle.retired_by),
    ).order_by(col(KnowledgeArticle.version))
    found: dict[str, _Standing] = {}
    for article, sha256, editor, retired_at, retired_by in session.execute(query):
        standing = found.setdefault(article, _Standing())
        standing.in_force, standing.by_hand = retired_at is None, bool(editor or retired_by)
        standing.imported_sha256 = standing.imported_sha256 if editor else sha256
    return found


def _replace(
    session: Session,
    article: Article,
    department_id: str,
    *,
    vectors: Mapping[str, NDArray[np.float32]] | None = None,
    edited_by: UUID | None = None,
    review_on: date | None = None,
    made_from: UUID | None = None,
) -> KnowledgeArticle:
    """The one way to a new version: it takes the place of the one in force.

    Args:
        session: The caller's transaction.
        article: The new content.
        department_id: Where it belongs; must exist.
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
        department_id=department_id,
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
    """The newest version, after everybody else who was changing the article has finished.

    On SQLite the write lock is held already; on PostgreSQL a lock on the id also covers an article that
    does not exist yet.
    """
    if session.get_bind().dialect.name == "postgresql":
        lock = sa.text("SELECT pg_advisory_xact_lock(hashtext('knowledge'), hashtext(:article))")
        session.execute(lock, {"article": article_id})
    return newest_version(session, article_id)


def newest_version(session: Session, article_id: str) -> KnowledgeArticle | None:
    """The newest version of an article, in force or retired."""
    query = (
        select(KnowledgeArticle)
        .where(KnowledgeArticle.article == article_id)
        .order_by(col(KnowledgeArticle.version).desc())
        .limit(1)
    )
    return session.exec(query.execution_options(populate_existing=True)).first()


def _retire(session: Session, article_id: str, retired_by: UUID | None = None) -> None:
    session.execute(
        sa.update(KnowledgeArticle)
        .where(col(KnowledgeArticle.article) == article_id, _in_force())
        .values(retired_at=now(), retired_by=retired_by)
    )


def _vectors_of(texts: set[str], embed: Embed | None) -> dict[str, NDArray[np.float32]]:
    """Every text once, however many articles share it; a large import's are left to the worker."""
    if embed is None or not texts or len(texts) > EMBED_AT_IMPORT:
        return {}
    ordered = sorted(texts)
    return dict(zip(ordered, embed(ordered), strict=True))


def forget_vectors_of_another(session: Session, encoder: str) -> int:
    """Drop all vectors unless this encoder made them; the worker makes them anew, and words rank meanwhile.

    Args:
        session: A transaction in which no vector has been made yet.
        encoder: `classifiers.encoder.Encoder.version` of the one that serves.

    Returns:
        How many passages lost their vector.
    """
    known = session.get(VectorSource, 1)
    if known and known.encoder == encoder:
        return 0
    session.merge(VectorSource(encoder=encoder))
    having = sa.update(KnowledgePassage).where(col(KnowledgePassage.vector).is_not(None))
    dropped = session.execute(having.values(vector=None)).rowcount  # type: ignore[attr-defined]
    audit.record(
        session,
        actor="system:install",
        action="forget_vectors",
        subject=f"encoder:{encoder[:12]}",
        dropped=dropped,
    )
    return int(dropped)


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
                vector=None if vector is None else _stored(vector),
            )
        )


def _stored(vector: NDArray[np.float32]) -> bytes:
    return vector.astype("<f2").tobytes()


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
        if not articles & {str(p.get("article")) for p in draft.passages}:
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
    """A person writes a new article, perhaps ``made_from`` an approved answer.

    Raises:
        NotAllowed: Not their department. ArticleRefused: The id is taken.
    """
    _require_editor(staff, article.department)
    if _locked(session, article.id):
        raise ArticleRefused("この記事IDは、すでに使われています。別のIDにするか、空欄にしてください。")
    row = _replace(
        session, article, article.department, edited_by=staff.id, review_on=review_on, made_from=made_from
    )
    _record(session, row, staff, "create_article", screen, made_from=made_from)
    return row


def free_id(session: Session) -> str:
    """A random id that no article has, such as ``c-3f9a2b``."""
    while newest_version(session, article_id := f"c-{secrets.token_hex(3)}"):
        pass
    return article_id


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
    newest = _for_change(session, article.id, staff, seen_version)
    _require_editor(staff, article.department)
    if newest.content_sha256 == _digest(article) and newest.review_on == review_on:
        return newest
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
    newest = _for_change(session, article_id, staff, seen_version)
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
    newest = _for_change(session, article_id, staff, seen_version)
    _retire(session, article_id, staff.id)
    _renew_drafts(session, {article_id})
    _record(session, newest, staff, "retire_article", screen)
    return newest


def restore_article(
    session: Session, article_id: str, *, staff: Staff, seen_version: int, screen: str
) -> KnowledgeArticle:
    """Bring a retired article back, as a new version. Raises: as `edit_article`."""
    newest = _for_change(session, article_id, staff, seen_version, in_force=False)
    return _save(
        session,
        as_article(newest),
        newest,
        staff=staff,
        review_on=newest.review_on,
        action="restore_article",
        screen=screen,
    )


def version_of(session: Session, article_id: str, version: int) -> KnowledgeArticle:
    """One version of an article.

    Raises:
        NotFound: No such version.
    """
    query = select(KnowledgeArticle).where(
        KnowledgeArticle.article == article_id, KnowledgeArticle.version == version
    )
    if (row := session.exec(query).first()) is None:
        raise NotFound("記事が見つかりません。")
    return row


def as_article(row: KnowledgeArticle) -> Article:
    """A stored version as the leaf's plain value."""
    return Article(
        id=row.article,
        title=row.title,
        department=row.department_id,
        text=row.body,
        url=row.url or None,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        data_class=row.data_class,
        owner=row.owner,
    )


def _for_change(
    session: Session, article_id: str, staff: Staff, seen_version: int, *, in_force: bool = True
) -> KnowledgeArticle:
    newest = _locked(session, article_id)
    if newest is None:
        raise NotFound("記事が見つかりません。")
    _require_editor(staff, newest.department_id)
    if newest.version != seen_version or (newest.retired_at is None) != in_force:
        raise ArticleChanged
    return newest


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
    row = _replace(session, article, article.department, edited_by=staff.id, review_on=review_on)
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


class Knowledge:
    """The index over the articles in force, read again when somebody changed them.

    Args:
        engine: The product's database.
        embed: Encodes questions; None: lexical search only.
        embed_passages: Encodes the passages that the console or a large import saved without vectors; None:
            another process does. While there are such passages, the search is lexical only.
        read: Reads the leading articles beside a question; None: they are ranked without.
    """

    def __init__(
        self,
        engine: Engine,
        embed: Embed | None,
        embed_passages: Embed | None = None,
        read: Read | None = None,
    ) -> None:
        self._engine, self._embed, self._embed_passages = engine, embed, embed_passages
        self._read = read
        self._stamp: tuple[object, ...] | None = None
        self._index = Index([])
        self._lock = threading.Lock()
        self._filling: threading.Thread | None = None

    def index(self) -> Index:
        """The current index; the first call after a change reads it, and fills in a few missing vectors.

        Many missing vectors, as after a large import, are made by a thread: nobody's draft waits for them.
        """
        with self._lock:
            if (stamp := self._read_stamp()) != self._stamp:
                self._fill_vectors()
                with reading(self._engine) as session:
                    self._index = _read_index(session, self._embed, self._read)
                self._stamp = stamp
        return self._index

    def _read_stamp(self) -> tuple[object, ...]:
        with reading(self._engine) as session:
            stamp = sa.select(
                sa.func.count(col(KnowledgeArticle.id)),
                # Counts beside the newest times: of two transactions side by side the older may end last.
                sa.func.count(col(KnowledgeArticle.retired_at)),
                sa.func.max(KnowledgeArticle.imported_at),
                sa.func.max(KnowledgeArticle.retired_at),
                sa.func.max(KnowledgeArticle.moved_at),
                _without_vector().exists(),
            )
            return tuple(session.execute(stamp).one())

    def _fill_vectors(self) -> None:
        """Embed what has no vector yet. Nothing is locked meanwhile; a second worker may do the same."""
        if self._embed_passages is None or (self._filling and self._filling.is_alive()):
            return
        missing: dict[str, list[UUID]] = {}
        with reading(self._engine) as session:
            for row, article in session.execute(_without_vector()):
                missing.setdefault(_passage(row, article).ranked, []).append(row.id)
        if len(missing) <= EMBED_AT_IMPORT:
            self._embed_missing(self._embed_passages, missing)
        else:
            arguments = (self._embed_passages, missing)
            self._filling = threading.Thread(target=self._fill_later, args=arguments, daemon=True)
            self._filling.start()

    def _fill_later(self, embed: Embed, missing: Mapping[str, Sequence[UUID]]) -> None:
        try:
            self._embed_missing(embed, missing)
        finally:
            # The next call reads the index again, and makes what a failure left out.
            with self._lock:
                self._stamp, self._filling = None, None

    def _embed_missing(self, embed: Embed, missing: Mapping[str, Sequence[UUID]]) -> None:
        """Every text once, in short transactions."""
        texts = list(missing)
        for start in range(0, len(texts), EMBED_AT_ONCE):
            part = texts[start : start + EMBED_AT_ONCE]
            vectors = embed(part)
            with transaction(self._engine) as session:
                for text, vector in zip(part, vectors, strict=True):
                    _store_vector(session, missing[text], vector)


def _store_vector(session: Session, passages: Sequence[UUID], vector: NDArray[np.float32]) -> None:
    for start in range(0, len(passages), 500):
        session.execute(
            sa.update(KnowledgePassage)
            .where(
                col(KnowledgePassage.id).in_(passages[start : start + 500]),
                col(KnowledgePassage.vector).is_(None),
            )
            .values(vector=_stored(vector))
        )


def _searchable(*classes: str) -> sa.Select[KnowledgePassage, KnowledgeArticle]:
    """Passages in force of articles of these classes, with their articles, in reading order.

    Bodies are not loaded: an article of a megabyte would come once per sentence.
    """
    return (
        sa.select(KnowledgePassage, KnowledgeArticle)
        .join(KnowledgeArticle, col(KnowledgePassage.article_row) == col(KnowledgeArticle.id))
        .where(_in_force(), col(KnowledgeArticle.data_class).in_(classes))
        .order_by(col(KnowledgeArticle.article), col(KnowledgePassage.ordinal))
        .options(defer(KnowledgeArticle.body))  # type: ignore[arg-type]
    )


def _without_vector() -> sa.Select[KnowledgePassage, KnowledgeArticle]:
    return _searchable("public").where(col(KnowledgePassage.vector).is_(None))


def _read_index(session: Session, embed: Embed | None, read: Read | None) -> Index:
    rows = session.execute(_searchable("public")).all()
    vectors = _vectors(p for p, _ in rows)
    return Index([_passage(p, a) for p, a in rows], vectors, None if vectors is None else embed, read=read)


def _passage(row: KnowledgePassage, article: KnowledgeArticle) -> Passage:
    return Passage(
        article=article.article,
        article_title=article.title,
        department=article.department_id,
        ordinal=row.ordinal,
        text=row.text,
        heading=row.heading,
        valid_from=article.valid_from,
        valid_to=article.valid_to,
    )


def _vectors(rows: Iterable[KnowledgePassage]) -> NDArray[np.float32] | None:
    blobs = [row.vector for row in rows]
    if not blobs or any(blob is None for blob in blobs):
        return None
    return np.stack([np.frombuffer(blob or b"", "<f2") for blob in blobs]).astype(np.float32)


def article_versions(session: Session, articles: Iterable[str], today: date) -> dict[str, KnowledgeArticle]:
    """The articles in force among these ids, for links and titles on a screen."""
    query = select(KnowledgeArticle).where(_in_force(), col(KnowledgeArticle.article).in_(list(articles)))
    return {a.article: a for a in session.exec(query) if (a.valid_to or today) >= today}


def passages_of(session: Session, articles: Iterable[str]) -> list[Passage]:
    """Every sentence of these articles' versions in force in reading order, titles left out.

    `bot.calendar.valid_on` says whether it may be ticked today.
    """
    query = _searchable("public", "canned").where(
        col(KnowledgeArticle.article).in_(list(articles)), col(KnowledgePassage.ordinal) > 0
    )
    return [_passage(p, a) for p, a in session.execute(query)]


def find_articles(
    session: Session, *, data_class: str = "public", department_id: str = "", words: str = "", limit: int = 50
) -> list[KnowledgeArticle]:
    """Articles in force that a person may choose from, ordered by title, bodies not loaded.

    Args:
        session: The caller's transaction.
        data_class: ``public`` or ``canned``.
        department_id: Only this department's; empty: all.
        words: Only those that hold every one of these blank-separated words in title or body.
        limit: How many at most.
    """
    query = select(KnowledgeArticle).where(_in_force(), KnowledgeArticle.data_class == data_class)
    if department_id:
        query = query.where(KnowledgeArticle.department_id == department_id)
    for word in words.split():
        fields = (KnowledgeArticle.title, KnowledgeArticle.body)
        query = query.where(sa.or_(*(col(field).icontains(word, autoescape=True) for field in fields)))
    ordered = query.order_by(col(KnowledgeArticle.title)).limit(limit)
    return list(session.exec(ordered.options(defer(KnowledgeArticle.body))))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Listed:
    """One article in the console's list."""

    row: KnowledgeArticle
    """The newest version, its body not loaded."""
    department: str
    used: int
    """How many drafts cite it."""
    overdue: bool
    """Its review date has passed."""
    quotable: bool
    """Today lies between its first and its last day."""


def listing(
    session: Session,
    *,
    department_id: str,
    words: str,
    retired: bool,
    today: date,
    start: int = 0,
    limit: int = 100,
) -> tuple[list[Listed], int]:
    """Articles for the console, ordered by department and title.

    Args:
        session: The caller's transaction.
        department_id: Only this department's; empty: all.
        words: Only those that hold every one of these blank-separated words in id, title or body.
        retired: Those out of use rather than those in force.
        today: The city's date.
        start: How many to skip.
        limit: How many at most.

    Returns:
        One page, and how many there are in all. Three queries, however long the page.
    """
    query = _newest_of_each(retired=retired)
    if department_id:
        query = query.where(col(KnowledgeArticle.department_id) == department_id)
    for word in words.split():
        fields = (KnowledgeArticle.article, KnowledgeArticle.title, KnowledgeArticle.body)
        query = query.where(sa.or_(*(col(field).icontains(word, autoescape=True) for field in fields)))
    total = session.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one()
    rows = session.execute(query.offset(start).limit(limit)).all()
    used = uses(session)
    return [
        Listed(
            row=row,
            department=name,
            used=used.get(row.article, 0),
            overdue=row.review_on is not None and row.review_on < today,
            quotable=valid_on(row, today),
        )
        for row, name in rows
    ], total


def _newest_of_each(*, retired: bool) -> sa.Select[KnowledgeArticle, str]:
    newest = (
        sa.select(
            col(KnowledgeArticle.article).label("article"), sa.func.max(KnowledgeArticle.version).label("v")
        )
        .group_by(col(KnowledgeArticle.article))
        .subquery()
    )
    return (
        sa.select(KnowledgeArticle, col(Department.name))
        .join(
            newest, (newest.c.article == KnowledgeArticle.article) & (newest.c.v == KnowledgeArticle.version)
        )
        .join(Department, col(KnowledgeArticle.department_id) == col(Department.id))
        .where(~_in_force() if retired else _in_force())
        .order_by(col(Department.position), col(KnowledgeArticle.title), col(KnowledgeArticle.article))
        .options(defer(KnowledgeArticle.body, raiseload=True))  # type: ignore[arg-type]
    )


_USES = {
    "sqlite": "SELECT json_extract(p.value, '$.article'), count(DISTINCT draft.id)"
    " FROM draft, json_each(draft.passages) AS p GROUP BY 1",
    "postgresql": "SELECT p.value ->> 'article', count(DISTINCT draft.id)"
    " FROM draft, json_array_elements(draft.passages) AS p GROUP BY 1",
}


def uses(session: Session) -> dict[str, int]:
    """Article id → how many drafts, of whatever status, cite it."""
    rows = session.execute(sa.text(_USES[session.get_bind().dialect.name]))
    return {article: count for article, count in rows if article}


def versions(session: Session, article_id: str) -> list[tuple[KnowledgeArticle, str]]:
    """Every version of an article, newest first, with its author's name; empty for an import."""
    query = (
        sa.select(KnowledgeArticle, col(Staff.name))
        .outerjoin(Staff, col(KnowledgeArticle.edited_by) == col(Staff.id))
        .where(col(KnowledgeArticle.article) == article_id)
        .order_by(col(KnowledgeArticle.version).desc())
        .options(defer(KnowledgeArticle.body))  # type: ignore[arg-type]
    )
    return [(row, name or "") for row, name in session.execute(query)]
