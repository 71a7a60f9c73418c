"""Step 3 of the guideline, 分かりやすさの確認: what in an easy text is still hard, and where it stands.

The guideline of 2020 asks for short sentences; ``MOST_CHARS`` is our own figure for it. A remark is advice to
a person and blocks nothing.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from responders.easy import words
from responders.japanese import long_tokens
from responders.ruby import places_without_readings

MOST_CHARS = 30
"""Of one sentence, spaces, brackets and readings not counted."""
MOST_KANJI = 0.35
"""Share of kanji in the whole text; common Japanese prose has about 0.3 to 0.4."""
_SENTENCE = re.compile(r"[^。！？!?\n]+[。！？!?]?")
_UNCOUNTED = re.compile(r"（[ぁ-ゖー]+）|\([^)]*\)|[\s・]")
_KANJI = re.compile(r"[一-鿿々]")
_DOUBLE = re.compile(
    r"な(?:い|く)(?:わけ|こと|もの)?(?:では|は|も|が)?(?:ありません|ない)|なければ(?:なりません|いけません)|"
    r"ないと(?:いけません|できません)|以外[はに]?.{0,12}(?:ません|ない)|しか.{0,12}(?:ません|ない)|ずには.{0,8}ません"
)
_KATAKANA = re.compile(r"[ァ-ヶー]{3,}")
_EVERYDAY = frozenset(
    re.findall(
        r"\S+",
        "カード マイナンバーカード マイナンバー コピー バス タクシー トイレ テレビ カメラ ペット "
        "センター パソコン スマートフォン スマホ インターネット メール ページ ホームページ "
        "コンビニ コンビニエンスストア スーパー ビル アパート マンション ガス ボタン ノート "
        "シャワー ドア ベッド テーブル ガラス プラスチック ペットボトル ボトル サイズ キロ グラム "
        "キログラム メートル センチ センチメートル ミリ リットル クラス グループ スポーツ テニス "
        "コート プール バイク タオル サービス レシート カレンダー ニュース パン サッカー エアコン "
        "ストーブ アレルギー ワクチン",
    )
)
_HONORIFIC = re.compile(
    r"いただ|(?<!ありがとう)(?<!ありがとう )ございま|くださいますよう|お[^\s。、]{1,6}になり|おります|"
    r"いたします|なさって|いらっしゃ|賜"
)
_SHORT = re.compile(
    r"国保|後期高齢(?!者)|住基|児扶|マイナ保険証|高額療養費|(?<![A-Za-z])(?!URL|LINE|DVD|QR)[A-Z]{2,}(?![A-Za-z])"
)
_SLASH_DATE = re.compile(r"(?<![\d/])(?:\d{4}[/.-])?\d{1,2}/\d{1,2}(?!\d)")
_ERA = re.compile(
    r"(?:令和|平成|昭和|(?<![A-Za-z])[RHS](?=\d))\s*(?:元|\d{1,2})\s*(?:年度|年|[./])?(?!\s*\(\d{4})"
)


_PASSIVE_JA = "「れる・られる」(受身など)は分かりにくい形です。「だれが どうする」の形にしてください。"
_DOUBLE_JA = "否定が重なっています「{0}」。「〜してください」などの言い方にしてください。"


@dataclass(frozen=True, slots=True)
class Remark:
    """One place that is still hard to read."""

    kind: str
    """long, kanji, double_negative, loan_word, honorific, short_form, date, era, hard_word."""
    text: str
    """The words in question."""
    start: int
    """Character offset in the given text."""
    end: int
    message_ja: str


def check_easy(text: str) -> list[Remark]:
    """Read a text as the guideline's last step does; readings in full-width brackets do not count.

    Returns:
        In reading order; remarks about the whole text first.
    """
    found = [remark for check in _CHECKS for remark in check(text)]
    return sorted(found, key=lambda remark: (remark.kind != "kanji", remark.start))


def readability(text: str) -> tuple[float, float]:
    """Mean sentence length in counted characters, and the share of kanji in them."""
    sentences = [_UNCOUNTED.sub("", m[0]) for m in _SENTENCE.finditer(text)]
    lengths = [len(s) for s in sentences if s]
    chars = "".join(sentences)
    return sum(lengths) / max(len(lengths), 1), len(_KANJI.findall(chars)) / max(len(chars), 1)


def _long(text: str) -> Iterator[Remark]:
    for match in _SENTENCE.finditer(text):
        length = len(_UNCOUNTED.sub("", match[0]))
        if length > MOST_CHARS:
            message = f"「{match[0].strip()[:10]}…」の文が長いです({length}字。目安は{MOST_CHARS}字まで)。"
            yield Remark("long", match[0], match.start(), match.end(), message)


def _kanji(text: str) -> Iterator[Remark]:
    share = readability(text)[1]
    if share > MOST_KANJI:
        message = f"漢字が多いです({share:.0%})。{MOST_KANJI:.0%}くらいまでに減らすと読みやすくなります。"
        yield Remark("kanji", "", 0, len(text), message)


def _matching(kind: str, pattern: re.Pattern[str], message: str) -> Callable[[str], Iterator[Remark]]:
    def check(text: str) -> Iterator[Remark]:
        for m in pattern.finditer(text):
            yield Remark(kind, m[0], m.start(), m.end(), message.format(m[0].strip()))

    return check


def _loan_words(text: str) -> Iterator[Remark]:
    for m in _KATAKANA.finditer(text):
        if m[0] not in _EVERYDAY:
            message = f"外来語「{m[0]}」は通じないことがあります。説明を付けるか、言い換えてください。"
            yield Remark("loan_word", m[0], m.start(), m.end(), message)


def _passive(text: str) -> Iterator[Remark]:
    at = 0
    for token in long_tokens(text):
        if token.dictionary_form() in ("れる", "られる") and token.part_of_speech()[0] == "助動詞":
            end = at + len(token.surface())
            yield Remark("honorific", token.surface(), at, end, _PASSIVE_JA)
        at += len(token.surface())


def _hard_words(text: str) -> Iterator[Remark]:
    table = {**words().verbs, **words().nouns}
    places = places_without_readings(text)
    bare = "".join(text[at] for at in places)
    # Names of papers and duties are explained below the text; a word inside a longer one is part of a name.
    for word, plain in table.items():
        standing = re.search(rf"(?<![一-鿿ァ-ヶー]){re.escape(word)}(?![一-鿿ァ-ヶー])", bare)
        if len(word) > 1 and standing and word not in words().notes:
            message = f"「{word}」は「{plain}」などに言い換えられます。"
            start, end = places[standing.start()], places[standing.end() - 1] + 1
            yield Remark("hard_word", word, start, end, message)


_CHECKS: tuple[Callable[[str], Iterator[Remark]], ...] = (
    _kanji,
    _long,
    _matching("double_negative", _DOUBLE, _DOUBLE_JA),
    _loan_words,
    _matching("honorific", _HONORIFIC, "敬語「{0}」は「です・ます」「〜てください」にしてください。"),
    _passive,
    _matching("short_form", _SHORT, "略した言葉「{0}」は、略さない名前で書いてください。"),
    _matching("date", _SLASH_DATE, "日付「{0}」は「4月1日」のように書いてください。"),
    _matching("era", _ERA, "元号「{0}」は西暦で書いてください。"),
    _hard_words,
)  # fmt: skip
