"""The search's encoder: taught, built, read back, and the shipped one beside the plain one."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from classifiers.artefact import folder_name
from classifiers.backbone import fetch_backbone
from classifiers.encoder import UPDATES, Encoder
from classifiers.errors import ModelNotLoaded
from classifiers.train_retriever import Recipe, Sought, _loss, fetch_retriever, train_retriever

ANSWERS = {
    "税金": "市民税は、納期限までに金融機関で納めてください。",
    "水道": "水道の使用を始めるときは、3日前までにお申し込みください。",
    "粗大ごみ": "収集の予約は、電話で受け付けています。",
    "保育園": "入園の申込みは、毎年11月に行います。",
}


def _questions() -> list[Sought]:
    return [
        Sought(
            question=f"{about}のこと",
            articles=frozenset({about}),
            titles=(f"{about}の手続き",),
            answers=(answer,),
            beside=(f"{about}の担当は、1階です。",),
            misses=tuple((other, text) for other, text in ANSWERS.items() if other != about),
        )
        for about, answer in ANSWERS.items()
    ] * 3


@pytest.fixture(scope="module")
def small(tiny_hub: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Updates of a small encoder, and what is served from them."""
    backbone = fetch_backbone(str(tiny_hub), cache_dir)
    out = tmp_path_factory.mktemp("retriever") / "updates.npz"
    train_retriever(_questions(), backbone, out, Recipe(epochs=60, questions=4, rate=3e-3))
    return out, fetch_retriever(backbone, cache_dir, out)


def test_what_was_learnt_is_served(small: tuple[Path, Path]) -> None:
    encoder = Encoder(small[1])
    asked = encoder.embed([f"{about}のこと" for about in ANSWERS])
    told = encoder.embed(list(ANSWERS.values()), "passage")
    assert (asked @ told.T).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_it_is_built_once_for_the_same_updates(
    small: tuple[Path, Path], tiny_hub: Path, cache_dir: Path
) -> None:
    updates, folder = small
    written = (folder / "encoder.onnx").stat().st_mtime_ns
    assert fetch_retriever(fetch_backbone(str(tiny_hub), cache_dir), cache_dir, updates) == folder
    assert (folder / "encoder.onnx").stat().st_mtime_ns == written
    assert folder.name == folder_name(updates) != folder_name(UPDATES)


def test_an_altered_encoder_is_not_used(small: tuple[Path, Path], tmp_path: Path) -> None:
    for file in small[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "encoder.onnx").write_bytes(b"rubbish")
    with pytest.raises(ModelNotLoaded, match="altered"):
        Encoder(tmp_path)


def test_the_shipped_one_tells_an_answer_from_its_neighbours(e5: Path) -> None:
    question = "引っ越すので水を止めてほしい。何日前に言えばいい？"
    sentences = [
        "水道の使用をやめるときは、5日前までにご連絡ください。",
        "水道の使用を始めるときは、3日前までにお申し込みください。",
        "水道料金は、2か月分をまとめて請求します。",
    ]
    margins = []
    for folder in (e5, fetch_retriever(e5)):
        encoder = Encoder(folder)
        likeness = encoder.embed(sentences, "passage") @ encoder.embed([question])[0]
        assert np.argmax(likeness) == 0
        margins.append(float(likeness[0] - likeness[1:].max()))
    assert margins[1] > margins[0]


@pytest.mark.parametrize(("knowledge", "loss"), [("city", 2 * math.log(2)), ("faq", 0.0)])
def test_an_article_of_another_knowledge_is_no_miss(knowledge: str, loss: float) -> None:
    one = Sought("いつ", frozenset({"a"}), ("題名",), ("月曜日です。",), (), (), "city")
    other = replace(one, articles=frozenset({"b"}), knowledge=knowledge)

    def alike(texts: Sequence[str], kind: str) -> Tensor:
        assert kind in ("query", "passage")
        return torch.ones(len(texts), 1)

    found = _loss(alike, [one, other], Recipe(), random.Random(1))  # type: ignore[arg-type]  # noqa: S311
    assert found.item() == pytest.approx(loss)
