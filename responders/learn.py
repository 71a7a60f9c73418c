"""Learn how much each piece of evidence counts, from questions with known sentences.

Four small linear models, each on the one before: articles, sentences, articles again by their sentences, and
whether there is an answer. Deterministic; no question of the test set is read.

Source: conditional logit, McFadden 1974; stacking on held-out predictions, Wolpert 1992,
doi:10.1016/S0893-6080(05)80023-1.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from responders.evaluate import Case
from responders.japanese import official
from responders.knowledge import Passage
from responders.ranking import AGAIN, ANSWER, ARTICLE, SENTENCE, Weights
from responders.retrieve import Embed, Index, Question, Ranking

FOLDS = 8
OURS = "tn-"
"""How the ids of the questions begin that come with the product."""
WRONGLY_ROUTED = 0.08
"""Share of the questions that are learnt from with a wrong department: the routing errs that often."""
RIGHTLY_SILENT = 0.8
"""Share of the questions without an answer that the threshold must stop, on held-out questions. Half of them
are near misses, and stopping more costs drafts fast: see docs/decisions/0011."""
ARTICLE_RIDGE, SENTENCE_RIDGE, AGAIN_RIDGE, ANSWER_RIDGE = 1.0, 0.3, 0.1, 5.0

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question with its right answers as row numbers."""

    case: Case
    question: Question
    routed: Mapping[str, float]
    articles: frozenset[int]
    """Those that hold a gold sentence."""
    fold: int


def held_back(case: Case) -> bool:
    """Whether reader and encoder must not learn from this question, so that their word is weighed on it.

    A quarter of our own, and all that a city's caseworkers ticked: what is shipped has not seen them.
    """
    return not case.id.startswith(OURS) or _number(case) % 8 < 2


def learn(
    cases: Sequence[Case],
    index: Index,
    today: date,
    articles: Weights | None = None,
    beside: tuple[Sequence[Case], Index] | None = None,
) -> tuple[Weights, dict[str, Any]]:
    """Weights for an index of this kind, and what they reach on questions about articles held out.

    Args:
        cases: With gold sentences, or without an answer.
        index: Over the articles that the cases are about; its encoder and reader, if any, are used.
        today: Decides which articles are valid.
        articles: What ranks articles at first sight, if it is known already; default: it is learnt.
        beside: Questions about another knowledge: articles shall be ranked as well there, at first sight and
            again. All of them count as much as all cases, and nothing else is learnt from them.

    Returns:
        The weights, and per measure its mean over the folds.
    """
    parts = [(_look(*part, today), part[1]) for part in ((cases, index), beside) if part]
    with_gold = [sum(bool(a.articles) for a in asked) for asked, _ in parts]
    counts = [with_gold[0] / count for count in with_gold]
    choices = (
        []
        if articles
        else [c for part, n in zip(parts, counts, strict=True) for c in _article_choices(*part, n)]
    )

    def fit(without: int | None) -> Weights:
        first = articles.article if articles else _fit_articles([c for f, c in choices if f != without])
        return _fit_sentences([a for a in parts[0][0] if a.articles and a.fold != without], index, first)

    by_fold = [fit(fold) for fold in range(FOLDS)]
    judged = [[_judged(a, where.weighted(by_fold[a.fold])) for a in asked] for asked, where in parts]
    weights = _fit_again(fit(None), judged, counts)
    again = [_judged(a, other.weighted(_with_again(other, weights))) for a, other, _ in judged[0]]
    return _fit_answer(weights, again, today)


def near_misses(
    cases: Sequence[Case], index: Index, today: date
) -> Iterator[tuple[str, list[tuple[str, list[str], list[bool]]]]]:
    """What a reader learns from: each question with the two articles that come into question most.

    Args:
        cases: Questions with their gold sentences, or without an answer.
        index: Without a reader.
        today: Decides which articles are valid.

    Yields:
        The question, and per article its title, its quotable sentences and which of them answer; the articles
        that hold gold sentences come first, and all of them come.
    """
    for asked in _look(cases, index, today):
        ranking = _judge(asked, index)
        leading = sorted(ranking.fits, key=lambda article: -ranking.chances[article])
        chosen = list(dict.fromkeys([*sorted(asked.articles), *leading]))[: max(2, len(asked.articles))]
        found = []
        for article in chosen:
            passages = [p for p in index.article_passages(index.articles[article]) if p.quotable]
            answers = [(p.article, p.text) in asked.case.gold for p in passages]
            found.append((passages[0].article_title, [p.ranked for p in passages], answers))
        yield asked.case.text, found


MISSES = 6
"""Other articles' sentences that a question must learn not to find."""
Sought = tuple[
    str, frozenset[str], tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[tuple[str, str], ...]
]
"""A question; the ids of the articles that answer; their titles, with how the articles begin and alone; the
sentences that answer; their other sentences; and other articles' ids, each with its sentence nearest to the
question."""


def sought(
    cases: Sequence[Case], passages: Sequence[Passage], vectors: NDArray[np.float32], embed: Embed
) -> Iterator[Sought]:
    """What an encoder learns from: each question that has an answer, with what to find and what not.

    Args:
        cases: Questions with their gold sentences; the others are passed over.
        passages: Of all articles, as `split_passages` gives them.
        vectors: Of what is ``ranked``, shape (len(passages), dimensions).
        embed: The encoder as it is, for questions.
    """
    whole: dict[str, list[Passage]] = {}
    for passage in passages:
        whole.setdefault(passage.article, []).append(passage)
    for case in cases:
        gold = [p for p in passages if (p.article, p.text) in case.gold]
        if not gold:
            continue
        articles = frozenset(p.article for p in gold)
        question = official(case.text)
        nearest: dict[str, str] = {}
        for i in np.argsort(-(vectors @ embed([question])[0])):
            if passages[i].article not in articles:
                nearest.setdefault(passages[i].article, passages[i].ranked)
            if len(nearest) == MISSES:
                break
        own = [p for article in sorted(articles) for p in whole[article]]
        beside = tuple(p.ranked for p in own if p.quotable and p not in gold)
        titles = tuple(p.ranked for p in own if not p.quotable)
        yield question, articles, titles, tuple(p.ranked for p in gold), beside, tuple(nearest.items())


def _fit_answer(weights: Weights, judged: "Sequence[_Judged]", today: date) -> tuple[Weights, dict[str, Any]]:
    """The weights with those that decide on silence, and the report."""
    evidence = np.array([index.answer_evidence(ranking) for _, index, ranking in judged], np.float64)
    answerable = np.array([a.case.answerable for a, _, _ in judged])
    folds = np.array([a.fold for a, _, _ in judged])
    chances = _held_out_chances(evidence, answerable, folds)
    answer, constant = _logit(evidence, answerable)
    below = float(np.quantile(chances[~answerable], RIGHTLY_SILENT)) + 0.001
    weights = replace(weights, answer=answer, constant=constant, abstain_below=below)
    return weights, _report(judged, chances, answerable, below, today)


def _with_again(index: Index, weights: Weights) -> Weights:
    return replace(index.weights, again=weights.again)


def _look(cases: Sequence[Case], index: Index, today: date) -> list[_Asked]:
    number = {article: i for i, article in enumerate(index.articles)}
    departments = sorted({p.department for p in index.passages})
    found = []
    for case in cases:
        question = index.look(case.text, today)
        if question is None:
            continue
        articles = frozenset(number[article] for article, _ in case.gold)
        for article in articles:
            index.read(question, article)
        fold = _number(case) // 8 % FOLDS
        found.append(_Asked(case, question, _routed(case, departments), articles, fold))
    return found


def _number(case: Case) -> int:
    """Questions about one article stay together: weights are judged on articles they never saw."""
    key = min(case.gold)[0] if case.gold else case.id
    return zlib.crc32(key.encode())


def _routed(case: Case, departments: Sequence[str]) -> dict[str, float]:
    draw = zlib.crc32(f"routed {case.id}".encode())
    wrong = draw % 1_000 < 1_000 * WRONGLY_ROUTED
    return {departments[draw % len(departments)] if wrong else case.department: 1.0}


_Judged = tuple[_Asked, Index, Ranking]
"""A question, and how an index with its weights ranks the articles for it."""


def _judged(asked: _Asked, index: Index) -> _Judged:
    return asked, index, _judge(asked, index)


def _judge(asked: _Asked, index: Index) -> Ranking:
    return index.judge(asked.question, asked.routed)


def _fit_articles(choices: "Sequence[_Choice]") -> NDArray[np.float32]:
    # Other cities title their articles otherwise: what little speaks against one here is chance there.
    return _choice(choices, len(ARTICLE), ARTICLE_RIDGE, least=0.0)


def _fit_sentences(asked: Sequence[_Asked], index: Index, article: NDArray[np.float32]) -> Weights:
    """Weights that rank articles so, and sentences as these questions teach; the rest starts neutral."""
    choices = [choice for a in asked for choice in _sentence_choices(a, index)]
    sentence = _choice(choices, len(SENTENCE), SENTENCE_RIDGE)
    again = np.array([1.0, *[0.0] * (len(AGAIN) - 1)], np.float32)
    return Weights(article, again, sentence, np.zeros(len(ANSWER), np.float32), 0.0, 0.5)


def _fit_again(weights: Weights, parts: Sequence[Sequence[_Judged]], counts: Sequence[float]) -> Weights:
    choices = []
    for judged, count in zip(parts, counts, strict=True):
        for asked, _, ranking in judged:
            right = np.array([article in asked.articles for article in ranking.fits])
            if right.any():
                choices.append((ranking.second[None].astype(np.float64), right, count))
    return replace(weights, again=_choice(choices, len(AGAIN), AGAIN_RIDGE))


_Choice = tuple[Matrix, NDArray[np.bool_], float]
"""Features (clauses, options, features), which options are right, and how much it counts."""


def _article_choices(asked: Sequence[_Asked], index: Index, counts: float) -> list[tuple[int, _Choice]]:
    """Each question's fold and its choice among the articles."""
    found = []
    for one in asked:
        if one.articles:
            valid = np.flatnonzero(one.question.valid)
            routed = [[one.routed.get(index.department_of(int(a)), 0.0)] for a in valid]
            features = np.hstack([one.question.evidence[0, valid], routed])
            found.append((one.fold, (features[None], np.isin(valid, list(one.articles)), counts)))
    return found


def _sentence_choices(asked: _Asked, index: Index) -> list[_Choice]:
    found = []
    for article in sorted(asked.articles):
        passages = [p for p in index.article_passages(index.articles[article]) if p.quotable]
        right = np.array([(p.article, p.text) in asked.case.gold for p in passages])
        features = index.sentence_evidence(asked.question, article).astype(np.float64)
        found.append((features, right, float(np.sqrt(right.sum()))))
    return found


def _choice(
    choices: Sequence[_Choice], features: int, ridge: float, least: float | None = None
) -> NDArray[np.float32]:
    """Weights of at least ``least`` under which each clause's choice falls on a right option: any will do."""

    def loss(weights: Matrix) -> tuple[float, Matrix]:
        total, gradient = ridge * float(weights @ weights) / 2, ridge * weights
        for options, right, counts in choices:
            scores = options @ weights
            shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
            chance = shifted / shifted.sum(axis=1, keepdims=True)
            hit = (chance * right).sum(axis=1, keepdims=True) + 1e-12
            share = counts / len(options)
            total -= share * float(np.log(hit).sum())
            gradient = gradient + share * np.einsum("rof,ro->f", options, chance - chance * right / hit)
        return total, gradient

    bounds = [(least, None)] * features
    found = minimize(loss, np.zeros(features), jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x, np.float32)


def _logit(evidence: Matrix, answerable: NDArray[np.bool_]) -> tuple[NDArray[np.float32], float]:
    """Logistic regression whose weights may not be negative: more of any evidence never speaks against."""
    centre, scale = evidence.mean(axis=0), np.maximum(evidence.std(axis=0), 1e-6)
    features = np.hstack([(evidence - centre) / scale, np.ones((len(evidence), 1))])
    signs = np.where(answerable, 1.0, -1.0)

    def loss(weights: Matrix) -> tuple[float, Matrix]:
        margins = signs * (features @ weights)
        bent = np.append(weights[:-1], 0.0)
        pull = -signs / (1 + np.exp(margins))
        total = float(np.logaddexp(0, -margins).sum() + ANSWER_RIDGE * bent @ bent / 2)
        return total, features.T @ pull + ANSWER_RIDGE * bent

    bounds = [(0.0, None)] * evidence.shape[1] + [(None, None)]
    found = minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds).x
    weights = found[:-1] / scale
    return np.asarray(weights, np.float32), float(found[-1] - weights @ centre)


def _held_out_chances(evidence: Matrix, answerable: NDArray[np.bool_], folds: NDArray[np.int_]) -> Matrix:
    chances = np.zeros(len(evidence))
    for fold in range(FOLDS):
        weights, constant = _logit(evidence[folds != fold], answerable[folds != fold])
        chances[folds == fold] = 1 / (1 + np.exp(-(evidence[folds == fold] @ weights + constant)))
    return chances


def _report(
    judged: Sequence[_Judged],
    chances: Matrix,
    answerable: NDArray[np.bool_],
    below: float,
    today: date,
) -> dict[str, Any]:
    with_gold = [(a, index, ranking) for a, index, ranking in judged if a.articles]
    found = wanted = 0
    for asked, index, _ in with_gold:
        chosen = index.select(asked.case.text, departments=asked.routed, today=today).passages
        found += len({(p.article, p.text) for p in chosen} & set(asked.case.gold))
        wanted += len(asked.case.gold)
    silent = [float(np.quantile(chances[~answerable], share)) for share in (0.75, 0.85, 0.9, 0.95)]
    return {
        "questions": len(judged),
        "hit1": round(mean(ranking.main in a.articles for a, _, ranking in with_gold), 4),
        "recall": round(found / max(1, wanted), 4),
        "answer_auc": round(float(roc_auc_score(answerable, chances)), 4),
        "rightly": round(float(np.mean(chances[~answerable] < below)), 4),
        "wrongly": round(float(np.mean(chances[answerable] < below)), 4),
        "wrongly_at_rightly_75_85_90_95": [
            round(float(np.mean(chances[answerable] <= threshold)), 4) for threshold in silent
        ],
        "thresholds": [round(threshold, 3) for threshold in silent],
        "calibration": _calibration(chances, answerable),
    }


def _calibration(chances: Matrix, answerable: NDArray[np.bool_]) -> list[tuple[float, float, int]]:
    """Per fifth of the range: mean probability, share with an answer, and how many."""
    fifth = np.minimum((chances * 5).astype(int), 4)
    groups = [(chances[fifth == i], answerable[fifth == i]) for i in range(5) if (fifth == i).any()]
    return [(round(float(c.mean()), 3), round(float(a.mean()), 3), len(c)) for c, a in groups]
