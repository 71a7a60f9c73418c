"""Finding the article and choosing its sentences."""

import time
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from numpy.typing import NDArray

from responders.japanese import clauses, official, pairs
from responders.knowledge import Article, Passage, split_passages
from responders.ranking import ANSWER, Weights, shipped
from responders.retrieve import MAX_READ, Floats, Index


def hashing_embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors of hashed character pairs, as close to each other as those of the real encoder."""
    vectors = np.zeros((len(texts), 513), np.float32)
    for row, text in enumerate(texts):
        for pair in pairs(text):
            vectors[row, zlib.crc32(pair.encode()) % 512] += 1
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    vectors[:, 512] = 2.0
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


QUESTIONS = [
    ("他の市から引っ越してきました。届け出はいつまでですか", "moving-in"),
    ("住民票が欲しいのですが、いくらかかりますか", "certificate"),
    ("粗大ゴミを捨てたい", "bulky-waste"),
    ("冷蔵庫って回収してもらえますか？", "bulky-waste"),
    ("保育園の申し込みに必要な書類を教えてください。", "nursery"),
    ("道路に大きな穴があいています", "pothole"),
]


@pytest.fixture(params=["lexical", "dense"])
def any_index(request: pytest.FixtureRequest, passages: list[Passage]) -> Index:
    return Index(passages, embed=hashing_embed if request.param == "dense" else None)


@pytest.mark.parametrize(("question", "article"), QUESTIONS)
def test_the_right_article_comes_first(any_index: Index, question: str, article: str) -> None:
    hits = any_index.search(question)
    assert hits[0].article == article
    assert hits[0].passage_id.startswith(f"{article}#")
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert any_index.select(question).article == article


def test_each_clause_gets_its_sentence(index: Index) -> None:
    question = "転入届はいつまでに出せばいいですか。手数料はいくらですか。代理でも大丈夫ですか？"
    chosen = {passage.ordinal for passage in index.select(question).passages}
    assert {1, 4, 5} <= chosen
    assert len(chosen) == 4


def test_two_matters_bring_sentences_of_two_articles(any_index: Index) -> None:
    chosen = any_index.select("転入届の期限はいつですか？あと、粗大ごみの手数料はいくらですか？").passages
    assert {"moving-in", "bulky-waste"} == {passage.article for passage in chosen}
    assert "bulky-waste#3" in {passage.id for passage in chosen}


def test_the_title_ranks_but_is_never_quoted(any_index: Index) -> None:
    assert all(passage.quotable for passage in any_index.select("道路の穴を見つけたとき").passages)


def test_chosen_sentences_stand_in_the_articles_order(any_index: Index) -> None:
    ids = [passage.ordinal for passage in any_index.select("住民票の写しの手数料と郵送について").passages]
    assert ids == sorted(ids)


def test_search_filters_by_department_and_validity(passages: list[Passage]) -> None:
    index = Index([replace(p, valid_to=date(2026, 3, 31)) if p.article == "nursery" else p for p in passages])
    assert {h.article for h in index.search("手数料", department="waste_environment")} == {"bulky-waste"}
    question = "保育所の申込みの書類"
    assert index.search(question, today=date(2026, 3, 31))[0].article == "nursery"
    assert "nursery" not in {hit.article for hit in index.search(question, today=date(2026, 4, 1))}
    assert len(index.search("手数料 住民票 転入届 粗大ごみ", top=2)) == 2


def test_what_no_article_knows_scores_below_the_threshold(index: Index) -> None:
    for question in ("宇宙旅行の切符を買いたい", "今日の夕飯のレシピは？", "プロ野球の試合結果"):
        assert index.select(question).score < index.abstain_below


@pytest.mark.parametrize("text", ["", "。。。", "こんにちは。よろしくお願いします。", "👍", "\n"])
def test_a_message_that_asks_nothing_finds_nothing(any_index: Index, text: str) -> None:
    assert any_index.search(text) == []
    assert any_index.select(text).passages == ()


def test_an_empty_index_finds_nothing() -> None:
    assert Index(()).search("転入届") == []
    assert Index((), embed=hashing_embed).select("転入届").article is None


def test_the_order_of_the_passages_does_not_matter(passages: list[Passage]) -> None:
    mixed = passages[::-1]
    vectors = hashing_embed([passage.ranked for passage in mixed])
    one, other = Index(passages, embed=hashing_embed), Index(mixed, vectors, hashing_embed)
    question = QUESTIONS[1][0]
    assert one.search(question) == other.search(question)
    with pytest.raises(ValueError, match="3 vectors"):
        Index(passages, vectors[:3], hashing_embed)


def test_a_sentence_brings_the_neighbours_it_leans_on() -> None:
    text = """体育館は午前9時に開きます。
体育館の予約は電話で受け付けます。
ただし、大会の予約は窓口だけで受け付けます。
体育館の予約には、次のものが必要です。
- 利用者カード
- 申請書
体育館に駐車場はありません。"""
    index = Index(split_passages(Article("gym", "体育館", "education", text)))
    chosen = index.select("大会の予約", limit=1).passages
    assert [passage.ordinal for passage in chosen] == [2, 3]
    chosen = index.select("体育館の予約の電話", limit=1).passages
    assert [passage.ordinal for passage in chosen] == [2, 3], "「ただし」 limits what it follows"
    chosen = index.select("予約に必要なもの", limit=1).passages
    assert [passage.text for passage in chosen][-2:] == ["利用者カード", "申請書"]


def test_clauses_leave_greetings_out() -> None:
    assert clauses(
        "こんにちは。転入届はいつまでですか？あと、手数料はいくらですか。よろしくお願いします。"
    ) == [
        "転入届はいつまでですか",
        "手数料はいくらですか",
    ]


def test_ten_thousand_passages_are_searched_in_milliseconds() -> None:
    articles = [
        Article(f"a{n}", f"手続き{n}の案内", "tax", f"申請{n}は窓口{n % 97}で受け付けます。\n" * 9)
        for n in range(1_000)
    ]
    index = Index([passage for article in articles for passage in split_passages(article)])
    assert len(index) == 11_000
    index.search("準備")
    started = time.perf_counter()
    assert index.search("申請500はどこで受け付けますか")[0].article == "a500"
    assert index.select("申請500はどこで受け付けますか。手続き500の案内がほしいです").article == "a500"
    assert time.perf_counter() - started < 0.3


def test_lay_words_and_the_citys_words_are_the_same(index: Index) -> None:
    assert official("国保と紙おむつとおむつ") == "国民健康保険と紙おむつと紙おむつ"
    assert index.search("大型ゴミを出したい")[0].article == "bulky-waste"


def test_the_score_is_a_probability_that_grows_with_the_evidence(index: Index) -> None:
    scores = [index.select(question).score for question in ("月旅行の切符", "転入届はいつまでですか")]
    assert 0 < scores[0] < scores[1] < 1
    nothing, everything = (np.full(len(ANSWER), value, np.float32) for value in (0.0, 1.0))
    assert index.answerable(nothing) < index.answerable(everything)


def test_what_departments_say_breaks_a_tie() -> None:
    text = "申請は窓口で受け付けます。"
    index = Index([p for d in ("tax", "water") for p in split_passages(Article(d, "減免の申請", d, text))])
    assert index.search("減免の申請", departments={"water": 1.0})[0].article == "water"
    assert index.search("減免の申請", departments={"tax": 1.0})[0].article == "tax"


def test_weights_say_how_much_each_evidence_counts() -> None:
    for kind in ("dense", "lexical"):
        weights = shipped(kind)
        assert Weights.read(weights.written()).written() == weights.written()
        assert (weights.answer >= 0).all()
        assert 0 < weights.abstain_below < 1


def test_the_reader_decides_between_sentences_and_whether_there_is_an_answer(
    passages: list[Passage],
) -> None:
    """What it calls an answer is chosen; where it sees none, the score falls."""

    def read(_question: str, _title: str, sentences: Sequence[str]) -> Floats:
        return np.array([5.0 if "手数料" in sentence else -7.0 for sentence in sentences], np.float32)

    def blind(_question: str, _title: str, sentences: Sequence[str]) -> Floats:
        return np.full(len(sentences), -7.0, np.float32)

    question = "転入届はどうすればいいですか"
    seen = Index(passages, embed=hashing_embed, read=read).select(question, limit=1)
    unseen = Index(passages, embed=hashing_embed, read=blind).select(question, limit=1)
    assert "手数料" in seen.passages[0].text
    assert "手数料" not in unseen.passages[0].text
    assert seen.score > unseen.score


def test_a_list_of_articles_never_waits_for_the_reader(passages: list[Passage]) -> None:
    def read(*_: object) -> Floats:
        raise AssertionError("read")

    index = Index(passages, embed=hashing_embed, read=read)
    assert (
        index.search("転入届")[0].article == Index(passages, embed=hashing_embed).search("転入届")[0].article
    )
    with pytest.raises(AssertionError, match="read"):
        index.select("転入届はどうすればいいですか")


def test_a_long_article_is_read_where_it_is_near_the_question() -> None:
    body = "".join(f"第{n}条の手続きは、市民課で行います。" for n in range(200)) + "手数料は300円です。"
    passages = split_passages(Article("long", "手続きの一覧", "citizen_registry", body))
    asked: list[int] = []

    def read(_question: str, _title: str, sentences: Sequence[str]) -> Floats:
        asked.append(len(sentences))
        return np.zeros(len(sentences), np.float32)

    Index(passages, embed=hashing_embed, read=read).select("手数料はいくらですか")
    assert asked == [MAX_READ]
