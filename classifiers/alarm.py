"""Rules and model together: does this message raise an alarm?"""

from __future__ import annotations

from classifiers.calibrate import ALWAYS, SILENT, UNLESS_CALMED
from classifiers.department import Prediction
from classifiers.safety import SafetyFlag

NEVER_DOUBTED = frozenset({"suicidal"})
"""Kinds for which a rule alone always raises the alarm."""


def raises_alarm(flag: SafetyFlag | None, prediction: Prediction | None) -> bool:
    """Either may raise it; only a model that is certain may calm a rule, and never about self-harm.

    Without a prediction (no model, nothing to read) the rules decide alone.

    Args:
        flag: What `classifiers.safety.check` found.
        prediction: What the routing said of the same message.
    """
    voice = voice_of(flag)
    if voice == SILENT:
        return prediction is not None and prediction.emergency
    calmed = prediction is not None and prediction.calm
    return voice == ALWAYS or not calmed


def voice_of(flag: SafetyFlag | None) -> int:
    """What `classifiers.safety.check` found, as the calibration counts it."""
    if flag is None:
        return SILENT
    return ALWAYS if flag.kind in NEVER_DOUBTED else UNLESS_CALMED
