"""Fine-tune the router and ship it: read from top to bottom.

``python -m classifiers.train [--out DIR] [--data DIR] [--backbone NAME]``

1. read data and backbone; 2. fit a linear probe on the frozen encoder; 3. fine-tune encoder and head
from there (LP-FT), keeping the epoch that explains the validation set best; 4. export to int8;
5. train a character n-gram layer and weigh it against the encoder on the validation set;
6. calibrate *through the exported model, one message per call*, because that is what will serve;
7. write the folder in one step, with metrics, model card and hashes.

Source: LP-FT, Kumar et al. 2022, arXiv:2202.10054; several draws of dropout for one run of the encoder,
Inoue 2019, arXiv:1905.09788; averaged weights, Polyak and Juditsky 1992, doi:10.1137/0330046; a last epoch
without what is learnt already, Jiang et al. 2019, arXiv:1910.00762.
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
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score
from torch import nn
from tqdm import tqdm
from transformers import AutoModel

from classifiers import safety
from classifiers.alarm import voice_of
from classifiers.artefact import read_manifest, replacing, write_manifest
from classifiers.backbone import DEFAULT, fetch_backbone
from classifiers.calibrate import MIN_GROUP, Calibration, calibrate_groups, fit_temperature, softmax
from classifiers.card import render
from classifiers.curves import curves
from classifiers.dataset import Labels, load_emergencies, load_split, load_taught_labels
from classifiers.department import GROUPS, KNOWN_WORDS, NGRAMS, VALID, group_of
from classifiers.errors import ModelNotLoaded
from classifiers.export import export_int8
from classifiers.freshness import DEFAULT_DATA, inputs_hash, is_fresh
from classifiers.kana import kana_copies
from classifiers.ngrams import NGrams, best_weight, fit_term_weights, matrix
from classifiers.router import (
    FLAGS,
    Encoded,
    Floats,
    Ids,
    Router,
    WeightAverage,
    in_batches,
    losses_of,
    pad,
    shuffled_batches,
    targets,
    warm_then_half,
)
from classifiers.runtime import open_session, run_one
from classifiers.tokens import TextToIds, clean, encode, load_tokenizer, runs, unknown_share

__all__ = ["Recipe", "is_fresh", "train"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What may be tried; the defaults are what paid (LOG.md)."""

    seed: int = 20260401
    max_epochs: int = 3
    patience: int = 2
    """Epochs without a better validation loss before stopping."""
    batch: int = 16
    encoder_lr: float = 1e-4
    """Of every layer alike: smaller rates below were worse (LOG.md)."""
    head_lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    """Share of all steps."""
    average: float = 0.998
    """What is kept is the running mean of the weights, each step's mean holding this share of the last one's;
    so the rate need not fall to zero."""
    probe_c: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1)
    probe_messages: int = 5000
    """Of the training set: enough for a head to start from, in a third of the time."""
    head_dropout: float = 0.3
    """Of the features that the head sees while it trains."""
    head_samples: int = 5
    """How many draws of that dropout share one run of the encoder."""
    last_epoch: float = 0.65
    """Share of the messages that the last epoch sees: those with the greatest loss when last seen."""
    kana_share: float = 0.15
    """Of the Japanese training messages, how many are seen again without kanji."""
    ngram_c: float = 100.0
    """Inverse regularisation of the n-gram layer."""
    max_tokens: int = 256
    """A long complaint; longer text is cut."""
    coverage: float = 0.95
    routed_accuracy: float = 0.97
    threads: int = min(2, os.cpu_count() or 1)
    """On two idle cores 1.5 times as fast as one; with others at work on them, half as fast."""


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

    labels = load_taught_labels(data_dir)
    folder = fetch_backbone(str(backbone), cache_dir)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    limit = min(recipe.max_tokens, int(read_manifest(folder, only=())["max_tokens"]))
    data = {
        name: load_encoded(data_dir, name, labels, tokenizer, limit, recipe) for name in ("train", "valid")
    }

    # Without dropout the other attention would choose a kernel whose backward pass takes twice as long.
    encoder = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    for parameter in encoder.embeddings.parameters():
        parameter.requires_grad = False  # they hold the words that the training set does not show
    model = Router(encoder, int(encoder.config.hidden_size), len(labels.all))
    bf16 = bf16_is_faster(model, data["train"].ids, recipe.batch)
    probe_facts = start_from_best_probe(model, data, recipe, bf16=bf16)
    history = fine_tune(model, data, recipe, bf16=bf16)

    with replacing(out_dir) as scratch:
        metrics, calibrations = ship(scratch, model, data, labels, recipe)
        metrics["reference"]["unknown"] = _learn_words(scratch, data_dir, labels, data["valid"].texts, limit)
        metrics |= {
            "probe": probe_facts,
            "epochs": history,
            "examples": {name: len(split.ids) for name, split in data.items()},
            "recipe": asdict(recipe),
            "seconds": round(time.monotonic() - started),
            "versions": {p: importlib.metadata.version(p) for p in ("torch", "transformers", "onnxruntime")},
        }
        _write_texts(scratch, folder, labels, metrics, str(backbone), calibrations["ja"])
        write_manifest(
            scratch,
            inputs=inputs,
            labels=list(labels.all),
            exits=list(labels.exits),
            max_tokens=limit,
            costs=list(labels.costs),
            routed_accuracy=recipe.routed_accuracy,
            ngram_factors=metrics["ngram_factors"],
            calibration={group: asdict(found) for group, found in calibrations.items()},
            backbone=str(backbone),
        )
    return out_dir


def _fix_seeds(recipe: Recipe) -> None:
    random.seed(recipe.seed)
    np.random.seed(recipe.seed)
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)


def load_encoded(
    data_dir: Path, split: str, labels: Labels, tokenizer: TextToIds, limit: int, recipe: Recipe
) -> Encoded:
    """A split with its emergencies, tokenised; the training set also with its copies in kana.

    Raises:
        BadDataset: A line of the data is wrong.
    """
    examples = load_split(data_dir, split, labels) + load_emergencies(data_dir, split)
    if split == "train":
        examples += kana_copies(examples, recipe.kana_share, recipe.seed)
    texts = [e.text for e in examples]
    return Encoded(texts, [encode(tokenizer, t, limit) for t in texts], *targets(examples, labels))


# ── linear probe ─────────────────────────────────────────────────────────────────────────────────


def start_from_best_probe(
    model: Router, data: dict[str, Encoded], recipe: Recipe, *, bf16: bool
) -> dict[str, Any]:
    """Fit logistic regressions on the frozen encoder; the best on validation becomes the head."""
    train, valid = data["train"].some(recipe.probe_messages, recipe.seed), data["valid"]
    with _autocast(bf16):
        features = {
            "train": in_batches(model.pooled, train.ids),
            "valid": in_batches(model.pooled, valid.ids),
        }
    mean, scale = features["train"].mean(axis=0), features["train"].std(axis=0) + 1e-6
    seen, new = (features["train"] - mean) / scale, (features["valid"] - mean) / scale
    losses: dict[float, float] = {}
    for c in recipe.probe_c:
        probe = LogisticRegression(C=c, max_iter=500).fit(seen[train.plain], train.gold[train.plain])
        scores = probe.decision_function(new[valid.plain])
        losses[c] = calibrated_loss(scores, valid.gold[valid.plain])
        if losses[c] == min(losses.values()):
            best, accuracy = probe, float((scores.argmax(axis=1) == valid.gold[valid.plain]).mean())
    asked = [_flag_probe(seen, train.flags[:, i], best.C) for i in range(len(FLAGS))]
    weights = np.vstack([best.coef_, *(w for w, _ in asked)])
    model.start_from_probes(
        features["train"], weights, np.concatenate([best.intercept_, *(b for _, b in asked)])
    )
    return {"c": best.C, "valid_loss": losses[best.C], "valid_accuracy": accuracy}


def _flag_probe(features: Floats, yes: Floats, c: float) -> tuple[Floats, Floats]:
    """Weights (1, hidden) and bias (1,) of a yes-or-no probe; always no where nobody says yes."""
    if not yes.any():
        return np.zeros((1, features.shape[1]), dtype=np.float32), np.full(1, -10.0, dtype=np.float32)
    probe = LogisticRegression(C=c, max_iter=500).fit(features, yes)
    return probe.coef_, probe.intercept_


def calibrated_loss(logits: NDArray[np.floating], gold: NDArray[np.int64]) -> float:
    """Negative log-likelihood after the best temperature: over-confidence alone is no fault here."""
    probabilities = softmax(logits / fit_temperature(logits, gold))
    return float(-np.log(probabilities[np.arange(len(gold)), gold] + 1e-12).mean())


# ── fine-tuning ──────────────────────────────────────────────────────────────────────────────────


def fine_tune(
    model: Router, data: dict[str, Encoded], recipe: Recipe, *, bf16: bool
) -> list[dict[str, float]]:
    """Train in place and leave the best epoch's weights in the model; epoch 0 is the probe.

    Returns:
        One record per epoch: messages, train_loss, valid_loss (after temperature), valid_accuracy, seconds.
    """
    optimizer = _optimizer(model, recipe)
    count = len(data["train"].ids)
    seen = [count] * (recipe.max_epochs - 1) + [round(recipe.last_epoch * count)]
    steps = sum(-(-share // recipe.batch) for share in seen)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warm_then_half(step, steps, recipe.warmup)
    )
    average = WeightAverage(model, recipe.average)
    rng = random.Random(recipe.seed)  # noqa: S311  (shuffling, not secrecy)
    history = [{"epoch": 0.0, "bf16": float(bf16), **_validate(model, data["valid"], bf16=bf16)}]
    best, kept = history[0]["valid_loss"], copy.deepcopy(model.state_dict())
    losses = np.zeros(count, np.float32)
    for epoch, share in enumerate(seen, start=1):
        began = time.monotonic()
        hardest = np.argsort(-losses, kind="stable")[:share]
        _one_epoch(
            model, data["train"], hardest, losses, recipe, optimizer, schedule, average, rng, bf16=bf16,
            title=f"epoch {epoch}",
        )  # fmt: skip
        loss = float(losses[hardest].mean())
        with average.in_place():
            found = _validate(model, data["valid"], bf16=bf16)
            if found["valid_loss"] < best:
                best, kept = found["valid_loss"], copy.deepcopy(model.state_dict())
        seconds = round(time.monotonic() - began, 1)
        history.append(
            {"epoch": float(epoch), "messages": share, "train_loss": loss, **found, "seconds": seconds}
        )
        tqdm.write(json.dumps(history[-1]), file=sys.stderr)
        since = epoch - min(history, key=lambda record: record["valid_loss"])["epoch"]
        if since >= recipe.patience:
            break
    model.load_state_dict(kept)
    return history


def _one_epoch(
    model: Router,
    data: Encoded,
    chosen: NDArray[np.intp],
    losses: Floats,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    average: WeightAverage,
    rng: random.Random,
    *,
    bf16: bool,
    title: str,
) -> None:
    """Learn from the chosen messages, and note the loss of each in ``losses``."""
    model.eval()  # no dropout within the encoder: three epochs do not overfit, so it only costs time (LOG.md)
    batches = shuffled_batches([data.ids[k] for k in chosen], recipe.batch, rng)
    for batch in tqdm([chosen[b] for b in batches], desc=title, file=sys.stderr, leave=False):
        with _autocast(bf16):
            features = model.features(*pad([data.ids[k] for k in batch]))
        shares, flags = torch.from_numpy(data.shares[batch]), torch.from_numpy(data.flags[batch])
        each = torch.stack(
            [
                losses_of(model.head(nn.functional.dropout(features, recipe.head_dropout)), shares, flags)
                for _ in range(recipe.head_samples)
            ]
        ).mean(dim=0)
        optimizer.zero_grad()
        each.mean().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update()
        losses[batch] = each.detach().numpy()


def _validate(model: Router, data: Encoded, *, bf16: bool) -> dict[str, float]:
    plain = data.plain
    with _autocast(bf16):
        logits = in_batches(model, [data.ids[i] for i in plain])[:, : data.shares.shape[1]]
    right = logits.argmax(axis=1) == data.gold[plain]
    return {"valid_loss": calibrated_loss(logits, data.gold[plain]), "valid_accuracy": float(right.mean())}


def _autocast(bf16: bool) -> AbstractContextManager[Any]:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16)


def _optimizer(model: Router, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW over what is not frozen, in one pass over the weights (``fused``)."""
    encoder: Any = model.pooled.backbone
    trained = [p for p in encoder.parameters() if p.requires_grad]
    groups = [
        {"params": list(model.head.parameters()), "lr": recipe.head_lr},
        {"params": trained, "lr": recipe.encoder_lr},
    ]
    return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, fused=True)


def bf16_is_faster(model: Router, rows: Sequence[Ids], batch: int) -> bool:
    """The best of four steps each way, in turn, so that a neighbour's burst does not decide.

    Only CPUs with bf16 instructions gain.
    """
    ids, mask = pad(sorted(rows, key=len)[-batch:])
    seconds: dict[bool, list[float]] = {False: [], True: []}
    model.eval()
    for _ in range(5):
        for bf16, taken in seconds.items():
            began = time.perf_counter()
            with _autocast(bf16):
                logits = model(ids, mask)
            logits.float().sum().backward()
            taken.append(time.perf_counter() - began)
    model.zero_grad()
    return min(seconds[True][1:]) < 0.9 * min(seconds[False][1:])


# ── shipping ─────────────────────────────────────────────────────────────────────────────────────


def ship(
    folder: Path, model: Router, data: dict[str, Encoded], labels: Labels, recipe: Recipe
) -> tuple[dict[str, Any], dict[str, Calibration]]:
    """Write what serves (encoder and n-gram layer) and calibrate it as it will serve.

    Returns:
        Figures on the validation set, and a calibration per group of `classifiers.department.GROUPS`.
    """
    valid = data["valid"]
    model.eval()
    export_int8(model, folder / "model.onnx")
    encoded = served_logits(folder / "model.onnx", valid.ids, recipe.threads)
    groups = np.array([group_of(text) for text in valid.texts])
    ngrams = fit_ngrams(data["train"], recipe)
    ngrams.save(folder / NGRAMS)
    spoken = np.stack([ngrams.logits(text) for text in valid.texts])
    factors = weigh_ngrams(valid, groups, encoded, spoken)
    spoken *= np.stack([factors[group] for group in groups])
    logits, exact = encoded + spoken, in_batches(model, valid.ids)
    rules = np.array([voice_of(safety.check(text)) for text in valid.texts])
    np.savez_compressed(
        folder / VALID, logits=logits, gold=valid.gold, flags=valid.flags, rules=rules, groups=groups
    )
    calibrations = calibrate_groups(
        logits, valid.gold, valid.flags, rules, groups, names=GROUPS, costs=np.array(labels.costs),
        coverage=recipe.coverage, accuracy=recipe.routed_accuracy,
    )  # fmt: skip
    temperatures = np.array([calibrations[group].temperature for group in groups])
    probabilities = softmax(logits[:, : len(labels.all)] / temperatures[:, None])
    japanese = valid.plain[groups[valid.plain] == "ja"]
    metrics = {
        "valid": valid_metrics(probabilities[japanese], valid.gold[japanese], calibrations["ja"]),
        "valid_encoder": {
            "int8_macro_f1": macro_f1(encoded, valid),
            "fp32_macro_f1": macro_f1(exact, valid),
        },
        "valid_with_ngrams": {
            "int8_macro_f1": macro_f1(logits, valid),
            "fp32_macro_f1": macro_f1(exact + spoken, valid),
        },
        "ngram_factors": {group: factors[group].tolist() for group in GROUPS},
        "reference": reference(probabilities[valid.plain], valid.gold[valid.plain]),
    }
    return metrics, calibrations


def served_logits(path: Path, rows: Sequence[Ids], threads: int) -> Floats:
    """Logits of the exported model, one message per call as in service; shape (len(rows), labels)."""
    session = open_session(path, threads)
    return np.stack(
        [run_one(session, row) for row in tqdm(rows, desc="calibrate", file=sys.stderr, leave=False)]
    )


def fit_ngrams(train: Encoded, recipe: Recipe) -> NGrams:
    """Train the n-gram layer."""
    idf = fit_term_weights(train.texts, train.shares)
    seen = matrix(train.texts, idf)
    labels = LogisticRegression(C=recipe.ngram_c, max_iter=200).fit(
        seen[train.plain], train.gold[train.plain]
    )
    asked = [_ngram_flag(seen, train.flags[:, i], recipe.ngram_c) for i in range(len(FLAGS))]
    weights = np.hstack([labels.coef_.T, *(w for w, _ in asked)]).astype(np.float32)
    return NGrams(
        idf, weights, np.concatenate([labels.intercept_, *(b for _, b in asked)]).astype(np.float32)
    )


def weigh_ngrams(
    valid: Encoded, groups: NDArray[np.str_], encoded: Floats, spoken: Floats
) -> dict[str, Floats]:
    """How much the n-grams count beside the encoder, in each group of `classifiers.department.GROUPS`.

    Where little of a language was trained on, words that were seen count for more. The flags are too rare to
    tell the groups apart.

    Args:
        valid: The validation set.
        groups: The group of each of its messages.
        encoded: The exported encoder's logits of it, shape (n, labels + flags).
        spoken: The n-gram layer's, of the same shape.

    Returns:
        Per group a factor for each output, shape (labels + flags,).
    """
    count = valid.shares.shape[1]
    steps = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
    flags = [
        best_weight([(f, _flag_loss((encoded + f * spoken)[:, count + i], valid.flags[:, i])) for f in steps])
        for i in range(len(FLAGS))
    ]
    found = {}
    for group in GROUPS:
        own = valid.plain[groups[valid.plain] == group]
        chosen = own if len(own) >= MIN_GROUP else valid.plain
        losses = [
            (f, calibrated_loss((encoded + f * spoken)[chosen, :count], valid.gold[chosen])) for f in steps
        ]
        found[group] = np.array([best_weight(losses)] * count + flags, dtype=np.float32)
    return found


def _ngram_flag(seen: csr_matrix, yes: Floats, c: float) -> tuple[Floats, Floats]:
    if not yes.any():
        return np.zeros((seen.shape[1], 1), dtype=np.float32), np.zeros(1, dtype=np.float32)
    probe = LogisticRegression(C=c, max_iter=200, class_weight="balanced").fit(seen, yes)
    return probe.coef_.T, probe.intercept_


def _flag_loss(scores: Floats, yes: Floats) -> float:
    """Minus the average precision; 0 where nobody says yes, so that the first factor wins."""
    return -float(average_precision_score(yes, scores)) if yes.any() else 0.0


def macro_f1(logits: Floats, data: Encoded) -> float:
    """Over the labels, of the messages with one matter."""
    top = logits[data.plain, : data.shares.shape[1]].argmax(axis=1)
    return float(f1_score(data.gold[data.plain], top, average="macro"))


def valid_metrics(
    probabilities: NDArray[np.float64], gold: NDArray[np.int64], calibration: Calibration
) -> dict[str, float]:
    """How the shipped model does on Japanese messages of the set that chose its thresholds: optimistic."""
    top = probabilities.argmax(axis=1)
    sets = [calibration.members(row) for row in probabilities]
    return {
        "accuracy": float((top == gold).mean()),
        "macro_f1": float(f1_score(gold, top, average="macro")),
        "coverage": float(np.mean([g in s for g, s in zip(gold, sets, strict=True)])),
        "mean_set_size": float(np.mean([len(s) for s in sets])),
    }


def reference(probabilities: NDArray[np.float64], gold: NDArray[np.int64]) -> dict[str, Any]:
    """What monitoring compares everyday messages with: confidences in ten bins, and both curves."""
    confidence = probabilities.max(axis=1)
    shares = np.histogram(confidence, bins=10, range=(0.0, 1.0))[0] / len(confidence)
    return {
        "confidence": shares.round(4).tolist(),
        "curves": curves(confidence, probabilities.argmax(axis=1) == gold),
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


def _learn_words(folder: Path, data_dir: Path, labels: Labels, valid: Sequence[str], limit: int) -> float:
    """Write down every word of the training messages; the share of unknown ones in validation messages."""
    examples = load_split(data_dir, "train", labels) + load_emergencies(data_dir, "train")
    known = {run.group() for example in examples for run in runs(example.text)}
    (folder / KNOWN_WORDS).write_text("\n".join(sorted(known)) + "\n", encoding="utf-8")
    return round(float(np.mean([unknown_share(clean(text, limit), known) for text in valid])), 4)


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
