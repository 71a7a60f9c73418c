"""Numbers that must hold whatever the model is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from classifiers.calibrate import (
    Calibration,
    calibrate,
    conformal_threshold,
    fit_temperature,
    routing_threshold,
    softmax,
)
from classifiers.evaluate import expected_calibration_error


def _sample(n: int, sharpness: float, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits whose labels were drawn from softmax(logits / sharpness): the right temperature is known."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 6)) * 2 * sharpness
    chances = softmax(logits / sharpness)
    return logits, np.array([rng.choice(6, p=row) for row in chances], dtype=np.int64)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.5])
def test_temperature_is_recovered(sharpness: float) -> None:
    logits, gold = _sample(4000, sharpness)
    assert fit_temperature(logits, gold) == pytest.approx(sharpness, rel=0.12)


def test_calibrated_confidence_matches_accuracy() -> None:
    logits, gold = _sample(4000, 3.0)
    new_logits, new_gold = _sample(4000, 3.0, seed=1)
    for temperature, low, high in ((1.0, 0.08, 1.0), (fit_temperature(logits, gold), 0.0, 0.03)):
        chances = softmax(new_logits / temperature)
        error = expected_calibration_error(chances.max(axis=1), chances.argmax(axis=1) == new_gold)
        assert low <= error <= high


def test_sets_cover_as_promised_on_new_messages() -> None:
    found = calibrate(*_sample(2000, 1.0), coverage=0.9)
    logits, gold = _sample(4000, 1.0, seed=1)
    chances = softmax(logits / found.temperature)
    covered = np.mean([g in found.members(row) for g, row in zip(gold, chances, strict=True)])
    assert covered >= 0.88


def test_too_few_messages_promise_nothing() -> None:
    chances = softmax(np.random.default_rng(0).normal(size=(10, 4)))
    assert conformal_threshold(chances, chances.argmax(axis=1), 0.95) == 0.0


def test_routing_threshold_reaches_the_accuracy() -> None:
    logits, gold = _sample(4000, 1.0)
    chances = softmax(logits)
    threshold = routing_threshold(chances, gold, 0.9)
    kept = chances.max(axis=1) >= threshold
    assert (chances.argmax(axis=1) == gold)[kept].mean() >= 0.9
    assert 0.05 < kept.mean() < 1.0


def test_routing_threshold_out_of_reach() -> None:
    chances = softmax(np.random.default_rng(0).normal(size=(50, 4)))
    wrong = (chances.argmax(axis=1) + 1) % 4
    assert routing_threshold(chances, wrong, 0.9) == 1.0


def test_a_set_is_never_empty_and_an_ambiguous_one_has_a_question() -> None:
    found = Calibration(temperature=1.0, include_at=0.6, route_at=0.5, coverage=0.8)
    assert found.members(np.array([0.1, 0.7, 0.2])) == [1]
    assert found.members(np.array([0.5, 0.4, 0.1])) == [0, 1]
    assert found.members(np.array([0.3, 0.3, 0.4])) == [2, 0, 1]
    assert found.members(np.array([0.55, 0.45])) == [0, 1]
