"""Small learnt updates beside a frozen encoder: learnt, kept in a file, and added to its weights again.

The encoder itself stays as it is; beside each of its linear layers two thin matrices learn. What the
repository keeps is only these.

Source: low-rank adaptation, Hu et al. 2021, arXiv:2106.09685.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm
from transformers import AutoModel

from classifiers.artefact import folder_name, opened_or_built
from classifiers.backbone import cache_root
from classifiers.router import warm_then_fall

RANK = 16
SCALE = 2.0
"""By how much an update counts: fixed, so that learning rates mean the same at every rank."""

Row = TypeVar("Row")
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


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and in what order `fit` learns."""

    epochs: int = 2
    questions: int = 4
    """In a batch."""
    warm_up: float = 0.1
    """Share of all steps in which the rates rise; then they fall to zero."""
    seed: int = 7


def fit(
    rows: Iterable[Row],
    loss_of: Callable[[list[Row], random.Random], Tensor],
    groups: list[dict[str, Any]],
    recipe: Recipe,
) -> None:
    """Let parameters learn from questions, in place.

    Args:
        rows: What one question brings.
        loss_of: The loss of a batch; what it draws by lot, it draws from the given source.
        groups: Parameters with their rates, as `torch.optim` takes them.
        recipe: Its epochs, its batches, its seed.
    """
    drawn, rows = random.Random(recipe.seed), list(rows)  # noqa: S311  (an order, no secret)
    steps = recipe.epochs * -(-len(rows) // recipe.questions)
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warm_then_fall(step, steps, recipe.warm_up)
    )
    for epoch in range(recipe.epochs):
        drawn.shuffle(rows)
        starts = range(0, len(rows), recipe.questions)
        for start in tqdm(starts, desc=f"epoch {epoch + 1}", file=sys.stderr, leave=False):
            loss = loss_of(rows[start : start + recipe.questions], drawn)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], 1.0)
            optimizer.step()
            schedule.step()


def fetch(updates: Path, build: Callable[[Updates, Path], None], cache_dir: Path | None = None) -> Path:
    """Give the folder of what is served with these updates, building it on the first call.

    Args:
        updates: An .npz.
        build: Fills a folder from what is in it.
        cache_dir: Default: `classifiers.backbone.cache_root`.
    """

    def build_it(folder: Path) -> None:
        with np.load(updates) as kept:
            build(dict(kept), folder)

    return opened_or_built((cache_dir or cache_root()) / folder_name(updates), build_it)


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
