"""What `madoguchi setup` prepares."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from bot import services
from bot.install import fetch_models
from bot.settings import Settings
from classifiers.artefact import FORMAT, MANIFEST, write_manifest
from classifiers.backbone import cache_root


def test_another_encoder_takes_the_place_of_one_that_is_not_meant_or_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("first", "second"):
        folder = cache_root() / f"{name}-v{FORMAT}"
        folder.mkdir(parents=True)
        (folder / "encoder.onnx").touch()
        write_manifest(folder, name=name)
    for name in ("first", "second", "second"):
        settings = Settings(
            secret_key=SecretStr("x" * 32),
            data_dir=tmp_path / "var",
            backbone=name,
            llm_base_url="http://127.0.0.1:9",
        )
        fetch_models(settings)
        assert services.encoder_dir(settings).resolve().name == f"{name}-v{FORMAT}"
    older, damaged = tmp_path / "older", tmp_path / "damaged"
    for folder in (older, damaged):
        folder.mkdir()
        (folder / "encoder.onnx").touch()
        write_manifest(folder, name="second")
    (damaged / "encoder.onnx").unlink()
    kept = (older / MANIFEST).read_text()
    (older / MANIFEST).write_text(kept.replace(f'"format": {FORMAT}', f'"format": {FORMAT - 1}'))
    for folder in (damaged, older):
        services.encoder_dir(settings).unlink()
        services.encoder_dir(settings).symlink_to(folder)
        fetch_models(settings)
        assert services.encoder_dir(settings).resolve().name == f"second-v{FORMAT}"
