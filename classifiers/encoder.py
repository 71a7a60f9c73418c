"""Sentence vectors for the knowledge search, from a pretrained encoder: plain, or taught by questions."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from classifiers.artefact import read_manifest
from classifiers.errors import ModelNotLoaded
from classifiers.runtime import open_session, run_one
from classifiers.tokens import encode, load_tokenizer

UPDATES = Path(__file__).with_name("retriever.npz")
"""What questions taught the encoder named `BACKBONE`, see `classifiers.train_retriever`."""
BACKBONE = "e5-small"
"""The encoder that the updates of retriever and reader were learnt for; another one is used as it is."""
WORKERS = 2
"""Texts in work at once; onnxruntime works outside Python's lock."""


class Encoder:
    """Text in, one unit vector out."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Load and verify the exported encoder.

        Args:
            folder: From `classifiers.backbone.fetch_backbone`, or taught, from
                `classifiers.train_retriever.fetch_retriever`.
            threads: CPU threads within one text.

        Raises:
            ModelNotLoaded: Files are missing, altered or unreadable.
        """
        folder = Path(folder)
        manifest = read_manifest(folder, only=("encoder.onnx", "encoder.words.bin", "tokenizer.json"))
        try:
            self.dim = int(manifest["hidden"])
            self.version: str = manifest["files"]["encoder.onnx"]
            self._prefixes: dict[str, str] = dict(manifest["prefixes"])
            self._max_tokens = int(manifest["max_tokens"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelNotLoaded(f"{folder}: incomplete manifest ({error})") from error
        self._tokenizer = load_tokenizer(folder / "tokenizer.json")
        self._session = open_session(folder / "encoder.onnx", threads)

    def embed(self, texts: Sequence[str], kind: Literal["query", "passage"] = "query") -> NDArray[np.float32]:
        """Vectors whose dot product is the cosine similarity.

        Each text runs by itself: int8 activations share a scale within a call, so a batch would make a
        vector depend on its neighbours.

        Args:
            texts: Any strings; only the first `max_tokens` tokens (512 for e5-small) are read.
            kind: What the text is in a search; e5 was trained with a different prefix for each.

        Returns:
            Shape (len(texts), self.dim), float32, rows of length 1.

        Source: Wang et al. 2024, multilingual E5, arXiv:2402.05672.
        """
        whole = [self._prefixes.get(kind, "") + text for text in texts]
        if len(whole) < 2:
            rows = [self._one(text) for text in whole]
        else:
            with ThreadPoolExecutor(WORKERS) as pool:
                rows = list(pool.map(self._one, whole))
        return np.stack(rows) if rows else np.zeros((0, self.dim), dtype=np.float32)

    def _one(self, text: str) -> NDArray[np.float32]:
        vector = run_one(self._session, encode(self._tokenizer, text, self._max_tokens))
        return (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)
