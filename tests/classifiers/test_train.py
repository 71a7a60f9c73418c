"""Training from data to a folder, and when it must happen again."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from classifiers import train as train_module
from classifiers.artefact import replacing
from classifiers.dataset import load_labels, load_split
from classifiers.department import DepartmentClassifier
from classifiers.errors import BadDataset
from classifiers.router import Encoded, WeightAverage, by_length, shuffled_batches
from classifiers.train import Recipe, is_fresh, train, weigh_ngrams


@pytest.fixture
def own_data(data_dir: Path, tmp_path: Path) -> Path:
    """A copy of the data, to be changed."""
    return shutil.copytree(data_dir, tmp_path / "data")


def test_a_thread_that_waits_frees_its_core() -> None:
    environment = os.environ | {"OMP_DISPLAY_ENV": "verbose"}
    environment.pop("GOMP_SPINCOUNT", None)
    command = [sys.executable, "-c", "import classifiers.train"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr
    found = [line.strip() for line in said.splitlines() if "GOMP_SPINCOUNT" in line]
    assert found
    assert set(found) == {"GOMP_SPINCOUNT = '3000'"}


def test_the_folder_holds_everything(trained: Path) -> None:
    names = sorted(p.name for p in trained.iterdir())
    facts = ["known_words.txt", "labels.json", "manifest.json", "metrics.json"]
    model = ["model.onnx", "model.words.bin", "model_card.md", "ngrams.npz", "tokenizer.json", "valid.npz"]
    assert names == [*facts, *model]
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["epochs"][0]["epoch"] == 0
    assert set(metrics["valid"]) == {"accuracy", "macro_f1", "coverage", "mean_set_size"}
    assert metrics["examples"]["valid"] == 80
    assert 155 < metrics["examples"]["train"] < 155 * 1.3
    assert "問い合わせ振り分けモデル" in (trained / "model_card.md").read_text(encoding="utf-8")


def test_the_last_epoch_sees_what_was_learnt_least(
    data_dir: Path,
    tiny_hub: Path,
    cache_dir: Path,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[list[str]] = []
    losses: list[dict[str, float]] = []
    whole = train_module._one_epoch

    def one_epoch(*given: Any, **named: Any) -> None:  # noqa: ANN401
        _, data, chosen, kept = given[:4]
        seen.append([data.texts[k] for k in chosen])
        whole(*given, **named)
        losses.append(dict(zip(data.texts, kept.tolist(), strict=True)))

    monkeypatch.setattr(train_module, "_one_epoch", one_epoch)
    train(tmp_path / "out", data_dir, tiny_hub, recipe=recipe, cache_dir=cache_dir)
    first, last = map(set, seen)
    assert len(last) == round(recipe.last_epoch * len(first))
    assert min(losses[0][text] for text in last) >= max(losses[0][text] for text in first - last)


def test_nothing_half_written_is_left(trained: Path) -> None:
    assert [p.name for p in trained.parent.iterdir()] == ["classifier"]


def test_fresh_until_data_or_backbone_change(
    trained: Path, data_dir: Path, own_data: Path, tiny_hub: Path
) -> None:
    assert is_fresh(trained, data_dir, tiny_hub)
    assert is_fresh(trained, own_data, tiny_hub)
    with (own_data / "inquiries" / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "new", "text": "新しい文", "department": "tax"}\n')
    assert not is_fresh(trained, own_data, tiny_hub)
    assert not is_fresh(trained, data_dir, "another-backbone")


def test_test_set_does_not_count(trained: Path, own_data: Path, tiny_hub: Path) -> None:
    (own_data / "inquiries" / "test.jsonl").unlink()
    assert is_fresh(trained, own_data, tiny_hub)


def test_some_of_a_split_keeps_every_label() -> None:
    gold = np.repeat([0, 1, 2], [900, 90, 10])
    shares = np.eye(3, dtype=np.float32)[gold]
    rows = [np.array([i]) for i in range(1000)]
    split = Encoded([str(i) for i in range(1000)], rows, shares, np.zeros((1000, 2), dtype=np.float32))
    some = split.some(100, seed=1)
    assert np.bincount(some.gold).tolist() == [90, 20, 10]
    assert [int(row[0]) for row in some.ids] == [int(text) for text in some.texts]
    assert (some.shares == shares[[int(text) for text in some.texts]]).all()


def test_never_fresh_without_a_model(data_dir: Path, tiny_hub: Path, tmp_path: Path, trained: Path) -> None:
    assert not is_fresh(tmp_path / "nowhere", data_dir, tiny_hub)
    damaged = shutil.copytree(trained, tmp_path / "damaged")
    (damaged / "model.onnx").write_bytes(b"")
    assert not is_fresh(damaged, data_dir, tiny_hub)


def test_same_seed_same_model(
    trained: Path, data_dir: Path, tiny_hub: Path, cache_dir: Path, recipe: Recipe, tmp_path: Path
) -> None:
    again = DepartmentClassifier(
        train(tmp_path / "again", data_dir, tiny_hub, recipe=recipe, cache_dir=cache_dir)
    )
    np.testing.assert_allclose(
        again.logits("水道の開栓"), DepartmentClassifier(trained).logits("水道の開栓"), atol=0.3
    )


def test_a_bad_line_is_named(
    own_data: Path, tiny_hub: Path, cache_dir: Path, recipe: Recipe, tmp_path: Path
) -> None:
    path = own_data / "inquiries" / "train.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write('{"id": "x", "text": "迷子の猫", "department": "cats"}\n')
    with pytest.raises(BadDataset, match="cats") as caught:
        train(tmp_path / "out", own_data, tiny_hub, recipe=recipe, cache_dir=cache_dir)
    assert (caught.value.path, caught.value.line) == (path, 151)
    assert not (tmp_path / "out").exists()


def test_a_failed_replacement_keeps_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").write_text("1")

    def fail_half_way() -> None:
        with replacing(folder) as scratch:
            (scratch / "new").write_text("2")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_half_way()
    assert [p.name for p in folder.iterdir()] == ["old"]
    with replacing(folder) as scratch:
        (scratch / "new").write_text("2")
    assert [p.name for p in folder.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_the_average_stands_in_for_the_weights_and_goes_again() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 2.0)
    average = WeightAverage(model, keep=0.75)
    for value in (4.0, 10.0):
        torch.nn.init.constant_(model.weight, value)
        for _ in range(WeightAverage.EVERY):
            average.update()
    with average.in_place():
        between = model.weight.item()
    assert model.weight.item() == 10.0
    with average.in_place():
        assert model.weight.item() == between
    assert 2.0 < between < 10.0


def test_an_average_follows_weights_that_stay_put() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, keep=0.75)
    torch.nn.init.constant_(model.weight, 3.0)
    for _ in range(60 * WeightAverage.EVERY):
        average.update()
    with average.in_place():
        assert model.weight.item() == pytest.approx(3.0, abs=1e-4)


def test_every_message_is_in_one_batch() -> None:
    rows = [np.arange(length) for length in np.random.default_rng(0).integers(1, 40, 101)]
    shuffled = shuffled_batches(rows, 8, random.Random(1))  # noqa: S311
    for batches in (shuffled, list(by_length(rows, 8))):
        assert sorted(k for batch in batches for k in batch) == list(range(101))
        assert max(map(len, batches)) <= 8


GOOD = '{"id": "1", "text": "ごみ", "department": "waste"}'


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (["{"], 1),
        ([GOOD, "[]"], 2),
        ([GOOD, "", '{"id": "2", "text": "税"}'], 3),
        (['{"id": "1", "text": "  ", "department": "tax"}'], 1),
        (['{"id": 1, "text": "税", "department": "tax"}'], 1),
        ([GOOD, GOOD.replace("ごみ", "税")], 2),
        ([GOOD, GOOD.replace('"1"', '"2"')], 2),
        ([], 0),
    ],
)
def test_bad_lines_are_found(own_data: Path, lines: list[str], line: int) -> None:
    (own_data / "inquiries" / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(BadDataset) as caught:
        load_split(own_data, "train", load_labels(own_data))
    assert caught.value.line == line


def test_missing_files_are_bad_datasets(tmp_path: Path, own_data: Path) -> None:
    with pytest.raises(BadDataset):
        load_labels(tmp_path)
    with pytest.raises(BadDataset):
        load_split(own_data, "nowhere", load_labels(own_data))
    (own_data / "departments.yaml").write_text("departments: 3")
    with pytest.raises(BadDataset):
        load_labels(own_data)


def test_ngrams_count_in_each_group_of_languages_as_they_help_there() -> None:
    gold = np.arange(300) % 3
    right = 4 * np.eye(3, dtype=np.float32)[gold]
    wrong = 4 * np.eye(3, dtype=np.float32)[(gold + 1) % 3]
    groups = np.array(["ja", "other"] * 150)
    japanese = (groups == "ja")[:, None]
    flags = np.zeros((300, 2), dtype=np.float32)
    valid = Encoded([""] * 300, [np.array([0])] * 300, np.eye(3, dtype=np.float32)[gold], flags)
    encoded, spoken = (
        np.hstack([np.where(japanese, *logits), flags]) for logits in ((right, wrong / 4), (wrong, right))
    )
    found = weigh_ngrams(valid, groups, encoded, spoken)
    assert found["ja"].tolist() == [0.0] * 5
    assert found["other"].tolist() == [2.0] * 3 + [0.0] * 2
