"""Personal data is found and masked, and rubbish costs no time."""

import pytest

from bot.privacy import find, is_my_number, mask, nameless


@pytest.mark.parametrize(
    ("text", "masked", "kinds"),
    [
        ("電話は090-1234-5678です", "電話は〔電話番号〕です", ("phone",)),
        ("番号は1234 5678 9018です", "番号は〔個人番号〕です", ("my_number",)),
        ("番号は1234 5678 9012です", "番号は1234 5678 9012です", ()),
        ("03(1234)5678か0467(22)1234へ", "〔電話番号〕か〔電話番号〕へ", ("phone",)),
        ("０９０（１２３４）５６７８、090・1234・5678", "〔電話番号〕、〔電話番号〕", ("phone",)),
        ("090.1234.5678 / 090 - 1234 - 5678", "〔電話番号〕 / 〔電話番号〕", ("phone",)),
        ("+81-90-1234-5678です", "〔電話番号〕です", ("phone",)),
        ("番号は1234・5678・9018です", "番号は〔個人番号〕です", ("my_number",)),
        ("tanaka＠example.comへ", "〔メールアドレス〕へ", ("email",)),
        ("平日09:00-17:00、2026.04.01から0.5%", "平日09:00-17:00、2026.04.01から0.5%", ()),
        ("2025・2026・2027・2028年度", "2025・2026・2027・2028年度", ()),
        ("taro@example.comへ", "〔メールアドレス〕へ", ("email",)),
        ("4111-1111-1111-1111", "〔カード番号〕", ("card",)),
        ("受付番号2026-00012", "受付番号2026-00012", ()),
        ("a" * 300_000, "a" * 300_000, ()),
    ],
)
def test_masking(text: str, masked: str, kinds: tuple[str, ...]) -> None:
    assert mask(text) == (masked, kinds)


def test_each_place_is_found_once_in_the_order_of_the_text() -> None:
    text = "a@x.jp、090-1234-5678、b@x.jp、4111-1111-1111-1111、090-1234-5678"
    found = [(one.kind, text[one.start : one.end]) for one in find(text)]
    assert found == [
        ("email", "a@x.jp"),
        ("phone", "090-1234-5678"),
        ("email", "b@x.jp"),
        ("card", "4111-1111-1111-1111"),
        ("phone", "090-1234-5678"),
    ]


@pytest.mark.parametrize("known", ["0000-12-3108", "担当(0000-12-3108)", "００００－１２－３１０８"])
def test_what_is_public_anyway_is_not_masked(known: str) -> None:
    text = "0000-12-3108か090-1234-5678へ"
    assert mask(text, known) == ("0000-12-3108か〔電話番号〕へ", ("phone",))


def test_the_check_digit_of_an_individual_number() -> None:
    assert is_my_number("１２３４５６７８９０１８")
    assert not is_my_number("123456789012")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("山田太郎と申します。港町2丁目3番5号です", "〔氏名〕と申します。港町〔番地〕です"),
        ("田中さんの家の前、本町12番地の3", "〔氏名〕さんの家の前、本町〔番地〕"),
        ("中央三丁目10-4の佐藤です", "中央〔番地〕の〔氏名〕です"),
        ("港町1-2-3 メゾン港101号室の者です", "港町〔番地〕 メゾン港〔番地〕の者です"),
        ("平日9-17時、令和7-8年度、10-4で負けた", "平日9-17時、令和7-8年度、10-4で負けた"),
        ("1番窓口で納付書の見方を3丁目の方に", "1番窓口で納付書の見方を3丁目の方に"),
        ("八十八歳の母、マイナ保険証、子ども110番の家", "八十八歳の母、マイナ保険証、子ども110番の家"),
    ],
)
def test_words_to_learn_from_name_nobody(text: str, left: str) -> None:
    assert nameless(text) == left
