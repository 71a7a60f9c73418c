"""Honest probabilities: temperature, conformal sets and the threshold for routing by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


MIN_PER_LABEL = 19
"""Validation messages a label needs for a threshold of its own: fewer tell chance from habit badly."""

MIN_GROUP = 100
"""Validation messages a group needs for a calibration of its own."""

FALSE_ALARMS = 0.015
"""Share of ordinary validation messages that rules and model together may raise an alarm for: so that 2 % of
those to come hold. With .02 not one validation emergency more is heard."""
SURE = 0.5
"""From this probability on the model raises an alarm, however many the rules raise already."""

CALM_MARGIN = 20.0
"""Factor between the least likely emergency of the validation set and what may calm a rule: the least of a
hundred says little about the next. With 2 a training calmed three of 102 unseen emergencies, with 10 none."""


SILENT, UNLESS_CALMED, ALWAYS = 0, 1, 2
"""What the rules say of a message: no alarm, one that a certain model may calm, one that it may not."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is learnt on validation data through the exported model."""

    temperature: float
    """Logits are divided by it; above 1 softens an over-confident model."""
    include_at: tuple[float, ...]
    """Per label: it belongs to the conformal set when its probability is at least this."""
    route_at: tuple[float, ...]
    """Per label: alone in the set, it is acted upon when its probability is at least this."""
    coverage: float
    """Promised share of messages whose right label is in the set."""
    emergency_at: float
    """The model raises an alarm when its probability of an emergency is at least this."""
    calm_at: float
    """Below this probability the model may calm a rule: far below the least that a real emergency had."""
    two_matters_at: float
    """The message is taken to hold two matters when the probability is at least this."""

    def members(self, probabilities: Floats) -> list[int]:
        """Indices of the prediction set, most likely first, never empty.

        When no label reaches its threshold the message is ambiguous; the smallest set of labels that
        sums to the coverage is offered then, two at least, so that there is something to ask. That only
        adds labels, so the promised coverage holds.

        Args:
            probabilities: Shape (labels,), sums to 1.
        """
        order = np.argsort(-probabilities, kind="stable")
        members = [int(i) for i in order if probabilities[i] >= self.include_at[i]]
        if members:
            return members
        enough = int(np.searchsorted(np.cumsum(probabilities[order]), self.coverage)) + 1
        return [int(i) for i in order[: max(2, enough)]]


def softmax(logits: NDArray[np.floating]) -> Floats:
    """Probabilities along the last axis, float64, stable for large logits."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def sigmoid(logits: NDArray[np.floating]) -> Floats:
    """Probability of yes, float64, stable for large logits."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64))))


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


def conformal_threshold(probabilities: Floats, coverage: float) -> float:
    """Smallest probability of the right label that must still be included (LAC).

    Args:
        probabilities: Shape (n,), calibrated, of the right label of each message.
        coverage: Wanted share, e.g. 0.95.

    Returns:
        A probability; 0 when there are too few messages to promise anything.

    Source: Sadinle, Lei, Wasserman 2019, arXiv:1609.00451.
    """
    right = np.sort(probabilities)
    allowed = math.floor((len(right) + 1) * (1 - coverage) + 1e-9)
    return float(right[allowed - 1]) if allowed >= 1 else 0.0


def needed_for(coverage: float, costs: Floats) -> Ints:
    """How many messages of its own a label needs so that they promise anything: 19 at 95 % and a cost of 1.

    With fewer its threshold would be 0: it would stand in every set, and nothing be routed any more.

    Args:
        coverage: For a label of cost 1.
        costs: Shape (labels,), 1 or more.
    """
    promising = costs / (1 - coverage) - 1 - 1e-6
    return np.ceil(np.maximum(MIN_PER_LABEL * costs, promising)).astype(np.int64)


def label_thresholds(probabilities: Floats, gold: Ints, coverage: float, costs: Floats) -> tuple[float, ...]:
    """A conformal threshold per label: the overall one, lowered where a label needs it.

    A label whose own messages ask for a lower threshold gets it, so that the coverage holds for each
    label and not only on average. A label whose loss costs more gets a higher coverage:
    1 - (1 - coverage) / cost, so that it stays in more sets and is asked for before another is chosen.

    Args:
        probabilities: Shape (n, labels), calibrated.
        gold: Shape (n,).
        coverage: For a label of cost 1.
        costs: Shape (labels,), 1 or more.

    Source: class-conditional conformal sets, Vovk 2012, arXiv:1209.2673 (Mondrian).
    """
    right = probabilities[np.arange(len(gold)), gold]
    overall = conformal_threshold(right, coverage)
    thresholds = []
    for label, (cost, needed) in enumerate(zip(costs, needed_for(coverage, costs), strict=True)):
        own = right[gold == label]
        wanted = 1 - (1 - coverage) / float(cost)
        enough = len(own) >= needed
        thresholds.append(min(overall, conformal_threshold(own, wanted)) if enough else overall)
    return tuple(thresholds)


def routing_threshold(confidence: Floats, right: NDArray[np.bool_], accuracy: float) -> float:
    """Smallest confidence above which routed messages were right often enough.

    Args:
        confidence: Shape (n,), calibrated probability of the first label.
        right: Shape (n,), whether it was right.
        accuracy: Wanted accuracy among the messages at or above the threshold.

    Returns:
        A probability; 1 when no threshold reaches the accuracy.
    """
    order = np.argsort(-confidence, kind="stable")
    running = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(running >= accuracy)
    return float(confidence[order][good[-1]]) if len(good) else 1.0


def route_thresholds(probabilities: Floats, gold: Ints, accuracy: float) -> tuple[float, ...]:
    """A routing threshold per label: the overall one, raised where a label's own routes are worse.

    Args:
        probabilities: Shape (n, labels), calibrated.
        gold: Shape (n,).
        accuracy: Wanted accuracy of what is routed.
    """
    top, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    overall = routing_threshold(confidence, top == gold, accuracy)
    thresholds = []
    for label in range(probabilities.shape[1]):
        own = top == label
        enough = own.sum() >= MIN_PER_LABEL
        # One message in twenty more or less is noise: a label must be clearly worse to be held back.
        raised = routing_threshold(confidence[own], (gold == label)[own], accuracy - 0.04) if enough else 0.0
        thresholds.append(max(overall, raised))
    return tuple(thresholds)


def flag_threshold(ordinary: Floats, false_alarms: float) -> float:
    """The lowest probability that raises at most this share of ordinary messages, 0.01 at least.

    Args:
        ordinary: Shape (n,), the flag's probability on messages that should not raise it.
        false_alarms: Tolerated share.
    """
    if not len(ordinary):
        return 1.0
    allowed = math.floor(len(ordinary) * false_alarms)
    return float(max(0.01, np.sort(ordinary)[::-1][allowed] + 1e-6))


def alarm_threshold(ordinary: Floats, heard: NDArray[np.bool_], false_alarms: float) -> float:
    """The lowest probability at which rules and model together raise at most this share of ordinary messages.

    Args:
        ordinary: Shape (n,), the model's probability of an emergency on messages that are none.
        heard: Shape (n,), those for which a rule raises the alarm and the model does not calm it.
        false_alarms: Tolerated share. The model keeps what it is sure of (`SURE`), whatever the rules do.
    """
    left = ordinary[~heard]
    allowed = max(0.0, len(ordinary) * false_alarms - heard.sum())
    return min(SURE, flag_threshold(left, allowed / max(1, len(left))))


def calibrate(
    logits: NDArray[np.floating],
    gold: Ints,
    flags: NDArray[np.floating],
    rules: Ints,
    *,
    costs: Floats,
    coverage: float = 0.95,
    accuracy: float = 0.97,
) -> Calibration:
    """Everything from validation logits.

    Args:
        logits: Shape (n, labels + 2), from the model as it will be served.
        gold: Shape (n,), label indices; ignored where a flag is set.
        flags: Shape (n, 2): emergency, two matters.
        rules: Shape (n,), what the rules say of each message, see `classifiers.alarm.voice_of`.
        costs: Shape (labels,): how much worse than usual it is to miss this label.
        coverage: Promised coverage of the sets.
        accuracy: Wanted accuracy of what is routed without a question.
    """
    plain = ~flags.any(axis=1)
    labels = len(costs)
    temperature = fit_temperature(logits[plain, :labels], gold[plain])
    probabilities = softmax(logits[plain, :labels] / temperature)
    asked = sigmoid(logits[:, labels:])
    ordinary = flags[:, 0] == 0
    calm_at = float(asked[~ordinary, 0].min() / CALM_MARGIN) if flags[:, 0].any() else 0.0
    heard = (rules == ALWAYS) | ((rules == UNLESS_CALMED) & (asked[:, 0] >= calm_at))
    return Calibration(
        temperature=temperature,
        include_at=label_thresholds(probabilities, gold[plain], coverage, costs),
        route_at=route_thresholds(probabilities, gold[plain], accuracy),
        coverage=coverage,
        emergency_at=alarm_threshold(asked[ordinary, 0], heard[ordinary], FALSE_ALARMS),
        calm_at=calm_at,
        two_matters_at=flag_threshold(asked[plain, 1], 0.01),
    )


def calibrate_groups(
    logits: NDArray[np.floating],
    gold: Ints,
    flags: NDArray[np.floating],
    rules: Ints,
    groups: NDArray[np.str_],
    *,
    names: Sequence[str],
    costs: Floats,
    coverage: float,
    accuracy: float,
) -> dict[str, Calibration]:
    """A calibration for each group of messages, from its own validation messages.

    A group with too few messages takes the calibration of all. A label with too few messages in its group is
    held to what the label needs over all groups, each message at its own group's temperature: a costly label
    stays in more sets in a rare language too.

    Args:
        logits: As for `calibrate`.
        gold: As for `calibrate`.
        flags: As for `calibrate`.
        rules: As for `calibrate`.
        groups: Shape (n,), the group of each message.
        names: Every group that serving knows.
        costs: As for `calibrate`.
        coverage: As for `calibrate`.
        accuracy: As for `calibrate`.
    """
    found, plain, labels = {}, ~flags.any(axis=1), len(costs)
    for name in names:
        chosen = groups == name
        if chosen.sum() < MIN_GROUP or (chosen & plain).sum() < needed_for(coverage, np.ones(1))[0]:
            chosen = np.ones(len(groups), dtype=bool)
        found[name] = calibrate(
            logits[chosen],
            gold[chosen],
            flags[chosen],
            rules[chosen],
            costs=costs,
            coverage=coverage,
            accuracy=accuracy,
        )
    needed = needed_for(coverage, costs)
    temperatures = np.array([found[str(name)].temperature for name in groups[plain]])
    probabilities = softmax(logits[plain, :labels] / temperatures[:, None])
    pooled = label_thresholds(probabilities, gold[plain], coverage, costs)
    raised = route_thresholds(probabilities, gold[plain], accuracy)
    for name, own in found.items():
        held = np.bincount(gold[plain][groups[plain] == name], minlength=labels)
        few, unsure = held < MIN_PER_LABEL * costs, held < needed
        found[name] = replace(
            own,
            include_at=tuple(np.where(unsure, np.minimum(own.include_at, pooled), own.include_at).tolist()),
            route_at=tuple(np.where(few, np.maximum(own.route_at, raised), own.route_at).tolist()),
        )
    return found
