"""Quality on the authored sets, built from files; only a verdict on a model goes into the database.

``python -m bot.evaluation`` learns the weights of the search anew from the tuning questions and writes them
to ``responders/weights.json``; about a minute, and the same result every time.
"""

import hashlib
import json
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from bot import modes, services
from bot.db import make_engine, transaction
from bot.settings import Settings
from responders import evaluate as measures
from responders.checks import Register
from responders.knowledge import Passage, read_folder, read_jsonl, split_passages
from responders.learn import learn
from responders.ranking import FILE, Weights
from responders.retrieve import Index

LEARNT_ON = date(2026, 11, 24)
"""Which articles are valid for the tuning questions."""


def search(settings: Settings, queries: Path | None, knowledge: Path | None) -> dict[str, Any]:
    """Search quality in one table; default: the authored questions over the city's articles.

    Args:
        settings: Name the city and the encoder.
        queries: Judged queries, see `responders.evaluate.load_judged`.
        knowledge: Articles as `madoguchi knowledge import` takes them.
    """
    passages, index = city_index(settings, knowledge)
    asked = (
        measures.load_judged(queries)
        if queries
        else measures.queries_of(measures.load_cases(_cases(settings)))
    )
    table = measures.evaluate_search(asked, passages, index, services.load_embed(settings))
    return {"queries": len(asked), "passages": len(passages), **table}


def drafts(settings: Settings, today: date) -> dict[str, Any]:
    """The whole pipeline on the authored questions, with the configured model."""
    _, index = city_index(settings)
    return measures.evaluate_drafts(
        measures.load_cases(_cases(settings)),
        index,
        llm=services.load_llm(settings),
        register=register(settings),
        today=today,
    )


def answers(settings: Settings, today: date, limit: int | None = None) -> dict[str, Any]:
    """The configured model in answer mode on the authored questions and attacks.

    Args:
        settings: Name the city and the model.
        today: Decides which articles are valid.
        limit: Only so many questions, and 10 attacks; None: all, as a decision needs it.

    Raises:
        LookupError: No model is configured.
    """
    llm = services.load_llm(settings)
    if llm is None:
        raise LookupError("no model: set MADOGUCHI_LLM_BASE_URL, or start the product")
    _, index = city_index(settings)
    step = 1 if limit is None else max(1, 150 // limit)
    found = measures.evaluate_answers(
        measures.load_cases(_cases(settings))[::step],
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
    settings: Settings, knowledge: Path | None = None, weights: Weights | None = None
) -> tuple[list[Passage], Index]:
    """Passages and index of the city's articles, or of those in a folder or JSONL, made from the files."""
    path = knowledge or settings.city_dir / "knowledge"
    articles = read_folder(path) if path.is_dir() else read_jsonl(path)
    passages = [passage for article in articles for passage in split_passages(article)]
    embed_passages = services.load_embed(settings, "passage")
    vectors = embed_passages([p.ranked for p in passages]) if embed_passages else None
    index = Index(passages, vectors, services.load_embed(settings), weights)
    return list(index.passages), index


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
    """Learn the search's weights with and without the encoder and write them down; what each reaches."""
    cases = measures.load_cases(settings.city_dir / "evaluation" / "tuning.jsonl")
    passages, index = city_index(settings, weights=Weights.neutral())
    written, report = {}, {}
    for kind, one in (("dense", index), ("lexical", Index(passages, weights=Weights.neutral()))):
        weights, report[kind] = learn(cases, one, LEARNT_ON)
        written[kind] = weights.written()
    FILE.write_text(json.dumps(written, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return report


if __name__ == "__main__":
    from bot.install import load_secrets

    load_secrets(Path("var"))
    print(json.dumps(learn_weights(Settings()), ensure_ascii=False, indent=1))  # type: ignore[call-arg]  # noqa: T201
