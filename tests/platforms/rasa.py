"""Starts the real Rasa server for tests; the model is trained by ``madoguchi setup``."""

import os
import subprocess
import time
from pathlib import Path

import httpx2

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-rasa/bin/python"
MODEL = ROOT / "var/rasa/model.tar.gz"


def start_rasa(port: int, secret: str, database: Path, seconds: float = 120.0) -> subprocess.Popen[bytes]:
    """A server that is ready; it dies with this process."""
    process = subprocess.Popen(
        [str(PYTHON), str(ROOT / "bot/dialogue/serve.py"), "--port", str(port), "--model", str(MODEL)],
        env=os.environ | {"MADOGUCHI_RASA_SECRET": secret, "MADOGUCHI_RASA_DB": str(database)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "Rasa ended while starting"
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/webhooks/citizen/", trust_env=False).status_code == 200:
                return process
        except httpx2.TransportError:
            time.sleep(0.3)
    process.kill()
    raise AssertionError("Rasa did not get ready")
