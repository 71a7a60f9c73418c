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
        ("箱を空にして", "箱（はこ）を空（から）にして"),
        ("空が青い", "空（そら）が青（あお）い"),
        ("空メール", "空（から）メール"),
        ("予定日と十五日", "予定日（よていび）と十五日（じゅうごにち）"),
        ("3営業日", "3営業日（えいぎょうび）"),
        ("5万3千円と5千円", "5万（まん）3千円（ぜんえん）と5千円（せんえん）"),
        ("償還払いです", "償還払（しょうかんばら）いです"),
        ("雇用主と父母", "雇用主（こようぬし）と父母（ふぼ）"),
        ("臭いが臭い", "臭（にお）いが臭（くさ）い"),
        ("新しい証の額", "新（あたら）しい証（しょう）の額（がく）"),
        ("後払い", "後払（あとばら）い"),
        ("通行止めです", "通行止（つうこうど）めです"),
        ("出入口", "出入口（でいりぐち）"),
        ("一戸建ての家", "一戸建（いっこだ）ての家（いえ）"),
        ("一か月以内", "一（いっ）か月以内（げついない）"),
        ("この間に", "この間（あいだ）に"),
        ("待つ間", "待（ま）つ間（あいだ）"),
        ("待つ間も使えます", "待（ま）つ間（あいだ）も使（つか）えます"),
        ("間に合わない", "間（ま）に合（あ）わない"),
        ("今日中に", "今日中（きょうじゅう）に"),
        ("調査を行った", "調査（ちょうさ）を行（おこな）った"),
        ("市役所に行った", "市役所（しやくしょ）に行（い）った"),
        ("毎年行っています", "毎年（まいとし）行っています"),
        ("土曜に行っています", "土曜（どよう）に行っています"),
        ("学校に通った", "学校（がっこう）に通（かよ）った"),
        ("審査に通った", "審査（しんさ）に通（とお）った"),
        ("道を通った", "道（みち）を通（とお）った"),
        ("通った道", "通った道（みち）"),
        ("便槽", "便槽（べんそう）"),
        ("非常持出袋", "非常持出袋（ひじょうもちだしぶくろ）"),
        ("盲導犬や聴導犬", "盲導犬（もうどうけん）や聴導犬（ちょうどうけん）"),
        ("本若しくは紙", "本若（ほんも）しくは紙（かみ）"),
        ("9時から開いています", "9時（じ）から開（あ）いています"),
        ("本を開いています", "本（ほん）を開（ひら）いています"),
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


@pytest.mark.parametrize("run", ["9", "一"])
def test_a_long_run_is_read_once(run: str) -> None:
    assert without_readings(run * 500_000 + "市（し）") == run * 500_000 + "市"


def test_a_reading_that_a_person_mended_is_the_one_that_shows() -> None:
    assert ("上手", "かみて") in pieces_of("上手（かみて）の席")
    assert pieces_of("本(ほん)を読む") == [("本(ほん)を読む", "")], "half-width brackets are no reading"


def test_a_verb_that_nothing_tells_how_to_read_takes_no_reading_from_an_earlier_one() -> None:
    text = "市役所へ行った方は、調査を行った課へ行ってください。相談は、土曜に行っています。"
    read = bracketed(text)
    assert [piece for piece in pieces_of(read) if piece[0].startswith("行")] == [
        ("行", "い"),
        ("行", "おこな"),
        ("行", "い"),
    ]
    assert without_readings(read) == text
