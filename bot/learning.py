"""The routing learns from finished cases, under a supervisor's eyes.

A case that ended elsewhere than it was sent, or as no department's matter, is a lesson; a supervisor releases
it with its words masked. ``madoguchi train --from-cases`` makes a challenger, which predicts silently beside
the champion until a supervisor promotes or refuses it.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from bot import audit, city, inquiries, organisation
from bot.calendar import JAPAN
from bot.db import now, reading, transaction
from bot.errors import CaseChanged, Conflict, NotFound
from bot.models import (
    FRONT_DESK,
    Inquiry,
    InquiryStatus,
    ModelStatus,
    RoutingModel,
    Staff,
    TrainingExample,
    Transfer,
)
from bot.privacy import nameless
from bot.settings import Settings
from classifiers.artefact import MANIFEST, read_manifest
from classifiers.dataset import INQUIRIES, load_emergencies, load_labels, load_split, read_lines
from classifiers.department import DepartmentClassifier, Prediction
from classifiers.errors import ClassifierError, ModelNotLoaded
from classifiers.language import detect

log = logging.getLogger(__name__)

MAX_LOSS_OF_A_DEPARTMENT = 0.02
MAX_LOSS_OF_LANGUAGES = 0.02
"""Of the mean accuracy over the other languages: one language alone has too few test messages."""
FINISHED = (InquiryStatus.answered, InquiryStatus.closed)
REFRESH_SECONDS = 10.0
TRAINING = "training"
"""Where in the data folder a training's messages lie while it reads them."""


class NotBetter(Conflict):
    """A challenger that does not beat the champion."""

    message_ja = "評価用データで今のモデルを上回っていないため、切り替えられません。"


class NotCompared(Conflict):
    """A challenger that was compared with another model than the one that routes."""

    message_ja = "比較した後で使用中のモデルが変わりました。候補を作り直してください。"


class Unreadable(Conflict):
    """A challenger that could not route: the set-up's model would, in the champion's place."""

    message_ja = (
        "候補のモデルのファイルがないか、壊れているため、切り替えていません。今のモデルが振り分けを続けます。"
        "システム担当者に知らせてください。"
    )


@dataclass(frozen=True, slots=True)
class Lesson:
    """A finished case that ended elsewhere than it was sent."""

    inquiry: Inquiry
    text: str
    """Personal data masked, as the model would learn it."""


def lessons(session: Session, limit: int = 50) -> list[Lesson]:
    """Finished cases that people moved or closed as no department's, not yet seen by a supervisor.

    Emergencies are none: as an ordinary message of its department one would teach the model not to hear them.
    """
    query = _teaching().order_by(col(Inquiry.created_at), col(Inquiry.id))

    def with_words() -> Iterator[Lesson]:
        for page in pages(session, query, limit):
            texts = words_of(session, [inquiry for (inquiry,) in page])
            yield from (Lesson(inquiry, texts[inquiry.id]) for (inquiry,) in page if texts[inquiry.id])

    return list(islice(with_words(), limit))


def pages(
    session: Session, query: sa.Select[*tuple[Any, ...]], size: int
) -> Iterator[Sequence[sa.Row[*tuple[Any, ...]]]]:
    """An ordered query's rows, so many at a time, for as long as somebody asks.

    Cases that teach nothing are never judged and stay in the query: they must not hide those behind them.
    """
    for start in count(0, size):
        page = session.execute(query.offset(start).limit(size)).all()
        yield page
        if len(page) < size:
            return


def words_of(session: Session, several: Sequence[Inquiry]) -> dict[UUID, str]:
    """Cases' words as a model may learn them: personal data, names and house numbers masked; in one query."""
    return {one: nameless(text) for one, text in inquiries.words_of(session, several).items()}


def _teaching() -> SelectOfScalar[Inquiry]:
    moved = select(Transfer.inquiry_id).where(col(Transfer.staff_id).is_not(None))
    shared = select(Inquiry.linked_to).where(col(Inquiry.linked_to).is_not(None))
    seen = select(TrainingExample.inquiry_id)
    return select(Inquiry).where(
        sa.or_(
            sa.and_(col(Inquiry.id).in_(moved), col(Inquiry.department_id) != FRONT_DESK),
            col(Inquiry.belongs_to) != "",
        ),
        col(Inquiry.id).not_in(seen),
        col(Inquiry.status).in_(FINISHED),
        col(Inquiry.emergency).is_(False),
        col(Inquiry.linked_to).is_(None),  # a second matter has the whole message's words
        col(Inquiry.id).not_in(shared),  # the first matter too, whichever message told of the second
        sa.func.coalesce(col(Inquiry.prediction)["also"].as_string(), "") == "",
    )


def judge(
    session: Session, inquiry_id: UUID, *, staff: Staff, use: bool, seen_version: int, screen: str
) -> None:
    """A supervisor releases a case for training, or refuses it.

    Raises:
        NotFound: No such case. Conflict: it is no lesson, or somebody has judged it already.
        CaseChanged: Its words or its end may be others by now than the person read.
    """
    inquiry = as_read(session, inquiry_id, staff, seen_version)
    if session.exec(_teaching().where(Inquiry.id == inquiry_id)).first() is None:
        raise Conflict
    session.add(
        TrainingExample(
            inquiry_id=inquiry_id,
            text=words_of(session, [inquiry])[inquiry.id] if use else "",
            department_id=inquiry.department_id,
            belongs_to=inquiry.belongs_to,
            used=use,
            authorised_by=staff.id,
        )
    )
    _audit(session, staff, "release_example" if use else "refuse_example", inquiry.receipt_number, screen)


def as_read(session: Session, inquiry_id: UUID, staff: Staff, seen_version: int) -> Inquiry:
    """The case as the person read it, held: words taken back at this moment must not be released after all.

    Raises:
        NotFound, NotAllowed: See `inquiries.for_decision`. CaseChanged: It moved on since.
    """
    inquiry = inquiries.for_decision(session, inquiry_id, staff)
    if inquiry.version != seen_version:
        raise CaseChanged
    return inquiry


def train_challenger(settings: Settings, engine: Engine) -> RoutingModel:
    """Train on the authored messages and the released cases, and compare with the champion.

    Both models are asked for the departments of today, whichever they and the messages were labelled with.

    Returns:
        The stored challenger; ``metrics`` holds both models' figures and ``better``.

    Raises:
        ClassifierError: The data or a model is unusable.
    """
    with _alone(settings.data_dir):
        clear_refused(settings, engine)
        with reading(engine) as session:
            used = select(TrainingExample).where(col(TrainingExample.used).is_(True))
            released = session.exec(used).all()
            champion = champion_folder(session, settings)
            successors = successors_today(session)
        _require_readable(champion, settings)  # after the training is too late to find it damaged
        models, name = settings.data_dir / "models", f"{now():%Y%m%d-%H%M%S}"
        hidden = models / f".{name}"  # until a row tells of it: left behind, it goes with the next training
        learnt = _train(hidden, settings, released, successors)
        against = identity(champion)  # before it is compared: the set-up may put another there meanwhile
        metrics = compare(champion, hidden, settings.city_dir / INQUIRIES / "test.jsonl", successors)
        metrics["against"] = against
        row = RoutingModel(
            folder=name, status=ModelStatus.challenger, examples=len(learnt), lessons=learnt, metrics=metrics
        )
        with transaction(engine) as session:
            enter(session, row)
        hidden.rename(models / name)
    return row


def _require_readable(champion: Path, settings: Settings) -> None:
    try:
        DepartmentClassifier(champion)
    except ModelNotLoaded as reason:
        if champion == settings.effective_classifier_dir:
            raise
        # One that was promoted, perhaps before an upgrade: no set-up makes it anew.
        raise ModelNotLoaded(
            f"切り替えたモデル {champion} を読めません。"
            "「振り分け」の画面で「前のモデルに戻す」を押してから、もう一度実行してください。"
        ) from reason


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """One training at a time on this machine: another one waits for its turn.

    Citizens wrote what it reads: what a killed one left of it, or among the models without a row, goes first.
    """
    import fcntl

    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "training.lock").open("w") as turn:
        log.info("training as soon as no other one runs on this machine")
        fcntl.flock(turn, fcntl.LOCK_EX)
        for left in (data_dir / TRAINING, *(data_dir / "models").glob(".*")):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _train(
    folder: Path, settings: Settings, released: Sequence[TrainingExample], successors: Mapping[str, str]
) -> list[str]:
    """Train into a folder; what is read for it lies beside it only for so long.

    Returns:
        What `add_cases` says.
    """
    from classifiers.train import train

    data = settings.data_dir / TRAINING
    data.mkdir(mode=0o700)
    try:
        copy_authored(settings.city_dir, data)
        learnt = add_cases(data / INQUIRIES / "train.jsonl", released)
        if successors:
            label_as_of_today(data / INQUIRIES, successors)
        train(folder, data, settings.backbone)
    finally:
        shutil.rmtree(data)
    return learnt


def enter(session: Session, row: RoutingModel) -> None:
    """A new challenger takes the place of the one before, unless that was promoted meanwhile."""
    _hold_models(session)
    for old in session.exec(select(RoutingModel).where(RoutingModel.status == ModelStatus.challenger)):
        old.status = ModelStatus.refused
        session.add(old)
    session.add(row)
    audit.record(
        session, actor="system:cli", action="train_challenger", subject=f"model:{row.folder}",
        screen="cli", examples=row.examples, better=row.metrics["better"],
    )  # fmt: skip


def clear_refused(settings: Settings, engine: Engine) -> None:
    """Take the files of models that can never route again off the disk; what was decided about them stays.

    Not at the decision: for some seconds more a worker may read them.
    """
    with transaction(engine) as session:
        for row in session.exec(select(RoutingModel).where(RoutingModel.status == ModelStatus.refused)):
            folder = settings.data_dir / "models" / row.folder
            if folder.is_dir():
                shutil.rmtree(folder)
                audit.record(
                    session, actor="system:cli", action="clear_model", subject=f"model:{row.folder}",
                    screen="cli",
                )  # fmt: skip


def copy_authored(city_dir: Path, folder: Path) -> None:
    """The city's authored messages, read through first: after the training is too late to complain.

    Raises:
        BadDataset: A file is missing, or a line of it is unusable.
    """
    from classifiers.evaluate import load_cases

    labels = load_labels(city_dir)
    for split in ("train", "valid"):
        load_split(city_dir, split, labels)
        load_emergencies(city_dir, split)
    load_cases(city_dir / INQUIRIES / "test.jsonl")
    shutil.copy(city_dir / "departments.yaml", folder)
    shutil.copytree(city_dir / INQUIRIES, folder / INQUIRIES)


def add_cases(path: Path, released: Sequence[TrainingExample]) -> list[str]:
    """Write released cases below the authored messages, unless the same words stand there already.

    Nor what stands in the sets beside it: the model would be asked what it was told.

    Returns:
        Ids of those that were new: from these the model learns.
    """
    lines = [line for file in path.parent.glob("*.jsonl") for line in read_lines(file)]
    known = {json.loads(line)["text"] for line in lines if line.strip()}
    learnt = []
    with path.open("a", encoding="utf-8") as file:
        for example in released:
            if example.text.strip() and example.text not in known:
                known.add(example.text)
                learnt.append(str(example.id))
                label = example.belongs_to or example.department_id
                row = {"id": f"case-{example.id}", "text": example.text, "department": label}
                if (language := detect(example.text)) != "ja":
                    row["language"] = language
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return learnt


def successors_today(session: Session) -> dict[str, str]:
    """`bot.organisation.successors` of the city."""
    departments = {d.id: d for d in city.departments(session)}
    return organisation.successors(departments, now().astimezone(JAPAN).date())


def label_as_of_today(folder: Path, successors: Mapping[str, str]) -> None:
    """Write what a model learns from, of departments that have ended, under those that took over.

    Authored ones carry the old id and lessons the new one: a model would learn to tell the two apart.
    """
    for split in ("train", "valid"):
        path = folder / f"{split}.jsonl"
        rows = [json.loads(line) for line in read_lines(path) if line.strip()]
        with path.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(_as_of_today(row, successors), ensure_ascii=False) + "\n")


def _as_of_today(row: dict[str, Any], successors: Mapping[str, str]) -> dict[str, Any]:
    owned = {key: successors.get(row[key], row[key]) for key in ("department", "also") if row.get(key)}
    if owned.get("also") == owned["department"]:
        owned["also"] = ""  # two matters of one department by now are one case
    return row | owned


def compare(
    champion: Path, challenger: Path, test_path: Path, successors: Mapping[str, str]
) -> dict[str, Any]:
    """Both models on the frozen test set, and whether the challenger may take over.

    Args:
        champion: Its folder.
        challenger: Its folder.
        test_path: The test set.
        successors: See `bot.organisation.successors`.

    Returns:
        ``champion`` and ``challenger``: macro_f1, accuracy, per_label, languages (mean accuracy over the
        others than Japanese), emergency_recall; ``worse``: what loses too much: departments by more than two
        points, ``languages`` by more than two, ``emergency`` at all; ``better``: higher macro-F1 and nothing
        in ``worse``.
    """
    from classifiers.evaluate import evaluate

    old, new = (
        _figures(evaluate(folder, test_path, simpler=False, successors=successors))
        for folder in (champion, challenger)
    )
    worse = [
        label
        for label, score in old["per_label"].items()
        if new["per_label"][label]["f1"] < score["f1"] - MAX_LOSS_OF_A_DEPARTMENT
    ]
    if new["languages"] < old["languages"] - MAX_LOSS_OF_LANGUAGES:
        worse.append("languages")
    if new["emergency_recall"] < old["emergency_recall"]:
        worse.append("emergency")
    better = new["macro_f1"] > old["macro_f1"] and not worse
    return {"champion": old, "challenger": new, "worse": worse, "better": better}


def _figures(report: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: report["model"][name] for name in ("macro_f1", "accuracy", "per_label")}
    languages = [one["accuracy"] for one in report["languages"].values()]
    return kept | {
        "languages": sum(languages) / len(languages) if languages else 1.0,
        "emergency_recall": report["emergency"]["recall"] if "emergency" in report else 1.0,
    }


def champion_folder(session: Session, settings: Settings) -> Path:
    """Where the model that routes lies."""
    row = _with_status(session, ModelStatus.champion)
    return settings.data_dir / "models" / row.folder if row else settings.effective_classifier_dir


def identity(folder: Path) -> str:
    """Which model lies in a folder: the set-up's is trained anew into the same one. Empty: none."""
    try:
        return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()[:16]
    except OSError:
        return ""


def challenger(session: Session) -> RoutingModel | None:
    """The model that predicts silently."""
    return _with_status(session, ModelStatus.challenger)


def listed(session: Session, newest: int = 10) -> list[RoutingModel]:
    """The newest models, and whatever older one a supervisor can still decide about or go back to."""
    query = select(RoutingModel).order_by(col(RoutingModel.created_at).desc()).limit(newest)
    statuses = (ModelStatus.champion, ModelStatus.challenger, ModelStatus.retired)
    counting = filter(None, (_with_status(session, status) for status in statuses))
    rows = {row.id: row for row in (*session.exec(query), *counting)}
    return sorted(rows.values(), key=lambda row: row.created_at, reverse=True)


def taken_back(session: Session, models: Sequence[RoutingModel]) -> dict[UUID, int]:
    """How many of the cases that each model learnt its citizens have taken back since; those that may route.

    Not of one whose cases were not recorded yet.
    """
    left = {str(one) for one in session.exec(select(TrainingExample.id))}
    return {
        row.id: len(set(row.lessons) - left)
        for row in models
        if row.status != ModelStatus.refused and len(row.lessons) == row.examples
    }


def _with_status(session: Session, status: ModelStatus) -> RoutingModel | None:
    """The newest model of a status: the last one decided about, or made."""
    query = select(RoutingModel).where(RoutingModel.status == status)
    newest = (col(RoutingModel.decided_at).desc(), col(RoutingModel.created_at).desc())
    return session.exec(query.order_by(*newest)).first()


def promote(session: Session, settings: Settings, model_id: UUID, *, staff: Staff, screen: str) -> None:
    """The challenger routes from now on.

    Raises:
        NotFound: No such challenger. NotBetter: the comparison does not allow it. NotCompared: it was
            compared with a model that no longer routes. Unreadable: its files are gone or altered.
    """
    row = _challenger(session, model_id)
    if not row.metrics.get("better"):
        raise NotBetter
    if row.metrics["against"] != identity(champion_folder(session, settings)):
        raise NotCompared
    try:
        read_manifest(settings.data_dir / "models" / row.folder)
    except ModelNotLoaded as reason:
        log.error("the challenger cannot be promoted: %s", reason)
        raise Unreadable from reason
    if champion := _with_status(session, ModelStatus.champion):
        _decide(session, champion, ModelStatus.retired, staff)
    _decide(session, row, ModelStatus.champion, staff)
    _audit(session, staff, "promote_model", row.folder, screen)


def refuse(session: Session, model_id: UUID, *, staff: Staff, screen: str) -> None:
    """The challenger stops predicting.

    Raises:
        NotFound: No such challenger.
    """
    row = _challenger(session, model_id)
    _decide(session, row, ModelStatus.refused, staff)
    _audit(session, staff, "refuse_model", row.folder, screen)


def roll_back(session: Session, model_id: UUID, *, staff: Staff, screen: str) -> None:
    """The model before this champion routes again; without one, the model of the set-up.

    Raises:
        NotFound: There is no champion to take back. Conflict: it is another one by now.
    """
    _hold_models(session)
    champion = _with_status(session, ModelStatus.champion)
    if champion is None:
        raise NotFound
    if champion.id != model_id:
        raise Conflict
    before = _with_status(session, ModelStatus.retired)
    _decide(session, champion, ModelStatus.refused, staff)
    if before:
        _decide(session, before, ModelStatus.champion, staff)
    _audit(session, staff, "roll_back_model", champion.folder, screen)


def _hold_models(session: Session) -> None:
    """One decision about the models at a time: each rests on what all the others are."""
    query = select(RoutingModel).order_by(col(RoutingModel.id)).with_for_update(key_share=True)
    session.exec(query.execution_options(populate_existing=True)).all()


def _challenger(session: Session, model_id: UUID) -> RoutingModel:
    _hold_models(session)
    row = session.get(RoutingModel, model_id)
    if row is None or row.status != ModelStatus.challenger:
        raise NotFound
    return row


def _decide(session: Session, row: RoutingModel, status: ModelStatus, staff: Staff) -> None:
    row.status, row.decided_by, row.decided_at = status, staff.id, now()
    session.add(row)


def _audit(session: Session, staff: Staff, action: str, subject: str, screen: str) -> None:
    audit.record(session, actor=staff.login, action=action, subject=f"routing:{subject}", screen=screen)


class LiveClassifier:
    """The champion, and silently beside it the challenger; follows a promotion or a first model in seconds.

    Args:
        engine: Where the models' rows are.
        settings: Where their folders are.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine, self._settings = engine, settings
        self._looked = float("-inf")
        self._champion = settings.effective_classifier_dir
        self._challenger: Path | None = None

    def champion(self) -> DepartmentClassifier:
        """The model that routes.

        Raises:
            ModelNotLoaded: Neither the champion nor the model of the set-up can be used.
        """
        self._look()
        try:
            return _load(self._champion, self._settings.routing_coverage)
        except ClassifierError as reason:
            fallback = self._settings.effective_classifier_dir
            if self._champion == fallback:
                raise
            log.critical("the champion cannot be loaded, the first model routes: %s", reason)
            self._champion = fallback
            return _load(fallback, self._settings.routing_coverage)

    def predict(self, text: str) -> Prediction:
        """The champion's answer."""
        return self.champion().predict(text)

    def remarks(self, text: str, prediction: Prediction) -> dict[str, Any]:
        """Kept beside a prediction: words that mattered, unknown words, the challenger's view.

        Nothing once another model has become champion: its reasons would be none of this prediction's.
        """
        champion = self.champion()
        if champion.name != prediction.model:
            return {}
        top = next(iter(prediction.probabilities))
        words = champion.explain(text, top) if prediction.set else ()
        kept: dict[str, Any] = {
            "words": [[word.text, word.weight] for word in words],
            "unknown": champion.unknown_share(text),
        }
        return kept | self._silent(text)

    def _silent(self, text: str) -> dict[str, Any]:
        if self._challenger is None:
            return {}
        try:
            view = _load(self._challenger, self._settings.routing_coverage).predict(text)
        except ClassifierError as reason:
            log.error("the challenger is left out: %s", reason)
            return {}
        told = {"model": self._challenger.name, "department": view.department, "set": list(view.set)}
        return {"shadow": told}

    def _look(self) -> None:
        """Ask the rows which models count, at most every few seconds."""
        if time.monotonic() - self._looked < REFRESH_SECONDS:
            return
        self._looked = time.monotonic()
        with reading(self._engine) as session:
            self._champion = champion_folder(session, self._settings)
            row = challenger(session)
            self._challenger = self._settings.data_dir / "models" / row.folder if row else None


def _load(folder: Path, coverage: float) -> DepartmentClassifier:
    """A model, loaded once per process until its files change.

    Raises:
        ModelNotLoaded: Missing or damaged.
    """
    try:
        return _loaded(folder, (folder / MANIFEST).stat().st_mtime_ns, coverage)
    except OSError as error:
        raise ModelNotLoaded(f"{folder}: {error}") from error


@lru_cache(maxsize=2)
def _loaded(folder: Path, _stamp: int, coverage: float) -> DepartmentClassifier:
    """Champion and challenger fit; an older one makes room."""
    return DepartmentClassifier(folder, coverage=coverage)
