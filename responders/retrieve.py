"""Find the article that answers a message, and the few sentences of it that answer each clause.

The message is untrusted: it only ranks the city's sentences and never becomes a source.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

from responders.japanese import asks, clauses, words
from responders.knowledge import Passage

Floats = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Floats]
"""Texts to unit vectors, shape (len(texts), dimensions)."""

ABSTAIN_BELOW, ABSTAIN_BELOW_LEXICAL = 0.88, 0.15
"""Below it nothing answers: the best sentence's cosine; without an encoder the article's score."""
DENSE_WEIGHT = 0.6
"""Share of the dense score in a sentence's score; without an encoder the lexical score stands alone."""
DEPARTMENT_BONUS = 0.05
"""Added to an article times the chance of its department; no filter, for routing may be wrong."""
SWITCH_ARTICLE_RATIO = 4.0
"""By how much a second article must answer a clause better than the main one."""
K1, B = 1.2, 0.75

CUE_BONUS = 0.15
"""Added where a sentence holds the kind of fact that the clause asks for."""
MAX_LIST_ROWS = 8
CUES = tuple(
    (re.compile(question), re.compile(answer))
    for question, answer in (
        (
            r"いくら|なんぼ|料金|費用|値段|金額|手数料|お金|お代|代金|無料|有料|タダ|ただで|何円|高い|安く|かか[りる]|もらえ|額",
            r"円|無料|手数料|料金|費用|代金|割|分の",
        ),
        (
            r"いつまで|いつから|期限|締め?切|何日|何月|何か月|何週間|日数|どのくらい|間に合",
            r"まで|から|以内|期限|締め?切|\d日|か月|前日",
        ),
        (r"いつ|何時|時間|日曜|土曜|休日|祝日|夜|土日|平日", r"\d時|午前|午後|曜|平日|休日|祝日|夜間|\d月"),
        (r"どこ|場所|窓口|行けば|持って行", r"窓口|[課所館]で|センター|場所|階"),
        (
            r"持ち物|必要な?(?:もの|物|書類)|何が(?:必要|い[りる])|何を持|書類",
            r"お持ち|必要|持参|書類|証明書",
        ),
        (r"電話|連絡先|問い?合わせ|予約", r"電話|\d{2,4}-\d{2,4}|予約|問い?合わせ"),
        (r"代理|代わり|家族|本人以外|委任", r"代理|委任|家族|本人以外"),
        (
            r"ネット|オンライン|スマホ|ホームページ|郵送|コンビニ",
            r"インターネット|オンライン|郵送|ホームページ|コンビニ|電子",
        ),
        (r"対象|もらえ|受けられ|誰が|だれが|資格|条件", r"対象|方が|方は|以上|未満|限り"),
        (r"どう(?:やって|すれば|したら)|方法|手続き?|申し?込|申請|やり方", r"申請|申し?込|手続|届|提出|方法"),
    )
)
"""What a clause asks for, and how a sentence that answers it looks."""
_LEANS_ON_PREVIOUS = re.compile(
    r"(?:ただし|[こそ]の(?:場合|際|とき)|(?:なお|また)、?その|[こそ]れ[はをらに])"
)
_LEANS_ON_NEXT = re.compile(r"(?:次|以下)の")


@dataclass(frozen=True, slots=True)
class Hit:
    """One article found, with its best passage."""

    article: str
    """Article id."""
    passage_id: str
    """The passage that matches best; ``…#0`` is the title."""
    score: float
    """0 to about 1; comparable between messages of one knowledge base only."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The sentences chosen to answer a message."""

    passages: tuple[Passage, ...]
    """In the article's order, the best article first; empty when nothing matches."""
    score: float
    """How surely the best article answers, to be compared with `Index.abstain_below`."""
    article: str | None
    """Id of the best article."""


class Index:
    """Passages with everything needed to rank them; immutable, safe to share between threads.

    Args:
        passages: Of every article that may be quoted, titles (ordinal 0) included.
        vectors: Unit vectors of ``passage.context``, shape (len(passages), dimensions); None: ``embed`` makes
            them now, or there are none.
        embed: Encodes the clauses of a message; None: lexical ranking only.

    Raises:
        ValueError: The number of vectors differs from the number of passages.
    """

    def __init__(
        self, passages: Sequence[Passage], vectors: Floats | None = None, embed: Embed | None = None
    ) -> None:
        order = sorted(range(len(passages)), key=lambda i: (passages[i].article, passages[i].ordinal))
        self.passages = tuple(passages[i] for i in order)
        self._by_id = {passage.id: passage for passage in self.passages}
        self._embed = embed
        self.vectors = self._ordered_vectors(vectors, order)
        self._spans: dict[str, tuple[int, int]] = {}
        for i, passage in enumerate(self.passages):
            self._spans[passage.article] = (self._spans.get(passage.article, (i, i))[0], i + 1)
        self.articles = tuple(self._spans)
        self._starts = [start for start, _ in self._spans.values()]
        if self.passages:
            self._passage_words = Bm25([_passage_words(p) for p in self.passages])
            self._cues = np.array([[_holds(cue, p) for p in self.passages] for _, cue in CUES], np.float32)
            self._article_words = Bm25([_article_words(self.article_passages(a)) for a in self.articles])
            whole = ("\n".join(p.text for p in self.article_passages(a)) for a in self.articles)
            self._article_pairs = Bm25([character_pairs(text) for text in whole], character_pairs)
            self._article_vectors = self._mean_vectors()

    def __len__(self) -> int:
        return len(self.passages)

    @property
    def abstain_below(self) -> float:
        """Smallest `Selection.score` that counts as an answer."""
        return ABSTAIN_BELOW_LEXICAL if self._embed is None else ABSTAIN_BELOW

    def passage(self, passage_id: str) -> Passage:
        """The passage with this id; KeyError when there is none."""
        return self._by_id[passage_id]

    def article_passages(self, article: str) -> tuple[Passage, ...]:
        """Every passage of an article in its order, the title first; KeyError when there is none."""
        start, end = self._spans[article]
        return self.passages[start:end]

    def search(
        self,
        text: str,
        top: int = 10,
        department: str | None = None,
        today: date | None = None,
        departments: Mapping[str, float] | None = None,
    ) -> list[Hit]:
        """Rank articles for a message.

        An article's score is the mean of four views: its nearest sentence and its mean vector by the
        encoder, BM25 over words and over character pairs (without an encoder: its best sentence by words
        and the two BM25). No view is best on every knowledge base, and equal weights lose nothing.

        Args:
            text: The citizen's message, of any length; only the first 8 clauses rank.
            top: How many articles at most.
            department: Only this department's articles; None: all.
            today: Only articles valid on this day; None: all.
            departments: Chance of each department, from the routing; likely ones rank a little higher.

        Returns:
            Best first, without articles that share nothing with the message.

        Source: convex combination of lexical and dense scores, Bruch et al. 2023, arXiv:2210.11934.
        """
        ranking = self._rank(text, today)
        if ranking is None:
            return []
        allowed = [department in (None, self.passages[i].department) for i in self._starts]
        scores = np.where(allowed, self._with_departments(ranking.articles, departments), 0.0)
        best = [int(a) for a in np.argsort(-scores, kind="stable")[:top] if scores[a] > 0]
        return [
            Hit(self.articles[a], self._best_passage(ranking, a).id, round(float(scores[a]), 6)) for a in best
        ]

    def select(
        self,
        text: str,
        limit: int = 4,
        departments: Mapping[str, float] | None = None,
        today: date | None = None,
    ) -> Selection:
        """Choose the sentences that answer a message, clause by clause.

        Every clause that asks first gets its best sentence, then the best of the rest fill up to ``limit``.
        A sentence that leans on its neighbour (「ただし…」, 「次の…」) brings it along, a list row its list.

        Args:
            text: The citizen's message.
            limit: How many sentences; a list that belongs to a chosen sentence may add its rows.
            departments: Chance of each department; likely ones rank a little higher, others may still win.
            today: Only articles valid on this day; None: all.
        """
        ranking = self._rank(text, today)
        if ranking is None:
            return Selection((), 0.0, None)
        articles = self._with_departments(ranking.articles, departments)
        main = int(np.argmax(articles))
        if articles[main] <= 0:
            return Selection((), 0.0, None)
        leading = self.articles[main]
        chosen = sorted(
            self._choose(ranking, main, limit), key=lambda i: (self.passages[i].article != leading, i)
        )
        evidence = ranking.evidence[main] if ranking.evidence is not None else articles[main]
        return Selection(tuple(self.passages[i] for i in chosen), float(evidence), leading)

    def _ordered_vectors(self, vectors: Floats | None, order: Sequence[int]) -> Floats | None:
        if self._embed is None or not self.passages:
            return None
        if vectors is None:
            return np.asarray(self._embed([passage.context for passage in self.passages]), dtype=np.float32)
        if len(vectors) != len(order):
            raise ValueError(f"{len(vectors)} vectors for {len(order)} passages")
        return np.asarray(vectors, dtype=np.float32)[list(order)]

    def _with_departments(self, scores: Floats, departments: Mapping[str, float] | None) -> Floats:
        chances = departments or {}
        bonus = [DEPARTMENT_BONUS * chances.get(self.passages[i].department, 0.0) for i in self._starts]
        return np.asarray(scores + np.array(bonus, dtype=np.float32) * (scores > 0), dtype=np.float32)

    def _mean_vectors(self) -> Floats | None:
        """What an article is about as a whole: the mean of its sentences' vectors, length 1."""
        if self.vectors is None:
            return None
        sums = np.add.reduceat(self.vectors, self._starts, axis=0)
        return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6), np.float32)

    def _rank(self, text: str, today: date | None) -> "_Ranking | None":
        parts = clauses(text)
        if not parts or not self.passages:
            return None
        # The whole message ranks beside its clauses: it holds the topic that a short clause leaves out.
        queries = [" ".join(parts), *parts] if len(parts) > 1 else parts
        valid = np.array([_is_valid(passage, today) for passage in self.passages])
        lexical = self._passage_words.scores(queries)
        scores, articles, evidence = lexical, [np.maximum.reduceat(lexical, self._starts, axis=1)], None
        if self._embed is not None and self.vectors is not None and self._article_vectors is not None:
            encoded = np.asarray(self._embed(queries), dtype=np.float32)
            cosine = encoded @ self.vectors.T
            scores = DENSE_WEIGHT * _spread(cosine) + (1 - DENSE_WEIGHT) * lexical
            best = np.maximum.reduceat(cosine, self._starts, axis=1)
            articles, evidence = [_spread(best), _spread(encoded @ self._article_vectors.T)], best[0]
        articles += [self._article_words.scores(queries), self._article_pairs.scores(queries)]
        scores = np.asarray(scores * valid, dtype=np.float32)
        mixed = np.asarray(sum(articles) / len(articles) * valid[self._starts], dtype=np.float32)
        return _Ranking(tuple(queries), scores, mixed, mixed[0], evidence)

    def _best_passage(self, ranking: "_Ranking", article: int) -> Passage:
        start, end = self._spans[self.articles[article]]
        return self.passages[start + int(np.argmax(ranking.passages[:, start:end].max(axis=0)))]

    def _choose(self, ranking: "_Ranking", main: int, limit: int) -> set[int]:
        """Indices of the sentences: each asking clause's best one, then the main article's best others."""
        worth = self._worth(ranking)
        chosen: set[int] = set()
        picks = [
            (worth[row] + worth[0] / 2 if row else worth[0], self._article_for(ranking, row, main))
            for row in _in_turn(ranking.queries)[:limit]
        ]
        picks += [(worth[0], main)] * (limit - len(picks))
        for one, article in picks:
            chosen |= self._next_best(one, article, chosen)
        return chosen

    def _next_best(self, worth: Floats, article: int, chosen: set[int]) -> set[int]:
        """An article's best sentence that is not chosen yet, with its neighbours; empty when none is."""
        start, end = self._spans[self.articles[article]]
        rest = [i for i in range(start, end) if self.passages[i].quotable and i not in chosen]
        return self._with_neighbours(max(rest, key=lambda i: worth[i])) if rest else set()

    def _article_for(self, ranking: "_Ranking", row: int, main: int) -> int:
        """The article that answers one clause: the main one, unless the clause names another's subject.

        A score alone does not tell: 「お金はいりますか」 fits everywhere a little and belongs to the matter
        at hand. A word of the other title that the main article does not hold says so plainly.
        """
        scores = ranking.clause_articles[row]
        best = int(np.argmax(scores))
        if scores[best] < SWITCH_ARTICLE_RATIO * scores[main]:
            return main
        named = set(words(ranking.queries[row])) & set(words(self._title(best)))
        known = {w for p in self.article_passages(self.articles[main]) for w in words(p.context)}
        return best if named - known else main

    def _title(self, article: int) -> str:
        return self.passages[self._starts[article]].article_title

    def _worth(self, ranking: "_Ranking") -> Floats:
        """Passage scores plus what the kind of question asks for, shape (queries, passages)."""
        asked = np.array([[bool(cue.search(query)) for cue, _ in CUES] for query in ranking.queries])
        answered = (asked.astype(np.float32) @ self._cues) > 0
        return np.asarray(ranking.passages + CUE_BONUS * answered * (ranking.passages > 0), dtype=np.float32)

    def _with_neighbours(self, i: int) -> set[int]:
        start, end = self._spans[self.passages[i].article]
        group = {i, *self._rows_beside(i)}
        if _LEANS_ON_PREVIOUS.match(self.passages[i].text) and i - 1 > start:
            group.add(i - 1)
        if _LEANS_ON_NEXT.search(self.passages[i].text):
            lead = self.passages[i].text
            rows = [j for j in range(i + 1, end) if self.passages[j].heading.endswith(lead)]
            group.update(rows[:MAX_LIST_ROWS])
        return group

    def _rows_beside(self, i: int) -> list[int]:
        """The other rows of a list: who needs one of the papers to bring needs them all."""
        row = self.passages[i]
        if not row.heading or row.text.endswith("。"):
            return []
        start, end = self._spans[row.article]
        alike = (j for j in range(start, end) if self.passages[j].heading == row.heading)
        return [j for j in alike if self.passages[j].quotable][:MAX_LIST_ROWS]


@dataclass(frozen=True, slots=True)
class _Ranking:
    queries: tuple[str, ...]
    """The whole message, then its clauses when there are several."""
    passages: Floats
    """Shape (queries, passages)."""
    clause_articles: Floats
    """Shape (queries, articles): the mean of four views, see `Index.search`."""
    articles: Floats
    """Shape (articles,): of the whole message."""
    evidence: Floats | None
    """Shape (articles,): cosine of the whole message with each article's nearest sentence."""


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
        self._counter = CountVectorizer(analyzer=tuple)
        try:
            counts = self._counter.fit_transform(documents).astype(np.float32)
        except ValueError:  # no document holds any word
            counts = self._counter.fit_transform([["\0"]] * len(documents)).astype(np.float32)
        total, in_documents = counts.shape[0], np.bincount(counts.indices, minlength=counts.shape[1])
        self._weight = np.log1p((total - in_documents + 0.5) / (in_documents + 0.5)).astype(np.float32)
        self._unknown = float(np.log1p((total + 0.5) / 0.5))
        lengths = np.asarray(counts.sum(axis=1)).ravel()
        norm = np.repeat(K1 * (1 - B + B * lengths / lengths.mean()), np.diff(counts.indptr))
        counts.data = (counts.data / (counts.data + norm) * self._weight[counts.indices]).astype(np.float32)
        self._by_word = counts.T.tocsr()

    def scores(self, queries: Sequence[str]) -> Floats:
        """Shape (len(queries), documents), 0 to 1."""
        return np.stack([self._scores(set(self._analyse(query))) for query in queries])

    def _scores(self, query: set[str]) -> Floats:
        vocabulary = self._counter.vocabulary_
        known = [vocabulary[word] for word in query if word in vocabulary]
        most = float(self._weight[known].sum()) + self._unknown * (len(query) - len(known))
        found = (
            np.asarray(self._by_word[known].sum(axis=0)).ravel()
            if known
            else np.zeros(self._by_word.shape[1])
        )
        return np.asarray(found / max(most, 1e-6), dtype=np.float32)


def character_pairs(text: str) -> list[str]:
    """Adjacent characters after NFKC, repeats kept: terms that need no dictionary."""
    plain = "".join(unicodedata.normalize("NFKC", text).lower().split())
    return [plain[i : i + 2] for i in range(max(1, len(plain) - 1))]


def _spread(cosine: Floats) -> Floats:
    """Encoders squeeze cosines into a narrow band: measured from a query's own average it spreads again."""
    floor = cosine.mean(axis=1, keepdims=True)
    return np.asarray(np.clip((cosine - floor) / np.maximum(1 - floor, 1e-6), 0, 1), dtype=np.float32)


def _in_turn(queries: Sequence[str]) -> list[int]:
    """Rows of the clauses that ask; the whole message when it is one clause or only tells a story."""
    return [row for row in range(1, len(queries)) if asks(queries[row])] or [0]


def _passage_words(passage: Passage) -> list[str]:
    parts = dict.fromkeys((passage.article_title, passage.heading, passage.text))
    return [word for part in parts for word in words(part)]


def _article_words(passages: Sequence[Passage]) -> list[str]:
    # The title counts twice: it is what the article is about.
    texts = [passages[0].article_title, *(passage.text for passage in passages)]
    headings = dict.fromkeys(passage.heading for passage in passages)
    return [word for text in (*texts, *headings) for word in words(text)]


def _holds(cue: re.Pattern[str], passage: Passage) -> bool:
    return passage.quotable and bool(cue.search(passage.heading) or cue.search(passage.text))


def _is_valid(passage: Passage, today: date | None) -> bool:
    if today is None:
        return True
    started = passage.valid_from is None or passage.valid_from <= today
    return started and (passage.valid_to is None or today <= passage.valid_to)
