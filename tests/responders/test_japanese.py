"""Words of any text that a citizen may write."""

import pytest

from responders.japanese import long_tokens, tokens, words


@pytest.mark.parametrize("char", ["😀", "𠮷", "あ", "㍿", "ﷺ", "İ", "("])
def test_a_text_of_any_length_has_words(char: str) -> None:
    text = "転入届" + char * 20_000
    assert "転入" in words(text)
    for cut in (tokens(text), long_tokens(text)):
        read = "".join(m.surface() for m in cut)
        assert len(read) > 1_000
        assert text.startswith(read), "no character is torn"
