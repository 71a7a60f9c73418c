"""Which department a message belongs to, with a calibrated confidence, or an honest "not sure"."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from classifiers.artefact import read_manifest
from classifiers.calibrate import Calibration, calibrate_groups, sigmoid, softmax
from classifiers.errors import EmptyText, ModelNotLoaded
from classifiers.language import detect
from classifiers.ngrams import MAX_CHARS, NGrams
from classifiers.runtime import open_session, run_one
from classifiers.tokens import clean, encode, load_tokenizer, runs, unknown_share

FRONT_DESK = "front_desk"
NGRAMS = "ngrams.npz"
VALID = "valid.npz"
"""What the model said of the validation messages, so that another coverage needs no training."""
KNOWN_WORDS = "known_words.txt"
"""The words of the training messages, one a line: what is not there is new to the model."""
GROUPS = ("ja", "other")
"""Groups of messages that are calibrated apart: the model is less sure in other languages, and says so."""
SECOND_AT = 0.0005
"""Probability from which a second department can be a second matter. Of 40 validation messages with two
matters .85 are noticed, of 800 with one .005 split wrongly; with .002 .80 and .004, with 0 .925 and .011."""
MODEL_NAME = 12
"""Characters of a model's version that name it beside a prediction."""
MATTERS = 0.3
"""Fall of the log odds from which a word is named to the caseworker: the odds fall by a quarter."""
_URL = re.compile(r"(?:https?://|www\.)[!-~]+", re.IGNORECASE)
_MAX_RUNS = 24


@dataclass(frozen=True, slots=True)
class Prediction:
    """Where one message goes."""

    department: str
    """A department id; ``front_desk`` or an exit (``small_talk``, ...) when abstained."""
    confidence: float
    """Calibrated probability of the most likely label, 0 to 1; 0 when nothing could be read."""
    probabilities: dict[str, float]
    """Every label, departments and exits; sums to 1."""
    set: tuple[str, ...]
    """Labels that hold the right one with the promised coverage, most likely first; () when unreadable."""
    abstained: bool
    """True when no department takes it without a person or a question in between."""
    emergency: bool = False
    """The model hears an emergency; `classifiers.safety` hears those that rules can name."""
    calm: bool = False
    """The model is certain that there is none: less likely than in any emergency it was calibrated on."""
    also: str = ""
    """The department of a second matter in the same message; "" when there is one matter."""
    model: str = ""
    """Which one says so: the first `MODEL_NAME` characters of its version."""

    def as_of_today(self, owners: Mapping[str, str]) -> Prediction:
        """What it means once departments have become one, or go by another id.

        Args:
            owners: Departments that have ended, and who took over.
        """
        shares: dict[str, float] = {}
        for label, share in self.probabilities.items():
            owner = owners.get(label, label)
            shares[owner] = shares.get(owner, 0.0) + share
        one = merged(self.set, owners) if self.department == FRONT_DESK else FRONT_DESK
        department = owners.get(self.department, self.department) if one == FRONT_DESK else one
        also = owners.get(self.also, self.also)
        return replace(
            self,
            department=department,
            confidence=max(self.confidence, *shares.values()) if self.set else self.confidence,
            probabilities=dict(sorted(shares.items(), key=lambda pair: -pair[1])),
            set=tuple(dict.fromkeys(owners.get(label, label) for label in self.set)),
            abstained=self.abstained and one == FRONT_DESK,
            also="" if also == department else also,
        )


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the message and how much it spoke for the label."""

    text: str
    weight: float
    """How far the label's log odds fall without the word: 0.7 halves the odds. Unlike a probability, the odds
    of a certain answer still move."""


class DepartmentClassifier:
    """The trained model behind one call per message."""

    def __init__(self, folder: Path, threads: int = 1, coverage: float | None = None) -> None:
        """Load and verify the artefact (about half a second).

        Args:
            folder: Written by `classifiers.train.train`.
            threads: CPU threads for one message. More than one only helps on idle cores.
            coverage: Promised share of messages whose right label is in the set, such as 0.95; default: what
                it was trained with. Another one calibrates anew, from the validation messages' scores.

        Raises:
            ModelNotLoaded: Files are missing, altered or unreadable.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        try:
            self.labels: tuple[str, ...] = tuple(manifest["labels"])
            self.exits: frozenset[str] = frozenset(manifest["exits"])
            self.version: str = manifest["inputs"]
            self.name: str = self.version[:MODEL_NAME]
            self._max_tokens = int(manifest["max_tokens"])
            self._ngram_factors = {
                k: np.array(v, dtype=np.float32) for k, v in manifest["ngram_factors"].items()
            }
            self._calibrations = {k: Calibration(**v) for k, v in manifest["calibration"].items()}
            if not set(self._calibrations) == set(self._ngram_factors) == set(GROUPS):
                raise ValueError("calibration of another set of groups")
            if coverage not in (None, self._calibrations["ja"].coverage):
                self._calibrations = _calibrated_anew(folder, manifest, coverage)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelNotLoaded(f"{folder}: incomplete manifest ({error})") from error
        self._known = frozenset((folder / KNOWN_WORDS).read_text(encoding="utf-8").split())
        self._tokenizer = load_tokenizer(folder / "tokenizer.json")
        self._session: ort.InferenceSession = open_session(folder / "model.onnx", threads)
        self._ngrams = NGrams.load(folder / NGRAMS)

    def logits(self, text: str) -> NDArray[np.float32]:
        """Raw scores of one message, before calibration.

        One message per call on purpose: int8 activations share one scale per call, so a neighbour
        in a batch would change the answer.

        Returns:
            Shape (len(self.labels) + 2,): the labels, then emergency and two matters.
        """
        return self._scores(self._ids(text), text)

    def predict(self, text: str) -> Prediction:
        """Route one message.

        Args:
            text: Personal data already masked; any length, only the head is read.

        Returns:
            A department when the conformal set is a single department and the confidence is above
            the trained threshold; an exit when it is a single exit; two departments when the message holds
            two matters, the set names no third and both together are confident enough; else ``front_desk``.
            Never calm about a message of which it read the head only.

        Raises:
            EmptyText: No visible character.

        Source: temperature scaling, Guo et al. 2017, arXiv:1706.04599; set, Sadinle et al. 2019,
        arXiv:1609.00451.
        """
        words = self._words(text)
        if words is None:
            return self._unreadable()
        ids = self._ids(words)
        found = self._decide(self._scores(ids, words), self._calibrations[group_of(words)])
        read_whole = len(text) <= MAX_CHARS and len(ids) < self._max_tokens
        return replace(found, calm=found.calm and read_whole)

    def predict_many(self, texts: Sequence[str], workers: int = 2) -> list[Prediction]:
        """Route messages side by side, each exactly as `predict` would.

        Args:
            texts: As for `predict`.
            workers: Messages in work at once; onnxruntime works outside Python's lock.

        Raises:
            EmptyText: See `predict`.
        """
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(self.predict, texts))

    def explain(self, text: str, label: str, top: int = 3) -> tuple[Word, ...]:
        """The words that spoke for a label: each is left out once, and the fall of the odds counts.

        Args:
            text: As for `predict`; of a long message the first 24 words are tried.
            label: Usually the most likely one.
            top: How many words at most; words that hardly matter are left out.

        Source: occlusion, Zeiler and Fergus 2014, arXiv:1311.2901.
        """
        words = self._words(text)
        if words is None:
            return ()
        at, temperature = self.labels.index(label), self._calibrations[group_of(words)].temperature

        def log_odds(part: str) -> float:
            scores = self.logits(part)[: len(self.labels)] / temperature
            return float(scores[at] - np.logaddexp.reduce(np.delete(scores, at)))

        whole = log_odds(words)
        found = [
            Word(run.group(), round(whole - log_odds(_without(words, run)), 3))
            for run in runs(words)[:_MAX_RUNS]
        ]
        return tuple(sorted((w for w in found if w.weight >= MATTERS), key=lambda w: -w.weight)[:top])

    def unknown_share(self, text: str) -> float:
        """Share of the message's words that no training message holds, 0 to 1; for drift, not for routing."""
        return round(unknown_share(clean(text, self._max_tokens), self._known), 3)

    def _ids(self, text: str) -> NDArray[np.int64]:
        return encode(self._tokenizer, text, self._max_tokens)

    def _scores(self, ids: NDArray[np.int64], text: str) -> NDArray[np.float32]:
        return run_one(self._session, ids) + self._ngram_factors[group_of(text)] * self._ngrams.logits(text)

    def _words(self, text: str) -> str | None:
        """What of a message can be read; None for emoji, links and marks alone."""
        cleaned = clean(text, self._max_tokens)
        if not cleaned:
            raise EmptyText("the message is empty")
        words = _URL.sub(" ", cleaned)
        return words if any(character.isalnum() for character in words) else None

    def _decide(self, logits: NDArray[np.float32], calibration: Calibration) -> Prediction:
        probabilities = softmax(logits[: len(self.labels)] / calibration.temperature)
        emergency, two_matters = sigmoid(logits[len(self.labels) :])
        order = np.argsort(-probabilities, kind="stable")
        top = self.labels[order[0]]
        members = calibration.members(probabilities)
        confidence = float(probabilities[order[0]])
        sure = len(members) == 1 and confidence >= calibration.route_at[order[0]]
        also, second = "", self._second(order)
        asked_twice = two_matters >= calibration.two_matters_at
        if asked_twice and second is not None and probabilities[second] >= SECOND_AT:
            also = self.labels[second]
            confidence += float(probabilities[second])
            sure = set(members) <= {order[0], second} and confidence >= calibration.route_at[order[0]]
        return Prediction(
            department=top if sure else FRONT_DESK,
            confidence=min(1.0, confidence),
            probabilities={self.labels[i]: float(probabilities[i]) for i in order},
            set=tuple(self.labels[i] for i in members),
            abstained=not sure or top in self.exits,
            emergency=bool(emergency >= calibration.emergency_at),
            calm=bool(emergency < calibration.calm_at),
            also=also if sure else "",
            model=self.name,
        )

    def _second(self, order: NDArray[np.int64]) -> int | None:
        """The likeliest department after the first label; None when that is an exit, or no other is known."""
        if self.labels[order[0]] in self.exits:
            return None
        return next((int(i) for i in order[1:] if self.labels[i] not in self.exits), None)

    def _unreadable(self) -> Prediction:
        share = 1.0 / len(self.labels)
        return Prediction(FRONT_DESK, 0.0, dict.fromkeys(self.labels, share), (), True, model=self.name)


def _calibrated_anew(folder: Path, manifest: dict[str, Any], coverage: float) -> dict[str, Calibration]:
    with np.load(folder / VALID) as kept:
        return calibrate_groups(
            kept["logits"], kept["gold"], kept["flags"], kept["rules"], kept["groups"], names=GROUPS,
            costs=np.array(manifest["costs"]), coverage=coverage, accuracy=float(manifest["routed_accuracy"]),
        )  # fmt: skip


def merged(labels: Collection[str], owners: Mapping[str, str]) -> str:
    """The one department that answers for several between which the model cannot choose.

    Args:
        labels: The prediction's set.
        owners: Departments that have ended, and who took over.

    Returns:
        Its id; the front desk where they still have several owners.
    """
    found = {owners.get(label, label) for label in labels}
    return found.pop() if len(labels) > len(found) == 1 else FRONT_DESK


def group_of(text: str) -> str:
    """Which calibration a message gets; one of `GROUPS`."""
    return "ja" if detect(text) == "ja" else "other"


def _without(text: str, run: re.Match[str]) -> str:
    return text[: run.start()] + " " + text[run.end() :]
