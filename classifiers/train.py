"""Fine-tune the router and ship it: read from top to bottom.

``python -m classifiers.train [--out DIR] [--data DIR] [--backbone NAME]``

1. read data and backbone; 2. fit a linear probe on the frozen encoder; 3. fine-tune encoder and head
from there (LP-FT), keeping the epoch that explains the validation set best; 4. export to int8;
5. calibrate *through the exported model, one message per call*, because that is what will serve;
6. write the folder in one step, with metrics, model card and hashes.

Source: LP-FT, Kumar et al. 2022, arXiv:2202.10054; layer-wise decay, Howard and Ruder 2018, arXiv:1801.06146.
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from torch import Tensor, nn
from tqdm import tqdm
from transformers import AutoModel

from classifiers.artefact import read_manifest, replacing, write_manifest
from classifiers.backbone import DEFAULT, fetch_backbone
from classifiers.calibrate import Calibration, calibrate, fit_temperature, softmax
from classifiers.card import render
from classifiers.dataset import Example, Labels, load_labels, load_split
from classifiers.errors import ModelNotLoaded
from classifiers.export import MeanPooled, export_int8
from classifiers.freshness import DEFAULT_DATA, inputs_hash, is_fresh
from classifiers.runtime import open_session, run_one
from classifiers.tokens import encode, load_tokenizer

__all__ = ["Recipe", "is_fresh", "train"]

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What may be tried; the defaults are what paid (LOG.md)."""

    seed: int = 20260401
    max_epochs: int = 12
    patience: int = 4
    """Epochs without a better validation loss before stopping."""
    batch: int = 16
    encoder_lr: float = 1e-4
    """Of the last layer; each layer below gets `layer_decay` of the one above."""
    head_lr: float = 1e-3
    layer_decay: float = 0.8
    weight_decay: float = 0.01
    warmup: float = 0.1
    """Share of all steps."""
    probe_c: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1)
    max_tokens: int = 256
    """A long complaint; longer text is cut."""
    coverage: float = 0.95
    routed_accuracy: float = 0.97
    threads: int = 1
    """More only help on idle cores: with others at work two were half as fast as one."""


class Router(nn.Module):
    """Encoder, mean, unit length, standardise, linear."""

    def __init__(self, encoder: nn.Module, hidden: int, labels: int) -> None:
        """Start with a head of zeros; `start_from_probe` fills it."""
        super().__init__()
        self.pooled = MeanPooled(encoder)
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(hidden))
        self.register_buffer("scale", torch.ones(hidden))
        self.head = nn.Linear(hidden, labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Shapes (batch, tokens) twice, to logits (batch, labels)."""
        features = (self.pooled(input_ids, attention_mask).float() - self.mean) / self.scale
        logits: Tensor = self.head(features)
        return logits

    def start_from_probe(self, features: Floats, probe: LogisticRegression) -> None:
        """Take over the standardisation and the weights of a probe fitted on standardised features."""
        self.mean.copy_(torch.from_numpy(features.mean(axis=0)))
        self.scale.copy_(torch.from_numpy(features.std(axis=0) + 1e-6))
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(probe.coef_))
            self.head.bias.copy_(torch.from_numpy(probe.intercept_))


@dataclass(frozen=True, slots=True)
class Encoded:
    """A split, tokenised."""

    ids: list[Ids]
    gold: NDArray[np.int64]


def train(
    out_dir: Path,
    data_dir: Path = DEFAULT_DATA,
    backbone: str | Path = DEFAULT,
    *,
    recipe: Recipe | None = None,
    cache_dir: Path | None = None,
) -> Path:
    """Train from scratch to a served artefact.

    Args:
        out_dir: Replaced in one step when all is done.
        data_dir: Holds departments.yaml and inquiries/{train,valid}.jsonl; the test set is not read.
        backbone: See `classifiers.backbone.fetch_backbone`.
        recipe: Default: `Recipe()`.
        cache_dir: Where backbones are kept.

    Returns:
        ``out_dir`` with model.onnx, tokenizer.json, labels.json, metrics.json, model_card.md, manifest.json.

    Raises:
        BadDataset: A line of the data is wrong.
        BackboneUnavailable: The encoder could not be had.
    """
    recipe = recipe or Recipe()
    started = time.monotonic()
    _fix_seeds(recipe)
    inputs = inputs_hash(data_dir, backbone)

    labels = load_labels(data_dir)
    folder = fetch_backbone(str(backbone), cache_dir)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    limit = min(recipe.max_tokens, int(read_manifest(folder, only=())["max_tokens"]))
    splits = {name: load_split(data_dir, name, labels) for name in ("train", "valid")}
    encoded = {
        name: Encoded([encode(tokenizer, e.text, limit) for e in split], _gold(split, labels))
        for name, split in splits.items()
    }

    encoder = AutoModel.from_pretrained(folder, dtype=torch.float32)
    model = Router(encoder, int(encoder.config.hidden_size), len(labels.all))
    probe_facts = start_from_best_probe(model, encoded, recipe)
    history = fine_tune(model, encoded, recipe)

    with replacing(out_dir) as scratch:
        model.eval()
        export_int8(model, scratch / "model.onnx")
        logits = served_logits(scratch / "model.onnx", encoded["valid"].ids, recipe.threads)
        calibration = calibrate(
            logits, encoded["valid"].gold, coverage=recipe.coverage, accuracy=recipe.routed_accuracy
        )
        metrics: dict[str, Any] = {
            "valid": valid_metrics(logits, encoded["valid"].gold, calibration),
            "probe": probe_facts,
            "epochs": history,
            "examples": {name: len(split) for name, split in splits.items()},
            "recipe": asdict(recipe),
            "seconds": round(time.monotonic() - started),
            "versions": {p: importlib.metadata.version(p) for p in ("torch", "transformers", "onnxruntime")},
        }
        _write_texts(scratch, folder, labels, metrics, str(backbone), calibration)
        write_manifest(
            scratch,
            inputs=inputs,
            labels=list(labels.all),
            exits=list(labels.exits),
            max_tokens=limit,
            calibration=asdict(calibration),
            backbone=str(backbone),
        )
    return out_dir


def _fix_seeds(recipe: Recipe) -> None:
    random.seed(recipe.seed)
    np.random.seed(recipe.seed)
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)


def _gold(examples: Sequence[Example], labels: Labels) -> NDArray[np.int64]:
    return np.array([labels.all.index(e.department) for e in examples], dtype=np.int64)


# ── batches ──────────────────────────────────────────────────────────────────────────────────────


def pad(rows: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """Ids and mask of shape (rows, longest); what is masked may hold any id, so it holds 1."""
    longest = max(len(row) for row in rows)
    ids, mask = (
        torch.ones((len(rows), longest), dtype=torch.long),
        torch.zeros((len(rows), longest), dtype=torch.long),
    )
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.from_numpy(row)
        mask[i, : len(row)] = 1
    return ids, mask


def shuffled_batches(data: Encoded, size: int, rng: random.Random) -> list[list[int]]:
    """Indices in random order, neighbours of similar length together: less padding, twice the speed."""
    order = list(range(len(data.ids)))
    rng.shuffle(order)
    pools = [
        sorted(order[i : i + 16 * size], key=lambda k: len(data.ids[k]))
        for i in range(0, len(order), 16 * size)
    ]
    batches = [pool[i : i + size] for pool in pools for i in range(0, len(pool), size)]
    rng.shuffle(batches)
    return batches


def by_length(rows: Sequence[Ids], size: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, for evaluation."""
    order = sorted(range(len(rows)), key=lambda k: len(rows[k]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


# ── linear probe ─────────────────────────────────────────────────────────────────────────────────


@torch.no_grad()
def in_batches(module: nn.Module, rows: Sequence[Ids]) -> Floats:
    """Outputs of an eval-mode module for all rows, shape (len(rows), width)."""
    module.eval()
    outputs: dict[int, Floats] = {}
    for batch in by_length(rows, 32):
        for i, row in zip(batch, module(*pad([rows[k] for k in batch])).float().numpy(), strict=True):
            outputs[i] = row
    return np.stack([outputs[i] for i in range(len(rows))])


def start_from_best_probe(model: Router, data: dict[str, Encoded], recipe: Recipe) -> dict[str, Any]:
    """Fit logistic regressions on the frozen encoder; the best on validation becomes the head."""
    features = {name: in_batches(model.pooled, split.ids) for name, split in data.items()}
    mean, scale = features["train"].mean(axis=0), features["train"].std(axis=0) + 1e-6
    losses: dict[float, float] = {}
    for c in recipe.probe_c:
        probe = LogisticRegression(C=c, max_iter=500).fit(
            (features["train"] - mean) / scale, data["train"].gold
        )
        scores = probe.decision_function((features["valid"] - mean) / scale)
        losses[c] = calibrated_loss(scores, data["valid"].gold)
        if losses[c] == min(losses.values()):
            model.start_from_probe(features["train"], probe)
            accuracy = float((scores.argmax(axis=1) == data["valid"].gold).mean())
    best = min(losses, key=lambda c: losses[c])
    return {"c": best, "valid_loss": losses[best], "valid_accuracy": accuracy}


def calibrated_loss(logits: NDArray[np.floating], gold: NDArray[np.int64]) -> float:
    """Negative log-likelihood after the best temperature: over-confidence alone is no fault here."""
    probabilities = softmax(logits / fit_temperature(logits, gold))
    return float(-np.log(probabilities[np.arange(len(gold)), gold] + 1e-12).mean())


# ── fine-tuning ──────────────────────────────────────────────────────────────────────────────────


def fine_tune(model: Router, data: dict[str, Encoded], recipe: Recipe) -> list[dict[str, float]]:
    """Train in place and leave the best epoch's weights in the model; epoch 0 is the probe.

    Returns:
        One record per epoch: train_loss, valid_loss (after temperature), valid_accuracy, seconds.
    """
    optimizer = _optimizer(model, recipe)
    steps = recipe.max_epochs * -(-len(data["train"].ids) // recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _warm_then_fall(step, steps, recipe.warmup)
    )
    bf16 = bf16_is_faster(model, data["train"].ids, recipe.batch)
    rng = random.Random(recipe.seed)  # noqa: S311  (shuffling, not secrecy)
    history = [{"epoch": 0.0, "bf16": float(bf16), **_validate(model, data["valid"])}]
    best, kept = history[0]["valid_loss"], copy.deepcopy(model.state_dict())
    for epoch in range(1, recipe.max_epochs + 1):
        began = time.monotonic()
        loss = _one_epoch(
            model, data["train"], recipe, optimizer, schedule, rng, bf16=bf16, title=f"epoch {epoch}"
        )
        history.append(
            {"epoch": float(epoch), "train_loss": loss, **_validate(model, data["valid"]),
             "seconds": round(time.monotonic() - began, 1)}
        )  # fmt: skip
        if history[-1]["valid_loss"] < best:
            best, kept = history[-1]["valid_loss"], copy.deepcopy(model.state_dict())
        since = epoch - min(history, key=lambda record: record["valid_loss"])["epoch"]
        if since >= recipe.patience:
            break
    model.load_state_dict(kept)
    return history


def _one_epoch(
    model: Router,
    data: Encoded,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    rng: random.Random,
    *,
    bf16: bool,
    title: str,
) -> float:
    model.train()
    total = 0.0
    batches = shuffled_batches(data, recipe.batch, rng)
    for batch in tqdm(batches, desc=title, file=sys.stderr, leave=False):
        with _autocast(bf16):
            logits = model(*pad([data.ids[k] for k in batch]))
        loss = nn.functional.cross_entropy(logits.float(), torch.from_numpy(data.gold[batch]))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item() * len(batch)
    return total / len(data.ids)


def _validate(model: Router, data: Encoded) -> dict[str, float]:
    logits = in_batches(model, data.ids)
    right = logits.argmax(axis=1) == data.gold
    return {"valid_loss": calibrated_loss(logits, data.gold), "valid_accuracy": float(right.mean())}


def _autocast(bf16: bool) -> AbstractContextManager[Any]:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16)


def _warm_then_fall(step: int, steps: int, warmup: float) -> float:
    rise = max(1, int(steps * warmup))
    return min((step + 1) / rise, max(0.0, (steps - step) / max(1, steps - rise)))


def _optimizer(model: Router, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; embeddings frozen (they hold the words that the training set does not show)."""
    encoder: Any = model.pooled.backbone
    for parameter in encoder.embeddings.parameters():
        parameter.requires_grad = False
    layers = _layers(encoder)
    groups: list[dict[str, Any]] = [{"params": list(model.head.parameters()), "lr": recipe.head_lr}]
    for depth, layer in enumerate(reversed(layers)):
        rate = recipe.encoder_lr * recipe.layer_decay**depth
        groups.append({"params": [p for p in layer.parameters() if p.requires_grad], "lr": rate})
    return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)


def _layers(encoder: Any) -> list[nn.Module]:  # noqa: ANN401  (any transformers encoder)
    """BERT and its relatives keep them in ``encoder.layer``, ModernBERT in ``layers``."""
    return list(encoder.encoder.layer if hasattr(encoder, "encoder") else encoder.layers)


def bf16_is_faster(model: Router, rows: Sequence[Ids], batch: int) -> bool:
    """Time three steps each way; only CPUs with bf16 instructions gain."""
    ids, mask = pad(sorted(rows, key=len)[-batch:])
    seconds = {}
    model.train()
    for bf16 in (False, True):
        for attempt in range(4):
            if attempt == 1:
                began = time.perf_counter()
            with _autocast(bf16):
                logits = model(ids, mask)
            logits.float().sum().backward()
        seconds[bf16] = time.perf_counter() - began
    model.zero_grad()
    return seconds[True] < 0.9 * seconds[False]


# ── shipping ─────────────────────────────────────────────────────────────────────────────────────


def served_logits(path: Path, rows: Sequence[Ids], threads: int) -> Floats:
    """Logits of the exported model, one message per call as in service; shape (len(rows), labels)."""
    session = open_session(path, threads)
    return np.stack(
        [run_one(session, row) for row in tqdm(rows, desc="calibrate", file=sys.stderr, leave=False)]
    )


def valid_metrics(logits: Floats, gold: NDArray[np.int64], calibration: Calibration) -> dict[str, float]:
    """How the shipped model does on the set that chose its epoch and thresholds: optimistic."""
    probabilities = softmax(logits / calibration.temperature)
    top = probabilities.argmax(axis=1)
    sets = [calibration.members(row) for row in probabilities]
    return {
        "accuracy": float((top == gold).mean()),
        "macro_f1": float(f1_score(gold, top, average="macro")),
        "coverage": float(np.mean([g in s for g, s in zip(gold, sets, strict=True)])),
        "mean_set_size": float(np.mean([len(s) for s in sets])),
    }


def _write_texts(
    scratch: Path,
    backbone: Path,
    labels: Labels,
    metrics: dict[str, Any],
    name: str,
    calibration: Calibration,
) -> None:
    shutil.copyfile(backbone / "tokenizer.json", scratch / "tokenizer.json")
    (scratch / "labels.json").write_text(json.dumps(asdict(labels), indent=1) + "\n", encoding="utf-8")
    (scratch / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    (scratch / "model_card.md").write_text(render(metrics, name, calibration), encoding="utf-8")


def main() -> None:
    """Train from the command line; progress on stderr, the folder on stdout."""
    parser = argparse.ArgumentParser(description="Train the router.")
    parser.add_argument(
        "--out", type=Path, default=Path(os.environ.get("MADOGUCHI_CLASSIFIER_DIR", "var/classifier"))
    )
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--backbone", default=os.environ.get("MADOGUCHI_BACKBONE", DEFAULT))
    arguments = parser.parse_args()
    try:
        folder = train(arguments.out, arguments.data, arguments.backbone)
    except ModelNotLoaded as error:
        sys.exit(f"the exported model cannot be read back: {error}")
    sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    main()
