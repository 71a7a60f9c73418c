"""Small learnt updates beside a frozen encoder: learnt, kept in a file, and added to its weights again.

The encoder itself stays as it is; beside each of its linear layers two thin matrices learn. What the
repository keeps is only these.

Source: low-rank adaptation, Hu et al. 2021, arXiv:2106.09685.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModel

RANK = 16
SCALE = 2.0
"""By how much an update counts: fixed, so that learning rates mean the same at every rank."""

Updates = Mapping[str, NDArray[Any]]
"""Names of an encoder's layers with ``.down`` or ``.up``, to what they learnt."""


class _Updated(nn.Module):
    """A frozen linear layer and the two thin matrices that learn beside it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Parameter(torch.randn(RANK, layer.in_features) / layer.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(layer.out_features, RANK))

    def forward(self, states: Tensor) -> Tensor:
        """The layer's output and the update's."""
        update = nn.functional.linear(nn.functional.linear(states, self.down), self.up)
        whole: Tensor = self.layer(states) + SCALE * update
        return whole


def load(backbone: Path) -> Any:  # noqa: ANN401
    """The encoder of a folder of `classifiers.backbone.fetch_backbone`, in float32."""
    return AutoModel.from_pretrained(backbone, dtype=torch.float32, attn_implementation="eager")


def adapt(encoder: nn.Module) -> list[nn.Parameter]:
    """Freeze an encoder and let updates learn beside its linear layers, in place.

    Returns:
        What learns; it changes nothing yet.
    """
    for parameter in encoder.parameters():
        parameter.requires_grad = False
    for module, name, layer in list(_linear_layers(encoder)):
        setattr(module, name, _Updated(layer))
    return [parameter for parameter in encoder.parameters() if parameter.requires_grad]


def learnt(encoder: nn.Module) -> dict[str, NDArray[np.float16]]:
    """What the updates of an adapted encoder learnt, as `merged` takes it."""
    return {
        name: parameter.detach().numpy().astype(np.float16)
        for name, parameter in encoder.named_parameters()
        if parameter.requires_grad
    }


@torch.no_grad()
def merged(backbone: Path, updates: Updates) -> Any:  # noqa: ANN401
    """The encoder with the updates added to its weights; names of other things are passed over."""
    encoder = load(backbone)
    for name, layer in encoder.named_modules():
        if f"{name}.down" in updates:
            down, up = (torch.from_numpy(updates[f"{name}.{part}"]).float() for part in ("down", "up"))
            layer.weight += SCALE * up @ down
    return encoder


def _linear_layers(encoder: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    layers: Any = encoder.encoder
    for module in layers.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                yield module, name, child
