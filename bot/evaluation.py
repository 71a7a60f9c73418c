"""Quality on the authored sets, built from files; only a verdict on a model goes into the database.

``python -m bot.evaluation`` learns the weights of the search anew from the tuning questions and writes them
to ``responders/weights.json``: the same result every time. With ``--reader`` it trains the reader
(``classifiers/reader.npz``) instead, with ``--retriever`` the search's encoder
(``classifiers/retriever.npz``); after each ``madoguchi setup``, and the weights again.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml

from bot import modes, services
from bot.db import make_engine, transaction
from bot.settings import Settings
from classifiers.encoder import Encoder
from responders import evaluate as measures
from responders.check_sources import Register
from responders.knowledge import Passage, read_folder, read_jsonl, split_passages
from responders.learn import held_back, learn, near_misses, sought
from responders.ranking import FILE, Weights, shipped
from responders.retrieve import Index

LEARNT_ON = date(2026, 11, 24)
"""Which articles are valid for the tuning questions."""
PRACTICE = "practice-"
"""How the ids of the articles begin that are for learning only."""
LEXICAL = 920
"""How many tuning questions the weights without an encoder are learnt from; see docs/decisions/0011."""


def search(
    settings: Settings,
    queries: Path | None,
    knowledge: Path | None,
    classifier: Path,
    successors: Mapping[str, str],
) -> dict[str, Any]:
    """Search quality in one table; default: the authored questions over the city's articles.

    Args:
        settings: Name the city and the encoder.
        queries: Judged queries, see `responders.evaluate.load_judged`.
        knowledge: Articles as `madoguchi knowledge import` takes them.
        classifier: Folder of the model that routes.
        successors: See `bot.organisation.successors`: both the files' articles and what the model says of a
            query count for who took over, as on the console.
    """
    passages, index = city_index(settings, knowledge, successors)
    plain = services.load_encoder(services.plain_encoder_dir(settings))
    asked = (
        measures.load_judged(queries)
        if queries
        else measures.queries_of(measures.load_cases(_cases(settings)))
    )
    routed = services.load_routed(settings, classifier, successors)
    table = measures.evaluate_search(asked, passages, index, plain.embed if plain else None, routed)
    return {"queries": len(asked), "passages": len(passages), **table}


def drafts(settings: Settings, today: date, successors: Mapping[str, str]) -> dict[str, Any]:
    """The whole pipeline on the authored questions, with the configured model; departments as in `search`."""
    _, index = city_index(settings, successors=successors)
    return measures.evaluate_drafts(
        _as_of_today(measures.load_cases(_cases(settings)), successors),
        index,
        llm=services.load_llm(settings),
        register=register(settings),
        today=today,
    )


def answers(
    settings: Settings, today: date, successors: Mapping[str, str], limit: int | None = None
) -> dict[str, Any]:
    """The configured model in answer mode on the authored questions and attacks.

    Args:
        settings: Name the city and the model.
        today: Decides which articles are valid.
        successors: As in `search`.
        limit: Only so many questions, and 10 attacks; None: all, as a decision needs it.

    Raises:
        LookupError: No model is configured.
    """
    llm = services.load_llm(settings)
    if llm is None:
        raise LookupError("no model: set MADOGUCHI_LLM_BASE_URL, or start the product")
    _, index = city_index(settings, successors=successors)
    step = 1 if limit is None else max(1, 150 // limit)
    found = measures.evaluate_answers(
        _as_of_today(measures.load_cases(_cases(settings)), successors)[::step],
        measures.load_attacks(settings.city_dir / "evaluation" / "attacks.jsonl")[
            :: 1 if limit is None else 5
        ],
        index,
        llm=llm,
        register=register(settings),
        today=today,
    )
    identity = modes.identify(llm)
    return {**asdict(identity), "data_sha256": _data_sha256(settings), **found, "whole": limit is None}


def keep_answers(settings: Settings, report: dict[str, Any]) -> bool:
    """Store a whole evaluation where the console and the worker look for it.

    Returns:
        Whether the model passed.
    """
    about = {"model", "sha256", "prompt_version", "data_sha256", "whole"}
    figures = {name: value for name, value in report.items() if name not in about}
    identity = modes.Identity(report["model"], report["sha256"], report["prompt_version"])
    with transaction(make_engine(settings.effective_database_url)) as session:
        row = modes.keep(
            session, identity, figures=figures, passed=not report["failed"], data_sha256=report["data_sha256"]
        )
        return row.passed


def _data_sha256(settings: Settings) -> str:
    files = [p for part in ("knowledge", "evaluation") for p in sorted((settings.city_dir / part).rglob("*"))]
    digest = hashlib.sha256()
    for path in files:
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _cases(settings: Settings) -> Path:
    return settings.city_dir / "evaluation" / "drafts.jsonl"


def city_index(
    settings: Settings, knowledge: Path | None = None, successors: Mapping[str, str] = MappingProxyType({})
) -> tuple[list[Passage], Index]:
    """Passages and index of the city's articles, or of those in a folder or JSONL, made from the files."""
    passages = _passages(knowledge or settings.city_dir / "knowledge")
    return _indexed(settings, _as_of_today(passages, successors))


_Row = TypeVar("_Row", Passage, measures.Case)


def _as_of_today(rows: list[_Row], successors: Mapping[str, str]) -> list[_Row]:
    return [replace(row, department=successors.get(row.department, row.department)) for row in rows]


def _passages(path: Path) -> list[Passage]:
    articles = read_folder(path) if path.is_dir() else read_jsonl(path)
    return [passage for article in articles for passage in split_passages(article)]


def _indexed(
    settings: Settings, passages: list[Passage], weights: Weights | None = None
) -> tuple[list[Passage], Index]:
    embed_passages = services.load_embed(settings, "passage")
    vectors = embed_passages([p.ranked for p in passages]) if embed_passages else None
    read = services.load_reader(settings) if weights is None else None
    index = Index(passages, vectors, services.load_embed(settings), weights, read)
    return list(index.passages), index


def _learning_index(settings: Settings, weights: Weights) -> tuple[list[Passage], Index]:
    """Nothing is read beside the question."""
    return _indexed(settings, _learning_passages(settings), weights)


def _learning_passages(settings: Settings) -> list[Passage]:
    """Of the city's articles and of those that are for practice only."""
    practice = settings.city_dir / "evaluation" / "practice.jsonl"
    return _passages(settings.city_dir / "knowledge") + _passages(practice)


def register(settings: Settings) -> Register:
    """The city's own names and phones, from its files."""
    raw = yaml.safe_load((settings.city_dir / "departments.yaml").read_text(encoding="utf-8"))
    rows = [*raw["departments"], raw["front_desk"]]
    return Register(
        city=raw["city"],
        phones=frozenset(row["phone"] for row in rows),
        sections=frozenset(row["ja"] for row in rows),
    )


def learn_weights(settings: Settings) -> dict[str, Any]:
    """Learn the search's weights for each kind of index and write them down; what each reaches."""
    cases = _tuning(settings)
    unseen = [case for case in cases if held_back(case)]
    passages, index = _learning_index(settings, Weights.neutral())
    _, faq = _indexed(settings, _passages(_faq(settings)), Weights.neutral())
    asked = [case for case in measures.load_cases(_faq(settings, "_questions")) if held_back(case)]
    dense, report_dense = learn(unseen, index, LEARNT_ON, beside=(asked, faq))
    city = [p for p in passages if not p.article.startswith(PRACTICE)]
    lexical, report_lexical = learn(cases[:LEXICAL], Index(city, weights=Weights.neutral()), LEARNT_ON)
    reading = Index(
        passages, index.vectors, services.load_embed(settings), dense, services.load_reader(settings)
    )
    read, report_read = learn(unseen, reading, LEARNT_ON, dense)
    written = {"dense": dense.written(), "lexical": lexical.written(), "read": read.written()}
    FILE.write_text(json.dumps(written, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return {"dense": report_dense, "lexical": report_lexical, "read": report_read}


def train_reader(settings: Settings) -> Path:
    """Train the reader on the questions that the weights are not learnt from; an hour on idle cores."""
    from classifiers.backbone import fetch_backbone
    from classifiers.train_reader import train_reader as train

    cases = [case for case in _tuning(settings) if not held_back(case)]
    _, index = _learning_index(settings, shipped("dense"))
    return train(list(near_misses(cases, index, LEARNT_ON)), fetch_backbone(settings.backbone))


def train_retriever(settings: Settings) -> Path:
    """Teach the search's encoder by the questions that the weights are not learnt from; an hour."""
    from classifiers.backbone import fetch_backbone
    from classifiers.train_retriever import Sought
    from classifiers.train_retriever import train_retriever as train

    plain = Encoder(services.plain_encoder_dir(settings))
    questions = []
    for name, cases, passages in (
        ("", _tuning(settings), _learning_passages(settings)),
        ("faq", measures.load_cases(_faq(settings, "_questions")), _passages(_faq(settings))),
    ):
        taught = [case for case in cases if not held_back(case)]
        vectors = plain.embed([p.ranked for p in passages], "passage")
        questions += [Sought(*one, name) for one in sought(taught, passages, vectors, plain.embed)]
    return train(questions, fetch_backbone(settings.backbone))


def _faq(settings: Settings, part: str = "") -> Path:
    """A knowledge of its own, as other cities have it: its articles may answer the tuning questions too."""
    return settings.city_dir / "evaluation" / f"faq{part}.jsonl"


def _tuning(settings: Settings) -> list[measures.Case]:
    return measures.load_cases(settings.city_dir / "evaluation" / "tuning.jsonl")


if __name__ == "__main__":
    from bot.install import load_secrets

    load_secrets(Path("var"))
    settings = Settings()  # type: ignore[call-arg]
    if "--reader" in sys.argv:
        print(train_reader(settings))  # noqa: T201
    elif "--retriever" in sys.argv:
        print(train_retriever(settings))  # noqa: T201
    else:
        print(json.dumps(learn_weights(settings), ensure_ascii=False, indent=1))  # noqa: T201
