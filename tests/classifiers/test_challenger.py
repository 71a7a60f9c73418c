"""A challenger learns from released cases by the real training, on the tiny city."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from bot import learning
from bot.db import now, transaction
from bot.models import (
    AuditEntry,
    Department,
    Inquiry,
    InquiryStatus,
    ModelStatus,
    RoutingModel,
    Staff,
    TrainingExample,
)
from classifiers.artefact import MANIFEST, read_manifest
from classifiers.dataset import load_labels, load_split
from classifiers.errors import BadDataset, ModelNotLoaded
from classifiers.evaluate import load_cases
from tests.city import USER, City

LESSON = "うちの庭木の枝を切ってほしい"


def _release(city: City, text: str, department: str) -> None:
    """A finished case that a supervisor released, as the supervisor's page leaves it."""
    city.hire("kakaricho")
    city.line_says(text)
    city.work()
    [staff] = city.all(Staff)
    with transaction(city.engine) as session:
        inquiry = session.get_one(Inquiry, city.case(USER).id)
        inquiry.status = InquiryStatus.closed
        session.add(inquiry)
        session.add(
            TrainingExample(
                inquiry_id=inquiry.id, text=text, department_id=department, used=True, authorised_by=staff.id
            )
        )


def test_a_challenger_learns_the_released_cases_and_is_compared_with_the_champion(
    city: City, data_dir: Path, tiny_hub: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _release(city, LESSON, "tax")
    changes = {"city_dir": data_dir, "backbone": str(tiny_hub), "classifier_dir": trained}
    settings = city.settings.model_copy(update=changes)
    row = learning.train_challenger(settings, city.engine)

    assert (row.examples, row.status) == (1, ModelStatus.challenger)
    assert row.lessons == [str(example.id) for example in city.all(TrainingExample)]
    words = (settings.data_dir / "models" / row.folder / "known_words.txt").read_text(encoding="utf-8")
    assert "庭木" in words.split()
    assert "庭木" not in (trained / "known_words.txt").read_text(encoding="utf-8").split()
    assert row.metrics["champion"]["macro_f1"] > 0
    assert row.metrics["better"] == (
        row.metrics["challenger"]["macro_f1"] > row.metrics["champion"]["macro_f1"]
        and not row.metrics["worse"]
    )
    assert row.metrics["against"] == learning.identity(trained)
    newer = learning.train_challenger(settings, city.engine)
    statuses = {m.folder: m.status for m in city.all(RoutingModel)}
    assert statuses == {row.folder: ModelStatus.refused, newer.folder: ModelStatus.challenger}


def test_a_damaged_champion_is_found_before_the_training(
    city: City, data_dir: Path, tiny_hub: Path, trained: Path, tmp_path: Path
) -> None:
    damaged = shutil.copytree(trained, tmp_path / "damaged")
    (damaged / "model.onnx").write_bytes(b"half")
    changes = {"city_dir": data_dir, "backbone": str(tiny_hub), "classifier_dir": damaged}
    with pytest.raises(ModelNotLoaded):
        learning.train_challenger(city.settings.model_copy(update=changes), city.engine)
    assert not (city.settings.data_dir / "models").exists()


def test_a_promoted_model_that_an_upgrade_cannot_read_is_to_be_rolled_back_before_the_training(
    city: City, data_dir: Path, tiny_hub: Path, trained: Path
) -> None:
    folder = shutil.copytree(trained, city.settings.data_dir / "models" / "promoted")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps(manifest | {"format": 0}), encoding="utf-8")
    with transaction(city.engine) as session:
        session.add(RoutingModel(folder="promoted", status=ModelStatus.champion, examples=1, metrics={}))
    changes = {"city_dir": data_dir, "backbone": str(tiny_hub), "classifier_dir": trained}
    with pytest.raises(ModelNotLoaded) as told:
        learning.train_challenger(city.settings.model_copy(update=changes), city.engine)
    assert "前のモデルに戻す" in str(told.value)
    assert "madoguchi setup" not in str(told.value)


def test_after_a_reorganisation_both_models_are_asked_for_the_departments_of_today(
    city: City, data_dir: Path, tiny_hub: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _release(city, LESSON, "tax")
    with transaction(city.engine) as session:
        ended = session.get_one(Department, "water")
        ended.valid_to, ended.successor_id = now().date() - timedelta(days=2), "tax"
    changes = {"city_dir": data_dir, "backbone": str(tiny_hub), "classifier_dir": trained}
    settings = city.settings.model_copy(update=changes)
    row = learning.train_challenger(settings, city.engine)

    labels = read_manifest(settings.data_dir / "models" / row.folder)["labels"]
    assert labels == ["waste", "tax", "small_talk", "account", "out_of_scope"]
    for model in ("champion", "challenger"):
        assert {name: one["n"] for name, one in row.metrics[model]["per_label"].items()} == {
            "waste": 12, "tax": 24, "small_talk": 12, "account": 12, "out_of_scope": 12,
        }  # fmt: skip


def test_two_matters_of_departments_that_became_one_are_one_matter(data_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(data_dir, tmp_path / "data")
    before = load_split(folder, "train", load_labels(folder))
    learning.label_as_of_today(folder / "inquiries", {"waste": "tax"})
    after = load_split(folder, "train", load_labels(folder))
    assert [one.text for one in after] == [one.text for one in before]
    assert {one.also for one in before} == {"", "tax"}
    assert {one.also for one in after} == {""}
    assert {one.department for one in before} - {one.department for one in after} == {"waste"}


@contextmanager
def _training(city: City, data_dir: Path, hub: Path, cache: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`madoguchi train --from-cases` as a process of its own, killed at the end."""
    environment = {
        "MADOGUCHI_SECRET_KEY": "x" * 32, "MADOGUCHI_DATABASE_URL": city.url,
        "MADOGUCHI_DATA_DIR": str(city.settings.data_dir), "MADOGUCHI_CITY_DIR": str(data_dir),
        "MADOGUCHI_CLASSIFIER_DIR": str(city.settings.classifier_dir),
        "MADOGUCHI_BACKBONE": str(hub), "XDG_CACHE_HOME": str(cache),
    }  # fmt: skip
    command = [sys.executable, "-c", "from bot.cli import main; main()", "train", "--from-cases"]
    with subprocess.Popen(command, env=os.environ | environment) as training:
        yield training
        training.kill()


def test_what_a_killed_training_left_of_the_citizens_words_goes_when_the_next_one_starts(
    city: City, data_dir: Path, tiny_hub: Path, tmp_path: Path
) -> None:
    _release(city, LESSON, "tax")
    folder = city.settings.data_dir / "training"
    words = folder / "inquiries" / "train.jsonl"
    with _training(city, data_dir, tiny_hub, tmp_path / "cache") as training:
        while training.poll() is None and not (words.is_file() and LESSON.encode() in words.read_bytes()):
            time.sleep(0.01)
    assert words.is_file()
    assert folder.stat().st_mode & 0o777 == 0o700
    half_made = city.settings.data_dir / "models" / ".20260401-000000.abc"
    half_made.mkdir(parents=True)
    with pytest.raises(BadDataset):
        learning.train_challenger(
            city.settings.model_copy(update={"city_dir": tmp_path / "none"}), city.engine
        )
    assert not folder.exists()
    assert not half_made.exists()


def _trained_to_the_end(models: Path) -> bool:
    """One is there that the training has written; while it writes, there is more behind the name."""
    made = [one for one in models.glob("*") if len(one.name.lstrip(".")) == len("20260401-000000")]
    return any((one / "manifest.json").is_file() for one in made)


def test_a_model_that_was_never_compared_to_the_end_goes_when_the_next_training_starts(
    city: City, data_dir: Path, tiny_hub: Path, tmp_path: Path
) -> None:
    _release(city, LESSON, "tax")
    models, read = city.settings.data_dir / "models", city.settings.data_dir / "training"
    with _training(city, data_dir, tiny_hub, tmp_path / "cache") as training:
        while training.poll() is None and (read.exists() or not _trained_to_the_end(models)):
            time.sleep(0.01)
    assert _trained_to_the_end(models)
    assert city.all(RoutingModel) == []
    with pytest.raises(BadDataset):
        learning.train_challenger(
            city.settings.model_copy(update={"city_dir": tmp_path / "none"}), city.engine
        )
    assert list(models.iterdir()) == []


def test_the_next_training_clears_what_was_refused_and_nothing_that_may_route_again(
    city: City, trained: Path, tmp_path: Path
) -> None:
    statuses = [ModelStatus.refused, ModelStatus.retired, ModelStatus.champion, ModelStatus.challenger]
    for status in statuses:
        shutil.copytree(trained, city.settings.data_dir / "models" / status)
        with transaction(city.engine) as session:
            session.add(RoutingModel(folder=status, status=status, examples=1, metrics={}))
    settings = city.settings.model_copy(update={"city_dir": tmp_path / "none"})
    for _ in range(2):
        with pytest.raises(BadDataset):
            learning.train_challenger(settings, city.engine)
    left = {path.name for path in (city.settings.data_dir / "models").iterdir()}
    assert left == {"retired", "champion", "challenger"}
    assert [row.folder for row in city.all(RoutingModel, RoutingModel.status == "refused")] == ["refused"]
    cleared = [entry.subject for entry in city.all(AuditEntry, AuditEntry.action == "clear_model")]
    assert cleared == ["model:refused"]


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85"])
def test_a_lesson_with_any_end_of_line_in_it_stays_one_message(
    data_dir: Path, tmp_path: Path, end: str
) -> None:
    folder = shutil.copytree(data_dir, tmp_path / "data")
    file, text = folder / "inquiries" / "train.jsonl", f"庭木の枝を{end}切ってほしい"
    lesson = TrainingExample(
        inquiry_id=uuid4(), text=text, department_id="tax", used=True, authorised_by=uuid4()
    )
    # the second time it reads what it wrote, and knows the words
    assert [learning.add_cases(file, [lesson]) for _ in range(2)] == [[str(lesson.id)], []]
    assert [e.text for e in load_split(folder, "train", load_labels(folder))].count(text) == 1
    assert load_cases(file)[-1].text == text


def _spoilt(
    model: Path, folder: Path, group: str, *, factor: float | None = None, deaf: bool = False
) -> Path:
    """A trained model that reads some languages against its own n-grams, or hears no emergency in them."""
    shutil.copytree(model, folder)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if factor is not None:
        manifest["ngram_factors"][group] = [factor] * len(manifest["ngram_factors"][group])
    if deaf:
        manifest["calibration"][group] |= {"emergency_at": 2.0, "calm_at": 2.0}
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_a_challenger_that_hears_fewer_emergencies_or_loses_the_languages_is_not_better(
    trained: Path, data_dir: Path, tmp_path: Path
) -> None:
    messages = shutil.copytree(data_dir / "inquiries", tmp_path / "inquiries") / "test.jsonl"
    in_chinese = {"waste": "请问粗大垃圾怎么处理", "tax": "请问固定资产税和市民税", "water": "请问水道料金"}
    with messages.open("a", encoding="utf-8") as file:
        for label, text in in_chinese.items():
            row = {"id": f"zh-{label}", "text": text, "department": label, "language": "zh"}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    champion = _spoilt(trained, tmp_path / "champion", "ja", factor=-0.5)

    def verdict(challenger: Path) -> tuple[list[str], bool]:
        found = learning.compare(champion, challenger, messages, {})
        return found["worse"], found["better"]

    assert verdict(trained) == ([], True)
    assert verdict(_spoilt(trained, tmp_path / "deaf", "ja", deaf=True)) == (["emergency"], False)
    assert verdict(_spoilt(trained, tmp_path / "japanese", "other", factor=-9.0)) == (["languages"], False)
