"""Train the reader, and build what is served from the encoder and the learnt updates.

The encoder itself stays as it is; beside each of its linear layers two thin matrices learn. What is kept in
the repository is only these (``reader.npz``); `fetch_reader` adds them to the encoder's weights.

Source: low-rank adaptation, Hu et al. 2021, arXiv:2106.09685.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import AutoModel

from classifiers.artefact import read_manifest, replacing, write_manifest
from classifiers.backbone import cache_root
from classifiers.errors import ModelNotLoaded
from classifiers.export import export_int8
from classifiers.reader import ADAPTERS, HEAD, Ids, folder_name, lay_out
from classifiers.router import pad, warm_then_fall
from classifiers.tokens import load_tokenizer

RANK = 16
SCALE = 2.0
"""By how much an update counts: fixed, so that learning rates mean the same at every rank."""


Example = tuple[str, Sequence[str], Sequence[bool]]
"""An article beside a question: its title, its sentences, and which of them answer; perhaps none."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that changes the result."""

    epochs: int = 3
    questions: int = 4
    """In a batch."""
    rate: float = 5e-4
    head_rate: float = 1e-3
    warm_up: float = 0.1
    answers_count: float = 4.0
    """How much more a sentence that answers counts than one that does not: there are ten times fewer."""
    seed: int = 7
    threads: int = 2


class _Updated(nn.Module):
    """A frozen linear layer and the two thin matrices that learn beside it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Parameter(torch.randn(RANK, layer.in_features) / layer.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(layer.out_features, RANK))

    def forward(self, states: Tensor) -> Tensor:
        """The layer's output and the update's."""
        update = nn.functional.linear(nn.functional.linear(states, self.down), self.up)
        whole: Tensor = self.layer(states) + SCALE * update
        return whole


class _Marker(nn.Module):
    """Windows to one score per sentence, for training."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        for parameter in encoder.parameters():
            parameter.requires_grad = False
        for module, name, layer in list(_linear_layers(encoder)):
            setattr(module, name, _Updated(layer))
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
    """The merged encoder as one tensor function: ids and mask to the states of all tokens."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Shapes (batch, tokens) twice, to (batch, tokens, hidden)."""
        states: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return states


def train_reader(
    questions: Sequence[tuple[str, Sequence[Example]]],
    backbone: Path,
    out: Path = ADAPTERS,
    recipe: Recipe | None = None,
) -> Path:
    """Learn the updates; about half an hour for 2,000 questions on two idle cores.

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
    model = _Marker(_load(backbone)).eval()  # without dropout: the updates are small
    batches = _encoded(questions, backbone)
    steps = recipe.epochs * -(-len(batches) // recipe.questions)
    optimizer, schedule = _optimizer(model, recipe, steps)
    shuffled = random.Random(recipe.seed)  # noqa: S311  (an order, no secret)
    for epoch in range(recipe.epochs):
        shuffled.shuffle(batches)
        rows = range(0, len(batches), recipe.questions)
        for start in tqdm(rows, desc=f"epoch {epoch + 1}", file=sys.stderr, leave=False):
            loss = _loss(model, batches[start : start + recipe.questions], recipe)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    _save(model, out)
    return out


def _optimizer(
    model: _Marker, recipe: Recipe, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Rates rise, then fall to zero at the last of the steps."""
    learnt = [p for p in model.encoder.parameters() if p.requires_grad]
    groups = [
        {"params": list(model.head.parameters()), "lr": recipe.head_rate},
        {"params": learnt, "lr": recipe.rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warm_then_fall(step, steps, recipe.warm_up)
    )


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


def fetch_reader(backbone: Path, cache_dir: Path | None = None, adapters: Path = ADAPTERS) -> Path:
    """Give the folder of the reader, making it on the first call (half a minute).

    Args:
        backbone: Folder of the encoder that the updates were learnt for, `classifiers.backbone.DEFAULT`.
        cache_dir: Default: `classifiers.backbone.cache_root`.
        adapters: From `train_reader`.
    """
    folder = (cache_dir or cache_root()) / folder_name(adapters)
    try:
        read_manifest(folder)
    except ModelNotLoaded:
        with np.load(adapters) as kept, replacing(folder) as scratch:
            _build(backbone, dict(kept), scratch)
    return folder


def _build(backbone: Path, updates: dict[str, np.ndarray[Any, Any]], folder: Path) -> None:
    encoder = _load(backbone)
    with torch.no_grad():
        for name, layer in encoder.named_modules():
            if f"{name}.down" in updates:
                down, up = (torch.from_numpy(updates[f"{name}.{part}"]).float() for part in ("down", "up"))
                layer.weight += SCALE * up @ down
    export_int8(_States(encoder).eval(), folder / "reader.onnx")
    np.savez(folder / HEAD, weight=updates["head.weight"].astype(np.float32), bias=updates["head.bias"][0])
    (folder / "tokenizer.json").write_bytes((backbone / "tokenizer.json").read_bytes())
    write_manifest(folder)


def _load(backbone: Path) -> Any:  # noqa: ANN401
    return AutoModel.from_pretrained(backbone, dtype=torch.float32, attn_implementation="eager")


def _linear_layers(encoder: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    layers: Any = encoder.encoder
    for module in layers.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                yield module, name, child


def _save(model: _Marker, out: Path) -> None:
    learnt = {n: p.detach().numpy() for n, p in model.encoder.named_parameters() if p.requires_grad}
    head = {
        "head.weight": model.head.weight[0].detach().numpy(),
        "head.bias": model.head.bias.detach().numpy(),
    }
    kept: dict[str, Any] = {name: values.astype(np.float16) for name, values in (learnt | head).items()}
    np.savez_compressed(out, **kept)
