"""Which department a message belongs to, with a calibrated confidence, or an honest "not sure"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from classifiers.artefact import read_manifest
from classifiers.calibrate import Calibration, softmax
from classifiers.errors import EmptyText, ModelNotLoaded
from classifiers.runtime import open_session, run_one
from classifiers.tokens import clean, encode, load_tokenizer

FRONT_DESK = "front_desk"
_URL = re.compile(r"(?:https?://|www\.)[!-~]+", re.IGNORECASE)


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


class DepartmentClassifier:
    """The trained model behind one call per message."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Load and verify the artefact (about half a second).

        Args:
            folder: Written by `classifiers.train.train`.
            threads: CPU threads for one message. More than one only helps on idle cores.

        Raises:
            ModelNotLoaded: Files are missing, altered or unreadable.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        try:
            self.labels: tuple[str, ...] = tuple(manifest["labels"])
            self.exits: frozenset[str] = frozenset(manifest["exits"])
            self.version: str = manifest["inputs"]
            self._max_tokens = int(manifest["max_tokens"])
            self._calibration = Calibration(**manifest["calibration"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelNotLoaded(f"{folder}: incomplete manifest ({error})") from error
        self._tokenizer = load_tokenizer(folder / "tokenizer.json")
        self._session: ort.InferenceSession = open_session(folder / "model.onnx", threads)

    def logits(self, text: str) -> NDArray[np.float32]:
        """Raw scores of one message, before calibration.

        One message per call on purpose: int8 activations share one scale per call, so a neighbour
        in a batch would change the answer.

        Returns:
            Shape (len(self.labels),).
        """
        return run_one(self._session, encode(self._tokenizer, text, self._max_tokens))

    def predict(self, text: str) -> Prediction:
        """Route one message.

        Args:
            text: Personal data already masked; any length, only the head is read.

        Returns:
            A department when the conformal set is a single department and the confidence is above
            the trained threshold; an exit when it is a single exit; else ``front_desk``.

        Raises:
            EmptyText: No visible character.

        Source: temperature scaling, Guo et al. 2017, arXiv:1706.04599; set, Sadinle et al. 2019,
        arXiv:1609.00451.
        """
        if not clean(text, self._max_tokens):
            raise EmptyText("the message is empty")
        words = _URL.sub(" ", clean(text, self._max_tokens))
        if not any(character.isalnum() for character in words):
            return self._unreadable()
        return self._decide(softmax(self.logits(words) / self._calibration.temperature))

    def _decide(self, probabilities: NDArray[np.float64]) -> Prediction:
        order = np.argsort(-probabilities, kind="stable")
        top = self.labels[order[0]]
        confidence = float(probabilities[order[0]])
        members = self._calibration.members(probabilities)
        sure = len(members) == 1 and confidence >= self._calibration.route_at
        return Prediction(
            department=top if sure else FRONT_DESK,
            confidence=confidence,
            probabilities={self.labels[i]: float(probabilities[i]) for i in order},
            set=tuple(self.labels[i] for i in members),
            abstained=not sure or top in self.exits,
        )

    def _unreadable(self) -> Prediction:
        share = 1.0 / len(self.labels)
        return Prediction(FRONT_DESK, 0.0, dict.fromkeys(self.labels, share), (), True)
