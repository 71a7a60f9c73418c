"""JSON Lines in and out for the command line: a bad line becomes a typed error and the rest goes on."""

import json
import math
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from typing import IO, Any


class BadLine(ValueError):
    """A line that is no JSON object with the needed fields."""


def read(stream: IO[bytes]) -> Iterator[tuple[int, dict[str, Any] | BadLine]]:
    """Every line with its number from 1; an unreadable one as its error. Blank lines are skipped.

    Windows writes a mark of three bytes before the first line.
    """
    for number, raw in enumerate(stream, 1):
        raw = raw.removeprefix(BOM_UTF8) if number == 1 else raw
        if raw.strip():
            yield number, _parse(raw)


def _parse(raw: bytes) -> dict[str, Any] | BadLine:
    try:
        value = json.loads(raw.decode("utf-8"), parse_float=_finite, parse_constant=_finite)
    except UnicodeDecodeError as reason:
        return BadLine(f"not UTF-8 at byte {reason.start}")
    except (ValueError, RecursionError) as reason:
        return BadLine(f"not JSON: {reason}")
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        return BadLine('an object with "text" is needed')
    return value


def _finite(written: str) -> float:
    """A number that JSON can write again: 1e999 and NaN are none."""
    if not math.isfinite(number := float(written)):
        raise ValueError(f"{written} is no number of JSON")
    return number


def answer_each(stream: IO[bytes], answer: Callable[[str], dict[str, Any]], out: IO[str] = sys.stdout) -> int:
    """Answer every line in order.

    Args:
        stream: JSON Lines with ``id`` and ``text``.
        answer: Text to the fields of the answer; what it raises is that line's error, by its type's name.
        out: Where the answers go.

    Returns:
        How many lines got an error instead of an answer.
    """
    errors = 0
    for number, value in read(stream):
        fields: dict[str, Any] = {"id": value.get("id")} if isinstance(value, dict) else {"id": None}
        try:
            if isinstance(value, BadLine):
                raise value
            fields |= answer(value["text"])
        except Exception as reason:  # whatever one line does, the rest goes on
            errors += 1
            fields |= {"line": number, "error": type(reason).__name__, "detail": str(reason)}
            sys.stderr.write(f"line {number}: {type(reason).__name__}: {reason}\n")
        out.write(json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n")
        out.flush()
    return errors
