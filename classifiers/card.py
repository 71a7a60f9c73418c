"""The model card that lies beside the weights, in Japanese, for administrators."""

# ruff: noqa: E501  (prose, one statement per line)

from __future__ import annotations

from typing import Any

from classifiers.calibrate import Calibration


def render(metrics: dict[str, Any], backbone: str, calibration: Calibration) -> str:
    """Markdown of one training.

    Args:
        metrics: As in metrics.json; ``valid`` and ``examples`` are read.
        backbone: Name of the pretrained encoder.
        calibration: What was learnt on the validation set.
    """
    valid, examples = metrics["valid"], metrics["examples"]
    return f"""# 問い合わせ振り分けモデル

- **用途**: 市民からの問い合わせ1件を担当課(15課)または3つの出口(雑談・このアカウントについて・所管外)へ振り分ける。
- **使わない用途**: 個人の評価、給付の可否の判断、緊急通報の検知(緊急は規則による `classifiers/safety.py` が先に見る)。
- **元のモデル**: `{backbone}`。単語埋め込みは固定し、それ以外を全層微調整(線形プローブから開始)。
- **学習データ**: 架空のみなと市のために書き起こした{examples["train"]}件(検証{examples["valid"]}件)。実在の市民の文は含まない。
- **形式**: ONNX、int8(行列はチャネルごと、単語表は32要素ごとの尺度)。1件ずつ推論する(まとめると結果が変わるため)。
- **検証データでの値**(しきい値を決めたデータなので楽観的): 正解率 {valid["accuracy"]:.3f}、macro-F1 {valid["macro_f1"]:.3f}、予測集合の被覆率 {valid["coverage"]:.3f}、平均の大きさ {valid["mean_set_size"]:.2f}
- **較正**: 温度 {calibration.temperature:.2f}、集合に入る確率 {calibration.include_at:.3f} 以上、自動で振り分ける確信度 {calibration.route_at:.3f} 以上
- **限界**: 日本語以外は学習データが少ない。二つの用件を含む文は一方しか返らないことがある。
- **評価用データでの値**: `classifiers/LOG.md` と `python -m classifiers.evaluate`。
"""
