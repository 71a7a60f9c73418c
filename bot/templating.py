"""Jinja pages; every value is escaped."""

from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bot.calendar import JAPAN
from bot.models import EXITS


def _local(value: datetime | None) -> str:
    return f"{value.astimezone(JAPAN):%Y年%-m月%-d日 %H:%M}" if value else ""


def short(value: datetime | None) -> str:
    """Month, day and time, as in lists."""
    return f"{value.astimezone(JAPAN):%-m/%-d %H:%M}" if value else ""


_ACTION_JA = {
    "receive": "受信",
    "open": "案件を登録",
    "assign": "担当課を判定",
    "explain": "判定の根拠を記録",
    "propose": "下書きを作成",
    "reword": "下書きを言い換え",
    "second_text": "いっしょに送る文(やさしい日本語・外国語)を変更",
    "recompose": "根拠の文を選択",
    "hand_off": "職員へ引継ぎ",
    "read": "閲覧",
    "approve": "承認",
    "source_ended": "引用した記事が変わったか有効期間が終わったため、下書きの作り直しを依頼",
    "return_draft": "下書きを差戻し",
    "transfer": "移管",
    "reorganise": "機構改革による移管",
    "reorganise_staff": "機構改革による職員の異動",
    "reorganise_article": "機構改革による記事の移管",
    "reorganise_drafting_off": "機構改革による下書き停止の引継ぎ",
    "calm_alarm": "緊急の知らせを自動で取下げ",
    "escalate_alarm": "緊急の確認が遅れ、全員に通知",
    "release_example": "学習データに使うことを承認",
    "refuse_example": "学習データに使わないと判断",
    "export_ticks": "検索の学習データを書き出し",
    "train_challenger": "振り分けモデルを学習",
    "promote_model": "振り分けモデルを切替え",
    "roll_back_model": "振り分けモデルを元に戻す",
    "refuse_model": "振り分けモデルの候補を不採用",
    "clear_model": "不採用の振り分けモデルのファイルを削除",
    "join_incident": "同じ出来事の案件とまとめて表示",
    "leave_incident": "同じ出来事のまとまりから外す",
    "close": "終了",
    "redraft": "下書きの作り直しを依頼",
    "acknowledge": "緊急の可能性を確認",
    "withdraw": "市民が取下げ",
    "unsend": "市民が発言を取消し",
    "accepted": "送信(先方が受付)",
    "failed": "送信できず",
    "uncertain": "送信できたか不明",
    "retry_delivery": "再送を指示",
    "retry_job": "止まった処理のやり直しを指示",
    "evaluate_model": "回答方式の評価を実施",
    "switch_mode": "下書きの方式を切替え",
    "drafting_on": "下書き機能を再開",
    "drafting_off": "下書き機能を停止",
    "sign_in": "ログイン",
    "sign_in_failed": "ログイン失敗",
    "create_staff": "職員を登録",
    "set_password": "パスワードを変更",
    "import_knowledge": "記事を取込み",
    "forget_vectors": "エンコーダが変わり、記事のベクトルを消去",
    "create_article": "記事を作成",
    "edit_article": "記事を編集",
    "revert_article": "記事を以前の版に戻す",
    "retire_article": "記事を廃止",
    "restore_article": "記事を復活",
    "publish_fixed_text": "定型文を登録",
    "event_seen": "受信の異常を確認",
}
_ACTOR_JA = {"system": "自動処理", "citizen": "市民"}


def _action(value: str) -> str:
    return _ACTION_JA.get(value, value)


def _actor(value: str) -> str:
    return _ACTOR_JA.get(value.partition(":")[0], value)


def _stamp(value: str) -> str:
    return _local(datetime.fromisoformat(value))


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {
    "local": _local,
    "short": short,
    "stamp": _stamp,
    "action": _action,
    "actor": _actor,
}
_environment.globals["exits"] = EXITS
_environment.globals["kind_ja"] = {
    "sticker": "スタンプ", "image": "画像", "video": "動画", "audio": "音声", "file": "ファイル",
    "location": "位置情報", "button": "ボタンで選択",
}  # fmt: skip


def page(template: str, **values: object) -> str:
    """Render one page."""
    return _environment.get_template(template).render(**values)
