"""Three words are enough."""

# ruff: noqa: E501  (lists of sentences)

from __future__ import annotations

import pytest

from classifiers.language import detect

SENTENCES = {
    "ja": ["住民票の写しが欲しい", "国民健康保険料減免申請", "転入届 必要書類", "道路陥没", "😀", "", "12345", "ｺﾞﾐの日", "LINEで予約できますか", "juminhyo wa doko desu ka", "Wi-Fiありますか", "ごみ は いつ だしますか"],
    "en": ["Where can I get a residence certificate?", "garbage day", "My Number card lost", "How do I apply for 住民票?", "water bill"],
    "zh": ["住民票在哪里办理?", "请问垃圾什么时候收", "怎麼辦理搬家手續", "我家停水了", "粗大垃圾如何处理"],
    "ko": ["쓰레기는 언제 버려요?", "주민표를 받고 싶어요"],
    "vi": ["Tôi muốn xin giấy chứng nhận cư trú", "Rác vứt ngày nào?", "toi muon hoi ve bao hiem"],
    "pt": ["Onde posso tirar o certificado de residência?", "Quero pagar o imposto", "preciso de ajuda"],
    "tl": ["Paano po kumuha ng residence certificate?", "Kailan ang basura?", "Gusto ko mag-apply ng My Number"],
    "ne": ["फोहोर कहिले फाल्ने?", "malai juminhyo chahiyo kasari garne"],
}  # fmt: skip


@pytest.mark.parametrize(("language", "text"), [(k, t) for k, texts in SENTENCES.items() for t in texts])
def test_language_of_short_messages(language: str, text: str) -> None:
    assert detect(text) == language


def test_any_string_gets_an_answer() -> None:
    assert detect("\ud83d") == "ja"
    assert detect("あ" * 100_000) == "ja"
