"""What confidence is worth: reliability diagram and coverage-accuracy curve, as numbers and pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SIZE, _MARGIN = 320, 44


def which_bin(confidence: Floats, bins: int = 10) -> NDArray[np.int64]:
    """Number of the equal-width bin of each confidence, 0 to bins - 1; so too of a bin's mean confidence."""
    return np.minimum((confidence * bins).astype(np.int64), bins - 1)


def expected_calibration_error(confidence: Floats, right: NDArray[np.bool_], bins: int = 10) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by size; 0 to 1.

    Source: Naeini et al. 2015.
    """
    which = which_bin(confidence, bins)
    gaps = [
        abs(confidence[which == b].mean() - right[which == b].mean()) * (which == b).mean()
        for b in range(bins)
        if (which == b).any()
    ]
    return float(sum(gaps))


def curves(confidence: Floats, right: NDArray[np.bool_], bins: int = 10) -> dict[str, list[dict[str, float]]]:
    """Both curves as points.

    Args:
        confidence: Shape (n,), calibrated probability of the first label, n at least 1.
        right: Shape (n,), whether it was right.
        bins: Equal-width bins of the reliability diagram; empty ones are left out.

    Returns:
        ``reliability``: confidence, accuracy, n of each bin. ``coverage_accuracy``: accuracy of the most
        confident share of messages, for shares from 5 to 100 per cent.
    """
    which = which_bin(confidence, bins)
    order = np.argsort(-confidence, kind="stable")
    shares = np.arange(1, 21) / 20
    kept = [max(1, round(share * len(order))) for share in shares]
    return {
        "reliability": [
            {
                "confidence": float(confidence[which == b].mean()),
                "accuracy": float(right[which == b].mean()),
                "n": int((which == b).sum()),
            }
            for b in range(bins)
            if (which == b).any()
        ],
        "coverage_accuracy": [
            {"coverage": float(share), "accuracy": float(right[order[:count]].mean())}
            for share, count in zip(shares, kept, strict=True)
        ],
    }


def reliability_svg(points: list[dict[str, float]]) -> str:
    """The reliability diagram: on the diagonal, a confidence of 80 % is right in 80 of 100 cases."""
    marks = [(p["confidence"], p["accuracy"]) for p in points]
    return _svg("信頼度曲線", "モデルの確信度", "実際の正解率", marks, low=0.0, diagonal=True)


def coverage_svg(points: list[dict[str, float]]) -> str:
    """How accuracy falls when more of the messages are routed without a person."""
    marks = [(p["coverage"], p["accuracy"]) for p in points]
    low = 0.5 if all(y >= 0.5 for _, y in marks) else 0.0
    return _svg("自動化率と正解率", "自動で振り分ける割合", "正解率", marks, low=low, diagonal=False)


def _svg(
    title: str, x_name: str, y_name: str, marks: list[tuple[float, float]], *, low: float, diagonal: bool
) -> str:
    inner = _SIZE - 2 * _MARGIN

    def at(x: float, y: float) -> str:
        return f"{_MARGIN + x * inner:.1f},{_SIZE - _MARGIN - (y - low) / (1 - low) * inner:.1f}"

    ticks = [(i / 4, low + (1 - low) * i / 4) for i in range(5)]
    middle = _SIZE / 2
    parts: list[Any] = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIZE} {_SIZE}" role="img" ',
        f'aria-label="{title}" font-family="sans-serif" font-size="11" fill="#333"><title>{title}</title>',
        f'<rect x="{_MARGIN}" y="{_MARGIN}" width="{inner}" height="{inner}" fill="#fff" stroke="#767676"/>',
        f'<text x="{middle}" y="24" text-anchor="middle" font-size="13">{title}</text>',
        f'<text x="{middle}" y="{_SIZE - 8}" text-anchor="middle">{x_name}(%)</text>',
        f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">',
        f"{y_name}(%)</text>",
    ]
    for x, y in ticks:
        parts.append(
            f'<text x="{_MARGIN + x * inner:.0f}" y="{_SIZE - 28}" text-anchor="middle">{x * 100:.0f}</text>'
        )
        parts.append(
            f'<text x="{_MARGIN - 6}" y="{at(0, y).split(",")[1]}" text-anchor="end">{y * 100:.0f}</text>'
        )
    if diagonal:
        parts.append(
            f'<polyline points="{at(0, 0)} {at(1, 1)}" stroke="#949494" stroke-dasharray="4 4" fill="none"/>'
        )
    line = " ".join(at(x, y) for x, y in marks)
    parts.append(f'<polyline points="{line}" stroke="#0017c1" stroke-width="2" fill="none"/>')
    for x, y in marks:
        cx, cy = at(x, y).split(",")
        parts.append(f'<circle cx="{cx}" cy="{cy}" r="3.5" fill="#0017c1"/>')
    return "".join(parts) + "</svg>"
