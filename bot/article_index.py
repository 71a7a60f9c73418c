"""The index over the articles in force that search reads, and the vectors that the database keeps for it."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from bot import audit
from bot.articles import as_passage, searchable
from bot.db import PAUSE_SECONDS, reading, transaction
from bot.models import KnowledgeArticle, KnowledgePassage, VectorSource
from responders.retrieve import Embed, Index, Read

EMBED_AT_ONCE = 64
"""Texts that are embedded between two short transactions."""

FORGET_AT_ONCE = 5_000
"""Passages whose vectors one transaction drops: on SQLite nobody else writes meanwhile."""

EMBED_AT_IMPORT = 2_000
"""An import with more new texts leaves them to the worker: found by their words at once, by sense soon."""


def vectors_of(texts: set[str], embed: Embed | None) -> dict[str, NDArray[np.float32]]:
    """Every text once, however many articles share it; a large import's are left to the worker."""
    if embed is None or not texts or len(texts) > EMBED_AT_IMPORT:
        return {}
    ordered = sorted(texts)
    return dict(zip(ordered, embed(ordered), strict=True))


def stored(vector: NDArray[np.float32]) -> bytes:
    """A vector as `KnowledgePassage.vector` keeps it."""
    return vector.astype("<f2").tobytes()


def forget_vectors_of_another(engine: Engine, encoder: str) -> int:
    """Drop all vectors unless this encoder made them; the worker makes them anew, and words rank meanwhile.

    It writes in transactions of `FORGET_AT_ONCE` passages, and names the new encoder last. Cut short, it is
    run again, and drops what is left.

    Args:
        engine: The product's database; no worker of this encoder has begun yet.
        encoder: `classifiers.encoder.Encoder.version` of the one that serves.

    Returns:
        How many passages lost their vector.
    """
    with reading(engine) as session:
        known = session.get(VectorSource, 1)
        if known and known.encoder == encoder:
            return 0
    dropped = _forget_vectors(engine)
    with transaction(engine) as session:
        session.merge(VectorSource(encoder=encoder))
        audit.record(
            session,
            actor="system:install",
            action="forget_vectors",
            subject=f"encoder:{encoder[:12]}",
            dropped=dropped,
        )
    return dropped


def _forget_vectors(engine: Engine) -> int:
    passage = col(KnowledgePassage.id)
    dropped, done = 0, UUID(int=0)
    while True:
        with transaction(engine) as session:
            having = select(passage).where(col(KnowledgePassage.vector).is_not(None), passage > done)
            part = session.exec(having.order_by(passage).limit(FORGET_AT_ONCE)).all()
            session.execute(sa.update(KnowledgePassage).where(passage.in_(part)).values(vector=None))
        if len(part) < FORGET_AT_ONCE:
            return dropped + len(part)
        dropped, done = dropped + len(part), part[-1]
        time.sleep(PAUSE_SECONDS)


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
                missing.setdefault(as_passage(row, article).ranked, []).append(row.id)
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
            .values(vector=stored(vector))
        )


def _without_vector() -> sa.Select[KnowledgePassage, KnowledgeArticle]:
    return searchable("public").where(col(KnowledgePassage.vector).is_(None))


def _read_index(session: Session, embed: Embed | None, read: Read | None) -> Index:
    rows = session.execute(searchable("public")).all()
    vectors = _vectors(p for p, _ in rows)
    return Index([as_passage(p, a) for p, a in rows], vectors, None if vectors is None else embed, read=read)


def _vectors(rows: Iterable[KnowledgePassage]) -> NDArray[np.float32] | None:
    blobs = [row.vector for row in rows]
    if not blobs or any(blob is None for blob in blobs):
        return None
    return np.stack([np.frombuffer(blob or b"", "<f2") for blob in blobs]).astype(np.float32)
