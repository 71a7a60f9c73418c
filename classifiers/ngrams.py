"""Character n-grams beside the encoder: a word that was seen counts even where the encoder is vague.

Of Latin script whole words and pairs of them too, without accents: three letters say little there, and phones
leave the accents of Vietnamese out.

Hashed, weighted terms and a linear layer, so that serving needs numpy alone. Measured: LOG.md.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from classifiers.errors import ModelNotLoaded

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

BUCKETS = 1 << 17
SIZES = (1, 2, 3)
_WORD = re.compile(r"[a-z]+")
MAX_CHARS = 1_000
LEAST_TOLD = 0.05
"""Of 0 to 1 how much a term still tells that stands in all labels alike."""

Floats = NDArray[np.float32]


class NGrams:
    """A trained linear layer over hashed n-grams."""

    def __init__(self, idf: Floats, weights: Floats, bias: Floats) -> None:
        """Take over trained arrays.

        Args:
            idf: How much each term counts, shape (BUCKETS,); see `fit_term_weights`.
            weights: Shape (BUCKETS, outputs).
            bias: Shape (outputs,).
        """
        self._idf, self._weights, self._bias = idf, weights, bias

    @classmethod
    def load(cls, path: Path) -> NGrams:
        """Read what `save` wrote.

        Raises:
            ModelNotLoaded: Missing or damaged.
        """
        try:
            with np.load(path) as stored:
                return cls(*(stored[name].astype(np.float32) for name in ("idf", "weights", "bias")))
        except (OSError, ValueError, KeyError) as error:
            raise ModelNotLoaded(f"{path}: {error}") from error

    def save(self, path: Path) -> None:
        """Half precision: the weights are small and many."""
        np.savez_compressed(
            path,
            idf=self._idf.astype(np.float16),
            weights=self._weights.astype(np.float16),
            bias=self._bias,
        )

    def logits(self, text: str) -> Floats:
        """Scores of one text, shape (outputs,), to be weighed and added to the encoder's."""
        buckets, values = _features(text, self._idf)
        scores: Floats = values @ self._weights[buckets] + self._bias if len(buckets) else self._bias
        return scores


def _counts(text: str) -> Counter[int]:
    plain = unicodedata.normalize("NFKC", text[:MAX_CHARS]).lower()
    raw = " ".join(plain.split()).encode("utf-32-le", "ignore")
    # Four bytes a character: a window of bytes is a window of characters.
    windows = (raw[i : i + 4 * size] for size in SIZES for i in range(0, len(raw) - 4 * size + 1, 4))
    words = _WORD.findall(_bare(plain))
    pairs = (f"{first} {second}" for first, second in pairwise(words))
    whole = (f"\0{term}".encode() for term in (*words, *pairs))
    return Counter(zlib.crc32(term) % BUCKETS for term in (*windows, *whole))


def _bare(plain: str) -> str:
    """Latin letters without their accents."""
    letters = unicodedata.normalize("NFD", plain).replace("đ", "d")
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _features(text: str, idf: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Buckets and their weights, length 1 together."""
    counts = _counts(text)
    buckets = np.fromiter(counts.keys(), np.int64, len(counts))
    tf = 1.0 + np.log(np.fromiter(counts.values(), np.float32, len(counts)))
    values = (tf * idf[buckets]).astype(np.float32)
    length = float(np.linalg.norm(values))
    return buckets, values / length if length else values


def fit_term_weights(texts: Sequence[str], shares: Floats) -> Floats:
    """How much each bucket counts: the rarer it is, and the fewer labels it stands in, the more.

    Smoothed inverse document frequency times the root of one minus the entropy of the bucket's labels.

    Args:
        texts: Training messages.
        shares: Shape (len(texts), labels): how much each message belongs to each label, perhaps to none.

    Returns:
        Shape (BUCKETS,).

    Source: supervised term weighting, Debole and Sebastiani 2003, doi:10.1145/952532.952688.
    """
    seen = np.zeros(BUCKETS, dtype=np.float32)
    labelled = np.full((BUCKETS, shares.shape[1]), 1 / shares.shape[1], dtype=np.float32)
    for text, share in zip(texts, shares, strict=True):
        buckets = list(_counts(text))
        seen[buckets] += 1
        labelled[buckets] += share
    chances = labelled / labelled.sum(axis=1, keepdims=True)
    told = 1 + (chances * np.log(chances)).sum(axis=1) / np.log(shares.shape[1])
    idf = np.log((1 + len(texts)) / (1 + seen)) + 1
    return np.asarray(idf * np.sqrt(told + LEAST_TOLD), dtype=np.float32)


def matrix(texts: Sequence[str], idf: Floats) -> csr_matrix:
    """Features of texts for training, shape (len(texts), BUCKETS)."""
    from scipy.sparse import csr_matrix

    rows = [_features(text, idf) for text in texts]
    ends = np.cumsum([0, *(len(buckets) for buckets, _ in rows)])
    return csr_matrix(
        (np.concatenate([v for _, v in rows]), np.concatenate([b for b, _ in rows]), ends),
        shape=(len(texts), BUCKETS),
    )


def best_weight(losses: Sequence[tuple[float, float]]) -> float:
    """The factor with the smallest loss; a loss that is not a number never wins."""
    return min((loss, factor) for factor, loss in losses if not math.isnan(loss))[1]
