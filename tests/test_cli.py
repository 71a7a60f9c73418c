"""The command line: rubbish in, a typed error with its line number out, and the rest goes on."""

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlmodel import col, select

from bot.cli import main
from bot.db import make_engine, now, reading, transaction
from bot.install import import_knowledge
from bot.jsonl import answer_each
from bot.models import Department, KnowledgeArticle
from bot.settings import Settings
from tests.conftest import free_port

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"


def _run(*arguments: str, stdin: bytes = b"", folder: Path) -> subprocess.CompletedProcess[bytes]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "MADOGUCHI_DATA_DIR": str(folder),
        "MADOGUCHI_CLASSIFIER_DIR": str(ROOT / "var/classifier"),
    }
    command = [sys.executable, "-m", "bot.cli", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, cwd=ROOT, env=environment, check=False)


def test_route_answers_every_line_and_says_which_were_bad(tmp_path: Path) -> None:
    lines = [
        json.dumps({"id": 1, "text": "住民票の写しがほしい"}).encode(),
        b"{broken",
        b"\xff\xfe",
        b'{"id": 4}',
        b'{"id": 5, "text": ""}',
        json.dumps({"id": 6, "text": "😀" * 50_000}).encode(),
        b'{"id": 7, "text": "\\ud83d"}',
        json.dumps({"id": 8, "text": "ゴミの日はいつ?"}).encode(),
    ]
    done = _run("route", "-", stdin=b"\n".join(lines), folder=tmp_path)
    out = [json.loads(line) for line in done.stdout.splitlines()]
    assert [o["id"] for o in out] == [1, None, None, None, 5, 6, 7, 8] or [o["id"] for o in out][3] == 4
    assert out[0]["department"] == "citizen_registry"
    assert out[-1]["department"] == "waste_environment"
    assert {o["line"] for o in out if "error" in o} >= {2, 3, 4, 5}
    assert {o["id"]: o.get("error") for o in out}[5] == "EmptyText"
    assert done.returncode == 1
    assert b"line 2: BadLine" in done.stderr


def test_every_command_helps_in_english_with_an_example() -> None:
    for path in (["route"], ["search"], ["draft"], ["train"], ["serve"], ["evaluate", "routing"],
                 ["evaluate", "search"], ["evaluate", "drafts"], ["bench"], ["doctor"],
                 ["knowledge", "import"], ["knowledge", "ticks"], ["audit", "verify"]):  # fmt: skip
        shown = CliRunner().invoke(main, [*path, "--help"])
        assert shown.exit_code == 0
        assert "Example: " in shown.output


@pytest.mark.parametrize("folder", ["missing"])
def test_a_missing_classifier_is_one_clear_line(tmp_path: Path, folder: str) -> None:
    environment = {"PATH": "/usr/bin:/bin", "MADOGUCHI_DATA_DIR": str(tmp_path / folder)}
    command = [sys.executable, "-m", "bot.cli", "route", "-"]
    done = subprocess.run(command, input=b"", capture_output=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 3
    assert b"run `madoguchi setup`" in done.stderr


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("{phone}、平日", "{telephone}、平日"), "frame: unknown placeholder telephone"),
        (("phone: 0000-12-3110,", "phone: 0000-12-3110, frame: {footer: ''},"), "water: unknown part footer"),
        (("受付番号 {receipt_number}", "受付番号 {receipt_number"), "frame: "),
        (("  greeting: ", "  hello: "), "frame: missing greeting"),
    ],
)
def test_a_frame_that_cannot_be_filled_in_stops_the_set_up_with_one_clear_line(
    tmp_path: Path, change: tuple[str, str], complaint: str
) -> None:
    folder = shutil.copytree(DATA, tmp_path / "data")
    path = folder / "departments.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    environment = {
        "MADOGUCHI_SECRET_KEY": "x" * 32,
        "MADOGUCHI_DATA_DIR": str(tmp_path / "var"),
        "MADOGUCHI_CITY_DIR": str(folder),
    }
    done = CliRunner().invoke(main, ["setup"], env=environment)
    assert done.exit_code == 3
    assert f"{path}: {complaint}" in done.output


@pytest.mark.parametrize(
    ("broken", "command"),
    [
        ("inquiries/train.jsonl", ["train", "--out", "OUT"]),
        ("inquiries/train.jsonl", ["train", "--from-cases"]),
        ("inquiries/test.jsonl", ["train", "--from-cases"]),
        ("inquiries/test.jsonl", ["evaluate", "routing"]),
        ("evaluation/drafts.jsonl", ["evaluate", "search"]),
        ("evaluation/drafts.jsonl", ["evaluate", "drafts", "--template"]),
        ("knowledge/broken.md", ["knowledge", "ticks"]),
    ],
)
def test_what_no_command_can_use_is_named_in_one_line(
    sqlite_url: str, tmp_path: Path, broken: str, command: list[str]
) -> None:
    city = tmp_path / "city"
    shutil.copytree(DATA, city)
    (city / broken).write_text("{broken\n", "utf-8")
    environment = {
        "MADOGUCHI_SECRET_KEY": "x" * 32,
        "MADOGUCHI_DATA_DIR": str(tmp_path),
        "MADOGUCHI_DATABASE_URL": sqlite_url,
        "MADOGUCHI_CITY_DIR": str(city),
        "MADOGUCHI_CLASSIFIER_DIR": str(ROOT / "var/classifier"),
    }
    whole = [str(tmp_path / "out") if one == "OUT" else one for one in command]
    done = CliRunner().invoke(main, whole, env=environment)
    assert done.exit_code == 3, done.exception
    [line] = [one for one in done.stderr.splitlines() if "madoguchi: " in one]
    assert line.startswith("madoguchi: 中止しました。")
    assert f"{city / broken}:1: " in line


@pytest.mark.parametrize("content", [b"", b"\xff\n"])
def test_a_set_without_a_readable_message_is_named_too(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(content)
    done = _run("evaluate", "routing", "--data", str(path), folder=tmp_path)
    assert (done.returncode, done.stderr.decode().count("Traceback")) == (3, 0)
    assert f"{path}:0: " in done.stderr.decode()


def test_drafts_are_not_quietly_measured_without_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.supervisor.LLM_PORT", free_port())  # the product may be running here
    environment = {"MADOGUCHI_SECRET_KEY": "x" * 32, "MADOGUCHI_LLM_BASE_URL": ""}
    done = CliRunner().invoke(main, ["evaluate", "drafts"], env=environment)
    assert done.exit_code == 3
    assert "--template" in done.output


def test_an_error_of_any_kind_in_one_line_does_not_stop_the_next(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"id":1,"text":"a"}\n\n{"id":2,"text":"b"}\n')

    def answer(text: str) -> dict[str, str]:
        if text == "a":
            raise RuntimeError("no")
        return {"ok": text}

    with path.open("rb") as stream, (tmp_path / "out").open("w") as out:
        assert answer_each(stream, answer, out) == 1
    first, second = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert (first["error"], first["line"], second) == ("RuntimeError", 1, {"id": 2, "ok": "b"})


def test_a_windows_files_first_line_counts_and_an_endless_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id":1,"text":"a"}\n{"id":1e999,"text":"b"}\n{"id":NaN,"text":"c"}\n')
    with path.open("rb") as stream, (tmp_path / "out").open("w") as out:
        assert answer_each(stream, lambda text: {"ok": text}, out) == 2
    first, *others = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert first == {"id": 1, "ok": "a"}
    assert [(one["id"], one["error"]) for one in others] == [(None, "BadLine"), (None, "BadLine")]


FAQ = {"question": "手数料は？", "answer": "300円です。", "department": "tax"}


def _in_force(url: str) -> dict[str, str]:
    """Article → department."""
    engine = make_engine(url)
    with reading(engine) as session:
        rows = session.exec(select(KnowledgeArticle).where(col(KnowledgeArticle.retired_at).is_(None)))
        found = {row.article: row.department_id for row in rows}
    engine.dispose()
    return found


def test_an_import_takes_what_is_readable_and_says_each_thing_that_is_not(
    sqlite_url: str, tmp_path: Path
) -> None:
    before = _in_force(sqlite_url)
    good = [json.dumps({**FAQ, "id": f"faq-{i}"}, ensure_ascii=False) for i in range(3)]
    stray = json.dumps({**FAQ, "id": "faq-stray", "department": "taxx"}, ensure_ascii=False)
    file = tmp_path / "faq.jsonl"
    file.write_text("\n".join([good[0], "{broken", good[1], stray, '{"id": "x"}', good[2]]), "utf-8")
    done = _run("knowledge", "import", str(file), folder=tmp_path)
    report = json.loads(done.stdout)
    said = done.stderr.decode()
    assert done.returncode == 1
    assert (report["new"], report["bad"], report["unknown_departments"]) == (4, 2, {"faq-stray": "taxx"})
    assert f"{file}:2: JSONとして読めません" in said
    assert f"{file}:5: 「answer」" in said
    assert "「faq-stray」の担当課「taxx」は登録されていません" in said
    assert report["retired"] == 0
    assert "取り下げていません" in said
    assert _in_force(sqlite_url) == {
        **before, "faq-0": "tax", "faq-1": "tax", "faq-2": "tax", "faq-stray": "front_desk",
    }  # fmt: skip

    file.write_text("\n".join([*good, stray]), "utf-8")
    again = _run("knowledge", "import", str(file), "--keep-missing", folder=tmp_path)
    assert again.returncode == 1
    assert json.loads(again.stdout)["unknown_departments"] == {"faq-stray": "taxx"}

    file.write_text("\n".join(good), "utf-8")
    clean = _run("knowledge", "import", str(file), folder=tmp_path)
    assert clean.returncode == 0, clean.stderr
    assert set(_in_force(sqlite_url)) == {"faq-0", "faq-1", "faq-2"}


def test_a_folder_without_articles_takes_back_none(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _in_force(sqlite_url)
    assert before
    folder = tmp_path / "city" / "knowledge"
    folder.mkdir(parents=True)
    done = _run("knowledge", "import", str(folder), folder=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["retired"]) == (1, 0)
    assert "取り込む記事が一つもありません" in done.stderr.decode()
    settings = Settings(secret_key="k" * 40, data_dir=tmp_path, city_dir=tmp_path / "city")  # type: ignore[arg-type]
    engine = make_engine(sqlite_url)
    import_knowledge(settings, engine)
    engine.dispose()
    assert "取り込む記事が一つもありません" in capsys.readouterr().err
    assert _in_force(sqlite_url) == before


def test_one_broken_article_does_not_prevent_the_start(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _in_force(sqlite_url)
    folder = tmp_path / "city" / "knowledge"
    folder.mkdir(parents=True)
    front = "---\nid: picnic\ntitle: たき火\ndepartment: roads_parks\n"
    (folder / "good.md").write_text(f"{front}---\nたき火はできません。\n", "utf-8")
    (folder / "bad.md").write_text(front.replace("picnic", "[pic"), "utf-8")
    settings = Settings(secret_key="k" * 40, data_dir=tmp_path, city_dir=tmp_path / "city")  # type: ignore[arg-type]
    engine = make_engine(sqlite_url)
    import_knowledge(settings, engine)
    engine.dispose()
    assert f"{folder / 'bad.md'}:1: " in capsys.readouterr().err
    assert _in_force(sqlite_url) == {**before, "picnic": "roads_parks"}


def test_a_search_can_be_kept_to_one_department(sqlite_url: str, tmp_path: Path) -> None:
    assert sqlite_url
    asked = json.dumps({"id": 1, "text": "手数料はいくらですか"}).encode()
    done = _run("search", "-", "--top", "50", "--department", "tax", stdin=asked, folder=tmp_path)
    found = {hit["article"] for hit in json.loads(done.stdout)["hits"]}
    assert found
    assert {_in_force(sqlite_url)[article] for article in found} == {"tax"}
    wrong = _run("search", "-", "--department", "taxx", stdin=asked, folder=tmp_path)
    assert wrong.returncode == 2
    assert b"taxx" in wrong.stderr


def test_the_search_is_measured_without_a_database(tmp_path: Path) -> None:
    knowledge, queries = tmp_path / "faq.jsonl", tmp_path / "queries.jsonl"
    knowledge.write_text(
        json.dumps({"id": "1", "question": "犬の登録", "answer": "犬の登録は、窓口で受け付けます。"}), "utf-8"
    )
    queries.write_text(json.dumps({"text": "犬を飼い始めた", "relevance": {"1": 2}}), "utf-8")
    files = ["--knowledge", str(knowledge), "--queries", str(queries)]
    done = _run("evaluate", "search", *files, stdin=b"", folder=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["ours"]["hit1"] == 1.0


def _end(url: str, department: str, successor: str) -> None:
    engine = make_engine(url)
    with transaction(engine) as session:
        ended = session.get_one(Department, department)
        ended.valid_to, ended.successor_id = now().date() - timedelta(days=2), successor
    engine.dispose()


def test_a_message_is_routed_to_who_answers_today(sqlite_url: str, tmp_path: Path) -> None:
    _end(sqlite_url, "water", "roads_parks")
    asked = json.dumps({"id": 1, "text": "水道を止めたい"}).encode()
    [answer] = map(json.loads, _run("route", "-", stdin=asked, folder=tmp_path).stdout.splitlines())
    assert (answer["department"], answer["set"]) == ("roads_parks", ["roads_parks"])


def test_the_search_is_measured_with_the_departments_of_today(sqlite_url: str, tmp_path: Path) -> None:
    _end(sqlite_url, "roads_parks", "waste_environment")
    knowledge, queries = tmp_path / "faq.jsonl", tmp_path / "queries.jsonl"
    faq = {"question": "粗大ごみの予約", "answer": "粗大ごみの予約は、電話で受け付けます。"}
    owners = {"1": "tax", "2": "roads_parks"}
    lines = [json.dumps({**faq, "id": key, "department": owner}) for key, owner in owners.items()]
    knowledge.write_text("\n".join(lines), "utf-8")
    query = {"text": "粗大ごみの予約をしたいです", "relevance": {"2": 2}}
    queries.write_text(json.dumps(query), "utf-8")
    files = ["--knowledge", str(knowledge), "--queries", str(queries)]
    done = _run("evaluate", "search", *files, folder=tmp_path)
    report = json.loads(done.stdout)
    assert (report["ours"]["hit1"], report["ours_routed"]["hit1"]) == (0.0, 1.0)
