"""The city's articles in the database: import with versions, and the index that search reads."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from bot import audit, inquiries
from bot.db import now, reading
from bot.models import (
    FRONT_DESK,
    Department,
    Draft,
    DraftStatus,
    Inquiry,
    KnowledgeArticle,
    KnowledgePassage,
)
from responders.knowledge import Article, Passage, split_passages
from responders.retrieve import Embed, Index


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import changed."""

    new: int
    updated: int
    unchanged: int
    retired: int


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

    Args:
        session: The caller's transaction.
        articles: The whole knowledge, or a part of it with ``retire_missing=False``.
        actor: Who imports.
        embed: Makes the vectors; None: lexical search only.
        retire_missing: Articles that are not in the list are retired.
    """
    current = {a.article: a for a in session.exec(select(KnowledgeArticle).where(_in_force()))}
    changed = [a for a in articles if a.id not in current or current[a.id].content_sha256 != _digest(a)]
    gone = current.keys() - {a.id for a in articles} if retire_missing else set()
    updated = [a.id for a in changed if a.id in current]
    for article_id in (*updated, *gone):
        current[article_id].retired_at = now()
        session.add(current[article_id])
    session.flush()
    known = set(session.exec(select(Department.id)))
    for article in changed:
        _add_version(
            session, article, article.department if article.department in known else FRONT_DESK, embed
        )
    _renew_drafts(session, {*updated, *gone})
    report = ImportReport(len(changed) - len(updated), len(updated), len(articles) - len(changed), len(gone))
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


def _in_force() -> sa.ColumnElement[bool]:
    return col(KnowledgeArticle.retired_at).is_(None)


def _digest(article: Article) -> str:
    return hashlib.sha256(repr(article).encode("utf-8", "replace")).hexdigest()


def _add_version(session: Session, article: Article, department_id: str, embed: Embed | None) -> None:
    newest = session.exec(
        select(sa.func.max(KnowledgeArticle.version)).where(KnowledgeArticle.article == article.id)
    ).one()
    row = KnowledgeArticle(
        article=article.id,
        version=(newest or 0) + 1,
        title=article.title,
        department_id=department_id,
        body=article.text,
        url=article.url or "",
        owner=article.owner,
        data_class=article.data_class,
        valid_from=article.valid_from,
        valid_to=article.valid_to,
        content_sha256=_digest(article),
    )
    session.add(row)
    session.flush()
    passages = split_passages(article)
    vectors = embed([p.context for p in passages]) if embed else [None] * len(passages)
    for passage, vector in zip(passages, vectors, strict=True):
        session.add(
            KnowledgePassage(
                article_row=row.id,
                passage=passage.id,
                ordinal=passage.ordinal,
                heading=passage.heading,
                text=passage.text,
                vector=None if vector is None else vector.astype("<f2").tobytes(),
            )
        )


def _renew_drafts(session: Session, articles: set[str]) -> None:
    if not articles:
        return
    pending = session.exec(
        select(Draft, Inquiry)
        .join(Inquiry, col(Draft.inquiry_id) == col(Inquiry.id))
        .where(Draft.status == DraftStatus.pending)
    ).all()
    for draft, inquiry in pending:
        if articles & {str(p.get("article")) for p in draft.passages}:
            inquiries.request_draft(session, inquiry)


class Knowledge:
    """The index over the articles in force, read again when an import changed them.

    Args:
        engine: The product's database.
        embed: Encodes questions; None: lexical search only.
    """

    def __init__(self, engine: Engine, embed: Embed | None) -> None:
        self._engine, self._embed = engine, embed
        self._stamp: tuple[int, datetime | None, datetime | None] | None = None
        self._index = Index([])

    def index(self) -> Index:
        """The current index."""
        with reading(self._engine) as session:
            count, imported, retired = session.exec(
                select(
                    sa.func.count(col(KnowledgeArticle.id)),
                    sa.func.max(KnowledgeArticle.imported_at),
                    sa.func.max(KnowledgeArticle.retired_at),
                )
            ).one()
            if (stamp := (count, imported, retired)) != self._stamp:
                self._index = _read_index(session, self._embed)
                self._stamp = stamp
        return self._index


def _read_index(session: Session, embed: Embed | None) -> Index:
    rows = session.exec(
        select(KnowledgePassage, KnowledgeArticle)
        .join(KnowledgeArticle, col(KnowledgePassage.article_row) == col(KnowledgeArticle.id))
        .where(_in_force(), KnowledgeArticle.data_class == "public")
        .order_by(col(KnowledgeArticle.article), col(KnowledgePassage.ordinal))
    ).all()
    passages = [_passage(p, a) for p, a in rows]
    return Index(passages, _vectors(p for p, _ in rows), embed)


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
