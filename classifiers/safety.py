"""Emergencies, found by rules that a person can read and that never depend on a model.

Recall comes first: a missed cry for help costs a life, a false alarm costs a phone call. False alarms
are held down in two steps: fixed expressions of ordinary municipal business are blanked before
matching (「火災保険」「避難訓練」), and words that only may mean danger are excused by the signs of a
question about procedures (「罹災証明」「講演会」). What clearly happens now is never excused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from classifiers import safety_rules as rules

Kind = Literal[
    "suicidal", "fire", "gas", "collapse", "child_abuse", "domestic_violence", "medical", "violence", "rescue"
]

_MAX_CHARS = 20_000
_UNSEEN = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
"""What a copied text may hold between any two letters: soft hyphens, joiners, marks of direction."""


@dataclass(frozen=True, slots=True)
class SafetyFlag:
    """One emergency found in a message."""

    kind: Kind
    """What it is about; decides the fixed notice and who is alarmed."""
    matched: str
    """The words that raised it, as in the normalised text, for the person who checks."""


@dataclass(frozen=True, slots=True)
class _Rule:
    kind: Kind
    certain: re.Pattern[str]
    possible: re.Pattern[str] | None = None
    excuse: re.Pattern[str] | None = None

    def find(self, text: str) -> str | None:
        """The words that raise this rule, or None."""
        found = self.certain.search(text)
        if found is None and self.possible is not None and not (self.excuse and self.excuse.search(text)):
            found = self.possible.search(text)
        return found.group() if found else None


def _any(expressions: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(expressions))


_ORDINARY = _any(rules.ORDINARY)

# Self-harm first: who writes of violence and of dying must reach someone who can talk.
_RULES: tuple[_Rule, ...] = (
    _Rule("suicidal", _any(rules.SUICIDAL_CERTAIN)),
    _Rule("fire", _any(rules.FIRE_CERTAIN), _any(rules.FIRE_POSSIBLE), _any(rules.FIRE_EXCUSE)),
    _Rule("gas", _any(rules.GAS_CERTAIN)),
    _Rule("collapse", _any(rules.COLLAPSE_CERTAIN)),
    _Rule("domestic_violence", _any(rules.DV_CERTAIN)),
    _Rule(
        "violence", _any(rules.VIOLENCE_CERTAIN), _any(rules.VIOLENCE_POSSIBLE), _any(rules.VIOLENCE_EXCUSE)
    ),
    _Rule("child_abuse", _any(rules.CHILD_CERTAIN)),
    _Rule("rescue", _any(rules.RESCUE_CERTAIN), _any(rules.RESCUE_POSSIBLE), _any(rules.RESCUE_EXCUSE)),
    _Rule("medical", _any(rules.MEDICAL_CERTAIN), _any(rules.MEDICAL_POSSIBLE), _any(rules.MEDICAL_EXCUSE)),
)


def check(text: str) -> SafetyFlag | None:
    """Look for an emergency in one message.

    Args:
        text: The citizen's own words, before masking; any length (the first 20,000 characters count).

    Returns:
        The first matching flag, self-harm first; None for ordinary messages.
    """
    normal = _ORDINARY.sub("□", _normalise(text))
    for rule in _RULES:
        matched = rule.find(normal)
        if matched is not None:
            return SafetyFlag(rule.kind, matched)
    return None


def _normalise(text: str) -> str:
    """Half-width kana and full-width letters unified; nothing unseen, no space or new line hides a word."""
    folded = unicodedata.normalize("NFKC", _UNSEEN.sub("", text[:_MAX_CHARS])).lower()
    return re.sub(r"(?<=[぀-鿿])\s+(?=[぀-鿿])", "", folded)
