"""Text to token ids: the one way for training, serving and search, so that they cannot differ."""

from __future__ import annotations

import json
import re
from collections.abc import Container
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from classifiers.errors import ModelNotLoaded

# A lone surrogate has no UTF-8 form: the tokenizer would raise on it.
_SURROGATE = re.compile("[\ud800-\udfff]")
# A run of one script is the smallest thing that reads as a word without a dictionary.
_RUN = re.compile(r"[一-鿿々〆]+|[ァ-ヶー]+|[ぁ-ゖー]{2,}|[^\W\d_ぁ-ゖァ-ヶー一-鿿々〆]+|\d+")
_CHARS_PER_TOKEN = 16
_METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": False}
_UNKNOWN_PENALTY = 10.0


class TextToIds(Protocol):
    """Anything that cuts a clean text into ids, special tokens included."""

    def __call__(self, text: str) -> list[int]:
        """Ids of one text."""


class Unigram:
    """Best cut of a text into vocabulary pieces: the Unigram model of ``tokenizers``, in less memory.

    The library keeps 150,000 pieces in a trie of 140 MB; a dict holds them in 25 MB, and a message of
    25 characters is cut in a tenth of a millisecond. Normalising is left to the library, and a test
    holds both to equal ids.

    Source: Kudo 2018, arXiv:1804.10959; tie rules as in ``tokenizers`` 0.23 ``unigram/model.rs``.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        """Read the pieces.

        Args:
            spec: Parsed tokenizer.json with a Unigram model, a Metaspace pre-tokenizer that does not
                split, and one special token at each end.
        """
        vocab: list[tuple[str, float]] = spec["model"]["vocab"]
        self._unknown = int(spec["model"]["unk_id"])
        self._pieces = {piece: (score, i) for i, (piece, score) in enumerate(vocab)}
        self._unknown_score = min(score for _, score in vocab) - _UNKNOWN_PENALTY
        self._longest: dict[str, int] = {}
        for piece in self._pieces:
            self._longest[piece[0]] = max(self._longest.get(piece[0], 0), len(piece))
        frame = spec["post_processor"]
        ends = [part["SpecialToken"]["id"] for part in frame["single"] if "SpecialToken" in part]
        self._first, self._last = (int(frame["special_tokens"][end]["ids"][0]) for end in ends)
        small = {**spec, "model": {**spec["model"], "vocab": vocab[:4]}, "added_tokens": []}
        self._normalizer = Tokenizer.from_str(json.dumps(small)).normalizer

    def __call__(self, text: str) -> list[int]:
        """Ids of one text between its special tokens."""
        normal = self._normalizer.normalize_str(text).replace(" ", "▁")
        if not normal:
            return [self._first, self._last]
        return [self._first, *self._cut(normal if normal[0] == "▁" else "▁" + normal), self._last]

    def _cut(self, text: str) -> list[int]:
        size = len(text)
        best = [float("-inf")] * (size + 1)
        best[0] = 0.0
        origin = [(0, self._unknown)] * (size + 1)
        pieces = self._pieces
        for start in range(size):
            so_far = best[start]
            for end in range(start + 1, min(size, start + self._longest.get(text[start], 0)) + 1):
                found = pieces.get(text[start:end])
                if found is not None and so_far + found[0] > best[end]:
                    best[end] = so_far + found[0]
                    origin[end] = (start, found[1])
            if text[start] not in pieces and so_far + self._unknown_score > best[start + 1]:
                best[start + 1] = so_far + self._unknown_score
                origin[start + 1] = (start, self._unknown)
        return self._trace(origin, size)

    def _trace(self, origin: list[tuple[int, int]], end: int) -> list[int]:
        ids: list[int] = []
        while end > 0:
            end, piece = origin[end]
            # A run of unknown characters counts as one, as in the library.
            if not (ids and piece == self._unknown == ids[-1]):
                ids.append(piece)
        return ids[::-1]


class _Library:
    """Any other tokenizer, such as WordPiece of a hub model, run by ``tokenizers`` itself."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def __call__(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text).ids)


def load_tokenizer(path: Path) -> TextToIds:
    """Load ``tokenizer.json``, once per process for the same file.

    Raises:
        ModelNotLoaded: The file is missing or not a tokenizer.
    """
    try:
        real = path.resolve(strict=True)
        return _load(real, real.stat().st_mtime_ns)
    except Exception as error:  # the Rust side raises bare Exception
        raise ModelNotLoaded(f"{path}: {error}") from error


@lru_cache(maxsize=4)
def _load(path: Path, _mtime_ns: int) -> TextToIds:
    spec = json.loads(path.read_text(encoding="utf-8"))
    ours = spec["model"]["type"] == "Unigram" and spec["pre_tokenizer"] == _METASPACE
    return Unigram(spec) if ours else _Library(path)


def clean(text: str, max_tokens: int) -> str:
    """Make any Python string safe and short enough to tokenise.

    Args:
        text: Anything, also with lone surrogates or of any length.
        max_tokens: How many tokens will be kept; decides how many characters are worth reading.

    Returns:
        The stripped head of the text; possibly empty.
    """
    head = text[: 4 * max_tokens * _CHARS_PER_TOKEN].lstrip()[: max_tokens * _CHARS_PER_TOKEN]
    return _SURROGATE.sub(" ", head).strip()


def encode(tokenizer: TextToIds, text: str, max_tokens: int) -> NDArray[np.int64]:
    """Token ids of one text, special tokens included.

    Args:
        tokenizer: From `load_tokenizer`.
        text: Any string; see `clean`.
        max_tokens: Longer texts are cut at the end; the closing token stays.

    Returns:
        Shape (n,) with n <= max_tokens.
    """
    ids = np.asarray(tokenizer(clean(text, max_tokens)), dtype=np.int64)
    if len(ids) > max_tokens:
        ids = np.concatenate([ids[: max_tokens - 1], ids[-1:]])
    return ids


def runs(text: str) -> list[re.Match[str]]:
    """The words of a text as a person would point at them: runs of kanji, katakana, hiragana, letters."""
    return list(_RUN.finditer(text))


def unknown_share(text: str, known: Container[str]) -> float:
    """Share of a text's words that are not among the known ones, 0 to 1; 0 for a text without words."""
    words = [run.group() for run in runs(text)]
    return sum(word not in known for word in words) / len(words) if words else 0.0
