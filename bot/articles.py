"""The city's articles as screens and search read them: those in force, their versions, who uses them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa
from sqlalchemy.orm import defer
from sqlmodel import Session, col, select

from bot.calendar import valid_on
from bot.errors import NotFound
from bot.models import Department, KnowledgeArticle, KnowledgePassage, Staff
from responders.knowledge import Article, Passage


def in_force() -> sa.ColumnElement[bool]:
    """The condition of an article's version that may be quoted: nobody retired or replaced it."""
    return col(KnowledgeArticle.retired_at).is_(None)


def newest_version(session: Session, article_id: str) -> KnowledgeArticle | None:
    """The newest version of an article, in force or retired."""
    query = (
        select(KnowledgeArticle)
        .where(KnowledgeArticle.article == article_id)
        .order_by(col(KnowledgeArticle.version).desc())
        .limit(1)
    )
    return session.exec(query.execution_options(populate_existing=True)).first()


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


def searchable(*classes: str) -> sa.Select[KnowledgePassage, KnowledgeArticle]:
    """Passages in force of articles of these classes, with their articles, in reading order.

    Bodies are not loaded: an article of a megabyte would come once per sentence.
    """
    return (
        sa.select(KnowledgePassage, KnowledgeArticle)
        .join(KnowledgeArticle, col(KnowledgePassage.article_row) == col(KnowledgeArticle.id))
        .where(in_force(), col(KnowledgeArticle.data_class).in_(classes))
        .order_by(col(KnowledgeArticle.article), col(KnowledgePassage.ordinal))
        .options(defer(KnowledgeArticle.body))  # type: ignore[arg-type]
    )


def as_passage(row: KnowledgePassage, article: KnowledgeArticle) -> Passage:
    """A stored sentence as search and drafting know it."""
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


def article_versions(session: Session, articles: Iterable[str], today: date) -> dict[str, KnowledgeArticle]:
    """The articles in force among these ids, for links and titles on a screen."""
    query = select(KnowledgeArticle).where(in_force(), col(KnowledgeArticle.article).in_(list(articles)))
    return {a.article: a for a in session.exec(query) if (a.valid_to or today) >= today}


def passages_of(session: Session, articles: Iterable[str], *, searched: bool = False) -> list[Passage]:
    """Every sentence of these articles' versions in force in reading order, titles left out.

    `bot.calendar.valid_on` says whether it may be ticked today. ``searched``: only what the search may find.
    """
    classes = ("public",) if searched else ("public", "canned")
    query = searchable(*classes).where(
        col(KnowledgeArticle.article).in_(list(articles)), col(KnowledgePassage.ordinal) > 0
    )
    return [as_passage(p, a) for p, a in session.execute(query)]


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
    query = select(KnowledgeArticle).where(in_force(), KnowledgeArticle.data_class == data_class)
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
    used: Mapping[str, int],
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
        used: See `uses`.
        start: How many to skip.
        limit: How many at most.

    Returns:
        One page, and how many there are in all. Two queries, however long the page.
    """
    query = _newest_of_each(retired=retired)
    if department_id:
        query = query.where(col(KnowledgeArticle.department_id) == department_id)
    for word in words.split():
        fields = (KnowledgeArticle.article, KnowledgeArticle.title, KnowledgeArticle.body)
        query = query.where(sa.or_(*(col(field).icontains(word, autoescape=True) for field in fields)))
    total = session.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one()
    rows = session.execute(query.offset(start).limit(limit)).all()
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
        .where(~in_force() if retired else in_force())
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
    """Article id → how many drafts, of whatever status, cite it.

    It reads every draft there is, seconds when there are 100,000: never within a transaction that writes, or
    on SQLite nobody else writes meanwhile.
    """
    rows = session.execute(sa.text(_USES[session.get_bind().dialect.name]))
    return {article: count for article, count in rows if article}
