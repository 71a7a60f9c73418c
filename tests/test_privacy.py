"""Personal data is found and masked, and rubbish costs no time."""

import pytest

from bot.privacy import find, is_my_number, mask


@pytest.mark.parametrize(
    ("text", "masked", "kinds"),
    [
        ("電話は090-1234-5678です", "電話は〔電話番号〕です", ("phone",)),
        ("番号は1234 5678 9018です", "番号は〔個人番号〕です", ("my_number",)),
        ("番号は1234 5678 9012です", "番号は1234 5678 9012です", ()),
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
