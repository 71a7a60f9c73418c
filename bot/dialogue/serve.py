"""Serves a trained model on loopback: ``python serve.py --port N --model FILE``, with Python 3.10.

Environment: MADOGUCHI_RASA_SECRET (shared with the product) and MADOGUCHI_RASA_DB (path of an SQLite file).
"""

import argparse
import ctypes
import os
import signal
import sqlite3
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MAX_BODY_BYTES = 65_536
_PR_SET_PDEATHSIG = 1

# Read by Rasa, TensorFlow and Sanic while they are imported.
os.environ.update(
    RASA_TELEMETRY_ENABLED="false",
    SANIC_REQUEST_MAX_SIZE=str(MAX_BODY_BYTES),
    SANIC_ACCESS_LOG="false",
    TF_CPP_MIN_LOG_LEVEL="3",
    CUDA_VISIBLE_DEVICES="",
    OMP_NUM_THREADS="1",
)


def main() -> None:
    """Check what Rasa would pass over in silence, then serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", type=Path, required=True)
    arguments = parser.parse_args()
    _die_with_parent()
    model = arguments.model.resolve()
    if not model.is_file():
        sys.exit(f"no model at {model}: run train.py first")
    if not os.environ.get("MADOGUCHI_RASA_SECRET"):
        sys.exit("MADOGUCHI_RASA_SECRET is not set")
    _check_database()
    os.chdir(HERE)
    _serve(arguments.port, model)


def _die_with_parent() -> None:
    """Linux only. The kernel watches the thread that started us, not only its process."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _check_database() -> None:
    """Rasa would try a broken database again for ever, without ever getting ready."""
    path = os.environ.get("MADOGUCHI_RASA_DB")
    if not path:
        sys.exit("MADOGUCHI_RASA_DB is not set")
    file = Path(path).resolve()
    os.environ["MADOGUCHI_RASA_DB"] = str(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version")
    connection.close()


def _serve(port: int, model: Path) -> None:
    from rasa.core.run import serve_application
    from rasa.core.utils import AvailableEndpoints

    from components import guard

    guard.install()
    serve_application(
        model_path=str(model),
        interface="127.0.0.1",
        port=port,
        credentials="credentials.yml",
        endpoints=AvailableEndpoints.read_endpoints("endpoints.yml"),
        enable_api=False,
    )


if __name__ == "__main__":
    main()
