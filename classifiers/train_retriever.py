"""Teach the search's encoder by questions of our own, and build what is served from it.

A question shall lie nearer to a sentence that answers it than to the other sentences of that article and to
the nearest of other articles; and nearer to its article's title, alone or with how the article begins, than
to those of others. The repository keeps the learnt updates only (``retriever.npz``); `fetch_retriever` adds
them to the encoder's weights.

Source: contrastive learning with negatives from the batch and hard ones, Karpukhin et al. 2020,
arXiv:2004.04906.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from classifiers import adapters
from classifiers.adapters import Updates, adapt, fetch, fit, learnt, load, merged
from classifiers.artefact import read_manifest, write_manifest
from classifiers.encoder import UPDATES
from classifiers.export import MeanPooled, export_int8
from classifiers.router import pad
from classifiers.tokens import encode, load_tokenizer

MAX_TOKENS = 192


@dataclass(frozen=True, slots=True)
class Sought:
    """A question with what it should find and what it should not."""

    question: str
    articles: frozenset[str]
    """Ids of those that answer."""
    titles: tuple[str, ...]
    """Of the articles, alone and with how they begin."""
    answers: tuple[str, ...]
    """The sentences that answer."""
    beside: tuple[str, ...]
    """The other sentences of the articles."""
    misses: tuple[tuple[str, str], ...]
    """Other articles' ids, each with its sentence that lies nearest to the question."""
    knowledge: str = ""
    """Which knowledge the articles belong to: those of another may answer as well, so they are no misses."""


@dataclass(frozen=True, slots=True)
class Recipe(adapters.Recipe):
    """Everything that changes the result."""

    questions: int = 24
    """In a batch; each is held against the sentences of all."""
    beside: int = 1
    misses: int = 2
    """Of each question, in a batch."""
    rate: float = 3e-4
    temperature: float = 0.03
    titles_count: float = 1.0
    """How much finding the title counts beside finding the sentence."""
    threads: int = 1


def train_retriever(
    questions: Sequence[Sought], backbone: Path, out: Path = UPDATES, recipe: Recipe | None = None
) -> Path:
    """Learn the updates; an hour for 5,500 questions on one idle core.

    Args:
        questions: Each with at least one title, one answer and its articles.
        backbone: Folder of the encoder, see `classifiers.backbone.fetch_backbone`.
        out: The .npz to write.
        recipe: Default: `Recipe()`.

    Returns:
        ``out``.
    """
    recipe = recipe or Recipe()
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    encoder = load(backbone)
    learning = adapt(encoder)
    vectors = _Vectors(encoder.eval(), backbone)
    groups = [{"params": learning, "lr": recipe.rate}]
    fit(questions, lambda batch, drawn: _loss(vectors, batch, recipe, drawn), groups, recipe)
    np.savez_compressed(out, **learnt(encoder))  # type: ignore[arg-type]
    return out


class _Vectors:
    """Texts to unit vectors that gradients flow through."""

    def __init__(self, encoder: nn.Module, backbone: Path) -> None:
        self._pooled = MeanPooled(encoder)
        self._tokenizer = load_tokenizer(backbone / "tokenizer.json")
        self._prefixes: dict[str, str] = read_manifest(backbone, only=())["prefixes"]

    def __call__(self, texts: Sequence[str], kind: str) -> Tensor:
        rows = [
            np.asarray(encode(self._tokenizer, self._prefixes.get(kind, "") + text, MAX_TOKENS), np.int64)
            for text in texts
        ]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        found: list[Tensor] = [torch.empty(0)] * len(rows)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for start in range(0, len(order), 16):
                chosen = order[start : start + 16]
                for i, row in zip(chosen, self._pooled(*pad([rows[i] for i in chosen])).float(), strict=True):
                    found[i] = row
        return torch.stack(found)


def _loss(vectors: _Vectors, batch: Sequence[Sought], recipe: Recipe, drawn: random.Random) -> Tensor:
    """How far each question is from choosing its answer among all sentences, and its title among all."""
    sentences: list[tuple[str, str]] = []
    """Articles' ids and sentences; who belongs to which question stands in `own` and `against`."""
    known: list[str] = []
    """The knowledge of each sentence."""
    own, against, titles = [], [], []
    for sought in batch:
        article = min(sought.articles)
        own.append(len(sentences))
        sentences.append((article, drawn.choice(sought.answers)))
        beside = drawn.sample(sought.beside, min(recipe.beside, len(sought.beside)))
        against.append(set(range(len(sentences), len(sentences) + len(beside))))
        sentences += [(article, sentence) for sentence in beside]
        sentences += drawn.sample(sought.misses, min(recipe.misses, len(sought.misses)))
        titles.append((article, drawn.choice(sought.titles)))
        known += [sought.knowledge] * (len(sentences) - len(known))
    asked = vectors([sought.question for sought in batch], "query")
    told = vectors([text for _, text in sentences], "passage")
    named = vectors([title for _, title in titles], "passage")
    wrong = torch.tensor(
        [
            [
                j in mine or (article not in sought.articles and known[j] == sought.knowledge)
                for j, (article, _) in enumerate(sentences)
            ]
            for sought, mine in zip(batch, against, strict=True)
        ]
    )
    others = torch.tensor(
        [
            [
                article not in sought.articles and other.knowledge == sought.knowledge
                for other, (article, _) in zip(batch, titles, strict=True)
            ]
            for sought in batch
        ]
    )
    found = _choice(asked @ told.T / recipe.temperature, own, wrong)
    return found + recipe.titles_count * _choice(
        asked @ named.T / recipe.temperature, list(range(len(batch))), others
    )


def _choice(scores: Tensor, own: list[int], wrong: Tensor) -> Tensor:
    """Cross-entropy of choosing one's own among it and the wrong ones; the rest does not count."""
    counted = wrong.clone()
    counted[torch.arange(len(own)), own] = True
    return nn.functional.cross_entropy(scores.masked_fill(~counted, -1e4), torch.tensor(own))


def fetch_retriever(backbone: Path, cache_dir: Path | None = None, updates: Path = UPDATES) -> Path:
    """Give the folder of the taught encoder, making it on the first call (half a minute).

    Args:
        backbone: Folder of the encoder that the updates were learnt for, `classifiers.backbone.DEFAULT`.
        cache_dir: Default: `classifiers.backbone.cache_root`.
        updates: From `train_retriever`.

    Returns:
        A folder that `classifiers.encoder.Encoder` opens.
    """
    return fetch(updates, lambda kept, folder: _build(backbone, kept, folder), cache_dir)


def _build(backbone: Path, updates: Updates, folder: Path) -> None:
    plain = read_manifest(backbone, only=())
    export_int8(MeanPooled(merged(backbone, updates)).eval(), folder / "encoder.onnx")
    (folder / "tokenizer.json").write_bytes((backbone / "tokenizer.json").read_bytes())
    write_manifest(folder, **{name: plain[name] for name in ("hidden", "prefixes", "max_tokens")})
