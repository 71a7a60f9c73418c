"""The knowledge console: officers keep the articles, drafts and search follow, gaps become articles."""

import hashlib
import html
import json
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from bot import audit, gaps
from bot.article_index import Knowledge, forget_vectors_of_another
from bot.articles import as_article, passages_of
from bot.db import now, reading, transaction
from bot.knowledge import import_articles
from bot.models import (
    AuditEntry,
    Department,
    Draft,
    DraftStatus,
    Inquiry,
    InquiryStatus,
    KnowledgeArticle,
    KnowledgePassage,
    Role,
)
from responders.knowledge import Article, read_folder
from tests.city import DATA, OTHER, USER, City, Desk

GARBAGE = "粗大ごみの出し方を教えてください"
FIELD = re.compile(r'<(?:input|textarea)[^>]* name="(\w+)"(?: type="\w+")?(?: value="([^"]*)")?[^>]*>')
OPTION = re.compile(r'<select id="(\w+)".*?</select>', re.DOTALL)
CHOSEN = re.compile(r'<option value="([^"]*)" selected>')
CONFIRM = re.compile(r'name="confirmed" value="([0-9a-f]+)"')
BODY = re.compile(r'<textarea id="body"[^>]*>(.*?)</textarea>', re.DOTALL)
NEW = {
    "id": "picnic",
    "title": "公園でのたき火",
    "department": "roads_parks",
    "body": "公園でのたき火はできません。\n花火は、手で持つものだけできます。",
    "url": "https://www.city.minato.example/picnic",
    "review_on": "2030-04-01",
    "owner": "道路公園課",
}


def _url(article: str) -> str:
    return f"/desk/knowledge/article?id={quote(article, safe='')}"


def _form(desk: Desk, article: str) -> dict[str, str]:
    """What the article's screen would send now."""
    return _fields(desk.page(_url(article)))


def _fields(page: str) -> dict[str, str]:
    form = re.search(
        r'<form method="post" action="/desk/knowledge/(?:article|new)".*?</form>', page, re.DOTALL
    )
    assert form, page
    values = {name: html.unescape(value or "") for name, value in FIELD.findall(form.group())}
    for select_box in OPTION.finditer(form.group()):
        chosen = CHOSEN.search(select_box.group())
        values[select_box.group(1)] = chosen.group(1) if chosen else ""
    body = BODY.search(form.group())
    assert body
    return values | {"body": html.unescape(body.group(1))}


def _post(desk: Desk, verb: str, form: dict[str, str]) -> Any:  # noqa: ANN401
    form = {"csrf": desk.csrf} | form
    return desk.client.post(f"/desk/knowledge/{verb}", data=form, follow_redirects=False)


def _press(desk: Desk, verb: str, article: str, version: int, **more: str) -> Any:  # noqa: ANN401
    return _post(desk, verb, {"id": article, "version": str(version), **more})


def _versions(city: City, article: str) -> list[KnowledgeArticle]:
    return sorted(city.all(KnowledgeArticle, KnowledgeArticle.article == article), key=lambda a: a.version)


def _audited(city: City, article: str) -> list[str]:
    return [e.action for e in city.all(AuditEntry, AuditEntry.subject == f"article:{article}")]


def _drafted(city: City) -> tuple[Inquiry, Draft, str]:
    """A case whose pending draft cites an article."""
    city.line_says(GARBAGE)
    city.work()
    [draft] = city.all(Draft, Draft.status == DraftStatus.pending)
    return city.case(), draft, str(draft.passages[0]["article"])


def _article_of(city: City, department: str) -> str:
    rows = city.all(
        KnowledgeArticle,
        KnowledgeArticle.department_id == department,
        col(KnowledgeArticle.retired_at).is_(None),
    )
    return str(min(a.article for a in rows))


def test_everyone_finds_articles_by_department_and_word_with_their_use_and_review(city: City) -> None:
    _, _, used = _drafted(city)
    with transaction(city.engine) as session:
        session.execute(
            sa.update(KnowledgeArticle)
            .where(col(KnowledgeArticle.article) == used)
            .values(review_on=now().date() - timedelta(days=2))
        )
    for login, role in (
        ("shokuin", Role.caseworker),
        ("kakaricho", Role.supervisor),
        ("kansa", Role.auditor),
    ):
        desk = city.hire(login, role=role, department="tax")
        assert ">記事</a>" in desk.page("/desk")
        page = desk.page("/desk/knowledge?department=waste_environment")
        row = next(r for r in page.split("<tr>") if f"id={used}" in r)
        assert "1件の下書きで使用" in row
        assert "見直し期限超過" in row
        assert "第1版" in row
        assert "環境課" in row
        assert page.count("見直し期限超過") == 1
        assert "税務課</td>" not in page
    [article] = _versions(city, used)
    word = article.body[:6]
    assert f"id={used}" in desk.page(f"/desk/knowledge?q={quote(word)}")
    assert "該当する記事はありません" in desk.page("/desk/knowledge?q=" + quote("100%_ありえない語"))
    assert "該当する記事はありません" in desk.page("/desk/knowledge?retired=1")
    assert desk.client.get("/desk/knowledge?q=%00&department=%00").status_code == 200
    assert city.client.get("/desk/knowledge", follow_redirects=False).headers["location"] == "/desk/login"


def test_the_list_costs_the_same_number_of_queries_for_one_row_and_for_a_hundred(city: City) -> None:
    desk = city.hire("shokuin")
    counts = []
    for path in ("/desk/knowledge?q=" + quote("粗大ごみ"), "/desk/knowledge"):
        statements: list[str] = []

        def seen(*args: Any, into: list[str] = statements) -> None:  # noqa: ANN401
            into.append(args[2])

        sa.event.listen(city.engine, "before_cursor_execute", seen)
        page = desk.page(path)
        sa.event.remove(city.engine, "before_cursor_execute", seen)
        counts.append((page.count("第1版"), len(statements)))
    assert counts[0][0] < counts[1][0] == 100
    assert counts[0][1] == counts[1][1]
    assert "次の100件" in desk.page("/desk/knowledge")
    assert "前の100件" in desk.page("/desk/knowledge?start=100")


def test_an_edit_is_a_new_version_and_supersedes_the_pending_draft(city: City) -> None:
    case, draft, article = _drafted(city)
    desk = city.hire("kankyo", department=case.department_id)
    stale = desk.form(case)
    form = _form(desk, article)
    sentence = "粗大ごみの出し方は、環境課へ電話で申し込んでください。"
    answer = _post(desk, "article", form | {"body": sentence, "review_on": "2031-03-31"})
    assert answer.status_code == 303, answer.text
    first, second = _versions(city, article)
    assert (first.retired_at is None, second.retired_at is None) == (False, True)
    assert (second.version, second.body, second.review_on) == (2, sentence, date(2031, 3, 31))
    assert second.edited_by is not None
    [superseded] = city.all(Draft, Draft.id == draft.id)
    assert superseded.status == DraftStatus.superseded
    assert city.case().status == InquiryStatus.drafting
    assert desk.post(case, "approve", stale).status_code == 409
    city.work()
    [renewed] = city.all(Draft, Draft.status == DraftStatus.pending)
    assert sentence in renewed.text
    assert _audited(city, article) == ["edit_article"]
    assert "記事を編集" in city.hire("kakaricho", role=Role.supervisor).page("/supervise/audit")

    assert _post(desk, "article", _form(desk, article)).status_code == 303
    assert len(_versions(city, article)) == 2
    assert city.all(Draft, Draft.status == DraftStatus.pending)


def test_another_review_date_leaves_the_pending_draft(city: City) -> None:
    case, draft, article = _drafted(city)
    desk = city.hire("kankyo", department=case.department_id)
    assert _post(desk, "article", _form(desk, article) | {"review_on": "2031-03-31"}).status_code == 303
    assert [v.review_on for v in _versions(city, article)] == [None, date(2031, 3, 31)]
    assert [d.id for d in city.all(Draft, Draft.status == DraftStatus.pending)] == [draft.id]


def test_two_editors_at_once_the_second_sees_the_conflict_with_the_own_text_kept(city: City) -> None:
    article = _article_of(city, "water")
    first, second = city.hire("suido1", department="water"), city.hire("suido2", department="water")
    early, late = _form(first, article), _form(second, article)
    assert _post(first, "article", early | {"body": "一人目の文です。"}).status_code == 303
    answer = _post(second, "article", late | {"body": "二人目の文です。", "title": "二人目の題"})
    assert answer.status_code == 409
    assert "ほかの職員が更新しました" in answer.text
    assert "一人目の文です。" in answer.text
    kept = _fields(answer.text)
    assert (kept["body"], kept["title"], kept["version"]) == ("二人目の文です。", "二人目の題", "2")
    assert [v.body for v in _versions(city, article)][1:] == ["一人目の文です。"]
    assert _post(second, "article", kept).status_code == 303
    assert _versions(city, article)[-1].body == "二人目の文です。"

    assert _press(first, "retire", article, 3).status_code == 303
    answer = _post(second, "article", _fields(answer.text) | {"version": "3", "body": "三つ目の文です。"})
    assert answer.status_code == 409
    assert _fields(answer.text)["body"] == "三つ目の文です。"
    assert _press(second, "retire", article, 3).status_code == 409


def test_a_refused_field_does_not_hide_what_a_colleague_saved_meanwhile(city: City) -> None:
    article = _article_of(city, "water")
    first, second = city.hire("suido1", department="water"), city.hire("suido2", department="water")
    early, late = _form(first, article), _form(second, article)
    assert _post(first, "article", early | {"body": "一人目の文です。"}).status_code == 303
    refused = _post(second, "article", late | {"body": "二人目の文です。", "url": "minato"})
    assert refused.status_code == 422
    answer = _post(second, "article", _fields(refused.text) | {"url": ""})
    assert answer.status_code == 409
    assert "一人目の文です。" in answer.text
    assert _versions(city, article)[-1].body == "一人目の文です。"
    assert _post(second, "article", _fields(answer.text)).status_code == 303


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": " 　"}, "題名を入力してください"),
        ({"body": " \n\n"}, "本文を入力してください"),
        ({"body": "---\n# 見出しだけ"}, "本文を入力してください"),
        ({"body": "あ" * 70_000}, "本文が長すぎます"),
        ({"title": "あ" * 201}, "題名は200字以内"),
        ({"valid_from": "令和8年"}, "有効期間の開始日は"),
        ({"valid_to": "2026-02-30"}, "有効期間の最終日は"),
        ({"review_on": "x"}, "見直し予定日は"),
        ({"valid_from": "2026-04-02", "valid_to": "2026-04-01"}, "開始日より前"),
        ({"url": "javascript:alert(1)"}, "http(s)://で始まるURL"),
        ({"department": "no_such"}, "担当課を選んでください"),
        ({"data_class": "secret"}, "公開区分を選んでください"),
        ({"owner": "あ" * 101}, "管理する係は"),
        ({"id": "a b"}, "記事ID"),
        ({"id": "a#b"}, "記事ID"),
        ({"id": "a\x00b"}, "記事ID"),
        ({"id": "あ" * 101}, "記事ID"),
    ],
)
def test_bad_input_is_refused_and_kept(city: City, change: dict[str, str], message: str) -> None:
    desk = city.hire("kakaricho", role=Role.supervisor)
    before = len(city.all(KnowledgeArticle))
    answer = _post(desk, "new", NEW | change)
    assert answer.status_code == 422
    assert message in answer.text
    kept = _fields(answer.text)
    typed = {k: v for k, v in change.items() if k not in ("department", "data_class") and "\x00" not in v}
    assert {k: kept[k].strip() for k in typed} == {k: v.strip() for k, v in typed.items()}
    assert kept["owner"] == (NEW | change)["owner"]
    if "id" not in change:
        article = _article_of(city, "roads_parks")
        answer = _post(desk, "article", _form(desk, article) | change)
        assert answer.status_code == 422
        assert message in answer.text
    assert len(city.all(KnowledgeArticle)) == before


def test_old_versions_are_read_and_one_is_brought_back_as_a_new_one(city: City) -> None:
    article = _article_of(city, "water")
    desk, auditor = city.hire("suido", department="water"), city.hire("kansa", role=Role.auditor)
    [original] = _versions(city, article)
    assert _post(desk, "article", _form(desk, article) | {"body": "二版の文です。"}).status_code == 303
    page = auditor.page(_url(article) + "&version=1")
    assert html.escape(original.body.split("\n")[0]) in page
    assert "この版に戻す" not in page
    assert "この版に戻す" in desk.page(_url(article) + "&version=1")
    assert "suidoさん" in auditor.page(_url(article))
    assert desk.client.get(_url(article) + "&version=9").status_code == 404

    assert _press(desk, "revert", article, 1, to="1").status_code == 409
    assert _press(auditor, "revert", article, 2, to="1").status_code == 403
    assert _press(desk, "revert", article, 2, to="7").status_code == 404
    assert _press(desk, "revert", article, 2, to="1").status_code == 303
    versions = _versions(city, article)
    assert [v.version for v in versions if v.retired_at is None] == [3]
    assert versions[2].body == original.body
    assert _audited(city, article) == ["edit_article", "revert_article"]


def test_a_retired_article_leaves_search_and_drafts_until_it_is_restored(city: City) -> None:
    case, draft, article = _drafted(city)
    desk = city.hire("kankyo", department=case.department_id)
    assert _press(desk, "retire", article, 1).status_code == 303
    assert city.all(Draft, Draft.id == draft.id)[0].status == DraftStatus.superseded
    assert article not in city.writer.knowledge.index().articles
    assert f"id={article}&" not in desk.page("/desk/knowledge") + "&"
    assert f"id={article}" in desk.page("/desk/knowledge?retired=1")
    page = desk.page(_url(article))
    assert "復活させる" in page
    assert "新しい版として保存する" not in page
    city.work()
    assert all(
        p["article"] != article for d in city.all(Draft, Draft.status == "pending") for p in d.passages
    )

    assert _press(desk, "restore", article, 1).status_code == 303
    assert _press(desk, "restore", article, 2).status_code == 409
    assert article in city.writer.knowledge.index().articles
    assert [v.retired_at is None for v in _versions(city, article)] == [False, True]
    assert _audited(city, article) == ["retire_article", "restore_article"]


def test_a_new_article_gets_an_id_of_its_own_unless_one_is_given_and_answers_citizens(city: City) -> None:
    desk = city.hire("doro", department="roads_parks")
    assert _post(desk, "new", NEW).headers["location"].startswith("/desk/knowledge/article?id=picnic")
    answer = _post(desk, "new", NEW | {"owner": ""})
    assert answer.status_code == 422
    assert "すでに使われています" in answer.text
    answer = _post(desk, "new", NEW | {"id": ""})
    assert re.search(r"id=c-[0-9a-f]{6}&", answer.headers["location"])
    assert "公園でのたき火" in desk.page(answer.headers["location"])
    odd = "a/b?c&d%e"
    answer = _post(desk, "new", NEW | {"id": odd})
    assert desk.page(answer.headers["location"]).count(html.escape(odd)) >= 2
    assert _audited(city, odd) == ["create_article"]
    hits = city.writer.knowledge.index().search("公園でたき火をしてもいいですか")
    assert hits[0].article in {"picnic", odd} or hits[0].article.startswith("c-")


@pytest.mark.parametrize("id", ["picnic", ""])
def test_a_second_press_saves_no_second_article_and_no_second_version(city: City, id: str) -> None:
    desk = city.hire("doro", department="roads_parks")
    before = len(city.all(KnowledgeArticle))
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda form: _post(desk, "new", form), [NEW | {"id": id}] * 2))
    assert [answer.status_code for answer in answers] == [303, 303]
    [place] = {answer.headers["location"] for answer in answers}
    form = _fields(desk.page(place)) | {"body": "たき火はできません。"}
    assert [_post(desk, "article", form).status_code for _ in range(2)] == [303, 303]
    article = form["id"]
    assert [v.version for v in _versions(city, article)] == [1, 2]
    assert len(city.all(KnowledgeArticle)) == before + 2
    assert _audited(city, article) == ["create_article", "edit_article"]
    assert _post(desk, "new", NEW | {"id": ""}).headers["location"] != place


def test_a_confidential_article_is_kept_but_never_quoted(city: City) -> None:
    desk = city.hire("doro", department="roads_parks")
    assert _post(desk, "new", NEW | {"data_class": "confidential"}).status_code == 303
    assert "非公開" in desk.page(_url("picnic"))
    assert "picnic" not in city.writer.knowledge.index().articles
    with reading(city.engine) as session:
        assert passages_of(session, ["picnic"]) == []


def test_caseworkers_write_for_their_own_department_auditors_not_at_all(city: City) -> None:
    water, tax = _article_of(city, "water"), _article_of(city, "tax")
    own, front = city.hire("suido", department="water"), city.hire("uketsuke")
    admin, auditor = city.hire("kanri", role=Role.admin), city.hire("kansa", role=Role.auditor)
    form = _form(own, water)
    page = own.page(_url(tax))
    assert "新しい版として保存する" not in page
    assert "廃止する" not in page
    assert _post(own, "article", form | {"id": tax}).status_code == 403
    assert _post(own, "article", form | {"department": "tax"}).status_code == 403
    assert _post(own, "new", NEW).status_code == 403
    for verb in ("retire", "restore", "revert"):
        assert _press(own, verb, tax, 1, to="1").status_code == 403
    assert auditor.client.get("/desk/knowledge/new").status_code == 403
    assert "新しい記事を書く" not in auditor.page("/desk/knowledge")
    assert "新しい版として保存する" not in auditor.page(_url(water))
    assert _post(auditor, "new", NEW).status_code == 403
    assert _post(auditor, "article", form).status_code == 403
    assert _press(auditor, "retire", water, 1).status_code == 403
    assert _post(own, "article", form | {"csrf": "forged"}).status_code == 403
    nobody = city.client.post("/desk/knowledge/article", data=form, follow_redirects=False)
    assert nobody.status_code == 401
    assert form["body"] in html.unescape(nobody.text), "who was signed out meanwhile gets the words back"
    assert len(_versions(city, water)) == len(_versions(city, tax)) == 1

    for number, desk in enumerate((own, front, admin), 2):
        changed = _form(desk, water) | {"body": f"{number}版の文です。"}
        assert _post(desk, "article", changed).status_code == 303
    assert len(_versions(city, water)) == 4
    assert own.client.get(_url("no-such")).status_code == 404
    assert own.client.get("/desk/knowledge/article?id=%00").status_code == 404


def test_markup_in_an_article_is_shown_as_text(city: City) -> None:
    desk = city.hire("kakaricho", role=Role.supervisor)
    evil = '"><script>alert(1)</script>'
    answer = _post(desk, "new", NEW | {"title": evil, "body": f"</textarea>{evil}文です。", "owner": evil})
    assert answer.status_code == 303
    auditor = city.hire("kansa", role=Role.auditor)
    pages = [
        desk.page(_url("picnic")),
        auditor.page(_url("picnic")),
        desk.page("/desk/knowledge?q=" + quote("script")),
        desk.page("/desk/knowledge?q=" + quote(evil) + "&department=" + quote(evil)),
        _post(desk, "new", NEW | {"title": evil, "body": ""}).text,
    ]
    for page in pages:
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page


def test_an_imported_url_of_another_scheme_is_no_link_on_the_case(city: City) -> None:
    case, _, article = _drafted(city)
    file = as_article(_versions(city, article)[0])
    desk, link, evil = city.hire("uketsuke"), ">市の該当ページ</a>", "javascript:alert(1)"
    assert link in desk.page(f"/desk/cases/{case.id}")
    files = [replace(a, url=evil) for a in read_folder(DATA / "knowledge") if a.department == file.department]
    import_articles(city.engine, files, actor="import", embed=None)
    city.work()
    page = desk.page(f"/desk/cases/{case.id}")
    assert file.title in page
    assert evil in page
    assert f'href="{evil}' not in page
    assert link not in page


def test_an_import_keeps_what_officers_wrote_until_the_file_itself_changes(city: City) -> None:
    edited, retired = _article_of(city, "water"), _article_of(city, "tax")
    desk = city.hire("kakaricho", role=Role.supervisor)
    changed = _form(desk, edited) | {"body": "職員が直した文です。", "review_on": "2031-01-01"}
    assert _post(desk, "article", changed).status_code == 303
    assert _post(desk, "new", NEW).status_code == 303
    assert _press(desk, "retire", retired, 1).status_code == 303
    files = read_folder(DATA / "knowledge")
    report = import_articles(city.engine, files, actor="test", embed=None)
    assert (report.new, report.updated, report.retired) == (0, 0, 0)
    assert _versions(city, edited)[-1].body == "職員が直した文です。"
    assert _versions(city, "picnic")[0].retired_at is None
    assert _versions(city, retired)[-1].retired_at is not None

    file = as_article(_versions(city, edited)[0])
    newer = type(file)(
        id=file.id, title=file.title, department=file.department, text="新しいファイルの文です。"
    )
    report = import_articles(city.engine, [newer], actor="test", embed=None, retire_missing=False)
    assert (report.new, report.updated, report.retired) == (0, 1, 0)
    newest = _versions(city, edited)[-1]
    assert (newest.version, newest.body) == (3, "新しいファイルの文です。")
    assert newest.review_on == date(2031, 1, 1)


def test_an_article_goes_to_its_department_once_the_city_has_it(city: City) -> None:
    files = [Article("fire", "公園でのたき火", "fire_station", "公園でのたき火は禁止です。")]
    for _ in range(2):
        report = import_articles(city.engine, files, actor="test", embed=None, retire_missing=False)
        assert report.unknown_departments == {"fire": "fire_station"}
    assert [v.department_id for v in _versions(city, "fire")] == ["front_desk"]
    with transaction(city.engine) as session:
        session.add(Department(id="fire_station", name="消防本部", short="消防", position=99))
    for updated in (1, 0):
        report = import_articles(city.engine, files, actor="test", embed=None, retire_missing=False)
        assert (report.unknown_departments, report.updated) == ({}, updated)
    assert [v.department_id for v in _versions(city, "fire")] == ["front_desk", "fire_station"]


@pytest.mark.parametrize("verb", ["edit", "retire"])
@pytest.mark.parametrize("in_folder", [True, False])
def test_what_an_officer_saves_while_an_import_runs_stands(city: City, verb: str, in_folder: bool) -> None:
    article = _article_of(city, "water")
    file = as_article(_versions(city, article)[0])
    desk = city.hire("suido", department="water")

    def edit_meanwhile(texts: Sequence[str]) -> NDArray[np.float32]:
        if verb == "edit":
            form = _form(desk, article) | {"body": "職員が直した文です。"}
            assert _post(desk, "article", form).status_code == 303
        else:
            assert _press(desk, "retire", article, 1).status_code == 303
        return _Encoder()(texts)

    other = Article("fire", "公園でのたき火", "roads_parks", "公園でのたき火は禁止です。")
    files = [other, replace(file, text="新しいファイルの文です。")] if in_folder else [other]
    report = import_articles(city.engine, files, actor="test", embed=edit_meanwhile)
    newest = _versions(city, article)[-1]
    by = newest.edited_by if verb == "edit" else newest.retired_by
    assert (by is not None, newest.retired_at is None) == (True, verb == "edit")
    assert newest.body == ("職員が直した文です。" if verb == "edit" else file.text)
    assert (report.new, report.updated) == (1, 0)


def _imports(city: City) -> list[dict[str, int]]:
    """What each transaction of the imports changed."""
    entries = city.all(AuditEntry, AuditEntry.action == "import_knowledge", AuditEntry.actor == "import")
    return [json.loads(e.details) for e in sorted(entries, key=lambda e: e.id)]


def test_others_write_while_an_import_of_thousands_runs(city: City) -> None:
    files = [Article(f"faq-{n}", "手数料", "tax", "300円です。") for n in range(3_000)]
    written, done = threading.Event(), threading.Event()

    def write() -> None:
        while not done.wait(0.05):
            with transaction(city.engine) as session:
                audit.record(session, actor="desk", action="approve", subject="inquiry:1")
            written.set()

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        assert written.wait(20)
        return _Encoder()(texts)

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        try:
            report = import_articles(city.engine, files, actor="import", embed=embed)
        finally:
            done.set()
        writer.result()
    assert (report.new, report.unchanged, report.updated) == (3_000, 0, 0)
    assert sum(part["retired"] for part in _imports(city)) == report.retired > 0
    entries = sorted(city.all(AuditEntry), key=lambda e: e.id)
    actors = "".join(e.actor[0] for e in entries if e.actor in ("desk", "import"))
    assert "d" in actors.strip("d"), "others came between two parts of the import"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_import_holds_few_of_the_servers_locks_also_where_it_retires(city: City) -> None:
    files = [Article(f"faq-{n}", "手数料", "tax", "300円です。") for n in range(1_100)]
    held: list[int] = []

    def count(session: Session) -> None:
        mine = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        held.append(session.execute(sa.text(mine)).scalar_one())

    sa.event.listen(Session, "before_commit", count)
    try:
        import_articles(city.engine, files, actor="import", embed=None)
        import_articles(city.engine, [], actor="import", embed=None)
    finally:
        sa.event.remove(Session, "before_commit", count)
    end_of_the_audit_chain = 1
    assert len(_imports(city)) == 6
    assert 400 < max(held) <= 500 + end_of_the_audit_chain


def test_an_import_that_was_cut_short_is_run_again(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.knowledge.WRITE_AT_ONCE", 50)
    standing = len(city.all(KnowledgeArticle))
    files = [Article(f"faq-{n}", "手数料", "tax", f"{n}円です。") for n in range(120)]

    def cut_short(session: Session) -> None:
        if session.scalars(select(KnowledgeArticle).where(KnowledgeArticle.article == "faq-50")).first():
            raise KeyboardInterrupt

    sa.event.listen(Session, "before_commit", cut_short)
    with pytest.raises(KeyboardInterrupt):
        import_articles(city.engine, files, actor="import", embed=None)
    sa.event.remove(Session, "before_commit", cut_short)
    assert _imports(city) == [{"new": 50, "updated": 0, "retired": 0}]

    report = import_articles(city.engine, files, actor="import", embed=None)
    assert (report.new, report.unchanged, report.retired) == (70, 50, standing)
    in_force = city.all(KnowledgeArticle, col(KnowledgeArticle.retired_at).is_(None))
    assert {row.article for row in in_force} == {a.id for a in files}


def test_saves_at_the_same_moment_leave_one_version_in_force(city: City) -> None:
    article = _article_of(city, "water")
    desks = [city.hire(f"suido{n}", department="water") for n in range(4)]
    forms = [_form(desk, article) | {"body": f"{n}人目の文です。"} for n, desk in enumerate(desks)]
    with ThreadPoolExecutor(len(desks)) as pool:
        saved = list(
            pool.map(lambda pair: _post(pair[0], "article", pair[1]), zip(desks, forms, strict=True))
        )
        created = list(pool.map(lambda desk: _post(desk, "new", NEW | {"department": "water"}), desks))
    assert sorted(a.status_code for a in saved) == [303, 409, 409, 409]
    assert sorted(a.status_code for a in created) == [303, 422, 422, 422]
    assert [v.version for v in _versions(city, article) if v.retired_at is None] == [2]


class _Encoder:
    """Hashes character pairs into 64 numbers: like texts get like vectors, without any weights."""

    def __init__(self) -> None:
        self.embedded: list[str] = []

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += texts
        rows = np.zeros((len(texts), 64), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for pair in zip(text, text[1:] + " ", strict=True):
                row[hashlib.sha256("".join(pair).encode()).digest()[0] % 64] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)  # type: ignore[no-any-return]


def _without_vector(engine: Engine) -> int:
    with reading(engine) as session:
        query = (
            select(sa.func.count(col(KnowledgePassage.id)))
            .join(KnowledgeArticle, col(KnowledgePassage.article_row) == col(KnowledgeArticle.id))
            .where(
                col(KnowledgePassage.vector).is_(None),
                col(KnowledgeArticle.retired_at).is_(None),
                KnowledgeArticle.data_class == "public",
            )
        )
        return int(session.exec(query).one())


def test_the_worker_embeds_just_what_the_console_saved(city: City) -> None:
    queries, passages = _Encoder(), _Encoder()
    knowledge = Knowledge(city.engine, queries, passages)
    knowledge.index()
    assert len(passages.embedded) == len({p.ranked for p in knowledge.index().passages}) > 500
    assert _without_vector(city.engine) == 0

    passages.embedded.clear()
    assert _post(city.hire("doro", department="roads_parks"), "new", NEW).status_code == 303
    assert _without_vector(city.engine) == 4
    hits = knowledge.index().search("公園でたき火をしてもいいですか")
    assert "picnic" in {hit.article for hit in hits[:3]}
    assert len(passages.embedded) == 4
    assert _without_vector(city.engine) == 0
    assert queries.embedded
    knowledge.index()
    Knowledge(city.engine, queries, passages).index()
    assert len(passages.embedded) == 4


def test_vectors_of_another_encoder_are_forgotten(city: City) -> None:
    Knowledge(city.engine, _Encoder(), _Encoder()).index()
    for version, lost in [("first", True), ("first", False), ("second", True), ("second", False)]:
        assert (forget_vectors_of_another(city.engine, version) > 500) == lost
        assert (_without_vector(city.engine) > 500) == lost
        started_anew, passages = _Encoder(), _Encoder()
        index = Knowledge(city.engine, started_anew, passages).index()
        hits = index.search("放置自転車の引き取り", today=date(2026, 11, 24))
        assert hits[0].article == "abandoned-bicycle"
        assert (len(passages.embedded) > 500) == lost
        assert started_anew.embedded
        assert _without_vector(city.engine) == 0


def test_vectors_are_forgotten_in_short_transactions(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.article_index.FORGET_AT_ONCE", 100)
    monkeypatch.setattr("bot.article_index.PAUSE_SECONDS", 0.0)
    Knowledge(city.engine, _Encoder(), _Encoder()).index()
    kept = col(KnowledgePassage.vector).is_not(None)
    there, committed = len(city.all(KnowledgePassage, kept)), list[sa.Connection]()
    sa.event.listen(city.engine, "commit", committed.append)
    assert forget_vectors_of_another(city.engine, "second") == there
    assert len(committed) > there // 100 > 5
    assert not city.all(KnowledgePassage, kept)


def test_a_large_import_is_found_by_words_at_once_and_by_sense_later(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.article_index.EMBED_AT_IMPORT", 10)
    may_go_on = threading.Event()
    queries, passages = _Encoder(), _Encoder()

    def slowly(texts: Sequence[str]) -> NDArray[np.float32]:
        may_go_on.wait(30)
        return passages(texts)

    knowledge = Knowledge(city.engine, queries, slowly)
    assert knowledge.index().search("放置自転車の引き取り")[0].article == "abandoned-bicycle"
    assert queries.embedded == []
    filling = knowledge._filling
    assert filling is not None
    may_go_on.set()
    filling.join(60)
    knowledge.index().search("放置自転車の引き取り")
    assert queries.embedded
    assert _without_vector(city.engine) == 0
    assert len(passages.embedded) == len(set(passages.embedded))


def test_a_process_that_embeds_nothing_searches_by_sense_when_another_has(city: City) -> None:
    queries, passages = _Encoder(), _Encoder()
    web, worker = Knowledge(city.engine, queries), Knowledge(city.engine, queries, passages)
    web.index().search("放置自転車の引き取り")
    assert (queries.embedded, _without_vector(city.engine) > 500) == ([], True)
    worker.index()
    web.index().search("放置自転車の引き取り")
    assert queries.embedded
    assert _without_vector(city.engine) == 0


def test_an_article_is_gone_although_a_later_change_was_seen_first(city: City) -> None:
    knowledge = Knowledge(city.engine, None)

    def retire(article: str, seconds_ago: int) -> None:
        with transaction(city.engine) as session:
            for row in session.exec(select(KnowledgeArticle).where(KnowledgeArticle.article == article)):
                row.retired_at = now() - timedelta(seconds=seconds_ago)

    retire("waste-bulky", 0)
    assert "abandoned-bicycle" in knowledge.index().articles
    retire("abandoned-bicycle", 60)  # begun before the other, committed after it
    assert "abandoned-bicycle" not in knowledge.index().articles


def test_without_an_encoder_the_search_stays_lexical(city: City) -> None:
    assert _post(city.hire("doro", department="roads_parks"), "new", NEW).status_code == 303
    assert city.writer.knowledge.index().search("公園でたき火をしてもいいですか")[0].article == "picnic"
    assert _without_vector(city.engine) > 500


def _empty_knowledge(city: City) -> None:
    import_articles(city.engine, [], actor="test", embed=None)


def _ask(city: City, text: str, user: str) -> dict[str, Any]:
    event = city.line.text(user, text)
    city.webhook(city.line.body(event))
    city.work()
    return event


def test_questions_without_a_source_are_grouped_and_an_answer_becomes_an_article(city: City) -> None:
    _empty_knowledge(city)
    _ask(city, "粗大ごみの出し方を教えてください。電話は090-1234-5678です", USER)
    _ask(city, "粗大ごみの出し方が知りたいです", OTHER)
    _ask(city, "水道料金の支払い方法を教えてください", "U" + "3" * 32)
    front, supervisor = city.hire("uketsuke"), city.hire("kakaricho", role=Role.supervisor)
    for desk in (front, supervisor):
        page = desk.page("/desk/knowledge/gaps")
        rows = page.split("<tr>")[2:]
        assert ["2件" in r for r in rows] == [True, False]
        assert "粗大ごみの出し方が知りたいです" in rows[0]
        assert "090-1234-5678" not in page
        assert "この回答から記事を作る" not in page
    case = city.case(OTHER)
    assert f"/desk/cases/{case.id}" in page
    elsewhere = city.hire("suido", department="water").page("/desk/knowledge/gaps")
    assert "粗大ごみ" not in elsewhere
    assert "水道料金" in elsewhere

    body = "粗大ごみは、環境課へ電話で申し込んでください。\n手数料は500円です。"
    form = front.form(case)
    greeting, closing = form["text"].split("\n\n")[0], form["text"].split("\n\n")[-1]
    answer = front.post(case, "write", form | {"text": f"{greeting}\n\n{body}\n\n{closing}"})
    assert answer.status_code == 303
    page = front.page("/desk/knowledge/gaps")
    found = re.search(r'name="approval" value="([^"]+)"', page)
    assert found
    path = f"/desk/knowledge/new?approval={found.group(1)}"
    fields = _fields(front.page(path))
    assert fields["title"] == "粗大ごみの出し方が知りたいです"
    assert fields["body"] == body
    assert fields["department"] == case.department_id
    refused = _post(front, "new", fields | {"title": ""})
    assert refused.status_code == 422
    stranger = city.hire("suido", department="water")
    forged = fields | {"department": "water", "csrf": stranger.csrf}
    assert _post(stranger, "new", forged).status_code == 404
    assert _post(front, "new", _fields(refused.text) | {"title": fields["title"]}).status_code == 303
    page = front.page("/desk/knowledge/gaps")
    assert "粗大ごみ" not in page, "both cases were asked before the article was there"
    assert "水道料金" in page
    [made] = city.all(KnowledgeArticle, col(KnowledgeArticle.made_from).is_not(None))
    assert _press(front, "retire", made.article, 1).status_code == 303
    assert "粗大ごみ" in front.page("/desk/knowledge/gaps")
    assert city.hire("suido", department="water").client.get(path).status_code == 404
    auditor = city.hire("kansa", role=Role.auditor)
    assert "この回答から記事を作る" not in auditor.page("/desk/knowledge/gaps")


def test_an_article_made_from_an_answer_holds_no_citizens_number(city: City) -> None:
    _empty_knowledge(city)
    _ask(city, "粗大ごみの出し方を教えてください。電話は090-1234-5678です", USER)
    desk, case = city.hire("uketsuke"), city.case()
    [department] = city.all(Department, Department.id == case.department_id)
    text = f"{{}}へ折り返します。お急ぎのときは{department.phone}へお電話ください。"
    form = desk.form(case) | {"text": text.format("090-1234-5678")}
    to_confirm = CONFIRM.findall(desk.post(case, "write", form).text)
    assert desk.post(case, "write", form | {"confirmed": to_confirm}).status_code == 303
    found = re.search(r'name="approval" value="([^"]+)"', desk.page("/desk/knowledge/gaps"))
    assert found
    fields = _fields(desk.page(f"/desk/knowledge/new?approval={found.group(1)}"))
    assert fields["body"] == text.format("〔電話番号〕")


def _answered(desk: Desk, case: Inquiry, verb: str, form: dict[str, Any]) -> None:
    """The person sends the text, and confirms whatever the check finds in it."""
    to_confirm = CONFIRM.findall(desk.post(case, verb, form).text)
    if to_confirm:
        assert desk.post(case, verb, form | {"confirmed": to_confirm}).status_code == 303


def test_a_line_that_a_person_drew_cuts_nothing_from_the_article_made_from_an_answer(city: City) -> None:
    _empty_knowledge(city)
    _ask(city, GARBAGE, USER)
    desk, case = city.hire("uketsuke"), city.case()
    body = "粗大ごみは、電話で申し込んでください。\n\n──────────\n\n手数料は500円です。"
    _answered(desk, case, "write", desk.form(case) | {"text": body})
    found = re.search(r'name="approval" value="([^"]+)"', desk.page("/desk/knowledge/gaps"))
    assert found
    assert _fields(desk.page(f"/desk/knowledge/new?approval={found.group(1)}"))["body"] == body


def test_what_a_person_added_below_a_line_to_holding_words_is_an_answer(city: City) -> None:
    _empty_knowledge(city)
    _ask(city, GARBAGE, USER)
    desk, case = city.hire("uketsuke"), city.case()
    form = desk.form(case)
    _answered(desk, case, "approve", form | {"text": f"{form['text']}\n\n──────────\n手数料は500円です。"})
    assert "この回答から記事を作る" in desk.page("/desk/knowledge/gaps")


def test_a_case_leaves_the_gaps_once_an_article_answers_it(city: City) -> None:
    files = read_folder(DATA / "knowledge")
    _empty_knowledge(city)
    _ask(city, "粗大ごみの戸別収集の手数料はいくらですか", USER)
    desk, case = city.hire("uketsuke"), city.case()
    assert desk.post(case, "approve", desk.form(case) | {"keep_open": "1"}).status_code == 303
    assert case.receipt_number in desk.page("/desk/knowledge/gaps")
    import_articles(city.engine, files, actor="test", embed=None)
    assert desk.post(case, "redraft", desk.form(city.case())).status_code == 303
    city.work()
    assert desk.post(case, "approve", desk.form(city.case())).status_code == 303
    assert case.receipt_number not in desk.page("/desk/knowledge/gaps")


def test_a_superseded_holding_draft_is_no_gap(city: City) -> None:
    files = read_folder(DATA / "knowledge")
    _empty_knowledge(city)
    _ask(city, "粗大ごみの戸別収集の手数料はいくらですか", USER)
    import_articles(city.engine, files, actor="test", embed=None)
    desk, case = city.hire("uketsuke"), city.case()
    assert desk.post(case, "redraft", desk.form(case)).status_code == 303
    city.work()
    assert case.receipt_number not in desk.page("/desk/knowledge/gaps")


def test_holding_words_sent_as_they_were_are_no_answer(city: City) -> None:
    _empty_knowledge(city)
    _ask(city, GARBAGE, USER)
    desk, case = city.hire("uketsuke"), city.case()
    assert desk.post(case, "approve", desk.form(case)).status_code == 303
    page = desk.page("/desk/knowledge/gaps")
    assert case.receipt_number in page
    assert "この回答から記事を作る" not in page


def test_words_that_the_citizen_took_back_are_not_among_the_gaps(city: City) -> None:
    _empty_knowledge(city)
    event = _ask(city, "粗大ごみの出し方。秘密の言葉です", USER)
    desk, case = city.hire("uketsuke"), city.case()
    assert "秘密の言葉" in desk.page("/desk/knowledge/gaps")
    answer = desk.post(case, "write", desk.form(case) | {"text": "お答えします。"})
    assert answer.status_code == 303
    found = re.search(r'name="approval" value="([^"]+)"', desk.page("/desk/knowledge/gaps"))
    assert found
    unsend = city.line.event(USER, type="unsend", unsend={"messageId": event["message"]["id"]})
    city.webhook(city.line.body(unsend))
    page = desk.page("/desk/knowledge/gaps")
    assert "秘密の言葉" not in page
    assert case.receipt_number not in page
    assert desk.client.get(f"/desk/knowledge/new?approval={found.group(1)}").status_code == 404


def test_old_questions_are_left_out(city: City) -> None:
    _empty_knowledge(city)
    _ask(city, GARBAGE, USER)
    with transaction(city.engine) as session:
        session.execute(sa.update(Inquiry).values(created_at=now() - timedelta(days=gaps.DAYS + 1)))
    assert "該当する質問はありません" in city.hire("uketsuke").page("/desk/knowledge/gaps")


def test_like_questions_group_and_others_stay_apart() -> None:
    texts = [
        "市民農園の区画を借りたいのですが、どうすればいいですか",
        "駅前の喫煙所はどこにありますか",
        "市民農園を借りたいです。申し込み方法を教えてください",
        "水道管が凍結しました",
        "市民農園の申込みについて教えて",
        "水道の凍結を防ぐには",
    ]
    assert sorted(gaps.cluster(texts)) == [[0, 2, 4], [1], [3, 5]]
    assert gaps.cluster([]) == []
    assert gaps.cluster(["。"]) == [[0]]
    assert sorted(gaps.cluster(["。", "。", "です"])) in ([[0, 1], [2]], [[0, 1, 2]])
