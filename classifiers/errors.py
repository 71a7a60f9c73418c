"""Everything that can go wrong in this package, as one tree."""

from __future__ import annotations

from pathlib import Path


class ClassifierError(Exception):
    """Base of the tree.

    ClassifierError
    ├── EmptyText            nothing to classify: ask the citizen to write something
    ├── ModelNotLoaded       files missing or altered: train again, or point to another folder
    ├── BadDataset           a line of the data is wrong: fix that line
    └── BackboneUnavailable  the encoder could not be fetched or converted: a person must look
    """

    status = 500
    """HTTP status for whoever renders this error."""
    message_ja = "振り分けモデルを扱えません。"
    """The same for whoever reads it."""


class EmptyText(ClassifierError):
    """The message holds no visible character."""

    status = 422
    message_ja = "文面が空です。"


class ModelNotLoaded(ClassifierError):
    """The model folder is missing, incomplete, or its hashes do not match its manifest."""

    status = 503
    message_ja = "モデルのファイルがないか、壊れています。"


class BackboneUnavailable(ClassifierError):
    """The pretrained encoder is not reachable, not the pinned file, or of an unusable kind."""

    status = 503
    message_ja = "学習の元になるエンコーダーを用意できません。"


class BadDataset(ClassifierError):
    """A line of a data file cannot be used."""

    message_ja = "データのファイルに、使えないところがあります。"

    def __init__(self, path: Path, line: int, reason: str) -> None:
        """Remember where the fault is.

        Args:
            path: The data file.
            line: Line number from 1; 0 when the fault is the file as a whole.
            reason: What is wrong with it, in one clause.
        """
        super().__init__(f"{path}:{line}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason
