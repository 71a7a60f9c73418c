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

- **用途**: 市民からの問い合わせ1件を担当課または3つの出口(雑談・このアカウントについて・所管外)へ振り分ける。
- **使わない用途**: 個人の評価、給付の可否の判断、緊急通報の受付(119・110に代わるものではない。緊急は規則 `classifiers/safety.py` とこのモデルの両方で見る)。
- **元のモデル**: `{backbone}`。単語埋め込みは固定し、それ以外を全層微調整(線形プローブから開始)。
- **学習データ**: 架空のみなと市のために書き起こした{examples["train"]}件(検証{examples["valid"]}件)。実在の市民の文は含まない。
- **構成**: エンコーダーに文字n-gramの線形層を足し合わせる(係数は日本語 {metrics["ngram_factors"]["ja"][0]}、ほかの言語 {metrics["ngram_factors"]["other"][0]})。日本語とほかの言語で別に較正する。
- **形式**: ONNX、int8(行列はチャネルごと、単語表は32要素ごとの尺度)。1件ずつ推論する(まとめると結果が変わるため)。
- **検証データでの値**(しきい値を決めたデータなので楽観的): 正解率 {valid["accuracy"]:.3f}、macro-F1 {valid["macro_f1"]:.3f}、予測集合の被覆率 {valid["coverage"]:.3f}、平均の大きさ {valid["mean_set_size"]:.2f}
- **較正**: 温度 {calibration.temperature:.2f}。課ごとに、集合に入る確率 {min(calibration.include_at):.3f}〜{max(calibration.include_at):.3f} 以上、自動で振り分ける確信度 {min(calibration.route_at):.3f}〜{max(calibration.route_at):.3f} 以上
- **緊急**: 確率 {calibration.emergency_at:.3f} 以上で職員に知らせる(規則と合わせて使い、どちらかが反応すれば緊急とする)。
- **二つの用件**: 確率 {calibration.two_matters_at:.3f} 以上で、二つの課の案件として扱う。
- **int8化の影響**(検証データのmacro-F1): {metrics["valid_encoder"]["fp32_macro_f1"]:.3f} → {metrics["valid_encoder"]["int8_macro_f1"]:.3f}(エンコーダーのみ)
- **限界**: 三つ以上の用件を含む文は二つまでしか返らない。文字の置き換えや極端な略語には弱い。
- **評価用データでの値**: `classifiers/LOG.md` と `python -m classifiers.evaluate`。
"""
