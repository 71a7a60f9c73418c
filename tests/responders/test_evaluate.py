"""The evaluation counts what it says, and the planted errors are errors."""

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from responders.check_sources import Register
from responders.errors import BadArticle
from responders.evaluate import Case, evaluate_drafts, evaluate_search, load_cases, load_judged, queries_of
from responders.gate import strict_gate
from responders.knowledge import Article, Passage, split_passages
from responders.learn import held_back, learn, near_misses, sought
from responders.mutate import mutations
from responders.ranking import ARTICLE, Weights
from responders.retrieve import Index

TODAY = date(2026, 11, 24)
BULKY = """粗大ごみの戸別収集の手数料は、1点300円です。
粗大ごみの予約は、環境課(電話 0000-12-3108)で受け付けます。"""
LIBRARY = "図書館の休館日は、毎週月曜日です。\n図書館の利用カードは、無料で作れます。"


@pytest.fixture(scope="module")
def passages() -> list[Passage]:
    articles = [
        Article(id="bulky", title="粗大ごみの出し方", department="waste", text=BULKY),
        Article(id="library", title="図書館の利用", department="education", text=LIBRARY),
    ]
    return [passage for article in articles for passage in split_passages(article)]


def _case(
    text: str, gold: Sequence[tuple[str, str]], must: Sequence[str], must_not: Sequence[str] = ()
) -> Case:
    return Case("c", text, "waste", bool(gold), tuple(gold), tuple((m,) for m in must), tuple(must_not))


def test_search_is_counted_beside_its_references(passages: list[Passage]) -> None:
    queries = [("粗大ごみの手数料", frozenset({"bulky"})), ("図書館の休み", frozenset({"library"}))]
    table = evaluate_search(queries, passages, Index(passages), None)
    assert set(table) == {"ours", "char_bm25"}
    assert table["ours"]["hit1"] == table["ours"]["mrr"] == 1.0
    wrong = evaluate_search([("粗大ごみの手数料", frozenset({"other"}))], passages, Index(passages), None)
    assert wrong["ours"]["hit10"] == 0.0


def test_search_is_counted_with_the_department_too() -> None:
    articles = [
        Article(id=name, title="減免の申請", department=name, text="減免の申請は、窓口で受け付けます。")
        for name in ("tax", "water")
    ]
    passages = [passage for article in articles for passage in split_passages(article)]
    asked = [("減免の申請", frozenset({"water"}))]
    table = evaluate_search(asked, passages, Index(passages), None, lambda text: {"water": float(bool(text))})
    assert table["ours_routed"]["hit1"] == 1.0
    assert table["ours"]["hit1"] == 0.0


def test_drafts_are_counted_by_rules(passages: list[Passage]) -> None:
    fee = passages[2].text
    cases = [
        _case("粗大ごみの手数料はいくらですか", [("bulky", fee)], ["３００円"], ["500円"]),
        _case("粗大ごみの手数料は高いですか", [("bulky", fee)], ["1,000円"], ["300円"]),
        _case("飛行機の切符を買いたい", [], []),
    ]
    report = evaluate_drafts(cases, Index(passages), llm=None, register=Register(), today=TODAY)
    assert report["selection"]["recall"] == 1.0
    assert report["abstained"] == {"rightly": 1.0, "wrongly": 0.0}
    assert report["facts"]["required_present"] == 0.5
    assert (report["facts"]["wrong"], report["facts"]["invented_unflagged"]) == (1, 0)
    assert report["drafts"]["by_origin"] == {"template": 2}
    assert report["gate"]["planted"] == len(list(mutations([p.text for p in passages[2:4]]))) * 2
    assert len(report["sample"]) == 3
    assert report["drafts"]["sentences"] == {"supported": 1.0, "partial": 0.0, "unsupported": 0.0}


TRUE = [
    "粗大ごみの戸別収集の手数料は、机が300円、ベッドが1,500円です。",
    "転入した方は、4月1日までに市民課(電話 0000-12-3101)へ届け出てください。",
    "犬を飼う方は、登録が必要です。",
    "犬の登録の手数料は、1頭につき3,000円です。",
]


@pytest.mark.parametrize(
    "kind",
    [
        "digit", "fee", "phone", "date", "department", "negation", "dropped_condition", "wrong_row",
        "other_sentence",
    ],
)  # fmt: skip
def test_every_kind_of_error_is_planted_once_and_refused_by_the_gate(kind: str) -> None:
    [spoilt] = [texts for found, texts in mutations(TRUE) if found == kind]
    assert sum(a != b for a, b in zip(spoilt, TRUE, strict=True)) == 1
    article = Article(id="a", title="手続き", department="waste", text="\n".join(TRUE))
    selected = [p for p in split_passages(article) if p.ordinal > 0]
    assert strict_gate("\n".join(TRUE), selected).passed
    assert not strict_gate("\n".join(spoilt), selected).passed


def test_sentences_without_facts_offer_no_place_for_an_error() -> None:
    assert list(mutations(["お気をつけて。"])) == []


@pytest.mark.parametrize(
    ("load", "line"),
    [(load_cases, '{"id": "x"}'), (load_cases, "{"), (load_judged, '{"text": "a"}'), (load_judged, "[]")],
)
def test_a_bad_line_is_named(load: Callable[[Path], object], line: str, tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(BadArticle) as caught:
        load(path)
    assert caught.value.line == 1


def test_a_separator_within_a_text_ends_no_line(tmp_path: Path) -> None:
    (tmp_path / "set.jsonl").write_text(
        '{"text":"粗大ごみ\u2028収集\u0085日","relevance":{"a":2}}\n', "utf-8"
    )
    assert load_judged(tmp_path / "set.jsonl") == [("粗大ごみ\u2028収集\u0085日", frozenset({"a"}))]


def test_only_the_best_grade_counts_as_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    rows = [{"text": "a", "relevance": {"1": 2, "2": 1}}, {"text": "b", "relevance": {"3": 1}}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert load_judged(path) == [("a", frozenset({"1"}))]


def test_the_authored_set_is_whole_and_its_gold_sentences_stand_in_the_articles() -> None:
    from responders.knowledge import read_folder

    data = Path(__file__).resolve().parents[2] / "data"
    cases = load_cases(data / "evaluation" / "drafts.jsonl")
    texts = {
        (p.article, p.text) for a in read_folder(data / "knowledge") for p in split_passages(a) if p.quotable
    }
    assert len(cases) == 150
    assert sum(not c.answerable for c in cases) == 40
    missing = [gold for case in cases for gold in case.gold if gold not in texts]
    assert missing == []
    assert len(queries_of(cases)) == 110


def test_the_tuning_set_stands_apart_from_the_test_set() -> None:
    from responders.knowledge import read_folder, read_jsonl

    data = Path(__file__).resolve().parents[2] / "data"
    tuning = load_cases(data / "evaluation" / "tuning.jsonl")
    tested = {_bare(c.text) for c in load_cases(data / "evaluation" / "drafts.jsonl")}
    known, practice = read_folder(data / "knowledge"), read_jsonl(data / "evaluation" / "practice.jsonl")
    texts = {(p.article, p.text) for a in known + practice for p in split_passages(a) if p.quotable}
    assert [c.id for c in tuning if _bare(c.text) in tested] == []
    assert [gold for c in tuning for gold in c.gold if gold not in texts] == []
    assert len({c.id for c in tuning}) == len({_bare(c.text) for c in tuning}) == len(tuning) == 8054
    assert {a.id for a in practice}.isdisjoint(a.id for a in known)


def test_the_questions_about_a_faq_stand_apart_too() -> None:
    from responders.knowledge import read_folder, read_jsonl

    data = Path(__file__).resolve().parents[2] / "data"
    asked, faq = (data / "evaluation" / f"faq{part}.jsonl" for part in ("_questions", ""))
    cases, entries = load_cases(asked), read_jsonl(faq)
    others = [c for name in ("tuning", "drafts") for c in load_cases(data / "evaluation" / f"{name}.jsonl")]
    texts = {(p.article, p.text) for a in entries for p in split_passages(a) if p.quotable}
    assert {_bare(c.text) for c in cases}.isdisjoint(_bare(c.text) for c in others)
    assert [gold for c in cases for gold in c.gold if gold not in texts] == []
    assert len({c.id for c in cases}) == len({_bare(c.text) for c in cases}) == len(cases) == 2634
    assert all(c.gold for c in cases)
    assert len(entries) == 660
    assert {a.id for a in entries}.isdisjoint(a.id for a in read_folder(data / "knowledge"))


def _bare(text: str) -> str:
    return re.sub(r"\W", "", unicodedata.normalize("NFKC", text))


def test_learning_is_deterministic_and_finds_what_helps(passages: list[Passage]) -> None:
    fee, closed = passages[2].text, next(p.text for p in passages if "休館日" in p.text)
    cases = [
        replace(_case(f"粗大ごみ{n}個の手数料はいくらですか", [("bulky", fee)], []), id=f"a{n}")
        for n in range(12)
    ]
    cases += [
        replace(_case(f"図書館は{n}月の何曜日が休みですか", [("library", closed)], []), id=f"b{n}")
        for n in range(12)
    ]
    cases += [replace(_case(f"飛行機の切符を{n}枚買いたい", [], []), id=f"n{n}") for n in range(24)]
    index = Index(passages, weights=Weights.neutral())
    weights, report = learn(cases, index, TODAY)
    again, _ = learn(cases, index, TODAY)
    assert weights.written() == again.written()
    assert report["hit1"] > 0.9
    assert index.weighted(weights).select(cases[0].text).score > index.weighted(weights).abstain_below


def test_articles_are_ranked_for_the_knowledge_beside_too(passages: list[Passage]) -> None:
    fee = passages[2].text
    cases = [
        replace(_case(f"粗大ごみ{n}個の手数料はいくらですか", [("bulky", fee)], []), id=f"a{n}")
        for n in range(12)
    ]
    silent = [replace(_case(f"飛行機の切符を{n}枚買いたい", [], []), id=f"n{n}") for n in range(12)]
    alike = [
        Article(id=title, title=title, department="tax", text="窓口で受け付けます。手数料は300円です。")
        for title in ("印鑑登録の廃止", "住民票の写し", "戸籍の附票")
    ]
    other = [passage for article in alike for passage in split_passages(article)]
    asked = [
        replace(_case(f"{a.title}を{n}枚ほしい", [(a.id, "窓口で受け付けます。")], []), id=f"{a.id}{n}")
        for a in alike
        for n in range(8)
    ]
    index, faq = (Index(part, weights=Weights.neutral()) for part in (passages, other))
    alone, _ = learn([*cases, *silent], index, TODAY)
    both, _ = learn([*cases, *silent], index, TODAY, beside=(asked, faq))
    words = ARTICLE.index("words")
    assert both.article[words] > alone.article[words] + 1
    assert both.sentence.tolist() == alone.sentence.tolist()


def test_no_evidence_learns_to_speak_against_an_article(passages: list[Passage]) -> None:
    closed = next(p.text for p in passages if "休館日" in p.text)
    misled = [
        replace(_case(f"粗大ごみ{n}個の手数料はいくらですか", [("library", closed)], []), id=f"a{n}")
        for n in range(12)
    ]
    silent = [replace(_case(f"飛行機の切符を{n}枚買いたい", [], []), id=f"n{n}") for n in range(12)]
    weights, _ = learn([*misled, *silent], Index(passages, weights=Weights.neutral()), TODAY)
    assert (weights.article >= 0).all()


def test_a_reader_learns_from_the_right_article_first_and_from_a_near_one(passages: list[Passage]) -> None:
    fee = passages[2].text
    cases = [
        _case("粗大ごみの手数料はいくらですか", [("bulky", fee)], []),
        replace(_case("飛行機の切符を買いたい", [], []), id="none"),
    ]
    [(asked, [right, near]), (_, others)] = list(near_misses(cases, Index(passages), TODAY))
    assert asked == cases[0].text
    title, sentences, answers = right
    assert title == passages[0].article_title
    assert [s for s, answer in zip(sentences, answers, strict=True) if answer] == [fee]
    assert not any(near[2])
    assert not any(answer for *_, row in others for answer in row)
    assert {held_back(replace(cases[1], id=f"tn-{n}")) for n in range(40)} == {True, False}
    assert all(held_back(replace(cases[1], id=f"case-{n}")) for n in range(40))


def test_the_encoder_learns_what_to_find_and_what_not(passages: list[Passage]) -> None:
    fee = passages[2].text
    cases = [
        _case("粗大ごみ、なんぼ？", [("bulky", fee)], []),
        replace(_case("飛行機の切符を買いたい", [], []), id="none"),
    ]
    vectors = np.eye(len(passages), dtype=np.float32)

    def nearest_the_last(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.tile(vectors[-1], (len(texts), 1))

    [(question, articles, titles, answers, beside, misses)] = list(
        sought(cases, passages, vectors, nearest_the_last)
    )
    assert question
    assert articles == {"bulky"}
    assert titles == ("\n".join(p.ranked for p in passages[1:4]), passages[0].article_title)
    assert answers == (passages[2].ranked,)
    assert set(beside) == {p.ranked for p in passages if p.article == "bulky" and p.quotable} - set(answers)
    assert misses == (("library", passages[-1].ranked),)
