"""Honest probabilities: temperature, conformal sets and the threshold for routing by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Three numbers learnt on validation data through the exported model."""

    temperature: float
    """Logits are divided by it; above 1 softens an over-confident model."""
    include_at: float
    """A label belongs to the conformal set when its probability is at least this."""
    route_at: float
    """A single label is acted upon when its probability is at least this."""
    coverage: float
    """Promised share of messages whose right label is in the set."""

    def members(self, probabilities: Floats) -> list[int]:
        """Indices of the prediction set, most likely first, never empty.

        When no label reaches the conformal threshold the message is ambiguous; the smallest set of
        labels that sums to the coverage is offered then, two at least, so that there is something to
        ask. That only adds labels, so the promised coverage holds.

        Args:
            probabilities: Shape (labels,), sums to 1.
        """
        order = np.argsort(-probabilities, kind="stable")
        members = [int(i) for i in order if probabilities[i] >= self.include_at]
        if members:
            return members
        enough = int(np.searchsorted(np.cumsum(probabilities[order]), self.coverage)) + 1
        return [int(i) for i in order[: max(2, enough)]]


def softmax(logits: NDArray[np.floating]) -> Floats:
    """Probabilities along the last axis, float64, stable for large logits."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def fit_temperature(logits: NDArray[np.floating], gold: Ints) -> float:
    """The temperature with the lowest negative log-likelihood, between 0.25 and 10.

    Args:
        logits: Shape (n, labels).
        gold: Shape (n,), label indices.

    Source: Guo et al. 2017, arXiv:1706.04599.
    """
    rows = np.arange(len(gold))
    # A fine grid instead of a solver: serving imports this module and shall not need scipy.
    grid = np.geomspace(0.25, 10.0, 200)
    losses = [-np.log(softmax(logits / t)[rows, gold] + 1e-12).mean() for t in grid]
    return float(grid[int(np.argmin(losses))])


def conformal_threshold(probabilities: Floats, gold: Ints, coverage: float) -> float:
    """Smallest probability of the right label that must still be included (LAC).

    Args:
        probabilities: Shape (n, labels), calibrated.
        gold: Shape (n,).
        coverage: Wanted share, e.g. 0.95.

    Returns:
        A probability; 0 when there are too few messages to promise anything.

    Source: Sadinle, Lei, Wasserman 2019, arXiv:1609.00451.
    """
    right = np.sort(probabilities[np.arange(len(gold)), gold])
    allowed = math.floor((len(gold) + 1) * (1 - coverage))
    return float(right[allowed - 1]) if allowed >= 1 else 0.0


def routing_threshold(probabilities: Floats, gold: Ints, accuracy: float) -> float:
    """Smallest confidence above which routed messages were right often enough.

    Args:
        probabilities: Shape (n, labels), calibrated.
        gold: Shape (n,).
        accuracy: Wanted accuracy among the messages at or above the threshold.

    Returns:
        A probability; 1 when no threshold reaches the accuracy.
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = (probabilities.argmax(axis=1) == gold)[order]
    running = np.cumsum(right) / np.arange(1, len(gold) + 1)
    good = np.flatnonzero(running >= accuracy)
    return float(confidence[order][good[-1]]) if len(good) else 1.0


def calibrate(
    logits: NDArray[np.floating], gold: Ints, *, coverage: float = 0.95, accuracy: float = 0.97
) -> Calibration:
    """All three numbers from validation logits.

    Args:
        logits: Shape (n, labels), from the model as it will be served.
        gold: Shape (n,), label indices.
        coverage: Promised coverage of the sets.
        accuracy: Wanted accuracy of what is routed without a question.
    """
    temperature = fit_temperature(logits, gold)
    probabilities = softmax(logits / temperature)
    return Calibration(
        temperature=temperature,
        include_at=conformal_threshold(probabilities, gold, coverage),
        route_at=routing_threshold(probabilities, gold, accuracy),
        coverage=coverage,
    )
