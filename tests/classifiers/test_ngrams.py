"""Words and characters that the n-gram layer counts."""

import numpy as np
import pytest

from classifiers.ngrams import fit_term_weights, matrix

UNLABELLED = np.zeros((2, 3), dtype=np.float32)


def _likeness(one: str, other: str) -> float:
    texts = [one, other]
    rows = matrix(texts, fit_term_weights(texts, UNLABELLED)).toarray()
    return float(np.dot(rows[0], rows[1]))


@pytest.mark.parametrize(
    ("one", "same", "another"),
    [
        ("đăng ký tạm trú ở đâu", "dang ky tam tru o dau", "dong tien dien thoai o dau"),
        ("Certidão de nascimento", "certidao de nascimento", "cartão de estacionamento"),
    ],
)
def test_a_word_is_known_without_its_accents(one: str, same: str, another: str) -> None:
    assert _likeness(one, same) > 1.5 * _likeness(one, another)


def test_pairs_of_words_tell_their_order() -> None:
    assert _likeness("tax office", "office tax") < _likeness("tax office", "tax office") - 0.1


@pytest.mark.parametrize("text", ["", " ", "\ud83d", "1234", "。、！"])
def test_a_text_without_words_is_no_error(text: str) -> None:
    assert matrix([text], fit_term_weights([text], UNLABELLED[:1])).shape[0] == 1


def test_a_term_of_one_label_counts_more_than_one_of_all() -> None:
    texts = ["水ア", "水イ", "火ア", "火イ"]
    shares = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    weights = fit_term_weights(texts, shares)
    told, untold = (matrix([one], np.ones_like(weights)).indices for one in ("水", "ア"))
    assert weights[told] > 1.5 * weights[untold] > 0
