"""Personal data is found and masked, and rubbish costs no time."""

import pytest

from bot.privacy import is_my_number, mask


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


def test_the_check_digit_of_an_individual_number() -> None:
    assert is_my_number("１２３４５６７８９０１８")
    assert not is_my_number("123456789012")
