"""onnxruntime, set up the same way for every model of the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from classifiers.errors import ModelNotLoaded


def open_session(path: Path, threads: int) -> ort.InferenceSession:
    """Open a model for serving.

    Args:
        path: An .onnx file; large tables in files beside it are mapped, not read.
        threads: CPU threads within one call.

    Raises:
        ModelNotLoaded: Missing, or not a model that this onnxruntime can run.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # A memory plan is kept per message length: it only grows, and gains nothing here.
    options.enable_mem_pattern = False
    # Idle threads must not spin: the two cores are shared with the web server and the LLM.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"],
            # Its one operation takes longer than the sum and the norm that it joins (LOG.md).
            disabled_optimizers=["SkipLayerNormFusion"],
        )  # fmt: skip
    except Exception as error:  # onnxruntime's own classes derive from Exception, some bare
        raise ModelNotLoaded(f"{path}: {error}") from error


def run_one(session: ort.InferenceSession, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Run one text through a model of `classifiers.export`.

    Args:
        session: From `open_session`.
        ids: Shape (n,), special tokens included.

    Returns:
        The first output without its batch axis, float32.
    """
    output: NDArray[np.float32] = session.run(None, {"input_ids": ids[None, :]})[0]
    return np.asarray(output[0], dtype=np.float32)
