"""From a torch module to the int8 ONNX file that is served."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

_OPSET = 17
_BLOCK = 32


class MeanPooled(nn.Module):
    """The plain encoder as one tensor function: ids to unit vectors."""

    def __init__(self, backbone: nn.Module) -> None:
        """Wrap a transformers encoder.

        Args:
            backbone: Its output has ``last_hidden_state`` of shape (batch, tokens, hidden).
        """
        super().__init__()
        self.backbone = backbone

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Mean over real tokens (all, without a mask), then length 1: (batch, tokens) to (batch, hidden)."""
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if attention_mask is None:
            return nn.functional.normalize(hidden.mean(dim=1), dim=-1)
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
        return nn.functional.normalize(pooled, dim=-1)


def export_int8(module: nn.Module, path: Path) -> None:
    """Write a module as int8 ONNX, with its word table in ``<stem>.words.bin`` beside it.

    Matrix products become int8 with one scale per output channel. The word table becomes int8 with
    one scale per 32 weights, in an external file that onnxruntime maps: only the rows in use are in
    memory. Measured against whole-table int8 (one scale): facts in LOG.md.

    Args:
        module: In eval mode; ``forward(input_ids)`` with one output. One text per call is what serves, so
            there is no mask, and the shape of a batch is not reckoned over and over.
        path: Target, ends in .onnx.

    Source: dynamic quantisation of onnxruntime; block scales as in Q8_0 of ggml.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        plain, small = Path(scratch) / "plain.onnx", Path(scratch) / "small.onnx"
        _export(module, plain)
        quantize_dynamic(
            plain,
            small,
            per_channel=True,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm"],
        )
        model = onnx.load(small)
    _pack_word_table(model)
    _save(model, path)


def _export(module: nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        # The tracing exporter is deprecated but seven times faster than the new one, with equal output.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.tensor([[0, 5, 6, 7, 2]]),),
            str(path),
            input_names=["input_ids"],
            output_names=["output"],
            dynamic_axes={"input_ids": {1: "tokens"}},
            opset_version=_OPSET,
            dynamo=False,
        )


def _pack_word_table(model: onnx.ModelProto) -> None:
    """Replace the largest looked-up float table by int8 codes and block scales."""
    graph = model.graph
    weights = {w.name: w for w in graph.initializer if w.data_type == TensorProto.FLOAT}
    gathers = [n for n in graph.node if n.op_type == "Gather" and n.input[0] in weights]
    gather = max(gathers, key=lambda n: int(np.prod(weights[n.input[0]].dims)))
    source = weights[gather.input[0]]
    table = numpy_helper.to_array(source)
    block = _BLOCK if table.shape[1] % _BLOCK == 0 else table.shape[1]
    codes, scales = quantise_rows(table, block)
    at = list(graph.node).index(gather)
    nodes = _lookup_nodes(gather.input[1], gather.output[0], block, table.shape[1])
    graph.initializer.remove(source)
    graph.initializer.extend(
        [
            numpy_helper.from_array(codes, "words.codes"),
            numpy_helper.from_array(scales, "words.scales"),
            numpy_helper.from_array(np.array([0, 0, -1, block], dtype=np.int64), "words.blocks"),
            numpy_helper.from_array(np.array([0, 0, table.shape[1]], dtype=np.int64), "words.flat"),
            numpy_helper.from_array(np.array([-1], dtype=np.int64), "words.last"),
        ]
    )
    graph.node.remove(gather)
    for node in reversed(nodes):
        graph.node.insert(at, node)


def _lookup_nodes(ids: str, output: str, block: int, width: int) -> list[onnx.NodeProto]:
    make = helper.make_node
    return [
        make("Gather", ["words.codes", ids], ["words.code_rows"], axis=0),
        make("Cast", ["words.code_rows"], ["words.floats"], to=TensorProto.FLOAT),
        make("Reshape", ["words.floats", "words.blocks"], ["words.in_blocks"]),
        make("Gather", ["words.scales", ids], ["words.scale_rows"], axis=0),
        make("Unsqueeze", ["words.scale_rows", "words.last"], ["words.scale_blocks"]),
        make("Mul", ["words.in_blocks", "words.scale_blocks"], ["words.scaled"]),
        make("Reshape", ["words.scaled", "words.flat"], [output]),
    ]


def quantise_rows(table: NDArray[np.float32], block: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 with one scale per block of a row.

    Args:
        table: Shape (rows, width), width a multiple of block.
        block: Weights that share a scale.

    Returns:
        Codes of shape (rows, width) and scales of shape (rows, width / block).
    """
    blocks = table.reshape(len(table), -1, block)
    scales = np.abs(blocks).max(axis=2) / 127.0
    codes = np.rint(blocks / np.where(scales == 0, 1.0, scales)[:, :, None]).astype(np.int8)
    return codes.reshape(table.shape), scales.astype(np.float32)


def _save(model: onnx.ModelProto, path: Path) -> None:
    words = f"{path.stem}.words.bin"
    (path.parent / words).unlink(missing_ok=True)
    table = next(tensor for tensor in model.graph.initializer if tensor.name == "words.codes")
    set_external_data(table, location=words)
    onnx.save_model(model, str(path))
