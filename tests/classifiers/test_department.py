"""A trained folder, through the same door as in service."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from classifiers.calibrate import sigmoid
from classifiers.department import FRONT_DESK, SECOND_AT, DepartmentClassifier, Prediction
from classifiers.errors import EmptyText, ModelNotLoaded

STRANGE = [
    "あ" * 100_000,
    "\ud83d\ude00",
    "a\udc00b",
    "\x00",
    "ごみ\u202e税",
    "𠮷野家",
    "1",
    "ﾞ",
    "税" + "\u0301" * 5000,
]


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A private copy of the trained folder, to be damaged."""
    return shutil.copytree(trained, tmp_path / "classifier")


def _limits(
    temperature: float,
    include_at: float,
    route_at: float,
    *,
    emergency_at: float = 1.1,
    two_matters_at: float = 1.1,
    calm_at: float = 0.0,
) -> dict[str, object]:
    """Six labels with the same thresholds; flags that stay silent unless asked for."""
    limits = {
        "temperature": temperature, "include_at": [include_at] * 6, "route_at": [route_at] * 6,
        "coverage": 0.95, "emergency_at": emergency_at, "calm_at": calm_at, "two_matters_at": two_matters_at,
    }  # fmt: skip
    return {"ja": limits, "other": limits}


def _edit_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_learns_the_tiny_city(classifier: DepartmentClassifier, data_dir: Path) -> None:
    lines = (data_dir / "inquiries" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    right = [next(iter(classifier.predict(r["text"]).probabilities)) == r["department"] for r in rows]
    assert np.mean(right) > 0.7


def test_probabilities_are_ordered_and_sum_to_one(classifier: DepartmentClassifier) -> None:
    found = classifier.predict("ごみの日を教えて")
    values = list(found.probabilities.values())
    assert set(found.probabilities) == set(classifier.labels)
    assert sum(values) == pytest.approx(1.0)
    assert values == sorted(values, reverse=True)
    assert found.confidence == values[0]
    assert list(found.set) == list(found.probabilities)[: len(found.set)]


def test_prediction_cannot_be_changed(classifier: DepartmentClassifier) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        classifier.predict("ごみ").department = "tax"  # type: ignore[misc]


def test_the_same_message_always_gets_the_same_answer(classifier: DepartmentClassifier) -> None:
    first = classifier.predict("水道の開栓")
    classifier.predict("こんにちは" * 20)
    assert classifier.predict("水道の開栓") == first


def test_a_sure_department_is_routed_and_a_sure_exit_is_no_department(copy: Path) -> None:
    calibration = _limits(0.05, 0.5, 0.5)
    _edit_manifest(copy, calibration=calibration)
    sharp = DepartmentClassifier(copy)
    routed, talk = sharp.predict("固定資産税が高い"), sharp.predict("ありがとう")
    assert (routed.department, routed.abstained, routed.set) == ("tax", False, ("tax",))
    assert (talk.department, talk.abstained) == ("small_talk", True)


def test_several_candidates_go_to_the_front_desk(copy: Path) -> None:
    _edit_manifest(copy, calibration=_limits(9.0, 0.01, 0.0))
    found = DepartmentClassifier(copy).predict("ごみの日はいつ")
    assert (found.department, found.abstained) == (FRONT_DESK, True)
    assert len(found.set) > 1


def test_one_candidate_below_the_threshold_goes_to_the_front_desk(copy: Path) -> None:
    _edit_manifest(copy, calibration=_limits(0.05, 0.5, 1.1))
    found = DepartmentClassifier(copy).predict("ごみの日はいつ")
    assert (found.department, found.abstained, len(found.set)) == (FRONT_DESK, True, 1)


def test_nobody_is_calm_about_a_message_whose_end_was_not_read(copy: Path) -> None:
    _edit_manifest(copy, calibration=_limits(1.0, 0.5, 0.5, calm_at=1.1))
    model = DepartmentClassifier(copy)
    assert model.predict("ごみの日はいつ").calm
    for short in ("ごみの日はいつ" * 5, "https://example.invalid/a ごみの日はいつ"):
        assert model.predict(short).calm
    for long in ("ごみの日はいつ。" * 60, "ごみの日はいつ" + " " * 1_100 + "家が燃えています"):
        assert not model.predict(long).calm


def test_two_matters_name_both_departments(copy: Path) -> None:
    _edit_manifest(copy, calibration=_limits(1.0, 0.5, 0.0, two_matters_at=0.0))
    found = DepartmentClassifier(copy).predict("粗大ごみを出したい、税金を分割で払う")
    assert {found.department, found.also} == {"waste", "tax"}
    _edit_manifest(copy, calibration=_limits(1.0, 0.5, 0.0))
    assert DepartmentClassifier(copy).predict("粗大ごみを出したい、税金を分割で払う").also == ""


def test_a_second_matter_that_the_model_hardly_sees_is_none(copy: Path) -> None:
    _edit_manifest(copy, calibration=_limits(0.02, 0.5, 0.0, two_matters_at=0.0))
    found = DepartmentClassifier(copy).predict("ごみの日はいつ")
    assert sorted(found.probabilities.values())[-2] < SECOND_AT
    assert (found.department, found.also) == ("waste", "")


def test_the_second_matter_is_the_next_department_and_no_exit(copy: Path) -> None:
    _edit_manifest(copy, calibration=_limits(1.0, 0.5, 0.0, two_matters_at=0.9))
    model = DepartmentClassifier(copy)
    scores = dict.fromkeys(model.labels, -9.0) | {"waste": 5.0, "small_talk": 3.0, "tax": 1.0}
    logits = np.array([*scores.values(), -9.0, 9.0], np.float32)
    found = model._decide(logits, model._calibrations["ja"])
    assert (found.department, found.also) == ("waste", "tax")
    logits[model.labels.index("small_talk")] = 9.0
    assert model._decide(logits, model._calibrations["ja"]).also == ""


def test_two_matters_with_a_third_candidate_go_to_the_front_desk(copy: Path) -> None:
    _edit_manifest(copy, calibration=_limits(1.0, 0.0, 0.0, two_matters_at=0.0))
    found = DepartmentClassifier(copy).predict("粗大ごみを出したい、税金を分割で払う")
    assert len(found.set) == 6
    assert (found.department, found.also) == (FRONT_DESK, "")


def test_another_coverage_makes_other_sets_without_training(trained: Path) -> None:
    texts = ("税金とごみのこと", "水道", "相談", "証明", "どこですか")
    wide, usual, narrow = (DepartmentClassifier(trained, coverage=c) for c in (0.99, None, 0.5))
    sizes = [sum(len(model.predict(text).set) for text in texts) for model in (wide, usual, narrow)]
    assert sizes[0] >= sizes[1] >= sizes[2]
    assert sizes[0] > sizes[2]


def test_an_emergency_is_told_apart(copy: Path) -> None:
    untouched = DepartmentClassifier(copy)
    alarming, ordinary = (
        float(sigmoid(untouched.logits(text)[-2:])[0]) for text in ("家が燃えています", "ごみの日はいつ")
    )
    assert alarming > 2 * ordinary
    _edit_manifest(copy, calibration=_limits(1.0, 0.5, 0.5, emergency_at=(alarming + ordinary) / 2))
    model = DepartmentClassifier(copy)
    assert model.predict("家が燃えています").emergency
    assert not model.predict("ごみの日はいつ").emergency


def test_many_messages_get_the_answers_they_get_alone(classifier: DepartmentClassifier) -> None:
    texts = ["水道の開栓", "こんにちは" * 20, "ごみの日はいつ", "固定資産税が高い"] * 5
    assert classifier.predict_many(texts) == [classifier.predict(text) for text in texts]


def test_the_words_that_mattered_stand_in_the_message(classifier: DepartmentClassifier) -> None:
    for text in ("水道料金が高い https://example.invalid/a", "水道", "家の税金とごみ"):
        found = classifier.explain(text, next(iter(classifier.predict(text).probabilities)), top=2)
        assert found, "also a certain answer has its reasons"
        assert all(word.text in text and word.weight > 0 for word in found)
        assert [w.weight for w in found] == sorted((w.weight for w in found), reverse=True)
        assert len(found) <= 2
    assert classifier.explain("😀👍", "water") == ()


@pytest.mark.parametrize("text", ["", " \n\t　", "\ud83d"])
def test_nothing_to_read_is_a_typed_error(classifier: DepartmentClassifier, text: str) -> None:
    with pytest.raises(EmptyText):
        classifier.predict(text)


@pytest.mark.parametrize(
    "text",
    ["😀👍", "https://example.invalid/a?b=c", "www.example.invalid http://x.invalid", "！？…", "\u200b!"],
)
def test_wordless_messages_are_abstained(classifier: DepartmentClassifier, text: str) -> None:
    found = classifier.predict(text)
    assert (found.department, found.abstained, found.set, found.confidence) == (FRONT_DESK, True, (), 0.0)
    assert sum(found.probabilities.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("text", STRANGE, ids=range(len(STRANGE)))
def test_strange_messages_do_not_crash(classifier: DepartmentClassifier, text: str) -> None:
    try:
        assert classifier.predict(text).department in {*classifier.labels, FRONT_DESK}
    except EmptyText:
        assert text == "\ud83d\ude00"


def test_an_address_in_a_message_does_not_matter(classifier: DepartmentClassifier) -> None:
    linked = classifier.predict("ごみの日はいつ https://example.invalid/tax/water?q=1")
    assert linked == classifier.predict("ごみの日はいつ")


@pytest.mark.parametrize(
    "name", ["model.onnx", "model.words.bin", "ngrams.npz", "tokenizer.json", "manifest.json"]
)
def test_a_missing_file_is_noticed(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ModelNotLoaded):
        DepartmentClassifier(copy)


def test_a_single_changed_byte_is_noticed(copy: Path) -> None:
    data = bytearray((copy / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.onnx").write_bytes(data)
    with pytest.raises(ModelNotLoaded, match="altered"):
        DepartmentClassifier(copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": None},
        {"calibration": {}},
        {"calibration": None},
        {"calibration": {"ja": {}}},
        {"ngram_factors": {"ja": [1.0]}},
        {"max_tokens": "x"},
        {"format": 1},
    ],
)
def test_an_incomplete_manifest_is_noticed(copy: Path, changes: dict[str, object]) -> None:
    _edit_manifest(copy, **changes)
    with pytest.raises(ModelNotLoaded):
        DepartmentClassifier(copy)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelNotLoaded):
        DepartmentClassifier(tmp_path / "nowhere")


def test_serving_imports_no_training_library(trained: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from classifiers import safety, language, encoder, freshness;"
        "from classifiers.department import DepartmentClassifier, Prediction;"
        f"DepartmentClassifier(Path({str(trained)!r})).predict('ごみ');"
        "print([m for m in ('torch', 'transformers', 'sklearn', 'scipy', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_departments_that_became_one_no_longer_make_the_model_hesitate() -> None:
    shares = {"tax": 0.5, "water": 0.4, "waste": 0.1}
    unsure = Prediction("front_desk", 0.5, shares, ("tax", "water"), abstained=True)
    today = unsure.as_of_today({"water": "tax"})
    assert (today.department, today.set, today.abstained) == ("tax", ("tax",), False)
    assert (today.confidence, today.probabilities) == (0.9, {"tax": 0.9, "waste": 0.1})
    still = unsure.as_of_today({"waste": "tax"})
    assert (still.department, still.set, still.abstained) == ("front_desk", ("tax", "water"), True)
