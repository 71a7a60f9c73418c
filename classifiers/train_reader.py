"""Train the reader, and build what is served from the encoder and the learnt updates.

What is kept in the repository is only the updates and the head (``reader.npz``); `fetch_reader` adds them to
the encoder's weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from classifiers import adapters
from classifiers.adapters import Updates, adapt, fetch, fit, learnt, load, merged
from classifiers.artefact import write_manifest
from classifiers.export import export_int8
from classifiers.reader import HEAD, UPDATES, Ids, lay_out
from classifiers.router import pad
from classifiers.tokens import load_tokenizer

Example = tuple[str, Sequence[str], Sequence[bool]]
"""An article beside a question: its title, its sentences, and which of them answer; perhaps none."""


@dataclass(frozen=True, slots=True)
class Recipe(adapters.Recipe):
    """Everything that changes the result."""

    rate: float = 5e-4
    head_rate: float = 1e-3
    answers_count: float = 4.0
    """How much more a sentence that answers counts than one that does not: there are ten times fewer."""
    threads: int = 2


class _Marker(nn.Module):
    """Windows to one score per sentence, for training."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.learning = adapt(encoder)
        self.encoder = encoder
        width = int(encoder.config.hidden_size)  # type: ignore[union-attr,arg-type]
        self.head = nn.Linear(width, 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, windows: Sequence[tuple[Ids, Ids]]) -> list[Tensor]:
        """Per window the scores of its sentences."""
        ids, mask = pad([own for own, _ in windows])
        marks = pad([own for _, own in windows])[0] * mask
        count = int(marks.max())
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        belongs = nn.functional.one_hot(marks, count + 1).to(states.dtype)
        size = belongs.sum(dim=1).clamp(min=1)
        pooled = torch.einsum("bts,bth->bsh", belongs, states) / size.unsqueeze(-1)
        normed = nn.functional.layer_norm(pooled[:, 1:], pooled.shape[-1:]).float()
        scores = self.head(normed).squeeze(-1)
        return [row[: int(own[-1])] for row, (_, own) in zip(scores, windows, strict=True)]


class _States(nn.Module):
    """The merged encoder as one tensor function: ids to the states of all tokens."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor) -> Tensor:
        """Shape (batch, tokens), to (batch, tokens, hidden)."""
        states: Tensor = self.encoder(input_ids=input_ids).last_hidden_state
        return states


def train_reader(
    questions: Sequence[tuple[str, Sequence[Example]]],
    backbone: Path,
    out: Path = UPDATES,
    recipe: Recipe | None = None,
) -> Path:
    """Learn the updates; about an hour for 4,000 questions on two idle cores.

    Args:
        questions: Each with the articles that come into question: the right one, and near misses.
        backbone: Folder of the encoder, see `classifiers.backbone.fetch_backbone`.
        out: The .npz to write.
        recipe: Default: `Recipe()`.

    Returns:
        ``out``.
    """
    recipe = recipe or Recipe()
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    model = _Marker(load(backbone)).eval()  # without dropout: the updates are small
    groups = [
        {"params": list(model.head.parameters()), "lr": recipe.head_rate},
        {"params": model.learning, "lr": recipe.rate},
    ]
    fit(_encoded(questions, backbone), lambda batch, _: _loss(model, batch, recipe), groups, recipe)
    _save(model, out)
    return out


_Encoded = tuple[list[tuple[Ids, Ids]], Tensor]
"""A question's windows over all its articles, and which of their sentences answer it."""


def _encoded(questions: Sequence[tuple[str, Sequence[Example]]], backbone: Path) -> list[_Encoded]:
    tokenizer = load_tokenizer(backbone / "tokenizer.json")
    found = []
    for question, examples in questions:
        windows = [w for title, rows, _ in examples for w in lay_out(tokenizer, question, title, rows)]
        answers = torch.tensor([float(answer) for *_, right in examples for answer in right])
        found.append((windows, answers))
    return found


def _loss(model: _Marker, batch: Sequence[_Encoded], recipe: Recipe) -> Tensor:
    """Each sentence by itself (is there an answer at all?), and the right ones against all others."""
    windows = [window for own, _ in batch for window in own]
    order = sorted(range(len(windows)), key=lambda i: len(windows[i][0]))
    scores: list[Tensor] = [torch.empty(0)] * len(windows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for start in range(0, len(order), 4):
            chosen = order[start : start + 4]
            for i, row in zip(chosen, model([windows[i] for i in chosen]), strict=True):
                scores[i] = row
    total, at = torch.zeros(()), 0
    weight = torch.tensor(recipe.answers_count)
    for own, answers in batch:
        row = torch.cat(scores[at : at + len(own)])
        at += len(own)
        alone = nn.functional.binary_cross_entropy_with_logits(
            row, answers, pos_weight=weight, reduction="sum"
        )
        total = total + alone / 10
        right = answers > 0
        if right.any():
            others = torch.logsumexp(row[~right], dim=0).expand(int(right.sum()))
            total = total + (torch.logaddexp(others, row[right]) - row[right]).mean()
    return total / len(batch)


def fetch_reader(backbone: Path, cache_dir: Path | None = None, updates: Path = UPDATES) -> Path:
    """Give the folder of the reader, making it on the first call (half a minute).

    Args:
        backbone: Folder of the encoder that the updates were learnt for, `classifiers.backbone.DEFAULT`.
        cache_dir: Default: `classifiers.backbone.cache_root`.
        updates: From `train_reader`.
    """
    return fetch(updates, lambda kept, folder: _build(backbone, kept, folder), cache_dir)


def _build(backbone: Path, updates: Updates, folder: Path) -> None:
    export_int8(_States(merged(backbone, updates)).eval(), folder / "reader.onnx")
    np.savez(folder / HEAD, weight=updates["head.weight"].astype(np.float32), bias=updates["head.bias"][0])
    (folder / "tokenizer.json").write_bytes((backbone / "tokenizer.json").read_bytes())
    write_manifest(folder)


def _save(model: _Marker, out: Path) -> None:
    head = {
        "head.weight": model.head.weight[0].detach().numpy().astype(np.float16),
        "head.bias": model.head.bias.detach().numpy().astype(np.float16),
    }
    np.savez_compressed(out, **learnt(model.encoder), **head)  # type: ignore[arg-type]
