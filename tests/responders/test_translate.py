"""The gate between a model's translation and a person's screen."""

from pathlib import Path

import pytest

from responders.llm import Llm
from responders.translate import Language, differing_facts, foreign_remarks, gate, place_of, translate
from tests.responders.conftest import FakeEndpoint

GOOD: list[tuple[str, Language, str]] = [
    ("転入届は、引っ越した日から14日以内に出してください。", "en",
     "Please submit your moving-in notification within 14 days of the day you moved."),
    ("受付時間は、平日の8時30分から17時15分までです。", "en",
     "The reception hours are from 8:30 a.m. to 5:15 p.m. on weekdays."),
    ("窓口は9時から21時まで開いています。", "en", "The counter is open from 9 am until 9 pm."),
    ("4月1日から6月30日まで受け付けます。", "en", "We accept applications from April 1 to June 30."),
    ("令和8年4月1日に始まります。", "en", "This will start on April 1, 2026."),
    ("1人につき15,000円です。", "en", "The amount is 15,000 yen per person."),
    ("市民課(電話 0000-12-3101)に電話してください。", "en",
     "Please call the Citizen Registry Section (市民課) at 0000-12-3101."),
    ("転入届に手数料はかかりません。", "en", "There is no fee for the moving-in notification."),
    ("https://www.city.minato.example/a を見てください。", "en", "Please see https://www.city.minato.example/a."),
    ("補助金の上限は10万円です。", "zh", "补助金的上限为10万日元。"),
    ("受付時間は、8時30分から17時15分までです。", "zh", "受理时间为上午8点30分至下午5点15分。"),
    ("公園でたき火はできません。", "ko", "공원에서 모닥불을 피울 수 없습니다."),
    ("受付時間は、9時から17時15分までです。", "vi", "Thời gian tiếp nhận từ 9 giờ đến 5 giờ 15 phút chiều."),
    ("手数料は1,500円です。", "vi", "Lệ phí là 1.500 yên."),
    ("6月1日に始まります。", "pt", "Começa no dia 1 de junho."),
    ("手数料は300円です。", "tl", "Ang bayad ay 300 yen po sa inyo."),
    ("手数料は300円です。", "ne", "शुल्क ३०० येन हो।"),
]  # fmt: skip


@pytest.mark.parametrize(("japanese", "language", "foreign"), GOOD)
def test_a_faithful_translation_passes(japanese: str, language: Language, foreign: str) -> None:
    assert gate(japanese, foreign, language) == ""


@pytest.mark.parametrize(
    ("language", "foreign", "why"),
    [
        ("en", "Please submit it within 10 days of the day you moved here.", "「14」がありません"),
        ("en", "Please submit it within 14 days, and pay 500 yen for it.", "「500」は元の文にありません"),
        ("en", "Please submit it within 14 days to the office.<|im_end|>", "制御記号"),
        ("en", "Please submit it within 14日 of the day when you moved.", "漢字が残っています"),
        ("en", "Please submit it within 14 days of the てんにゅう to us.", "仮名が残っています"),
        ("en", "Please submit (転出届) within 14 days of the day you moved.", "元の文にない漢字"),
        ("en", "请您在搬家之日起14天内向市政府提交迁入申报给我们。", "漢字"),
        ("en", "Please 14.", "長さ"),
        ("en", "Please hand it in to us now, please hand it in to us now, within 14 days.", "繰り返し"),
        ("en", "Vui lòng nộp trong vòng 14 ngày kể từ ngày chuyển nhà.", "ほかの文字"),
        ("tl", "Please submit it within 14 days of the day you moved here.", "別の言語"),
        ("ko", "Please submit it within 14 days of the day you moved here.", "ほかの文字"),
    ],
)
def test_what_differs_is_refused(language: Language, foreign: str, why: str) -> None:
    assert why in gate("転入届は、引っ越した日から14日以内に出してください。", foreign, language)


def test_a_lost_negation_is_refused() -> None:
    assert "否定" in gate("公園でたき火はできません。", "You can make a fire in the park.", "en")
    assert gate("必ず届け出なければなりません。", "You must report it to us at the city hall.", "en") == ""


def test_another_currency_and_a_number_in_words_are_refused() -> None:
    assert "円" in gate("手数料は300円です。", "手续费是300元。", "zh")
    assert gate("手数料は300円です。", "手续费是300日元。", "zh") == ""
    assert "「3」は元の文にありません" in gate("その日のうちに片付けます。", "三天内会把它搬走。", "zh")
    assert "「3」" in gate("すぐに片付けます。", "We take it away in three days.", "en")
    assert gate("3日後に片付けます。", "We take it away after three days.", "en") == ""


def test_times_and_swapped_numbers_are_told_apart() -> None:
    assert differing_facts("17時まで", "until 5 a.m.", "en") == (["17"], ["5"])
    assert differing_facts("300円と300円", "300 yen", "en") == (["300"], [])
    assert differing_facts("50万円", "50,000 yen", "en") == (["500000"], ["50000"])
    assert differing_facts("電話 0000-12-3101", "Call 0000-12-3102", "en") == (["0000123101"], ["0000123102"])
    assert differing_facts("1人1回", "each person once", "en") == ([], [])


def test_a_body_is_translated_sentence_by_sentence(endpoint: FakeEndpoint, llm: Llm) -> None:
    endpoint.reply = lambda body: f"This is what you need for the office, number {len(endpoint.requests)}."
    body = "必要なもの第1番です。\n・必要なもの第2番です。"
    done = translate(body, "en", llm)
    assert done.status == "translated"
    assert done.text.split("\n")[1].startswith("・This is")
    asked = [request["messages"] for request in endpoint.requests]
    assert all("English" in str(messages) for messages in asked)
    assert all("{language}" not in str(messages) for messages in asked)
    kept = done.model
    assert (kept["mode"], kept["prompt_version"]) == ("translate", llm.translate_version)
    assert (kept["prompt_tokens"], kept["completion_tokens"]) == (1000, 80)
    assert kept["parameters"]["max_tokens"] > 40
    assert kept["gate"] == {"passed": True, "reason": ""}
    assert kept["text"].count("This is") == 2


def test_one_bad_sentence_means_no_text_at_all(endpoint: FakeEndpoint, llm: Llm) -> None:
    endpoint.reply = lambda body: f"This is what you need for the office, number {len(endpoint.requests)}."
    done = translate("必要なもの第1番です。\n必要なもの第7番です。", "en", llm)
    assert (done.status, done.text) == ("refused", "")
    assert "2文目" in done.reason_ja
    assert not done.model["gate"]["passed"]
    assert done.model["gate"]["reason"].startswith("2文目: ")
    endpoint.mode = "length"
    assert translate("必要なもの第3番です。", "en", llm).status == "refused"
    endpoint.mode = "503"
    assert translate("必要なもの第3番です。", "en", llm).status == "model_error"


def test_a_fact_is_led_back_to_where_it_stands() -> None:
    def words(fact: str, text: str, language: str) -> str:
        start, end = place_of(fact, text, language)
        return text[start:end]

    text = "It costs 9,999 yen.\nCall 0000-12-3102 until 5 p.m. on 7 May."
    assert words("7", text, "en") == "7"
    assert words("9999", text, "en") == "It costs 9,999 yen."
    assert words("0000123102", text, "en") == "Call 0000-12-3102 until 5 p.m. on 7 May."
    assert words("12", text, "en") == text
    easy = "受付（うけつけ）です。午後（ごご）5時（じ）までです。"
    assert words("17", easy, "easy") == "午後（ごご）5時（じ）までです。"


def test_a_text_by_hand_is_looked_at_too() -> None:
    assert foreign_remarks("Please bring your ID to (市民課).", "en") == []
    text = "Ask (市民課). Please bring the 書類 to us."
    [(_, start, end)] = foreign_remarks(text, "en")
    assert text[start:end] == "書類"
    [(_, start, end)] = foreign_remarks("はがき、please.", "vi")
    assert (start, end) == (0, 3)
    prompt = (Path(__file__).resolve().parents[2] / "responders/prompts/translate.txt").read_text("utf-8")
    assert "{language}" in prompt
