"""The command line: rubbish in, a typed error with its line number out, and the rest goes on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.cli import main
from bot.jsonl import answer_each

ROOT = Path(__file__).resolve().parent.parent


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
                 ["knowledge", "import"], ["audit", "verify"]):  # fmt: skip
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
