"""Folders of model files: written in one step, verified before use, stale when an input changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from classifiers.errors import ModelNotLoaded

MANIFEST = "manifest.json"
FORMAT = 2
"""Of the files in a folder; raised when what serves them asks for others. Of another one it is no model."""


def file_hash(path: Path) -> str:
    """SHA-256 of a file as lowercase hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, **facts: object) -> None:
    """Record the hash of every file in the folder, and the given facts, as the last file written.

    Args:
        folder: A folder that nobody reads yet; subfolders are not covered.
        **facts: JSON values that `read_manifest` gives back.
    """
    files = {p.name: file_hash(p) for p in sorted(folder.iterdir()) if p.is_file() and p.name != MANIFEST}
    manifest = {**facts, "format": FORMAT, "files": files}
    (folder / MANIFEST).write_text(
        json.dumps(manifest, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )


def read_manifest(folder: Path, *, only: Collection[str] | None = None) -> dict[str, Any]:
    """The facts of a folder, after its files were found complete and unaltered.

    Args:
        folder: Written by `write_manifest`.
        only: The files that will be used; default all. Reading costs about 0.1 s for 100 MB.

    Raises:
        ModelNotLoaded: No folder, no manifest, one of another `FORMAT`, a file missing, or a hash that does
            not match.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files: dict[str, str] = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelNotLoaded(f"{folder}: no readable {MANIFEST} ({error})") from error
    if manifest.get("format") != FORMAT:
        raise ModelNotLoaded(f"{folder}: of another version of madoguchi; `madoguchi setup` makes it anew")
    for name in files if only is None else only:
        path = folder / name
        if not path.is_file():
            raise ModelNotLoaded(f"{path}: missing")
        if file_hash(path) != files.get(name):
            raise ModelNotLoaded(f"{path}: altered since it was written")
    return manifest


def folder_name(updates: Path) -> str:
    """Of the folder that is built from a file of learnt updates: another one after they were learnt anew."""
    return f"{updates.stem}-{file_hash(updates)[:12]}-v{FORMAT}"


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A scratch folder that takes the place of ``folder`` when the block ends without an error.

    A reader sees the old folder or the new one, or for an instant none, but never a mixture.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield scratch
        _make_readable(scratch)
        _swap(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _make_readable(folder: Path) -> None:
    """Trained by one account, served by another: temporary files start out private."""
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o755 if path.is_dir() else 0o644)


def _swap(new: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    finally:
        if not folder.exists() and old.exists():
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def opened_or_built(folder: Path, build: Callable[[Path], None]) -> Path:
    """Give a folder of model files, building it unless it is there, complete and unaltered.

    Args:
        folder: Replaced in one step when it is built.
        build: Fills an empty folder and ends with `write_manifest`.
    """
    try:
        read_manifest(folder)
    except ModelNotLoaded:
        with replacing(folder) as scratch:
            build(scratch)
    return folder
