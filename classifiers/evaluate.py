"""How good the shipped router is, beside simpler ones, and what the emergency rules catch and miss.

``python -m classifiers.evaluate FOLDER TEST.jsonl [--train TRAIN.jsonl] [--backbone FOLDER]``
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from classifiers.alarm import raises_alarm
from classifiers.curves import curves, expected_calibration_error
from classifiers.dataset import load_emergencies, load_file, read_lines
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
    also: str = ""
    """The department of a second matter."""
    language: str = "ja"


def load_cases(path: Path) -> list[Case]:
    """Read {"text","department"} or {"text","accepted":[...]} lines, perhaps with "also" and "language".

    Raises:
        BadDataset: A line is not of either form, or there is none.
    """
    try:
        lines = read_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise BadDataset(path, 0, str(error)) from error
    cases = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            accepted = tuple(row["accepted"] if "accepted" in row else [row["department"]])
            cases.append(Case(row["text"], accepted, row.get("also", ""), row.get("language", "ja")))
        except (ValueError, KeyError, TypeError) as error:
            raise BadDataset(path, number, str(error)) from error
    if not cases:
        raise BadDataset(path, 0, "no messages")
    return cases


def evaluate(
    folder: Path,
    test_path: Path,
    *,
    train_path: Path | None = None,
    backbone: Path | None = None,
    simpler: bool = True,
    coverage: float | None = None,
    successors: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Measure a trained folder on labelled messages, one message per call as in service.

    Args:
        folder: Written by `classifiers.train.train`.
        test_path: JSON Lines, see `load_cases`; emergency.jsonl beside it is read too, if there.
        train_path: What the simpler models learn from; default train.jsonl beside the test set, if there.
        backbone: With it, the frozen encoder with a logistic regression is measured too.
        simpler: Whether to learn and measure the simpler models at all.
        coverage: What the sets promise, as `DepartmentClassifier` takes it.
        successors: Departments that have ended, and who took over: both the messages and what the model says
            of them count for who took over.

    Returns:
        ``model`` (Japanese messages with one matter): n, accuracy, macro_f1, macro_f1_of_5 (labels with
        five messages or more), top2, ece, coverage, worst_label_coverage, mean_set_size, automation
        (share not sent to the front desk), routed_accuracy, out_of_scope_auroc, per_label, confusions.
        ``tfidf`` and ``frozen``: accuracy, macro_f1, top2, ece. ``languages``: n and accuracy of each.
        ``two_matters``: n, noticed, both_found, wrongly_split (share of the plain messages).
        ``emergency``: see `evaluate_safety`. ``curves``: see `classifiers.curves`.

    Raises:
        ModelNotLoaded: See `DepartmentClassifier`.
        BadDataset: See `load_cases`.
    """
    classifier = DepartmentClassifier(folder, coverage=coverage)
    owners = successors or {}
    everything = [_asked_today(case, owners) for case in load_cases(test_path)]
    told = classifier.predict_many([c.text for c in everything])
    labels = _today(classifier.labels, owners)
    found = dict(zip(everything, (one.as_of_today(owners) for one in told), strict=True))
    cases = [case for case in everything if not case.also and case.language == "ja"]
    predictions = [found[case] for case in cases]
    table = {
        **_basic(_matrix(predictions, labels), cases, labels),
        **_routing(predictions, cases),
        **_details(predictions, cases),
    }
    report: dict[str, Any] = {"test": str(test_path), "model_version": classifier.version, "model": table}
    right = np.array([next(iter(found[c].probabilities)) in c.accepted for c in cases])
    report["curves"] = curves(np.array([max(found[c].probabilities.values()) for c in cases]), right)
    train_path = train_path or test_path.parent / "train.jsonl"
    if simpler and train_path.is_file():
        report |= _simpler_models(train_path, cases, labels, owners, backbone)
    report["languages"] = _languages(found)
    report["two_matters"] = _two_matters(found)
    return report | _emergency(classifier, test_path.parent, found)


def _today(labels: Iterable[str], owners: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(owners.get(label, label) for label in labels))


def _asked_today(case: Case, owners: Mapping[str, str]) -> Case:
    accepted, also = _today(case.accepted, owners), owners.get(case.also, case.also)
    return replace(case, accepted=accepted, also="" if also in accepted else also)


def _languages(found: dict[Case, Prediction]) -> dict[str, dict[str, float]]:
    right: dict[str, list[bool]] = {}
    for case, prediction in found.items():
        if case.language != "ja":
            top = next(iter(prediction.probabilities))
            right.setdefault(case.language, []).append(top in case.accepted)
    return {name: {"n": len(hits), "accuracy": float(np.mean(hits))} for name, hits in sorted(right.items())}


def _two_matters(found: dict[Case, Prediction]) -> dict[str, float]:
    double = [(case, prediction) for case, prediction in found.items() if case.also]
    single = [prediction for case, prediction in found.items() if not case.also]
    both = [{*list(p.probabilities)[:2]} == {c.accepted[0], c.also} for c, p in double]
    noticed = [bool(p.also) for _, p in double]
    return {
        "n": len(double),
        "noticed": float(np.mean(noticed)) if double else 0.0,
        "both_found": float(np.mean(np.logical_and(both, noticed))) if double else 0.0,
        "both_lead": float(np.mean(both)) if double else 0.0,
        "wrongly_split": float(np.mean([bool(p.also) for p in single])) if single else 0.0,
    }


def _emergency(
    classifier: DepartmentClassifier, folder: Path, found: dict[Case, Prediction]
) -> dict[str, Any]:
    """Of every language.

    ``false_alarms_ja`` counts Japanese messages with one matter only, ``notices`` the ordinary messages that
    are answered with the notice, calmed afterwards or not.
    """
    if not (folder / "emergency.jsonl").is_file():
        return {}
    texts = [e.text for e in load_emergencies(folder.parent, "test")]
    ordinary = [case.text for case in found]
    told = {case.text: prediction for case, prediction in found.items()}
    told |= dict(zip(texts, classifier.predict_many(texts), strict=True))

    def hears(text: str) -> bool:
        return raises_alarm(check(text), told[text])

    report = evaluate_safety(hears, texts, ordinary)
    japanese = [hears(case.text) for case in found if case.language == "ja" and not case.also]
    # The rules speak to the citizen at once; the model can only take back the alarm of the staff.
    noticed = [check(case.text) is not None or prediction.emergency for case, prediction in found.items()]
    report["notices"] = float(np.mean(noticed))
    report["false_alarms_ja"] = float(np.mean(japanese)) if japanese else 0.0
    for name, alone in (
        ("rules", lambda t: check(t) is not None),
        ("model", lambda t: told[t].emergency),
    ):
        part = evaluate_safety(alone, texts, ordinary)
        report |= {f"recall_of_{name}": part["recall"], f"false_alarms_of_{name}": part["false_alarms"]}
    return {"emergency": report}


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


def _routing(predictions: Sequence[Prediction], cases: Sequence[Case]) -> dict[str, float]:
    pairs = list(zip(predictions, cases, strict=True))
    routed = [(p, c) for p, c in pairs if p.department != FRONT_DESK]
    covered: dict[str, list[bool]] = {}
    for p, c in pairs:
        covered.setdefault(c.accepted[0], []).append(any(label in p.set for label in c.accepted))
    return {
        "coverage": float(np.mean([any(label in p.set for label in c.accepted) for p, c in pairs])),
        "worst_label_coverage": min(float(np.mean(hits)) for hits in covered.values()),
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
    train_path: Path,
    cases: Sequence[Case],
    labels: Sequence[str],
    owners: Mapping[str, str],
    backbone: Path | None,
) -> dict[str, dict[str, float]]:
    examples = [e for e in load_file(train_path, [*labels, *owners]) if not e.also]
    texts, gold = [e.text for e in examples], [owners.get(e.department, e.department) for e in examples]
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


def evaluate_safety(
    hears: Callable[[str], bool], emergencies: Sequence[str], ordinary: Sequence[str]
) -> dict[str, Any]:
    """Recall on emergencies and alarms on ordinary messages.

    Args:
        hears: Whether a message raises an alarm.
        emergencies: Messages that must.
        ordinary: Messages that must not.

    Returns:
        n, recall, missed (texts), false_alarms (share), raised (texts).
    """
    missed = [text for text in emergencies if not hears(text)]
    raised = [text for text in ordinary if hears(text)]
    return {
        "n": len(emergencies),
        "recall": 1 - len(missed) / max(1, len(emergencies)),
        "missed": missed,
        "false_alarms": len(raised) / max(1, len(ordinary)),
        "raised": raised,
    }


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
