"""Trains the dialogue model: ``python train.py FILE.tar.gz``, with Python 3.10. Does nothing if FILE is up to date."""

import argparse
import hashlib
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = ("config.yml", "domain.yml", "data/*.yml", "components/*.py", "requirements.lock.txt")

# Read by Rasa and TensorFlow while they are imported. A cache would outlive the data it was made of.
os.environ.update(
    RASA_TELEMETRY_ENABLED="false",
    RASA_MAX_CACHE_SIZE="0",
    TF_CPP_MIN_LOG_LEVEL="3",
    CUDA_VISIBLE_DEVICES="",
    OMP_NUM_THREADS="1",
)


def main() -> None:
    """Train into a directory beside the target, then put the model in its place in one step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    model = parser.parse_args().model.resolve()
    stamp = model.with_name(model.name + ".sha256")
    wanted = fingerprint()
    if model.is_file() and stamp.is_file() and stamp.read_text() == wanted:
        return
    model.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=model.parent) as folder:
        trained = _train(Path(folder))
        stamp.unlink(missing_ok=True)
        os.replace(trained, model)
    stamp.write_text(wanted)


def fingerprint() -> str:
    """SHA-256 over everything that a model is made of."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in HERE.glob(pattern)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(HERE)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _train(folder: Path) -> Path:
    import rasa.model_training

    os.chdir(HERE)
    result = rasa.model_training.train(
        "domain.yml", "config.yml", ["data"], output=str(folder), fixed_model_name="model"
    )
    if result.code or not result.model:
        sys.exit("training failed")
    return Path(result.model)


if __name__ == "__main__":
    main()
