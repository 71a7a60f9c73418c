"""Readings of kanji (ふりがな): in full-width brackets for plain text, as pieces for a web page.

A reading stands in the text itself, 「市役所（しやくしょ）」, at its first occurrence, so a person reads
and approves it like every other word and nothing is guessed after the approval. Half-width brackets stay what
they are. Source: 出入国在留管理庁・文化庁「在留支援のためのやさしい日本語ガイドライン」 2020, which allows
ruby above a word or its reading in brackets behind it.
"""

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from responders.japanese import long_tokens

Piece = tuple[str, str]
"""A part of a text and its reading in hiragana; the reading of what has no kanji is empty."""

_KANJI = re.compile(r"[一-鿿々〆]")
_RUN = re.compile(r"[一-鿿々〆]+|[^一-鿿々〆]+")
_DIGITS = re.compile(r"\d+|\D+")
_BRACKETED = re.compile(r"(?P<word>(?:(?<!\d)\d++|(?<![一-鿿々〆]))[一-鿿々〆]++)（(?P<reading>[ぁ-ゖー]+)）")
_DAYS = {
    "2": "ふつか", "3": "みっか", "4": "よっか", "5": "いつか", "6": "むいか", "7": "なのか",
    "8": "ようか", "9": "ここのか", "10": "とおか", "14": "じゅうよっか", "20": "はつか",
    "24": "にじゅうよっか",
}  # fmt: skip
_WHOLE = {"1人": "ひとり", "2人": "ふたり", "20歳": "はたち"}
"""Numbers that one reads together with what they count."""
_COUNTERS = {
    "円": "えん", "月": "がつ", "年": "ねん", "時": "じ", "日": "にち", "人": "にん", "歳": "さい",
    "階": "かい", "回": "かい", "枚": "まい", "通": "つう", "個": "こ", "件": "けん", "台": "だい",
    "点": "てん", "度": "ど", "割": "わり", "倍": "ばい", "名": "めい", "号": "ごう", "番": "ばん",
    "体": "たい", "面": "めん", "級": "きゅう", "頭": "とう", "口": "くち", "時間": "じかん",
    "日間": "にちかん", "年間": "ねんかん", "週間": "しゅうかん", "世帯": "せたい", "丁目": "ちょうめ",
    "種類": "しゅるい", "年度": "ねんど", "万": "まん", "億": "おく",
    "千": "せん", "千円": "せんえん",
}  # fmt: skip
_SET = {
    "何人": "なんにん", "上手": "じょうず", "明日": "あした", "一度": "いちど", "私": "わたし",
    "生年月日": "せいねんがっぴ", "年月日": "ねんがっぴ", "何日": "なんにち", "何時": "なんじ",
    "一昨日": "おととい", "二日": "ふつか", "三日": "みっか", "四日": "よっか", "五日": "いつか",
    "一日中": "いちにちじゅう", "一日": "いちにち", "一人": "ひとり", "二人": "ふたり",
    "三日間": "みっかかん", "大人": "おとな", "二十歳": "はたち", "今日": "きょう",
    "今日中": "きょうじゅう",
    "市役所": "しやくしょ", "一つ": "ひとつ", "土日": "どにち", "日本": "にほん", "家": "いえ",
    "本庁舎": "ほんちょうしゃ", "後日": "ごじつ", "誕生日": "たんじょうび", "相談日": "そうだんび",
    "病児": "びょうじ", "水道管": "すいどうかん", "見積書": "みつもりしょ", "申込書": "もうしこみしょ",
    "申込み": "もうしこみ", "世帯主": "せたいぬし", "偶数月": "ぐうすうづき", "止水栓": "しすいせん",
    "古布": "ふるぬの", "休館日": "きゅうかんび", "収集日": "しゅうしゅうび", "市内": "しない",
    "市外": "しがい", "利用日": "りようび", "支払日": "しはらいび",
    "納期限": "のうきげん", "続柄": "つづきがら", "過誤納": "かごのう", "小人": "しょうにん",
    "七日": "なのか", "十日": "とおか", "二十日": "はつか", "十四日": "じゅうよっか",
    "二十四日": "にじゅうよっか", "七日間": "なのかかん", "十日間": "とおかかん",
    "二十日間": "はつかかん", "奇数月": "きすうづき",
    "後払い": "あとばらい", "通行止め": "つうこうどめ", "通行止": "つうこうどめ", "出入口": "でいりぐち",
    "一戸建て": "いっこだて", "一戸建": "いっこだて", "この間": "このあいだ", "便槽": "べんそう",
    "持出袋": "もちだしぶくろ", "持ち出し袋": "もちだしぶくろ", "聴導犬": "ちょうどうけん",
    "若しくは": "もしくは", "一か月": "いっかげつ", "六か月": "ろっかげつ", "八か月": "はっかげつ",
    "十か月": "じゅっかげつ", "一か所": "いっかしょ", "六か所": "ろっかしょ", "八か所": "はっかしょ",
    "十か所": "じゅっかしょ", "一箇所": "いっかしょ", "償還払い": "しょうかんばらい",
    "分割払い": "ぶんかつばらい", "一括払い": "いっかつばらい", "二重払い": "にじゅうばらい",
    "委任払い": "いにんばらい", "回払い": "かいばらい", "一組": "ひとくみ", "一棟": "いっとう",
    "一晩": "ひとばん", "一辺": "いっぺん", "二通": "につう", "三輪": "さんりん", "中度": "ちゅうど",
    "人槽": "にんそう", "偶数年": "ぐうすうねん", "奇数年": "きすうねん", "内訳書": "うちわけしょ",
    "取壊証明書": "とりこわししょうめいしょ", "円玉": "えんだま", "家中": "いえじゅう",
    "原動機付自転車": "げんどうきつきじてんしゃ", "前々月": "ぜんぜんげつ", "年月": "ねんげつ",
    "月日": "がっぴ", "雇用主": "こようぬし", "事業主": "じぎょうぬし", "父母": "ふぼ",
    "空家": "あきや", "要・不要": "よう・ふよう", "願出": "ねがいで", "引込": "ひきこみ",
    "引込み": "ひきこみ", "盛土": "もりど", "腹痛": "ふくつう",
}  # fmt: skip
"""Words that the dictionary cuts, or reads, otherwise than people do; longer ones win."""
_ALONE = {"階": "かい", "証": "しょう", "額": "がく", "館": "かん", "園": "えん", "窯": "かま"}
"""Words that read so without a number before them."""
_MONTH = re.compile(r"(?<!か)月の?$")
_TO_A_DAY = re.compile(r"から(?:\d+日|末日)まで")
_BESIDE = tuple(
    (word, re.compile(behind), re.compile(ahead), reading)
    for word, behind, ahead, reading in (
        ("他", "", "の", "ほか"),
        ("日", "曜$", "", "び"),
        ("十", "", "分", "じゅっ"),
        ("分", "[一三四六八十]$", "", "ぷん"),
        # Behind another noun: 予定日, 営業日; numerals, years and months read a day otherwise.
        ("日", "(?<![一二三四五六七八九十百千何数年月])(?<=[一-龥])$", "", "び"),
        ("箱", "^[のをはがもとや、。]?$", "", "はこ"),
        ("臭い", "", "[やがをはのも、]", "におい"),
        ("放っ", "", "て[おい]", "ほうっ"),
        ("空", "", "メール|に[しすなせ]|の(?:容器|缶|びん|ビン|箱|袋|ペットボトル|ボトル|状態|まま)", "から"),
        ("間", "[るうくすつぬぶむのたい]$", "(?!に合|もな)", "あいだ"),
        ("開い", "(?<!を)$", "て(?:い|お|な|る|$|[、。])", "あい"),
    )
)
"""Words, what ends before them, what begins behind them, and how they are read there."""
_TWO_READINGS = tuple(
    (word, re.compile(behind), reading)
    for word, behind, reading in (
        ("行っ", "を$", "おこなっ"),
        ("行っ", "(?:[所院校館口地園店家駅]に|へ|まで)$", "いっ"),
        ("行っ", "", ""),
        ("通っ", "(?:[審検]査|試験|選考)に$|を$", "とおっ"),
        ("通っ", "に$", "かよっ"),
        ("通っ", "", ""),
    )
)
"""Verbs that only the words before tell how to read: where none does, none is better than a wrong one."""
_BETTER = re.compile(r"が(?:便利|安|早|速|高|低|よ|良|い[いっ]|得|簡単|多|少|望まし|安全|有利|楽)")
_DEGREES = ("早い", "遅い", "高い", "低い", "安い", "多い", "少ない", "長い", "短い", "大きい", "小さい")
_SET_WORD = re.compile("|".join(sorted(_SET, key=len, reverse=True)))


def ruby(text: str) -> list[Piece]:
    """The text as pieces, each run of kanji with its reading; joined surfaces are the text again.

    Digits are never read; only a day, 「1人」「2人」 and 「20歳」 are read together with their number.
    """
    pieces = [piece for found in _words(text) for piece in _aligned(*found)]
    return list(_joined(pieces))


def bracketed(text: str) -> str:
    """The text with readings in full-width brackets, where a word is first read or changes its reading."""
    said: dict[str, str] = {}
    parts = []
    pieces = ruby(text)
    for (surface, reading), (after, _) in zip(pieces, [*pieces[1:], ("", "")], strict=False):
        # A day goes with the kanji behind it (14日以内), so its reading cannot be carried over to later ones.
        carried = not (surface[0].isdigit() or _is_unsure(surface, after))
        known = not reading or (said.get(surface) == reading and carried)
        parts.append(surface if known else f"{surface}（{reading}）")
        if reading:
            said[surface] = reading
    return "".join(parts)


def pieces_of(text: str) -> list[Piece]:
    """A text that `bracketed` made, or a person edited, as pieces: the web page puts the readings above.

    Later occurrences of a word take the reading that stood last in brackets behind it.
    """
    said: dict[str, str] = {}
    pieces: list[Piece] = []
    end = 0
    for match in _BRACKETED.finditer(text):
        pieces += _carried(text[end : match.start()], said)
        word, reading = match["word"], match["reading"]
        digits = word[: len(word) - len(word.lstrip("0123456789０１２３４５６７８９"))]
        if digits and not _read_whole(word, reading):
            pieces.append((digits, ""))
            word = word.removeprefix(digits)
        said[word] = reading
        pieces.append((word, reading))
        end = match.end()
    return list(_joined([*pieces, *_carried(text[end:], said)], kanji=False))


def without_readings(text: str) -> str:
    """The text without the readings in full-width brackets."""
    return "".join(text[at] for at in places_without_readings(text))


def places_without_readings(text: str) -> list[int]:
    """Where the characters of `without_readings` stand in the text."""
    read = {at for match in _BRACKETED.finditer(text) for at in range(match.end("word"), match.end())}
    return [at for at in range(len(text)) if at not in read]


def _read_whole(word: str, reading: str) -> bool:
    return reading in {*_DAYS.values(), *_WHOLE.values(), "ついたち"} or any(
        reading == day + "かん" for day in _DAYS.values()
    )


def _carried(text: str, said: dict[str, str]) -> Iterator[Piece]:
    runs = re.findall(r"\d*[一-鿿々〆]+|[^一-鿿々〆\d]+|\d+", text)
    for run, after in zip(runs, [*runs[1:], ""], strict=False):
        digits = re.match(r"\d*", run)
        bare = run[digits.end() :] if digits else run
        if run in said and not _is_unsure(run, after):
            yield run, said[run]
        elif bare != run and bare:
            yield run[: len(run) - len(bare)], ""
            yield bare, said.get(bare, "")
        else:
            yield run, ""


def _is_unsure(surface: str, after: str) -> bool:
    """Whether the words before decide at each place how it is read."""
    return any(surface + after[:1] == word for word, _, _ in _TWO_READINGS)


def _words(text: str) -> Iterator[Piece]:
    """Words with their readings in hiragana, the set ones before the dictionary's."""
    found = [(part, m) for m in long_tokens(text) for part in _DIGITS.findall(m.surface())]
    starts, at = [], 0
    for surface, _ in found:
        starts.append(at)
        at += len(surface)
    set_words = _set_words(text, {*starts, at})
    number = 0
    while number < len(found):
        surface, morpheme = found[number]
        if (word := set_words.get(starts[number])) is not None:
            yield word, _set_reading(word, text[: starts[number]])
            end = starts[number] + len(word)
            while number < len(found) and starts[number] < end:
                number += 1
            continue
        before = [one for one, _ in found[max(0, number - 3) : number]]
        if before and before[-1].isdigit() and _KANJI.search(surface):
            yield from _counted(before, surface, morpheme, text[starts[number] + len(surface) :])
        else:
            yield surface, _reading(surface, morpheme, before, text[starts[number] + len(surface) :])
        number += 1


def _set_words(text: str, borders: set[int]) -> dict[int, str]:
    return {m.start(): m[0] for m in _SET_WORD.finditer(text) if m.start() in borders and m.end() in borders}


def _set_reading(word: str, before: str) -> str:
    return "ついたち" if word == "一日" and before.endswith("月") else _SET[word]


def _reading(surface: str, morpheme: Any, before: list[str], after: str) -> str:  # noqa: ANN401
    if not _KANJI.search(surface):
        return ""
    previous = before[-1] if before else ""
    if surface == "方" and morpheme.part_of_speech()[0] == "名詞":
        return "ほう" if _is_rather(before, after) else "かた"
    for word, behind, ahead, reading in _BESIDE:
        if surface == word and behind.search(previous) and ahead.match(after):
            return reading
    for word, behind, reading in _TWO_READINGS:
        if surface.startswith(word) and behind.search("".join(before)):
            return reading and reading + surface.removeprefix(word)
    return _ALONE.get(surface) or _hiragana(morpheme.reading_form())


def _is_rather(before: list[str], after: str) -> bool:
    """「バスの方が安い」, 「早い方」, but 「所得が低い方」."""
    *earlier, previous = before or [""]
    return bool(_BETTER.match(after)) or (previous in _DEGREES and earlier[-1:] != ["が"])


def _counted(before: list[str], counter: str, morpheme: Any, after: str) -> Iterator[Piece]:  # noqa: ANN401
    """A counter behind digits. The digits went out already without a reading."""
    digits = before[-1].lstrip("0") or "0"
    month = _MONTH.search("".join(before[:-1])) or _TO_A_DAY.match(after)
    if counter in ("日", "日間"):
        day = "ついたち" if digits == "1" and month and counter == "日" else _DAYS.get(digits, "")
        if day:
            yield _JOIN + counter, day + ("かん" if counter == "日間" else "")
            return
    if whole := _WHOLE.get(digits + counter, ""):
        yield _JOIN + counter, whole
        return
    yield counter, _counter_reading(digits, counter, morpheme, after)


_JOIN = "\x00"
"""Marks a counter that is read together with the digits before it."""


def _counter_reading(digits: str, counter: str, morpheme: Any, after: str) -> str:  # noqa: ANN401
    if counter == "分":
        if after.startswith("の") and after[1:2].isdigit():
            return "ぶん"
        return "ふん" if digits[-1] in "2579" else "ぷん"
    if counter == "階" and digits[-1] == "3":
        return "がい"
    if counter.startswith("千") and digits[-1] == "3":
        return _COUNTERS[counter].replace("せん", "ぜん", 1)
    if counter in ("本", "匹", "杯"):
        first = {"本": "ほ", "匹": "ひ", "杯": "は"}[counter]
        rest = {"本": "ん", "匹": "き", "杯": "い"}[counter]
        voiced = {"3": 1, "1": 2, "6": 2, "8": 2, "0": 2}.get(digits[-1], 0)
        return chr(ord(first) + voiced) + rest
    return _COUNTERS.get(counter) or _hiragana(morpheme.reading_form())


def _hiragana(katakana: str) -> str:
    return "".join(chr(ord(c) - 0x60) if "ァ" <= c <= "ヶ" else c for c in katakana)


def _aligned(surface: str, reading: str) -> Iterator[Piece]:
    """Okurigana keep no reading: 引っ越し, ひっこし → 引 ひ, っ, 越 こ, し."""
    if not reading:
        yield surface, ""
        return
    runs = _RUN.findall(surface.removeprefix(_JOIN))
    pattern = "".join("(.+?)" if _KANJI.match(run) else f"({re.escape(_hiragana(run))})" for run in runs)
    match = re.fullmatch(pattern, reading)
    if surface.startswith(_JOIN) or match is None:
        yield surface, reading
        return
    for run, part in zip(runs, match.groups(), strict=True):
        yield run, part if _KANJI.match(run) else ""


def _joined(pieces: list[Piece], *, kanji: bool = True) -> Iterator[Piece]:
    """Neighbours without a reading become one piece; so do kanji of one compound (市民 + 課)."""
    merged: list[Piece] = []
    for surface, reading in pieces:
        if surface.startswith(_JOIN):
            digits = re.search(r"\d+$", merged[-1][0]) if merged else None
            number = digits[0] if digits else ""
            merged[-1] = (merged[-1][0].removesuffix(number), "")
            merged.append((number + surface.removeprefix(_JOIN), reading))
        elif kanji and merged and reading and merged[-1][1] and not merged[-1][0][:1].isdigit():
            merged[-1] = (merged[-1][0] + surface, merged[-1][1] + reading)
        else:
            merged.append((surface, reading))
    for read, group in groupby(merged, key=lambda piece: bool(piece[1])):
        if read:
            yield from group
        elif whole := "".join(surface for surface, _ in group):
            yield whole, ""
