"""Numbers that must hold whatever the model is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from classifiers.calibrate import (
    ALWAYS,
    SILENT,
    SURE,
    UNLESS_CALMED,
    Calibration,
    alarm_threshold,
    calibrate,
    calibrate_groups,
    conformal_threshold,
    fit_temperature,
    flag_threshold,
    label_thresholds,
    route_thresholds,
    routing_threshold,
    sigmoid,
    softmax,
)
from classifiers.curves import expected_calibration_error


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


def _calibrated(n: int, *, coverage: float, seed: int = 0) -> Calibration:
    logits, gold = _sample(n, 1.0, seed)
    flagged = np.concatenate([logits, np.full((n, 2), -5.0)], axis=1)
    return calibrate(
        flagged, gold, np.zeros((n, 2)), np.zeros(n, np.int64), costs=np.ones(6), coverage=coverage
    )


def test_sets_cover_as_promised_on_new_messages_overall_and_for_each_label() -> None:
    found = _calibrated(6000, coverage=0.9)
    logits, gold = _sample(6000, 1.0, seed=1)
    chances = softmax(logits / found.temperature)
    covered = np.array([g in found.members(row) for g, row in zip(gold, chances, strict=True)])
    assert covered.mean() >= 0.88
    assert min(covered[gold == label].mean() for label in range(6)) >= 0.86


def test_a_label_that_is_often_missed_gets_a_lower_threshold_and_so_does_a_costly_one() -> None:
    rng = np.random.default_rng(0)
    gold = np.repeat(np.arange(3), 400)
    right = np.where(gold == 0, rng.uniform(0.1, 0.9, 1200), rng.uniform(0.5, 1.0, 1200))
    chances = np.stack([np.where(gold == label, right, (1 - right) / 2) for label in range(3)], axis=1)
    plain = label_thresholds(chances, gold, 0.9, np.ones(3))
    assert plain[0] < min(plain[1], plain[2])
    costly = label_thresholds(chances, gold, 0.9, np.array([1.0, 8.0, 1.0]))
    assert costly[1] <= plain[1]
    assert (chances[gold == 0, 0] >= plain[0]).mean() >= 0.9


def test_a_rare_label_of_a_small_group_is_held_to_what_it_needs_over_all_groups() -> None:
    logits, gold = _sample(3000, 1.0)
    groups = np.where(np.arange(3000) < 2900, "ja", "other")
    logits[gold == 0, 0] -= 2.0  # often missed
    flagged = np.concatenate([logits, np.full((3000, 2), -5.0)], axis=1)
    silent = np.full(3000, SILENT)
    asked: Any = {
        "names": ("ja", "other"),
        "costs": np.array([1.0, 1, 1, 1, 1, 4]),
        "coverage": 0.9,
        "accuracy": 0.9,
    }
    found = calibrate_groups(flagged, gold, np.zeros((3000, 2)), silent, groups, **asked)
    alone = calibrate(
        flagged[2900:],
        gold[2900:],
        np.zeros((100, 2)),
        silent[2900:],
        costs=np.ones(6),
        coverage=0.9,
        accuracy=0.9,
    )
    assert found["other"].temperature == alone.temperature
    assert found["other"].include_at[0] < alone.include_at[0]
    assert found["other"].include_at[5] < alone.include_at[5]
    few = calibrate_groups(
        flagged[:2950], gold[:2950], np.zeros((2950, 2)), silent[:2950], groups[:2950], **asked
    )
    assert (
        few["other"].temperature
        == calibrate(
            flagged[:2950], gold[:2950], np.zeros((2950, 2)), silent[:2950], costs=np.ones(6)
        ).temperature
    )


@pytest.mark.parametrize("coverage", [0.9, 0.95, 0.97, 0.99, 0.995])
def test_a_label_with_few_messages_does_not_stand_in_every_set_however_much_is_promised(
    coverage: float,
) -> None:
    logits, gold = _sample(300, 1.0)
    groups = np.where(np.arange(300) < 190, "ja", "other")
    found = calibrate_groups(
        np.concatenate([logits, np.full((300, 2), -5.0)], axis=1), gold, np.zeros((300, 2)),
        np.full(300, SILENT), groups, names=("ja", "other"), costs=np.array([1.0, 1, 1, 1, 1, 2]),
        coverage=coverage, accuracy=0.9,
    )  # fmt: skip
    assert min(min(one.include_at) for one in found.values()) > 0.0
    exact = label_thresholds(np.full((38, 2), 0.5), np.zeros(38, np.int64), 0.95, np.array([2.0, 1.0]))
    assert exact[0] == 0.5, "one message fewer than a cost of 2 needs at 95 %"


def test_too_few_messages_promise_nothing() -> None:
    assert conformal_threshold(np.random.default_rng(0).uniform(size=10), 0.95) == 0.0


def test_routing_threshold_reaches_the_accuracy() -> None:
    logits, gold = _sample(4000, 1.0)
    chances = softmax(logits)
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == gold
    threshold = routing_threshold(confidence, right, 0.9)
    kept = confidence >= threshold
    assert right[kept].mean() >= 0.9
    assert 0.05 < kept.mean() < 1.0


def test_a_department_whose_routes_are_worse_needs_more_confidence() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1.0, 4000)
    top = (rng.uniform(size=4000) > 0.15).astype(int)
    wrong = (top == 0) & (rng.uniform(size=4000) < 0.15)
    chances = np.where(np.arange(2) == top[:, None], confidence[:, None], 1 - confidence[:, None])
    first, second = route_thresholds(chances, np.where(wrong, 1 - top, top), 0.97)
    assert first > second


def test_routing_threshold_out_of_reach() -> None:
    assert routing_threshold(np.linspace(0, 1, 50), np.zeros(50, dtype=bool), 0.9) == 1.0


def test_a_flag_is_raised_by_few_ordinary_messages() -> None:
    ordinary = np.random.default_rng(0).uniform(0.0, 0.3, 1000)
    threshold = flag_threshold(ordinary, 0.005)
    assert 0 < (ordinary >= threshold).sum() <= 5
    assert flag_threshold(np.zeros(10), 0.005) == 0.01
    assert flag_threshold(np.zeros(0), 0.005) == 1.0


def test_what_the_rules_raise_leaves_less_to_the_model() -> None:
    ordinary = np.random.default_rng(0).uniform(0.0, 0.3, 1000)
    heard = np.arange(1000) < 12
    alone = alarm_threshold(ordinary, np.zeros(1000, bool), 0.02)
    beside = alarm_threshold(ordinary, heard, 0.02)
    assert 0 < (heard | (ordinary >= beside)).sum() <= 20
    assert 12 < (ordinary >= alone).sum() <= 20
    assert beside > alone
    loud = np.full(1000, 0.9)
    assert alarm_threshold(loud, heard, 0.02) == SURE  # a certain model is heard all the same


def test_a_rule_that_the_model_calms_leaves_it_room() -> None:
    rng = np.random.default_rng(0)
    emergency = np.repeat([0.0, 1.0], 500)
    logits = np.zeros((1000, 8))
    logits[:, 6] = np.where(emergency == 1, 6.0, rng.uniform(-9.0, 0.0, 1000))
    logits[:, 7] = -5.0
    flags = np.stack([emergency, np.zeros(1000)], axis=1)
    gold = np.arange(1000) % 6

    def at(rule: int) -> float:
        rules = np.where(np.arange(1000) < 5, rule, SILENT)
        return calibrate(logits, gold, flags, rules, costs=np.ones(6)).emergency_at

    logits[:5, 6] = -20.0
    assert at(SILENT) == at(UNLESS_CALMED) < at(ALWAYS)


def test_a_large_logit_is_a_certain_yes() -> None:
    np.testing.assert_allclose(sigmoid(np.array([-800.0, 0.0, 800.0])), [0.0, 0.5, 1.0])


def _limits(include_at: float, labels: int) -> Calibration:
    return Calibration(1.0, (include_at,) * labels, (0.5,) * labels, 0.8, 0.5, 0.0, 0.5)


def test_a_set_is_never_empty_and_an_ambiguous_one_has_a_question() -> None:
    found = _limits(0.6, 3)
    assert found.members(np.array([0.1, 0.7, 0.2])) == [1]
    assert found.members(np.array([0.5, 0.4, 0.1])) == [0, 1]
    assert found.members(np.array([0.3, 0.3, 0.4])) == [2, 0, 1]
    assert found.members(np.array([0.55, 0.45])) == [0, 1]
