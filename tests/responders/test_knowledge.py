"""Reading articles: what an author writes, and what an author gets wrong."""

import json
import re
from datetime import date
from pathlib import Path

import pytest

from responders.errors import BadArticle
from responders.knowledge import (
    OPENING,
    Article,
    read_folder,
    read_jsonl,
    read_markdown,
    split_passages,
)
from tests.responders.conftest import write_article

EXTRA = """valid_from: 2026-04-01
valid_to: 2027-03-31
url: https://www.city.minato.example/a
data_class: public
owner: 市民課
"""


def rows(text: str) -> list[tuple[str, str]]:
    passages = split_passages(Article("a", "題名", "tax", text))
    assert [passage.ordinal for passage in passages] == list(range(-1, len(passages) - 1))
    return [(passage.text, passage.heading) for passage in passages if passage.quotable]


def test_markdown_with_front_matter_is_read(tmp_path: Path) -> None:
    article = read_markdown(
        write_article(tmp_path, "0012", "転入届", "citizen_registry", "本文です。", EXTRA)
    )
    assert article == Article(
        id="0012",
        title="転入届",
        department="citizen_registry",
        text="本文です。",
        url="https://www.city.minato.example/a",
        valid_from=date(2026, 4, 1),
        valid_to=date(2027, 3, 31),
        data_class="public",
        owner="市民課",
    )


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"", 1, "---の行ではさんだ"),
        ("本文だけ".encode(), 1, "---の行ではさんだ"),
        (b"---\nid: a\ntitle: t\n", 1, "閉じられていません"),
        (b"---\nid: a\ntitle: [t\ndepartment: tax\n---\nx", 4, "書き方に誤りがあります"),
        (b"---\n- a\n---\nx", 2, "項目名: 値"),
        (b"---\nid: a\ntitle: " + b"[" * 3_000 + b"\n---\nx", 2, "書き方に誤りがあります"),
        (b"---\nid: a\ndepartment: tax\n---\nx", 1, "「title」がないか"),
        (b"---\nid: a b\ntitle: t\ndepartment: tax\n---\nx", 1, "「id」は"),
        (b"---\nid: a\ntitle: t\ndepartment: tax\nvalid_from: 2026-02-30\n---\nx", 1, "「valid_from」は"),
        (
            b"---\nid: a\ntitle: t\ndepartment: tax\nvalid_from: 2026-04-01\nvalid_to: 2026-03-31\n---\nx",
            1,
            "「valid_to」が「valid_from」より前",
        ),
        (b"---\nid: a\ntitle: t\ndepartment: tax\ndata_class: publik\n---\nx", 1, "「data_class」は"),
        (
            b"---\nid: a\ntitle: t\ndepartment: tax\nvalid_untill: 2026-03-31\n---\nx",
            5,
            "「valid_untill」という項目はありません",
        ),
        (b"---\nid: a\ntitle: t\nid: b\ndepartment: tax\n---\nx", 4, "「id」が二度あります"),
        (b"---\nid: a\ntitle: b: c\ndepartment: tax\n---\nx", 3, "「'」で囲んでください$"),
        (b"---\nid: a\ntitle: a\x00b\ndepartment: tax\n---\nx", 2, "「'」で囲んでください$"),
        (b"---\nid: a\ntitle: {b: c}\ndepartment: tax\n---\nx", 1, "「title」は一つの"),
        (b"---\nid: a\ntitle: t\ndepartment: tax\n---\n\n  \n", 1, "本文がありません"),
        (b"---\nid: a\ntitle: t\ndepartment: tax\n---\n# only a heading\n", 1, "本文がありません"),
        (b"\xff\xfe---", 1, "UTF-8ではありません"),
        (b"---\nid: a\ntitle: t\ndepartment: tax\n---\n" + b"x" * 1_000_000, 1, "1000kB"),
    ],
)
def test_a_bad_article_names_its_place_and_reason(
    tmp_path: Path, content: bytes, line: int, reason: str
) -> None:
    file = tmp_path / "a.md"
    file.write_bytes(content)
    with pytest.raises(BadArticle, match=reason) as caught:
        read_markdown(file)
    assert (caught.value.path, caught.value.line) == (file, line)


def test_an_faq_is_read_line_by_line_and_one_bad_line_spoils_nothing(tmp_path: Path) -> None:
    good = {
        "id": 7,
        "question": "手数料は？",
        "answer": "300円です。",
        "department": "tax",
        "url": "https://x.example",
    }
    bad = [
        "{broken",
        "[]",
        json.dumps({"id": "8", "question": "q"}),
        json.dumps(good),
        '{"id": "9", "answer": "x"}',
    ]
    file = tmp_path / "faq.jsonl"
    file.write_text("\n".join([json.dumps(good), "", *bad]) + "\n", "utf-8")
    with pytest.raises(BadArticle, match=r"faq\.jsonl:3"):
        read_jsonl(file)
    reported: list[BadArticle] = []
    (article,) = read_jsonl(file, reported.append)
    assert (article.id, article.title, article.url) == ("7", "手数料は？", "https://x.example")
    assert [error.line for error in reported] == [3, 4, 5, 6, 7]


def test_the_operators_guide_names_every_field() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "operators" / "README.md").read_text("utf-8")
    [listed] = re.findall(r"記事の先頭には、(.*?)を書きます", guide)
    front_matter = re.search(r"Front matter:(.*?)\n\n", read_markdown.__doc__ or "", re.DOTALL)
    assert front_matter
    fields = re.findall(r"``(\w+)``", front_matter[1])
    assert len(fields) > 7
    assert [field for field in fields if not re.search(rf"\b{field}\b", listed, re.ASCII)] == []


def test_an_faq_entry_without_a_department_goes_to_the_front_desk(tmp_path: Path) -> None:
    file = tmp_path / "faq.jsonl"
    file.write_text(json.dumps({"id": "1", "question": "q", "answer": "はい。", "department": None}), "utf-8")
    assert read_jsonl(file)[0].department == "front_desk"


def test_a_folder_is_read_whole_and_an_id_twice_is_refused(knowledge_folder: Path) -> None:
    assert len(read_folder(knowledge_folder)) == 5
    (knowledge_folder / "README.md").write_text("no article", "utf-8")
    (knowledge_folder / "more.jsonl").write_text(
        json.dumps({"id": "nursery", "question": "q", "answer": "a。", "department": "childcare"}), "utf-8"
    )
    with pytest.raises(BadArticle, match="ほかのファイルでも"):
        read_folder(knowledge_folder)
    reported: list[BadArticle] = []
    assert len(read_folder(knowledge_folder, reported.append)) == 5
    assert len(reported) == 1


def test_a_folder_is_read_as_other_systems_leave_it(tmp_path: Path) -> None:
    write_article(tmp_path, "a", "題", "tax", "本文です。").rename(tmp_path / "A.MD")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / "._a.md").write_bytes(b"\0\5\x16\7")
    write_article(tmp_path / ".ipynb_checkpoints", "a", "題", "tax", "本文です。")
    assert [article.id for article in read_folder(tmp_path)] == ["a"]


def test_an_empty_faq_is_rather_an_export_that_failed(knowledge_folder: Path) -> None:
    (knowledge_folder / "faq.jsonl").write_bytes(b"\n")
    reported: list[BadArticle] = []
    assert len(read_folder(knowledge_folder, reported.append)) == 5
    assert [str(error).partition(":1: ")[2] for error in reported] == ["ファイルが空です"]


@pytest.mark.parametrize("content", ["{broken", '{"id": "7", "quest', "[" * 9_000, "NaN1"])
def test_a_reason_is_no_english(tmp_path: Path, content: str) -> None:
    file = tmp_path / "faq.jsonl"
    file.write_text(content, "utf-8")
    (tmp_path / "folder.md").mkdir()
    reported: list[BadArticle] = []
    assert read_folder(tmp_path, reported.append) == []
    reasons = [str(error).removeprefix(str(tmp_path)).partition(": ")[2] for error in reported]
    assert [re.sub("JSON|[(]\\d+文字目[)]", "", reason) for reason in reasons] == [
        "として読めません",
        "読めません。ファイルの種類と、読取りの権限を確かめてください",
    ]


def test_an_empty_folder_holds_nothing_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    assert read_folder(tmp_path) == []
    with pytest.raises(BadArticle, match="フォルダーがありません"):
        read_folder(tmp_path / "none")
    reported: list[BadArticle] = []
    assert read_folder(tmp_path / "none", reported.append) == []
    assert len(reported) == 1


def test_sentences_end_at_stops_outside_brackets() -> None:
    assert [text for text, _ in rows("届け出てください（土日を除く。）。「はい。」と書きます！\n次の行")] == [
        "届け出てください（土日を除く。）。",
        "「はい。」と書きます！",
        "次の行",
    ]


def test_headings_and_lead_ins_stay_as_context() -> None:
    assert rows("## 必要なもの\n次のものをお持ちください。\n- 印鑑\n- **鍵**\n\n電話でも受け付けます。") == [
        ("次のものをお持ちください。", "必要なもの"),
        ("印鑑", "必要なもの / 次のものをお持ちください。"),
        ("鍵", "必要なもの / 次のものをお持ちください。"),
        ("電話でも受け付けます。", "必要なもの"),
    ]


def test_a_table_row_becomes_a_sentence_that_keeps_its_headings() -> None:
    table = "| 種類 | 手数料 |\n|---|---|\n| 住民票 | 300円 |\n| 戸籍 | 450円 |"
    assert [text for text, _ in rows(table)] == [
        "住民票は、手数料：300円です。",
        "戸籍は、手数料：450円です。",
    ]


def test_marks_in_an_faq_answer_become_headings_and_rows() -> None:
    assert rows("■届出期限。・引っ越した日から１４日以内。・休日のとき。") == [
        ("引っ越した日から１４日以内。", "届出期限"),
        ("休日のとき。", "届出期限"),
    ]


def test_an_endless_sentence_is_cut_and_nothing_is_lost() -> None:
    parts = [text for text, _ in rows("あいうえお、" * 500)]
    assert max(map(len, parts)) <= 300
    assert "".join(parts) == "あいうえお、" * 500


def test_invisible_characters_are_dropped(tmp_path: Path) -> None:
    article = read_markdown(write_article(tmp_path, "a", "題", "tax", "手\u200b数\x00料\u202eです。"))
    assert article.text == "手数料です。"


def test_how_an_article_begins_ranks_in_one_piece() -> None:
    one, other = (
        split_passages(Article("a", title, "waste", text))
        for title, text in [
            ("ごみの日", "燃えるごみ：\n- 月曜日\n- 祝日も集めます。"),
            ("別の題名", "長い文です。" * OPENING),
        ]
    )
    assert [p.ordinal for p in one] == [-1, 0, 1, 2]
    assert [p.text for p in one[:2]] == ["ごみの日\n燃えるごみ 月曜日\n祝日も集めます。", "ごみの日"]
    assert not any(p.quotable for p in one[:2])
    assert other[0].text.startswith("別の題名\n長い文です。")
    assert len(other[0].text) <= OPENING
