"""Find the article that answers a message, and the few sentences of it that answer each clause.

The message is untrusted: it only ranks the city's sentences and never becomes a source.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

from responders.japanese import asks, clauses, official, words
from responders.knowledge import Passage
from responders.ranking import ARTICLE, View, Weights, kinds_asked, log_chances, shipped

Floats = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Floats]
"""Texts to unit vectors, shape (len(texts), dimensions)."""
Read = Callable[[str, str, Sequence[str]], Floats]
"""A question, an article's title and its sentences, to the log odds that each sentence answers."""

MAX_ASKED = 4
"""How many asking clauses rank on their own; each costs one run of the encoder."""
LOOKED_AT_AGAIN = 8
"""How many leading articles are judged by their sentences too."""
READ = 3
"""How many leading articles a draft's search reads beside the question; each costs a tenth of a second."""
MAX_READ = 24
"""Sentences of one article that are read, those nearest to the message."""
MAX_WHOLE = 100
"""Characters up to which the reader sees the whole message; of a longer one it sees the clauses that ask."""
UNREAD = -6.0
"""What stands for the reader's view of a sentence that it did not see: hardly an answer."""
SECOND_ARTICLE = 0.15
"""From this chance on a second article may add sentences to a draft."""
SWITCH_ARTICLE_RATIO = 4.0
"""By how much a second article must answer a clause better than the main one."""
HARDLY = -8.0
"""Log chance below which a sentence fills no draft: .6 % of the right ones, a quarter of the others."""
MAX_LIST_ROWS = 8
RANK_ONLY = 2
"""Passages at the head of each article that are never quoted: how it begins, and its title."""
DENSE = 3
"""How much of `ranking.ARTICLE` is by the encoder."""
K1, B = 1.2, 0.75

_LEANS_ON_PREVIOUS = re.compile(r"(?:[こそ]の(?:場合|際|とき)|(?:なお|また)、?その|[こそ]れ[はをらに])")
_LEANS_ON_NEXT = re.compile(r"(?:次|以下)の")
_OPEN_START, _OPEN_END = date.min.toordinal(), date.max.toordinal()


@dataclass(frozen=True, slots=True)
class Hit:
    """One article found, with its best passage."""

    article: str
    """Article id."""
    passage_id: str
    """The passage that matches best; ``…#0`` is the title."""
    score: float
    """Chance, 0 to 1, that this article answers if any does."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The sentences chosen to answer a message."""

    passages: tuple[Passage, ...]
    """In the article's order, the best article first; empty when nothing matches."""
    score: float
    """Probability that these sentences' articles hold an answer, calibrated on the tuning questions, a third
    of which have none; to be compared with `Index.abstain_below`."""
    article: str | None
    """Id of the best article."""


class Index:
    """Passages with everything needed to rank them; immutable, safe to share between threads.

    Args:
        passages: Of every article that may be quoted, as `split_passages` gives them.
        vectors: Unit vectors of what is ``ranked``, shape (len(passages), dimensions); None: ``embed`` makes
            them now, or there are none.
        embed: Encodes the clauses of a message; None: lexical ranking only.
        read: Reads the leading articles beside the message; used with ``embed`` only.
        weights: How much each piece of evidence counts; default: those that come with the product.

    Raises:
        ValueError: The number of vectors differs from the number of passages.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        vectors: Floats | None = None,
        embed: Embed | None = None,
        weights: Weights | None = None,
        read: Read | None = None,
    ) -> None:
        order = sorted(range(len(passages)), key=lambda i: (passages[i].article, passages[i].ordinal))
        self.passages = tuple(passages[i] for i in order)
        self._by_id = {passage.id: passage for passage in self.passages}
        self._embed = embed
        self._read = read if embed else None
        self._weights = weights or shipped("lexical" if embed is None else "read" if self._read else "dense")
        self.vectors = self._ordered_vectors(vectors, order)
        self._spans: dict[str, tuple[int, int]] = {}
        for i, passage in enumerate(self.passages):
            self._spans[passage.article] = (self._spans.get(passage.article, (i, i))[0], i + 1)
        self.articles = tuple(self._spans)
        self._starts = np.array([start for start, _ in self._spans.values()], dtype=np.intp)
        if self.passages:
            self._read_articles()

    def __len__(self) -> int:
        return len(self.passages)

    @property
    def abstain_below(self) -> float:
        """Smallest `Selection.score` that counts as an answer."""
        return self._weights.abstain_below

    def passage(self, passage_id: str) -> Passage:
        """The passage with this id; KeyError when there is none."""
        return self._by_id[passage_id]

    def article_passages(self, article: str) -> tuple[Passage, ...]:
        """Every passage of an article in its order, what ranks only first; KeyError when there is none."""
        start, end = self._spans[article]
        return self.passages[start:end]

    @property
    def weights(self) -> Weights:
        """How much each piece of evidence counts."""
        return self._weights

    def department_of(self, article: int) -> str:
        """The department of the article with this number in ``articles``."""
        return self._departments[article]

    def weighted(self, weights: Weights) -> "Index":
        """The same index with other weights: for learning them."""
        other = copy(self)
        other._weights = weights
        return other

    def search(
        self,
        text: str,
        top: int = 10,
        department: str | None = None,
        today: date | None = None,
        departments: Mapping[str, float] | None = None,
    ) -> list[Hit]:
        """Rank articles for a message, without the reader: a list must come at once.

        Args:
            text: The citizen's message, of any length; only the first 8 clauses rank.
            top: How many articles at most.
            department: Only this department's articles; None: all.
            today: Only articles valid on this day; None: all.
            departments: Chance of each department, from the routing; likely ones rank higher.

        Returns:
            Best first, without articles that share nothing with the message.

        Source: linear combination of lexical and dense scores, Bruch et al. 2023, arXiv:2210.11934;
            weights by conditional logit, McFadden 1974.
        """
        quick = self._unread()
        found = quick._rank(text, today, departments)
        if found is None:
            return []
        wanted = [department in (None, name) for name in self._departments]
        order = np.argsort(-found.chances, kind="stable")
        best = [int(a) for a in order if wanted[a] and found.possible[a]][:top]
        return [
            Hit(self.articles[a], quick._best_passage(found, a).id, round(float(found.chances[a]), 6))
            for a in best
        ]

    def _unread(self) -> "Index":
        if self._read is None:
            return self
        quick = self.weighted(shipped("dense"))
        quick._read = None
        return quick

    def select(
        self,
        text: str,
        limit: int = 4,
        departments: Mapping[str, float] | None = None,
        today: date | None = None,
        least: float = HARDLY,
    ) -> Selection:
        """Choose the sentences that answer a message, clause by clause.

        Every clause that asks first gets its best sentence, then the best of the rest fill up to ``limit``,
        also from a second article where the first is in doubt. A sentence that leans on its neighbour
        (「ただし…」, 「次の…」) brings it along, a list row its list.

        Args:
            text: The citizen's message.
            limit: How many sentences; a list that belongs to a chosen sentence may add its rows.
            departments: Chance of each department; likely ones rank higher, others may still win.
            today: Only articles valid on this day; None: all.
            least: Log chance from which on a sentence fills up.
        """
        found = self._rank(text, today, departments)
        if found is None or not found.possible.any():
            return Selection((), 0.0, None)
        leading = self.articles[found.main]
        chosen = sorted(
            self._choose(found, limit, least), key=lambda i: (self.passages[i].article != leading, i)
        )
        score = self.answerable(self.answer_evidence(found))
        return Selection(tuple(self.passages[i] for i in chosen), score, leading)

    def answerable(self, evidence: Floats) -> float:
        """Probability of an answer from `answer_evidence`."""
        total = float(evidence @ self._weights.answer) + self._weights.constant
        return float(1 / (1 + np.exp(-total)))

    def _ordered_vectors(self, vectors: Floats | None, order: Sequence[int]) -> Floats | None:
        if self._embed is None or not self.passages:
            return None
        if vectors is None:
            return np.asarray(self._embed([p.ranked for p in self.passages]), dtype=np.float32)
        if len(vectors) != len(order):
            raise ValueError(f"{len(vectors)} vectors for {len(order)} passages")
        return np.asarray(vectors, dtype=np.float32)[list(order)]

    def _read_articles(self) -> None:
        """What ranks articles; their sentences are read when an article first leads."""
        whole = [self.article_passages(article) for article in self.articles]
        self._words = Bm25([_article_words(parts) for parts in whole])
        self._pairs = Bm25(
            [character_pairs("\n".join(part.ranked for part in parts[1:])) for parts in whole],
            character_pairs,
        )
        self._departments = [parts[0].department for parts in whole]
        self._from = np.array([_ordinal(parts[0].valid_from, _OPEN_START) for parts in whole])
        self._to = np.array([_ordinal(parts[0].valid_to, _OPEN_END) for parts in whole])
        self._view = lru_cache(maxsize=2_000)(self._make_view)

    def _make_view(self, article: int) -> View:
        return View([p for p in self.article_passages(self.articles[article]) if p.quotable])

    def _rank(
        self, text: str, today: date | None, departments: Mapping[str, float] | None
    ) -> "Ranking | None":
        question = self.look(text, today)
        return None if question is None else self.judge(question, departments)

    def look(self, text: str, today: date | None) -> "Question | None":
        """What does not depend on weights about a message and the articles; None: it asks nothing."""
        parts = [official(part) for part in clauses(text)]
        if not parts or not self.passages:
            return None
        message = " ".join(parts)
        asked = [part for part in parts if asks(part)][:MAX_ASKED] or [message]
        # The whole message ranks beside its clauses: it holds the topic that a short clause leaves out.
        queries = [message] if asked == [message] else [message, *asked]
        rows = [0] if asked == [message] else list(range(1, len(queries)))
        valid = np.ones(len(self.articles), bool)
        if today is not None:
            valid = (self._from <= today.toordinal()) & (today.toordinal() <= self._to)
        lexical = [self._words, self._pairs]
        dense, floors = np.zeros((len(self.articles), DENSE), np.float32), np.zeros(DENSE, np.float32)
        # Only the whole message is held against every passage. Its clauses, which see the leading articles,
        # are encoded meanwhile: the encoder works outside Python's lock.
        with ThreadPoolExecutor(1) as beside:
            rest = beside.submit(self._encoded, queries[1:])
            first = self._encoded(queries[:1])
            cosine = self._cosines(first[0])
            counted = np.stack([view.scores(queries) for view in lexical], axis=2)
            encoded = np.vstack([first, rest.result()])
        if cosine.size:
            nearest = np.maximum.reduceat(cosine, self._starts)
            dense = np.stack([nearest, cosine[self._starts], cosine[self._starts + 1]], axis=1)
            floors = dense.mean(axis=0)
            dense = _spread(dense, floors)
        evidence = np.hstack([dense, counted[0]])[None]
        # A long story has its question somewhere in it.
        seen = text if len(text) <= MAX_WHOLE else " ".join(asked)
        return Question(seen, tuple(queries), tuple(rows), evidence, counted, encoded, cosine, floors, valid)

    def _encoded(self, queries: Sequence[str]) -> Floats:
        """Vectors of queries; without an encoder no columns."""
        if self._embed is None or self.vectors is None:
            return np.zeros((len(queries), 0), np.float32)
        return np.asarray(self._embed(queries), np.float32).reshape(len(queries), self.vectors.shape[1])

    def _cosines(self, query: Floats) -> Floats:
        """Of one query with every passage; empty without an encoder."""
        return np.zeros(0, np.float32) if self.vectors is None else self.vectors @ query

    def judge(self, question: "Question", departments: Mapping[str, float] | None) -> "Ranking":
        """Chances of the articles: first by themselves, then the leading ones by their sentences too."""
        chance = departments or {}
        routed = np.array([chance.get(name, 0.0) for name in self._departments], np.float32)
        possible = question.valid & (question.evidence[0] > 0).any(axis=1)
        # One product: OpenBLAS's AVX-512 routine for five columns computes on registers that it has not set,
        # and NumPy then may warn of invalid values that the result does not hold.
        first = np.column_stack([question.evidence[0], routed]) @ self._weights.article
        first = log_chances(np.where(possible, first, -1e3).astype(np.float32))
        order = np.argsort(-first, kind="stable")[:LOOKED_AT_AGAIN]
        leading = [int(a) for a in order if possible[a]] or [int(order[0])]
        for a in leading[:READ]:
            self.read(question, a)
        fits = {a: self._sentence_scores(question, a) for a in leading}
        second = np.array([[first[a], fits[a].max(axis=1).mean()] for a in leading], np.float32)
        again = second @ self._weights.again
        # The others follow behind in their first order.
        scores = again.min() + self._weights.again[0] * (first - first[leading].min())
        scores[leading] = again
        scores = np.where(possible, scores, -1e3).astype(np.float32)
        return Ranking(question, np.exp(log_chances(scores)), possible, routed, fits, second)

    def read(self, question: "Question", article: int) -> None:
        """Let the reader see an article beside a question, once."""
        view = self._view(article)
        if self._read is None or article in question.read or not view.texts:
            return
        near = np.argsort(-self._cosine(question, article)[0], kind="stable")[:MAX_READ]
        seen = np.sort(near)
        scores = np.full(len(view.texts), UNREAD, np.float32)
        scores[seen] = self._read(question.text, self._title(article), [view.texts[i] for i in seen])
        question.read[article] = scores

    def sentence_evidence(self, question: "Question", article: int) -> Floats:
        """`ranking.SENTENCE` of one article's quotable sentences."""
        asked = [question.queries[row] for row in question.rows]
        view, cosine = self._view(article), self._cosine(question, article)
        return view.evidence(asked, question.queries[0], cosine, self._reading(question, article))

    def _reading(self, question: "Question", article: int) -> Floats:
        unread = np.full(len(self._view(article).texts), UNREAD, np.float32)
        return question.read.get(article, unread)

    def _cosine(self, question: "Question", article: int) -> Floats:
        """Of the message and each clause with the article's quotable sentences."""
        start, end = self._spans[self.articles[article]]
        start += RANK_ONLY
        rows = [0, *question.rows]
        if self.vectors is None:
            return np.zeros((len(rows), end - start), np.float32)
        return np.asarray(question.encoded[rows] @ self.vectors[start:end].T, np.float32)

    def _sentence_scores(self, question: "Question", article: int) -> Floats:
        if not self._view(article).texts:
            return np.zeros((len(question.rows), 1), np.float32)
        return np.asarray(self.sentence_evidence(question, article) @ self._weights.sentence, np.float32)

    def answer_evidence(self, found: "Ranking") -> Floats:
        """`ranking.ANSWER` for the best article.

        Its chance; the cosine of its nearest sentence, of all on average and of its beginning; BM25 over
        words; how much nearer it is than any other article; the share of the message's words, rare ones
        counting more, that it holds, and the least share of a clause's words that the clause's best sentence
        holds; the share of asked kinds of fact found there; how well the sentences fit; how far the nearest
        stands out; the chance of the department; the reader's view of its best sentence and of any article's.
        """
        question, main = found.question, found.main
        view, best = self._view(main), found.fits[main].argmax(axis=1)
        cosine = self._cosine(question, main)[0]
        title = frozenset(words(official(self._title(main))))
        known = frozenset().union(title, *view.words)
        held = [view.words[i] | title if view.words else title for i in best]
        asked = [question.queries[row] for row in question.rows]
        kinds = [_share_answered(view, i, clause) for i, clause in zip(best, asked, strict=True)]
        best_read = {a: float(self._reading(question, a).max(initial=UNREAD)) for a in found.fits}
        near, mean = (float(cosine.max()), float(cosine.mean())) if cosine.size else (0.0, 0.0)
        return np.array(
            [
                found.chances[main], near, mean, self._whole_cosine(question, main),
                question.evidence[0, main, ARTICLE.index("words")],
                near - self._nearest_elsewhere(question, main),
                self._words.share(question.queries[0], known),
                min(self._words.share(c, h) for c, h in zip(asked, held, strict=True)),
                float(np.mean(kinds)), found.fits[main].max(axis=1).mean(), near - mean, found.routed[main],
                best_read[main], max(best_read.values()),
            ],
            np.float32,
        )  # fmt: skip

    def _whole_cosine(self, question: "Question", article: int) -> float:
        return float(question.cosine[self._starts[article]]) if question.cosine.size else 0.0

    def _nearest_elsewhere(self, question: "Question", article: int) -> float:
        if not question.cosine.size:
            return 0.0
        nearest = np.maximum.reduceat(question.cosine, self._starts)
        nearest[article] = 0.0
        return float(np.where(question.valid, nearest, 0.0).max())

    def _best_passage(self, found: "Ranking", article: int) -> Passage:
        fits = found.fits.get(article)
        if fits is None:
            fits = self._sentence_scores(found.question, article)
        quotable = [p for p in self.article_passages(self.articles[article]) if p.quotable]
        return quotable[int(fits.max(axis=0).argmax())] if quotable else self._title_passage(article)

    def _choose(self, found: "Ranking", limit: int, least: float) -> set[int]:
        """Indices of the sentences: each asking clause's best one, then the best of the rest."""
        chosen: set[int] = set()
        mains = []
        for turn, row in enumerate(found.question.rows[:limit]):
            mains.append(article := self._article_for(found, row))
            worth = self._worth(found, article, log_chances(self._fits(found, article))[turn])
            chosen |= self._next_best(worth, chosen)
        sure = [found.main, *mains]
        doubtful = [a for a in found.fits if found.chances[a] >= SECOND_ARTICLE and a not in sure]
        worth = {}
        for article in dict.fromkeys([*sure, *doubtful]):
            fill = log_chances(self._fits(found, article)).max(axis=0)
            penalty = np.log(max(float(found.chances[article]), SECOND_ARTICLE))
            worth |= self._worth(found, article, np.asarray(fill + penalty, np.float32))
        worth = {i: score for i, score in worth.items() if score >= least}
        for _ in range(limit - len(found.question.rows[:limit])):
            chosen |= self._next_best(worth, chosen)
        return chosen

    def _fits(self, found: "Ranking", article: int) -> Floats:
        if article not in found.fits:
            found.fits[article] = self._sentence_scores(found.question, article)
        return found.fits[article]

    def _worth(self, found: "Ranking", article: int, scores: Floats) -> dict[int, float]:
        start, end = self._spans[self.articles[article]]
        quotable = [i for i in range(start, end) if self.passages[i].quotable]
        return dict(zip(quotable, map(float, scores), strict=False))

    def _next_best(self, worth: Mapping[int, float], chosen: set[int]) -> set[int]:
        """The best sentence that is not chosen yet, with its neighbours; empty when there is none."""
        rest = [i for i in worth if i not in chosen]
        return self._with_neighbours(max(rest, key=lambda i: worth[i])) if rest else set()

    def _article_for(self, found: "Ranking", row: int) -> int:
        """The article that answers one clause: the main one, unless the clause names another's subject.

        A score alone does not tell: 「お金はいりますか」 fits everywhere a little and belongs to the matter
        at hand. A word of the other title that the main article does not hold says so plainly, if the whole
        message puts the other article among the first.
        """
        scores = {article: self._clause_score(found.question, row, article) for article in found.fits}
        scores.setdefault(found.main, self._clause_score(found.question, row, found.main))
        best = max(scores, key=lambda article: scores[article])
        if scores[best] < scores[found.main] + np.log(SWITCH_ARTICLE_RATIO):
            return found.main
        named = set(words(found.question.queries[row])) & set(words(official(self._title(best))))
        known = set(words(official(self._title(found.main)))).union(*self._view(found.main).words)
        return best if named - known else found.main

    def _clause_score(self, question: "Question", row: int, article: int) -> float:
        """How well an article answers one clause, without department and sentences."""
        dense = np.zeros(DENSE, np.float32)
        if self.vectors is not None:
            start, end = self._spans[self.articles[article]]
            near = self.vectors[start:end] @ question.encoded[row]
            dense = _spread(np.array([near.max(), near[0], near[1]], np.float32), question.floors)
        return float(np.hstack([dense, question.counted[row, article]]) @ self._weights.article[:-1])

    def _title_passage(self, article: int) -> Passage:
        return self.passages[int(self._starts[article]) + 1]

    def _title(self, article: int) -> str:
        return self._title_passage(article).text

    def _with_neighbours(self, i: int) -> set[int]:
        end = self._spans[self.passages[i].article][1]
        group = {i, *self._rows_beside(i)}
        leans = self.passages[i].limits_previous or _LEANS_ON_PREVIOUS.match(self.passages[i].text)
        if leans and self.passages[i - 1].quotable:
            group.add(i - 1)
        if i + 1 < end and self.passages[i + 1].limits_previous:
            group.add(i + 1)
        if _LEANS_ON_NEXT.search(self.passages[i].text):
            lead = self.passages[i].text
            rows = [j for j in range(i + 1, end) if self.passages[j].heading.endswith(lead)]
            group.update(rows[:MAX_LIST_ROWS])
        return group

    def _rows_beside(self, i: int) -> list[int]:
        """The other rows of a list: who needs one of the papers to bring needs them all."""
        row = self.passages[i]
        if not row.is_row:
            return []
        start, end = self._spans[row.article]
        alike = (j for j in range(start, end) if self.passages[j].heading == row.heading)
        return [j for j in alike if self.passages[j].quotable][:MAX_LIST_ROWS]


@dataclass(frozen=True, slots=True)
class Question:
    """A message beside the articles, before any weight."""

    text: str
    """What the reader sees of the message."""
    queries: tuple[str, ...]
    """The whole message, then the clauses that ask when they are not all of it."""
    rows: tuple[int, ...]
    """Which of the queries ask."""
    evidence: Floats
    """`ranking.ARTICLE` of the whole message without the department, shape (1, articles, features)."""
    counted: Floats
    """The lexical part of it for every query, shape (queries, articles, 2)."""
    encoded: Floats
    """Vectors of the queries; no columns without an encoder."""
    cosine: Floats
    """Of the whole message with every passage; empty without an encoder."""
    floors: Floats
    """The message's average likeness to all articles, for each dense feature."""
    valid: NDArray[np.bool_]
    """Shape (articles,)."""
    read: dict[int, Floats] = field(default_factory=dict)
    """The reader's view of the quotable sentences of the articles it has seen."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """A message beside the articles, weighed."""

    question: Question
    chances: Floats
    """Shape (articles,), of each to hold the answer if any does; sums to 1."""
    possible: NDArray[np.bool_]
    """Shape (articles,): valid, and sharing anything with the message."""
    routed: Floats
    """Shape (articles,): chance of each article's department."""
    fits: dict[int, Floats]
    """Of the leading articles: score of each quotable sentence for each asking clause."""
    second: Floats
    """`ranking.AGAIN` of the articles in ``fits``, in their order."""

    @property
    def main(self) -> int:
        """The best article."""
        return int(self.chances.argmax())


class Bm25:
    """BM25 over words, divided by the most that the query could reach, so that a threshold has a meaning.

    scikit-learn's sparse counts rather than a ready BM25: the division needs every word's weight, also of
    the words that no article knows.

    Source: Lucene's variant, Kamphuis et al. 2020, doi:10.1007/978-3-030-45442-5_4.
    """

    def __init__(
        self, documents: Sequence[Sequence[str]], analyse: Callable[[str], Sequence[str]] = words
    ) -> None:
        """Count.

        Args:
            documents: The terms of each document.
            analyse: Cuts a query into the same kind of terms.
        """
        self._analyse = analyse
        counter = CountVectorizer(analyzer=tuple)
        try:
            counts = counter.fit_transform(documents).astype(np.float32)
        except ValueError:  # no document holds any word
            counts = counter.fit_transform([["\0"]] * len(documents)).astype(np.float32)
        self._terms: dict[str, int] = counter.vocabulary_
        total, in_documents = counts.shape[0], np.bincount(counts.indices, minlength=counts.shape[1])
        self._weight = np.log1p((total - in_documents + 0.5) / (in_documents + 0.5)).astype(np.float32)
        self._unknown = float(np.log1p((total + 0.5) / 0.5))
        lengths = np.asarray(counts.sum(axis=1)).ravel()
        norm = np.repeat(K1 * (1 - B + B * lengths / lengths.mean()), np.diff(counts.indptr))
        counts.data = (counts.data / (counts.data + norm) * self._weight[counts.indices]).astype(np.float32)
        by_term = counts.T.tocsr()
        self._starts, self._documents, self._data = by_term.indptr, by_term.indices, by_term.data
        self._total = total

    def scores(self, queries: Sequence[str]) -> Floats:
        """Shape (len(queries), documents), 0 to 1."""
        return np.stack([self._scores(set(self._analyse(query))) for query in queries])

    def share(self, query: str, held: frozenset[str]) -> float:
        """How much of a query's weight lies in these terms, 0 to 1; 1 for a query without terms."""
        terms = set(self._analyse(query))
        total = sum(map(self._weigh, terms))
        return sum(self._weigh(term) for term in terms & held) / total if total else 1.0

    def _weigh(self, term: str) -> float:
        column = self._terms.get(term)
        return self._unknown if column is None else float(self._weight[column])

    def _scores(self, query: set[str]) -> Floats:
        found = np.zeros(self._total, np.float32)
        for column in sorted(self._terms[term] for term in query if term in self._terms):
            span = slice(self._starts[column], self._starts[column + 1])
            found[self._documents[span]] += self._data[span]
        return np.asarray(found / max(sum(map(self._weigh, query)), 1e-6), np.float32)


def character_pairs(text: str) -> list[str]:
    """Adjacent characters after NFKC, repeats kept: terms that need no dictionary."""
    plain = "".join(unicodedata.normalize("NFKC", text).lower().split())
    return [plain[i : i + 2] for i in range(max(1, len(plain) - 1))]


def _spread(cosine: Floats, floors: Floats) -> Floats:
    """Encoders squeeze cosines into a narrow band: measured from a query's own average it spreads again."""
    return np.asarray(np.clip((cosine - floors) / np.maximum(1 - floors, 1e-6), 0, 1), dtype=np.float32)


def _share_answered(view: View, sentence: int, clause: str) -> float:
    """Of the kinds of fact that a clause asks for, the share that a sentence holds; half if it names none."""
    asked = kinds_asked(clause)
    return float(view.answered[sentence] @ asked / asked.sum()) if asked.any() and view.words else 0.5


def _article_words(passages: Sequence[Passage]) -> list[str]:
    # The title counts twice: it is what the article is about.
    texts = [official(passages[0].article_title), *(passage.ranked for passage in passages[1:])]
    headings = dict.fromkeys(official(passage.heading) for passage in passages if not passage.is_row)
    return [word for text in (*texts, *headings) for word in words(text)]


def _ordinal(day: date | None, otherwise: int) -> int:
    return otherwise if day is None else day.toordinal()
