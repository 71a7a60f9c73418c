"""The reader: trained, built, read back, and the shipped one on the city's own articles."""

from pathlib import Path

import numpy as np
import pytest

from classifiers.artefact import folder_name
from classifiers.backbone import fetch_backbone
from classifiers.errors import ModelNotLoaded
from classifiers.reader import MAX_WINDOW, UPDATES, Reader, lay_out
from classifiers.tokens import load_tokenizer
from classifiers.train_reader import Example, Recipe, fetch_reader, train_reader
from responders.knowledge import read_folder, split_passages
from tests.city import DATA

TAX, WATER = ("市民税の納付書", "税金を分割で払う"), ("水道の開栓", "漏水の修理")


def _questions() -> list[tuple[str, list[Example]]]:
    """Sentences about taxes answer; what the question says is beyond an encoder with random weights."""
    found: list[tuple[str, list[Example]]] = []
    for tax in TAX:
        for water in WATER:
            found += [
                ("税について", [("方法", [tax, water], [True, False])]),
                ("水について", [("方法", [water, tax], [False, True])]),
            ]
    return found * 2


@pytest.fixture(scope="module")
def small(tiny_hub: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Updates of a small encoder, and what is served from them."""
    backbone = fetch_backbone(str(tiny_hub), cache_dir)
    out = tmp_path_factory.mktemp("reader") / "updates.npz"
    recipe = Recipe(epochs=12, rate=1e-3, head_rate=1e-2, threads=1)
    train_reader(_questions(), backbone, out, recipe)
    return out, fetch_reader(backbone, cache_dir, out)


def test_what_was_learnt_is_served(small: tuple[Path, Path]) -> None:
    reader = Reader(small[1])
    for question, [(title, sentences, answers)] in _questions():
        scores = reader.read(question, title, sentences)
        assert scores.shape == (2,)
        assert bool(scores[0] > scores[1]) == answers[0]
        assert (scores > 0).tolist() == answers


def test_it_is_built_once_for_the_same_updates(
    small: tuple[Path, Path], tiny_hub: Path, cache_dir: Path
) -> None:
    updates, folder = small
    written = (folder / "reader.onnx").stat().st_mtime_ns
    assert fetch_reader(fetch_backbone(str(tiny_hub), cache_dir), cache_dir, updates) == folder
    assert (folder / "reader.onnx").stat().st_mtime_ns == written
    assert folder.name == folder_name(updates) != folder_name(UPDATES)


def test_an_altered_reader_is_not_used(small: tuple[Path, Path], tmp_path: Path) -> None:
    for file in small[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "head.npz").write_bytes(b"rubbish")
    with pytest.raises(ModelNotLoaded, match="altered"):
        Reader(tmp_path)
    with pytest.raises(ModelNotLoaded):
        Reader(tmp_path / "nowhere")


def test_windows_hold_every_sentence_once_in_its_order(e5: Path) -> None:
    tokenizer = load_tokenizer(e5 / "tokenizer.json")
    sentences = [f"{n}番目の手続きには、申請書と本人確認書類が必要です。" for n in range(60)]
    windows = lay_out(tokenizer, "何が必要ですか" * 40, "手続き", sentences)
    assert len(windows) > 1
    assert sum(int(marks[-1]) for _, marks in windows) == len(sentences)
    for ids, marks in windows:
        assert len(ids) == len(marks) <= MAX_WINDOW
        assert sorted(set(marks.tolist())) == list(range(int(marks[-1]) + 1))
        assert np.all(np.diff(marks) >= 0)
    assert lay_out(tokenizer, "何が必要ですか", "手続き", []) == []


@pytest.mark.parametrize("question", ["", "\ud800", "あ" * 100_000, "<pad></s>"])
def test_rubbish_gets_a_score(e5: Path, question: str) -> None:
    scores = Reader(fetch_reader(e5)).read(question, "", ["", "い" * 5_000, "\ud800"])
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("question", "article", "part"),
    [
        ("撤去された自転車を返してもらうのにいくらかかりますか", "abandoned-bicycle", "手数料"),
        ("自転車を取りに行きたい。何を持っていけばいい？", "abandoned-bicycle", "本人確認書類"),
        ("自転車の保管所、日曜も開いてる？", "abandoned-bicycle", "火曜日から土曜日"),
    ],
)
def test_the_shipped_reader_finds_the_sentence_that_answers(
    e5: Path, question: str, article: str, part: str
) -> None:
    [found] = [a for a in read_folder(DATA / "knowledge") if a.id == article]
    passages = [p for p in split_passages(found) if p.quotable]
    scores = Reader(fetch_reader(e5)).read(question, found.title, [p.ranked for p in passages])
    assert part in passages[int(scores.argmax())].text
