"""How good the shipped router is, beside simpler ones, and what the emergency rules catch and miss.

``python -m classifiers.evaluate FOLDER TEST.jsonl [--train TRAIN.jsonl] [--backbone FOLDER]``
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from classifiers.dataset import load_file
from classifiers.department import FRONT_DESK, DepartmentClassifier, Prediction
from classifiers.encoder import Encoder
from classifiers.errors import BadDataset
from classifiers.safety import check

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """A message with every department that counts as right, the preferred one first."""

    text: str
    accepted: tuple[str, ...]


def load_cases(path: Path) -> list[Case]:
    """Read {"text","department"} or {"text","accepted":[...]} lines.

    Raises:
        BadDataset: A line is not of either form.
    """
    cases = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            cases.append(
                Case(row["text"], tuple(row["accepted"] if "accepted" in row else [row["department"]]))
            )
        except (ValueError, KeyError, TypeError) as error:
            raise BadDataset(path, number, str(error)) from error
    return cases


def evaluate(
    folder: Path, test_path: Path, *, train_path: Path | None = None, backbone: Path | None = None
) -> dict[str, Any]:
    """Measure a trained folder on labelled messages, one message per call as in service.

    Args:
        folder: Written by `classifiers.train.train`.
        test_path: JSON Lines, see `load_cases`.
        train_path: What the simpler models learn from; default train.jsonl beside the test set, if there.
        backbone: With it, the frozen encoder with a logistic regression is measured too.

    Returns:
        ``model``: n, accuracy, macro_f1, macro_f1_of_5 (labels with five messages or more), top2, ece,
        coverage, mean_set_size, automation (share not sent to the front desk), routed_accuracy,
        out_of_scope_auroc, per_label, confusions. ``tfidf`` and ``frozen``: accuracy, macro_f1, top2,
        ece. ``emergency``: recall, missed, false_alarms (share of the test set), raised.

    Raises:
        ModelNotLoaded: See `DepartmentClassifier`.
        BadDataset: See `load_cases`.
    """
    classifier = DepartmentClassifier(folder)
    cases = load_cases(test_path)
    predictions = [classifier.predict(case.text) for case in cases]
    table = {
        **_basic(_matrix(predictions, classifier.labels), cases, classifier.labels),
        **_routing(predictions, cases),
        **_details(predictions, cases),
    }
    report: dict[str, Any] = {"test": str(test_path), "model_version": classifier.version, "model": table}
    train_path = train_path or test_path.parent / "train.jsonl"
    if train_path.is_file():
        report |= _simpler_models(train_path, cases, classifier.labels, backbone)
    report["emergency"] = evaluate_safety(test_path.parent / "emergency.jsonl", [case.text for case in cases])
    return report


def _matrix(predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
    return np.array([[p.probabilities[label] for label in labels] for p in predictions])


def _basic(probabilities: Floats, cases: Sequence[Case], labels: Sequence[str]) -> dict[str, float]:
    order = np.argsort(-probabilities, axis=1)
    top = [labels[i] for i in order[:, 0]]
    right = np.array([label in case.accepted for label, case in zip(top, cases, strict=True)])
    second = np.array([labels[i] in case.accepted for i, case in zip(order[:, 1], cases, strict=True)])
    gold, lenient = [c.accepted[0] for c in cases], _lenient(top, cases)
    frequent = [label for label in labels if gold.count(label) >= 5]
    return {
        "n": len(cases),
        "accuracy": float(right.mean()),
        "macro_f1": float(
            f1_score(gold, lenient, labels=sorted(set(gold)), average="macro", zero_division=0)
        ),
        "macro_f1_of_5": float(f1_score(gold, lenient, labels=frequent, average="macro", zero_division=0)),
        "top2": float((right | second).mean()),
        "ece": expected_calibration_error(probabilities.max(axis=1), right),
    }


def _lenient(top: Sequence[str], cases: Sequence[Case]) -> list[str]:
    """An accepted answer counts as the preferred one."""
    return [c.accepted[0] if label in c.accepted else label for label, c in zip(top, cases, strict=True)]


def expected_calibration_error(confidence: Floats, right: NDArray[np.bool_], bins: int = 10) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by size; 0 to 1.

    Source: Naeini et al. 2015.
    """
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[which == b].mean() - right[which == b].mean()) * (which == b).mean()
        for b in range(bins)
        if (which == b).any()
    ]
    return float(sum(gaps))


def _routing(predictions: Sequence[Prediction], cases: Sequence[Case]) -> dict[str, float]:
    pairs = list(zip(predictions, cases, strict=True))
    routed = [(p, c) for p, c in pairs if p.department != FRONT_DESK]
    return {
        "coverage": float(np.mean([any(label in p.set for label in c.accepted) for p, c in pairs])),
        "mean_set_size": float(np.mean([len(p.set) for p in predictions])),
        "automation": len(routed) / len(pairs),
        "routed_accuracy": float(np.mean([p.department in c.accepted for p, c in routed])) if routed else 0.0,
    }


def _details(predictions: Sequence[Prediction], cases: Sequence[Case]) -> dict[str, Any]:
    top = _lenient([max(p.probabilities, key=lambda k: p.probabilities[k]) for p in predictions], cases)
    gold = [case.accepted[0] for case in cases]
    names = sorted(set(gold))
    scores = f1_score(gold, top, labels=names, average=None, zero_division=0)
    wrong: dict[str, int] = {}
    for right, given in zip(gold, top, strict=True):
        if right != given:
            wrong[f"{right} -> {given}"] = wrong.get(f"{right} -> {given}", 0) + 1
    outside = np.array([name == "out_of_scope" for name in gold])
    share = [p.probabilities.get("out_of_scope", 0.0) for p in predictions]
    return {
        "out_of_scope_auroc": float(roc_auc_score(outside, share))
        if 0 < outside.sum() < len(outside)
        else None,
        "per_label": {
            n: {"n": gold.count(n), "f1": round(float(s), 4)} for n, s in zip(names, scores, strict=True)
        },
        "confusions": dict(sorted(wrong.items(), key=lambda item: -item[1])[:15]),
    }


def _simpler_models(
    train_path: Path, cases: Sequence[Case], labels: Sequence[str], backbone: Path | None
) -> dict[str, dict[str, float]]:
    examples = load_file(train_path, labels)
    texts, gold = [e.text for e in examples], [e.department for e in examples]
    asked = [case.text for case in cases]
    grams = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    result = {
        "tfidf": _fit_and_score(
            grams.fit_transform(texts), gold, grams.transform(asked), cases, labels, c=100.0
        )
    }
    if backbone is not None:
        encoder = Encoder(backbone)
        seen, new = encoder.embed(texts).astype(np.float64), encoder.embed(asked).astype(np.float64)
        mean, scale = seen.mean(axis=0), seen.std(axis=0) + 1e-6
        result["frozen"] = _fit_and_score(
            (seen - mean) / scale, gold, (new - mean) / scale, cases, labels, c=0.01
        )
    return result


def _fit_and_score(
    seen: object, gold: Sequence[str], new: object, cases: Sequence[Case], labels: Sequence[str], *, c: float
) -> dict[str, float]:
    model = LogisticRegression(C=c, max_iter=1000).fit(seen, gold)
    probabilities = np.zeros((len(cases), len(labels)))
    probabilities[:, [labels.index(name) for name in model.classes_]] = model.predict_proba(new)
    return _basic(probabilities, cases, labels)


def evaluate_safety(emergency_path: Path, ordinary: Sequence[str]) -> dict[str, Any]:
    """Recall on emergencies and alarms on ordinary messages.

    Args:
        emergency_path: {"text","kind"} lines; recall is None when the file is not there.
        ordinary: Messages that should raise nothing.

    Returns:
        n, recall, missed (texts), false_alarms (share), raised (texts).
    """
    raised = [text for text in ordinary if check(text)]
    report: dict[str, Any] = {"false_alarms": len(raised) / max(1, len(ordinary)), "raised": raised}
    if not emergency_path.is_file():
        return {"n": 0, "recall": None, "missed": [], **report}
    texts = [
        json.loads(line)["text"] for line in emergency_path.read_text(encoding="utf-8").splitlines() if line
    ]
    missed = [text for text in texts if check(text) is None]
    return {"n": len(texts), "recall": 1 - len(missed) / len(texts), "missed": missed, **report}


def main() -> None:
    """Evaluate from the command line; one JSON object on stdout."""
    parser = argparse.ArgumentParser(description="Evaluate a trained router.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--train", type=Path, default=None)
    parser.add_argument("--backbone", type=Path, default=None)
    arguments = parser.parse_args()
    report = evaluate(
        arguments.folder, arguments.test, train_path=arguments.train, backbone=arguments.backbone
    )
    sys.stdout.write(json.dumps(report, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
