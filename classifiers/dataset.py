"""The authored inquiries and their labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from classifiers.errors import BadDataset

INQUIRIES = "inquiries"


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled message."""

    id: str
    text: str
    department: str
    """A department id or an exit; "" for an emergency, which belongs to none."""
    also: str = ""
    """The department of the second matter, in a message that holds two."""
    language: str = "ja"
    """ISO 639-1; ``ja-easy`` for やさしい日本語."""
    emergency: str = ""
    """Kind of emergency, as in `classifiers.safety.Kind`."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes of the model, in the order of ``data/departments.yaml``."""

    departments: tuple[str, ...]
    exits: tuple[str, ...]
    costs: tuple[float, ...] = ()
    """Per label, how much worse than usual it is to send its messages elsewhere; 1 is usual."""

    @property
    def all(self) -> tuple[str, ...]:
        """Departments first, then exits; the index is the class number."""
        return self.departments + self.exits

    def taught(self, examples: Sequence[Example]) -> Labels:
        """Only the departments that some message teaches: a new one without any cannot be a class yet."""
        named = {name for example in examples for name in (example.department, example.also)}
        kept = [i for i, name in enumerate(self.departments) if name in named]
        costs = [self.costs[i] for i in kept] + list(self.costs[len(self.departments) :])
        return Labels(tuple(self.departments[i] for i in kept), self.exits, tuple(costs))


def load_labels(data_dir: Path) -> Labels:
    """Read the classes.

    Args:
        data_dir: Holds departments.yaml.

    Raises:
        BadDataset: Missing, not YAML, or without ids.
    """
    path = data_dir / "departments.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        departments = tuple(str(row["id"]) for row in content["departments"])
        exits = tuple(str(row["id"]) for row in content["exits"])
        costs = tuple(float(r.get("miss_cost", 1)) for r in (*content["departments"], *content["exits"]))
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise BadDataset(path, 0, str(error)) from error
    return Labels(departments, exits, costs)


def load_taught_labels(data_dir: Path) -> Labels:
    """The classes that training makes: those of `load_labels` that the training set teaches.

    Raises:
        BadDataset: See `load_labels` and `load_split`.
    """
    labels = load_labels(data_dir)
    return labels.taught(load_split(data_dir, "train", labels))


def load_split(data_dir: Path, split: str, labels: Labels) -> list[Example]:
    """Read one of ``train``, ``valid`` and ``test``.

    Args:
        data_dir: Holds inquiries/<split>.jsonl.
        split: Name without suffix.
        labels: Every line must carry one of these.

    Raises:
        BadDataset: The first bad line: not JSON, a field missing or empty, an unknown label, or an id
            or text that was there before.
    """
    return load_file(data_dir / INQUIRIES / f"{split}.jsonl", labels.all)


def load_file(path: Path, known: Sequence[str]) -> list[Example]:
    """Read any file of {"id","text","department"} lines, perhaps with "also" and "language".

    Raises:
        BadDataset: See `load_split`; also for a file without a line.
    """
    try:
        lines = read_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise BadDataset(path, 0, str(error)) from error
    examples: list[Example] = []
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        example = _parse(line, path, number)
        _refuse(example, known, seen, path, number)
        seen |= {f"id {example.id}", f"text {example.text}"}
        examples.append(example)
    if not examples:
        raise BadDataset(path, 0, "no examples")
    return examples


def load_emergencies(data_dir: Path, split: str) -> list[Example]:
    """Read the emergencies of ``train``, ``valid`` or ``test``: {"id","text","kind","split"} lines.

    Raises:
        BadDataset: The file is missing, or a line lacks a field.
    """
    path = data_dir / INQUIRIES / "emergency.jsonl"
    try:
        rows = [json.loads(line) for line in read_lines(path) if line.strip()]
        return [
            Example(r["id"], r["text"], "", language=r.get("language", "ja"), emergency=r["kind"])
            for r in rows
            if r["split"] == split
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadDataset(path, 0, str(error)) from error


def read_lines(path: Path) -> list[str]:
    """The lines of a JSON Lines file, each with its end.

    A file's own iteration, as ``str.splitlines`` would also cut a text in two that holds U+2028 or U+0085.
    """
    with path.open(encoding="utf-8") as file:
        return list(file)


def _parse(line: str, path: Path, number: int) -> Example:
    try:
        row: dict[str, Any] = json.loads(line)
        fields = [row["id"], row["text"], row["department"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BadDataset(path, number, f"not a JSON object with id, text, department ({error})") from error
    if not all(isinstance(field, str) and field.strip() for field in fields):
        raise BadDataset(path, number, "id, text and department must be non-empty strings")
    identity, text, department = fields
    return Example(identity, text, department, str(row.get("also", "")), str(row.get("language", "ja")))


def _refuse(example: Example, known: Sequence[str], seen: set[str], path: Path, number: int) -> None:
    for department in filter(None, (example.department, example.also)):
        if department not in known:
            raise BadDataset(path, number, f"unknown department {department!r}")
    for key in (f"id {example.id}", f"text {example.text}"):
        if key in seen:
            raise BadDataset(path, number, f"{key!r} stands in the file twice")
