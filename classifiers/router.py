"""The network behind the routing and how its batches are made; training only."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classifiers.dataset import Example, Labels
from classifiers.export import MeanPooled

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]

FLAGS = ("emergency", "two_matters")
"""Yes-or-no questions beside the labels; their logits follow the labels' logits."""
FLAG_WEIGHT = 6.0


class Router(nn.Module):
    """Encoder, mean, unit length, standardise, linear: one logit per label, then one per flag."""

    def __init__(self, encoder: nn.Module, hidden: int, labels: int) -> None:
        """Start with a head of zeros; `start_from_probes` fills it."""
        super().__init__()
        self.pooled = MeanPooled(encoder)
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(hidden))
        self.register_buffer("scale", torch.ones(hidden))
        self.head = nn.Linear(hidden, labels + len(FLAGS))

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Shapes (batch, tokens), to logits (batch, labels + flags)."""
        logits: Tensor = self.head(self.features(input_ids, attention_mask))
        return logits

    def features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """What the head sees: shapes (batch, tokens), to (batch, hidden), standardised."""
        features: Tensor = (self.pooled(input_ids, attention_mask).float() - self.mean) / self.scale
        return features

    def start_from_probes(self, features: Floats, weights: Floats, biases: Floats) -> None:
        """Take over the standardisation and the weights of probes fitted on standardised features.

        Args:
            features: Shape (n, hidden), of the training set.
            weights: Shape (labels + flags, hidden).
            biases: Shape (labels + flags,).
        """
        self.mean.copy_(torch.from_numpy(features.mean(axis=0)))
        self.scale.copy_(torch.from_numpy(features.std(axis=0) + 1e-6))
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weights))
            self.head.bias.copy_(torch.from_numpy(biases))


@dataclass(frozen=True, slots=True)
class Encoded:
    """A split, tokenised, with what the network should say."""

    texts: list[str]
    ids: list[Ids]
    shares: Floats
    """Shape (n, labels): 1 for the label, 0.5 twice for two matters, all 0 for an emergency."""
    flags: Floats
    """Shape (n, 2): emergency, two matters."""

    @property
    def gold(self) -> NDArray[np.int64]:
        """The first label of each, shape (n,); meaningless for emergencies."""
        return np.asarray(self.shares.argmax(axis=1))

    @property
    def plain(self) -> NDArray[np.int64]:
        """Indices of the messages with exactly one label and no flag."""
        return np.flatnonzero(~self.flags.any(axis=1))

    def some(self, count: int, seed: int) -> Encoded:
        """About ``count`` of the messages, drawn at random from each label alike; 20 of a rare one."""
        order, share = np.random.default_rng(seed).permutation(len(self.ids)), count / len(self.ids)
        labelled = [order[self.gold[order] == label] for label in np.unique(self.gold)]
        chosen = np.sort(np.concatenate([mine[: max(20, round(share * len(mine)))] for mine in labelled]))
        return Encoded(
            [self.texts[i] for i in chosen],
            [self.ids[i] for i in chosen],
            self.shares[chosen],
            self.flags[chosen],
        )


def targets(examples: Sequence[Example], labels: Labels) -> tuple[Floats, Floats]:
    """Shares and flags of `Encoded` for examples."""
    shares = np.zeros((len(examples), len(labels.all)), dtype=np.float32)
    for row, example in zip(shares, examples, strict=True):
        named = [name for name in (example.department, example.also) if name]
        for name in named:
            row[labels.all.index(name)] = 1.0 / len(named)
    flags = np.array([[bool(e.emergency), bool(e.also)] for e in examples], dtype=np.float32)
    return shares, flags


def losses_of(logits: Tensor, shares: Tensor, flags: Tensor) -> Tensor:
    """Cross-entropy with the shares plus binary cross-entropy of the flags, of each message.

    A flag is rare in training and costly to miss, so its yes weighs `FLAG_WEIGHT` times its no.
    """
    count = shares.shape[1]
    routing = -(shares * nn.functional.log_softmax(logits[:, :count], dim=1)).sum(dim=1)
    asked = nn.functional.binary_cross_entropy_with_logits(
        logits[:, count:], flags, reduction="none", pos_weight=torch.full((len(FLAGS),), FLAG_WEIGHT)
    )
    return routing + asked.sum(dim=1)


def pad(rows: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """Ids and mask of shape (rows, longest); what is masked may hold any id, so it holds 1."""
    longest = max(len(row) for row in rows)
    ids, mask = (
        torch.ones((len(rows), longest), dtype=torch.long),
        torch.zeros((len(rows), longest), dtype=torch.long),
    )
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.from_numpy(row)
        mask[i, : len(row)] = 1
    return ids, mask


def shuffled_batches(rows: Sequence[Ids], size: int, rng: random.Random) -> list[list[int]]:
    """Indices in random order, neighbours of similar length together: 4 % padding, twice the speed."""
    order, pool_size = list(range(len(rows))), 64 * size
    rng.shuffle(order)
    pools = [
        sorted(order[i : i + pool_size], key=lambda k: len(rows[k])) for i in range(0, len(order), pool_size)
    ]
    batches = [pool[i : i + size] for pool in pools for i in range(0, len(pool), size)]
    rng.shuffle(batches)
    return batches


def by_length(rows: Sequence[Ids], size: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, for evaluation."""
    order = sorted(range(len(rows)), key=lambda k: len(rows[k]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


@torch.no_grad()
def in_batches(module: nn.Module, rows: Sequence[Ids]) -> Floats:
    """Outputs of an eval-mode module for all rows, shape (len(rows), width)."""
    module.eval()
    outputs: dict[int, Floats] = {}
    for batch in by_length(rows, 32):
        for i, row in zip(batch, module(*pad([rows[k] for k in batch])).float().numpy(), strict=True):
            outputs[i] = row
    return np.stack([outputs[i] for i in range(len(rows))])


class WeightAverage:
    """The running mean of the weights that a model trains.

    torch's own `AveragedModel` would copy and average the frozen word table at every step as well.
    """

    EVERY = 4
    """Steps between two looks at the weights: neighbouring steps hardly differ, and each look takes time."""

    def __init__(self, model: nn.Module, keep: float) -> None:
        """Start from the model as it is.

        Args:
            model: Its weights are read at every fourth `update`.
            keep: Share of the mean that a step leaves; at first a plain mean of all looks so far.
        """
        self._keep, self._steps = keep, 0
        self._trained = [p for p in model.parameters() if p.requires_grad]
        self._mean = [p.detach().clone() for p in self._trained]

    @torch.no_grad()
    def update(self) -> None:
        """Count this step, and take in its weights if it is their turn."""
        self._steps += 1
        if self._steps % self.EVERY:
            return
        looks = self._steps // self.EVERY
        keep = min(self._keep**self.EVERY, (1 + looks) / (2 + looks))
        torch._foreach_lerp_(self._mean, [p.detach() for p in self._trained], 1 - keep)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model holds the mean while the block runs, and its own weights after it."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for weight, mean in zip(self._trained, self._mean, strict=True):
            held = weight.detach().clone()
            weight.copy_(mean)
            mean.copy_(held)


def warm_then_half(step: int, steps: int, warmup: float) -> float:
    """Factor of the learning rate: rises over the share ``warmup`` of the steps, halves in the middle."""
    return min((step + 1) / max(1, int(steps * warmup)), 1.0 if step < steps / 2 else 0.5)


def warm_then_fall(step: int, steps: int, warmup: float) -> float:
    """Factor of the learning rate: rises over the share ``warmup`` of the steps, then falls to zero."""
    rise = max(1, int(steps * warmup))
    return min((step + 1) / rise, max(0.0, (steps - step) / max(1, steps - rise)))
