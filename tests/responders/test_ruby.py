"""Readings: the usual traps, and that a text and its readings can be told apart again."""

from pathlib import Path

import pytest

from responders.ruby import bracketed, pieces_of, ruby, without_readings

KNOWLEDGE = Path(__file__).resolve().parents[2] / "data" / "knowledge"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4月1日から", "4月（がつ）1日（ついたち）から"),
        ("1日3回", "1日（にち）3回（かい）"),
        ("三月一日", "三月一日（さんがつついたち）"),
        ("十分な時間", "十分（じゅうぶん）な時間（じかん）"),
        ("10分と15分", "10分（ぷん）と15分（ふん）"),
        ("費用の2分の1", "費用（ひよう）の2分（ぶん）の1"),
        ("今日の人", "今日（きょう）の人（ひと）"),
        ("1人と3人", "1人（ひとり）と3人（にん）"),
        ("市民課の印鑑", "市民課（しみんか）の印鑑（いんかん）"),
        ("引っ越した日", "引（ひ）っ越（こ）した日（ひ）"),
        ("住む方の出し方", "住（す）む方（かた）の出（だ）し方"),
        ("誕生日と月曜日", "誕生日（たんじょうび）と月曜日（げつようび）"),
        ("20歳と18歳", "20歳（はたち）と18歳（さい）"),
        ("3階", "3階（がい）"),
        ("電話 0000-12-3101", "電話（でんわ） 0000-12-3101"),
        ("15,000円と50万円", "15,000円（えん）と50万円（まんえん）"),
        ("通知書(はがき)", "通知書（つうちしょ）(はがき)"),
        ("納期限まで", "納期限（のうきげん）まで"),
        ("七日以内", "七日以内（なのかいない）"),
        ("七日間", "七日間（なのかかん）"),
        ("十日", "十日（とおか）"),
        ("十日間", "十日間（とおかかん）"),
        ("二十日", "二十日（はつか）"),
        ("十四日", "十四日（じゅうよっか）"),
        ("続柄", "続柄（つづきがら）"),
        ("過誤納", "過誤納（かごのう）"),
        ("過誤納金", "過誤納金（かごのうきん）"),
        ("上の階", "上（うえ）の階（かい）"),
        ("大人と小人200円", "大人（おとな）と小人（しょうにん）200円（えん）"),
        ("小人数", "小人数（しょうにんずう）"),
        ("1日から5日まで", "1日（ついたち）から5日（いつか）まで"),
        ("奇数月の1日", "奇数月（きすうづき）の1日（ついたち）"),
        ("1日から2日かかる", "1日（にち）から2日（ふつか）かかる"),
        ("1か月の1日", "1か月（げつ）の1日（にち）"),
        ("バスの方が安い", "バスの方（ほう）が安（やす）い"),
        ("早い方の日", "早（はや）い方（ほう）の日（ひ）"),
        ("所得が低い方", "所得（しょとく）が低（ひく）い方（かた）"),
    ],
)
def test_the_usual_traps_are_read_as_people_read_them(text: str, expected: str) -> None:
    assert bracketed(text) == expected


def test_a_word_is_read_once_and_again_when_its_reading_changes() -> None:
    text = bracketed("市役所へ来る。市役所へ来てください。来る。")
    assert text.count("しやくしょ") == 1
    assert text.count("来（き）") == 1
    assert text.count("来（く）") == 2


def test_the_web_page_gets_back_every_reading_of_the_knowledge() -> None:
    lines = [line for file in KNOWLEDGE.glob("*.md") for line in file.read_text("utf-8").split("\n")]
    assert len(lines) > 1000
    for line in lines:
        text = line.replace("（", "(").replace("）", ")")
        pieces = ruby(text)
        assert "".join(surface for surface, _ in pieces) == text
        assert pieces_of(bracketed(text)) == pieces
        assert without_readings(bracketed(text)) == text


def test_a_reading_that_a_person_mended_is_the_one_that_shows() -> None:
    assert ("上手", "かみて") in pieces_of("上手（かみて）の席")
    assert pieces_of("本(ほん)を読む") == [("本(ほん)を読む", "")], "half-width brackets are no reading"
