"""Is the routing still right? Counted from where cases ended; nobody has to label anything for it."""

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlmodel import Session, col, select

from bot import city, learning, organisation
from bot.calendar import JAPAN
from bot.models import FRONT_DESK, Department, Inquiry, InquiryStatus, Transfer
from bot.settings import Settings
from classifiers.artefact import read_manifest
from classifiers.curves import coverage_svg, curves, reliability_svg
from classifiers.department import MODEL_NAME, merged
from classifiers.errors import ModelNotLoaded

NEWEST = 2000
"""How many cases count; about a month of a city of 100,000."""
ENOUGH = 30
"""Finished cases that a picture or a rate needs to mean something."""
LOOP_AFTER = 3
PSI_DRIFT = 0.25
"""Above it messages are no longer those the thresholds were learnt on (credit scoring's rule of thumb)."""
ENOUGH_FOR_DRIFT = 100
"""Messages from which chance alone passes `PSI_DRIFT` less than once in a hundred times: without any drift
the index of ten bins is about chi-squared over their number (Yurdakul 2018), its 99th percentile 21.7 / n."""
UNKNOWN_DRIFT = 2.0
"""The same for words: this many times the share of the validation messages."""


@dataclass(frozen=True, slots=True)
class DepartmentQuality:
    """How well the routing serves one department, from finished cases."""

    name: str
    department: str
    sent: int
    """Cases the routing sent here."""
    stayed: int
    """Of these, how many ended here."""
    ended: int
    """Cases that ended here, those that came through the front desk too."""

    @property
    def precision(self) -> float | None:
        """Share of what was sent here that belonged here."""
        return self.stayed / self.sent if self.sent else None

    @property
    def recall(self) -> float | None:
        """Share of what belongs here that was sent here at once."""
        return self.stayed / self.ended if self.ended else None


@dataclass(frozen=True, slots=True)
class Wandering:
    """A case that was passed around."""

    inquiry: Inquiry
    transfers: int
    loop: bool
    """It came back to a department that had passed it on, or to who took that over."""


@dataclass(frozen=True, slots=True)
class Monitoring:
    """Everything the supervisor's page on routing shows."""

    departments: list[DepartmentQuality]
    wandering: list[Wandering]
    transfers_per_case: float
    psi: float | None
    unknown: float | None
    """Mean share of words that the model which routes has never seen."""
    unknown_before: float | None
    """The same share of the validation messages, where the thresholds come from."""
    agreement: tuple[int, float] | None
    """Cases on which the present challenger had a view, and how often it was the champion's."""
    curves: dict[str, dict[str, list[dict[str, float]]]]
    """`classifiers.curves.curves` of the ``validation`` set; ``everyday`` as soon as enough cases ended."""
    misfits: list[str]

    @property
    def drifts(self) -> bool:
        """Whether messages are no longer like those on which the model was calibrated."""
        if self.psi is None:
            return False  # too few messages
        words, before = self.unknown, self.unknown_before
        return self.psi > PSI_DRIFT or bool(words and before and words > UNKNOWN_DRIFT * before)


def examine(session: Session, settings: Settings, today: date) -> Monitoring:
    """Look at the newest cases; five queries whatever their number."""
    query = select(Inquiry).order_by(col(Inquiry.created_at).desc()).limit(NEWEST)
    newest = session.exec(query).all()
    departments = {d.id: d for d in city.departments(session)}
    transfers = _transfers(session, [i.id for i in newest])
    facts = model_facts(session, settings)
    # A second matter carries its message's prediction: it tells nothing of where it was sent, and once is
    # enough for drift. An emergency belongs to no department; the reference holds none.
    judged = [
        i for i in newest if "probabilities" in i.prediction and not i.emergency and i.linked_to is None
    ]
    predictions = [i.prediction for i in judged]
    # What an earlier model said of its messages is no drift of this one.
    own = [p for p in predictions if p.get("model") == facts.get("model")]

    def today_of(label: str) -> str:
        exits = label not in departments
        return label if exits else organisation.responsible(departments, label, today)

    by_now = organisation.successors(departments, today)

    def means_today(view: Mapping[str, Any]) -> str:
        return today_of(_chosen(view, by_now))

    finished = [i for i in judged if i.status in learning.FINISHED]
    ended = [(today_of(i.outcome), i) for i in finished]
    pairs = [(today_of(_sent_to(i, departments)), place) for place, i in ended]
    tops = [(today_of(next(iter(i.prediction["probabilities"]))), place, i) for place, i in ended]
    challenger = learning.challenger(session)
    return Monitoring(
        departments=_quality(pairs, {d.id: d.name for d in departments.values()}),
        wandering=_wandering(newest, transfers, departments),
        transfers_per_case=sum(map(len, transfers.values())) / max(1, len(newest)),
        psi=_psi(facts, own),
        unknown=_mean([p["unknown"] for p in own if "unknown" in p]),
        unknown_before=facts.get("unknown"),
        agreement=_agreement(predictions, challenger.folder, means_today) if challenger else None,
        curves=_curves(facts, tops, departments),
        misfits=misfits(facts, departments, today),
    )


def misfits(facts: Mapping[str, Any], departments: Mapping[str, Department], today: date) -> list[str]:
    """What does not fit between champion and city, in Japanese; one sentence when its files are unreadable.

    Args:
        facts: See `model_facts`.
        departments: The city's, by id.
        today: The city's date.
    """
    if not facts:
        return ["振り分けに使うモデルのファイルを読めません。システム担当者に知らせてください。"]
    return organisation.misfits(facts["departments"], departments, today)


def model_facts(session: Session, settings: Settings) -> dict[str, Any]:
    """What training left beside the champion: model, departments and reference; {} without a model."""
    folder = learning.champion_folder(session, settings)
    try:
        model = read_manifest(folder, only=("labels.json", "metrics.json"))["inputs"][:MODEL_NAME]
        labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        reference = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["reference"]
    except (OSError, ValueError, KeyError, ModelNotLoaded):
        return {}
    return {"model": model, "departments": labels["departments"], **reference}


def _sent_to(inquiry: Inquiry, departments: Mapping[str, Department]) -> str:
    """Where the routing sent a case by itself, on its day: as `bot.triage` decides."""
    day = inquiry.created_at.astimezone(JAPAN).date()
    return _chosen(inquiry.prediction, organisation.successors(departments, day))


def _chosen(view: Mapping[str, Any], successors: Mapping[str, str]) -> str:
    """The department that a model named, or the one that those became between which it hesitated."""
    said: str = view["department"]
    # Views of challengers were kept without their sets before.
    return merged(view.get("set", ()), successors) if said == FRONT_DESK else said


def _transfers(session: Session, ids: Sequence[UUID]) -> dict[UUID, list[Transfer]]:
    found: dict[UUID, list[Transfer]] = {}
    query = select(Transfer).where(col(Transfer.inquiry_id).in_(ids), col(Transfer.staff_id).is_not(None))
    for row in session.exec(query.order_by(col(Transfer.created_at))):
        found.setdefault(row.inquiry_id, []).append(row)
    return found


def _quality(pairs: Sequence[tuple[str, str]], names: Mapping[str, str]) -> list[DepartmentQuality]:
    sent, ended = Counter(s for s, _ in pairs), Counter(e for _, e in pairs)
    stayed = Counter(s for s, e in pairs if s == e)
    return [
        DepartmentQuality(name, key, sent[key], stayed[key], ended[key])
        for key, name in names.items()
        if key != FRONT_DESK
    ]


def _wandering(
    cases: Sequence[Inquiry], transfers: Mapping[UUID, list[Transfer]], departments: Mapping[str, Department]
) -> list[Wandering]:
    found = []
    for inquiry in cases:
        rows = transfers.get(inquiry.id, [])
        loop = _came_back(rows, departments)
        if loop or len(rows) >= LOOP_AFTER:
            found.append(Wandering(inquiry, len(rows), loop))
    still_open = {InquiryStatus.drafting, InquiryStatus.awaiting, InquiryStatus.with_person}
    return sorted(found, key=lambda w: (w.inquiry.status not in still_open, -w.transfers))


def _came_back(rows: Sequence[Transfer], departments: Mapping[str, Department]) -> bool:
    """Whether a case went to people who had passed it on; on its day each department is who took it over."""
    left: set[str] = set()
    for row in rows:
        day = row.created_at.astimezone(JAPAN).date()
        if row.to_department in {organisation.responsible(departments, one, day) for one in left}:
            return True
        left.add(row.from_department)
    return False


def _psi(facts: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> float | None:
    """Population stability index of the confidences against the validation set."""
    if "confidence" not in facts or len(predictions) < ENOUGH_FOR_DRIFT:
        return None
    top = [max(p["probabilities"].values()) for p in predictions]
    now_shares = np.histogram(top, bins=len(facts["confidence"]), range=(0.0, 1.0))[0] / len(top)
    pairs = [
        (max(a, 1e-3), max(float(b), 1e-3)) for a, b in zip(facts["confidence"], now_shares, strict=True)
    ]
    return float(sum((b - a) * math.log(b / a) for a, b in pairs))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _agreement(
    predictions: Sequence[Mapping[str, Any]], challenger: str, means_today: Callable[[Mapping[str, Any]], str]
) -> tuple[int, float] | None:
    """Of departments as they are today: the challenger may know by another id what the champion means."""
    views = [
        (means_today(p), means_today(p["shadow"]))
        for p in predictions
        if p.get("shadow", {}).get("model") == challenger
    ]
    return (len(views), sum(a == b for a, b in views) / len(views)) if views else None


def _curves(
    facts: Mapping[str, Any], ended: Sequence[tuple[str, str, Inquiry]], departments: Collection[str]
) -> dict[str, dict[str, list[dict[str, float]]]]:
    """What confidence is worth.

    Args:
        facts: See `model_facts`.
        ended: The most likely label, where the case ended, and the case.
        departments: Every id; another label is an exit, whose cases the front desk answers.
    """
    found = {"validation": facts["curves"]} if "curves" in facts else {}
    # What the front desk answered itself says nothing about which department was right.
    told = [(top, place, i) for top, place, i in ended if place != FRONT_DESK or top not in departments]
    if len(told) >= ENOUGH:
        confidence = np.array([max(i.prediction["probabilities"].values()) for _, _, i in told])
        right = np.array([top == place or place == FRONT_DESK for top, place, _ in told])
        found["everyday"] = curves(confidence, right)
    return found


def pictures(report: Monitoring) -> dict[str, str]:
    """The curves as SVG, by title."""
    drawn = {}
    for name, title in (("validation", "検証データ"), ("everyday", "実際の案件")):
        if points := report.curves.get(name):
            drawn[f"{title}: 確信度と正解率"] = reliability_svg(points["reliability"])
            drawn[f"{title}: 自動化率と正解率"] = coverage_svg(points["coverage_accuracy"])
    return drawn
