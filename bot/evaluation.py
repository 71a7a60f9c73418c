"""Quality on the authored sets, built from files so that no database is needed.

``python -m bot.evaluation`` learns the weights of the search anew from the tuning questions and writes them
to ``responders/weights.json``; about a minute, and the same result every time.
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from bot import services
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
