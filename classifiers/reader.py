"""The reader: how well each sentence of an article answers a question, read together with it.

Search compares a question and a sentence by two vectors made apart; the reader sees both at once, and the
sentences beside, so that it tells an answer from a near miss. It is the encoder of the search with small
learnt updates (``reader.npz``, see `classifiers.train_reader`).

Source: cross-encoders for ranking, Nogueira and Cho 2019, arXiv:1901.04085; one mark per sentence of a
passage, as in extractive summaries, Liu 2019, arXiv:1903.10318.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifiers.artefact import read_manifest
from classifiers.errors import ModelNotLoaded
from classifiers.runtime import open_session, run_one
from classifiers.tokens import TextToIds, encode, load_tokenizer

UPDATES = Path(__file__).with_name("reader.npz")
HEAD = "head.npz"
MAX_QUESTION, MAX_TITLE, MAX_SENTENCE, MAX_WINDOW = 64, 48, 96, 448
"""In tokens; more sentences than fit a window are read in several."""

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


class Reader:
    """Question and article in, one score per sentence out."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Load and verify.

        Args:
            folder: From `classifiers.train_reader.fetch_reader`.
            threads: CPU threads within one window.

        Raises:
            ModelNotLoaded: Files are missing, altered or unreadable.
        """
        folder = Path(folder)
        read_manifest(folder, only=("reader.onnx", "reader.words.bin", "tokenizer.json", HEAD))
        try:
            with np.load(folder / HEAD) as head:
                self._weight, self._bias = head["weight"], float(head["bias"])
        except (OSError, KeyError, ValueError) as error:
            raise ModelNotLoaded(f"{folder}: {error}") from error
        self._tokenizer = load_tokenizer(folder / "tokenizer.json")
        self._session = open_session(folder / "reader.onnx", threads)

    def read(self, question: str, title: str, sentences: Sequence[str]) -> Floats:
        """Log odds that a sentence answers the question, shape (len(sentences),).

        Args:
            question: The message; its first 64 tokens are read.
            title: Of the article.
            sentences: In the article's order; each up to 96 tokens.
        """
        found = [
            self._scores(ids, marks) for ids, marks in lay_out(self._tokenizer, question, title, sentences)
        ]
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    def _scores(self, ids: Ids, marks: Ids) -> Floats:
        states = run_one(self._session, ids)
        ends = np.arange(1, marks.max() + 1)
        pooled = np.stack([states[marks == mark].mean(axis=0) for mark in ends])
        centred = pooled - pooled.mean(axis=1, keepdims=True)
        normed = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        return np.asarray(normed @ self._weight + self._bias, np.float32)


def lay_out(
    tokenizer: TextToIds, question: str, title: str, sentences: Sequence[str]
) -> list[tuple[Ids, Ids]]:
    """Windows as the reader sees them: question, title, then sentence after sentence.

    Returns:
        Per window its token ids and, of the same length, which sentence each belongs to: 1, 2, … within the
        window, 0 for question and title. The windows hold every sentence once, in order.
    """
    asked = list(encode(tokenizer, question, MAX_QUESTION))
    # [end] between the parts, as a pair of texts is written for this family of encoders.
    start = [*asked, asked[-1], *encode(tokenizer, title, MAX_TITLE)[1:]]
    windows: list[tuple[list[int], list[int]]] = []
    for sentence in sentences:
        part = list(encode(tokenizer, sentence, MAX_SENTENCE)[1:])
        if not windows or len(windows[-1][0]) + len(part) > MAX_WINDOW:
            windows.append((list(start), [0] * len(start)))
        ids, marks = windows[-1]
        number = marks[-1] + 1
        ids += part
        marks += [number] * len(part)
    return [(np.array(ids, np.int64), np.array(marks, np.int64)) for ids, marks in windows]
