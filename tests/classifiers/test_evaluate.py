"""The report counts what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from classifiers.backbone import fetch_backbone
from classifiers.curves import coverage_svg, curves, expected_calibration_error, which_bin
from classifiers.errors import BadDataset
from classifiers.evaluate import evaluate, evaluate_safety, load_cases


def test_another_promise_makes_other_sets(trained: Path, data_dir: Path) -> None:
    test = data_dir / "inquiries" / "test.jsonl"
    low, high = (
        evaluate(trained, test, simpler=False, coverage=promised)["model"]["mean_set_size"]
        for promised in (0.5, 0.99)
    )
    assert low < high


def test_one_table_with_the_simpler_models(
    trained: Path, data_dir: Path, tiny_hub: Path, cache_dir: Path
) -> None:
    folder = fetch_backbone(str(tiny_hub), cache_dir)
    report = evaluate(trained, data_dir / "inquiries" / "test.jsonl", backbone=folder)
    json.dumps(report)
    assert report["model"]["n"] == 72
    for name in ("model", "tfidf", "frozen"):
        assert 0.3 < report[name]["accuracy"] <= report[name]["top2"] <= 1.0
    assert report["emergency"]["n"] == 1
    assert report["emergency"]["recall"] == report["emergency"]["recall_of_rules"] == 1.0
    assert report["two_matters"]["n"] == 6
    assert 0.0 <= report["two_matters"]["both_found"] <= report["two_matters"]["noticed"] <= 1.0
    assert len(report["curves"]["reliability"]) <= 10
    assert report["curves"]["coverage_accuracy"][-1]["coverage"] == 1.0
    assert report["model"]["coverage"] >= report["model"]["accuracy"]
    assert set(report["model"]["per_label"]) == {
        "waste",
        "tax",
        "water",
        "small_talk",
        "account",
        "out_of_scope",
    }


def test_any_accepted_department_counts(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    everything = ["waste", "tax", "water", "small_talk", "account", "out_of_scope"]
    path.write_text(json.dumps({"id": "1", "text": "ごみと税金", "accepted": everything}) + "\n")
    model = evaluate(trained, path)["model"]
    assert (model["accuracy"], model["macro_f1"], model["confusions"]) == (1.0, 1.0, {})


def test_a_department_that_has_ended_counts_for_who_took_it_over(trained: Path, data_dir: Path) -> None:
    test = data_dir / "inquiries" / "test.jsonl"
    before, after = (
        evaluate(trained, test, simpler=False, successors=successors)["model"]
        for successors in ({}, {"waste": "tax", "water": "tax"})
    )
    assert after["per_label"].keys() == {"tax", "small_talk", "account", "out_of_scope"}
    assert after["per_label"]["tax"]["n"] == 3 * 12 + 6, "two matters of one department are one"
    assert not any("wa" in pair for pair in after["confusions"])
    assert after["accuracy"] >= before["accuracy"] > 0.9
    simpler = evaluate(trained, test, successors={"waste": "tax", "water": "tax"})["tfidf"]
    assert simpler["macro_f1"] > 0.5


def test_calibration_error_by_hand() -> None:
    confidence, right = np.array([0.95, 0.95, 0.55, 0.55]), np.array([True, True, True, False])
    assert expected_calibration_error(confidence, right) == pytest.approx(0.05)
    assert expected_calibration_error(np.array([1.0]), np.array([False])) == 1.0


def test_no_two_bins_share_a_name_on_the_metrics_page() -> None:
    drawn = curves(np.array([0.799, 0.8, 1.0]), np.array([False, True, True]))
    confidences = np.array([point["confidence"] for point in drawn["reliability"]])
    assert which_bin(confidences).tolist() == [7, 8, 9]


def test_the_worst_routing_does_not_look_half_right() -> None:
    def lowest(*accuracies: float) -> tuple[str, float]:
        svg = coverage_svg([{"coverage": 1.0, "accuracy": one} for one in accuracies])
        [axis] = re.findall(r'y="276.0" text-anchor="end">(\d+)<', svg)
        return axis, max(float(y) for y in re.findall(r'cy="([\d.]+)"', svg))

    assert lowest(0.9, 0.5) == ("50", 276.0)
    assert lowest(0.9, 0.25) == ("0", 218.0)


def test_a_missed_emergency_and_a_false_alarm_are_named() -> None:
    heard = {"家が火事": True, "けがをした": False, "ごみの日": False, "消防訓練": True}
    report = evaluate_safety(heard.__getitem__, ["家が火事", "けがをした"], ["ごみの日", "消防訓練"])
    assert (report["recall"], report["missed"]) == (0.5, ["けがをした"])
    assert (report["false_alarms"], report["raised"]) == (0.5, ["消防訓練"])


def test_languages_are_counted_apart(trained: Path, tmp_path: Path) -> None:
    rows = [
        {"text": "水道の開栓", "department": "water"},
        {"text": "open the water", "department": "water", "language": "en"},
        {"text": "tax paper", "department": "tax", "language": "en"},
    ]
    path = tmp_path / "messages.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = evaluate(trained, path)
    assert report["model"]["n"] == 1
    assert report["languages"]["en"]["n"] == 2


def test_a_line_without_a_label_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "a", "department": "tax"}\n{"text": "b"}\n')
    with pytest.raises(BadDataset) as caught:
        load_cases(path)
    assert caught.value.line == 2
