"""Articles of the city and the sentences in them, read from Markdown and JSON Lines."""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import yaml

from responders.errors import BadArticle
from responders.japanese import official

MAX_ARTICLE_BYTES = 200_000
MAX_PASSAGE_CHARS = 300
OPENING = 300
FRONT_DESK = "front_desk"
DATA_CLASSES = ("public", "canned", "confidential")
_BAD_FRONT_MATTER = (
    "項目欄の書き方に誤りがあります。"
    "値に「: 」があるときや、値が記号で始まるときは、値を「'」で囲んでください"
)
_FIELDS = ("id", "title", "department", "valid_from", "valid_to", "url", "data_class", "owner")
_ID = re.compile(r"[^\s#]{1,100}")
_HEADING = re.compile(r"#{1,6}\s+(?P<title>.+)")
_SECTION_MARK = re.compile(r"[■◆●【](?P<title>[^。■◆●]{1,24}?)[】。:：]?")
_BULLET = re.compile(r"(?:[-*+]\s+|[・‣•▪■◆●○]\s*|\d{1,2}[.．)）](?!\d)\s*|[（(]\d{1,2}[)）]\s*|[①-⑳]\s*)+")
_INLINE_BULLET = re.compile(r"(?<=。)(?=[■◆●・])")
_TABLE_RULE = re.compile(r"\|?[\s:|-]*-[\s:|-]*\|?")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LINK = re.compile(r"\[([^\]\n]+)\]\(([^)\s]+)\)")
_STRONG = re.compile(r"(\*\*|__|`)(?=\S)(.+?)(?<=\S)\1")
_INVISIBLE = ("Cc", "Cf", "Cs")
_OPEN, _CLOSE, _STOP = "「『（(【", "」』）)】", "。！？!?"


@dataclass(frozen=True, slots=True)
class Article:
    """One page of the city's knowledge, as its owner wrote it."""

    id: str
    """Stable id; the file's author chooses it. No blanks, no ``#``."""
    title: str
    """Title, or the question of an FAQ entry."""
    department: str
    """Id from ``data/departments.yaml``."""
    text: str
    """Body in Markdown, without the front matter."""
    url: str | None = None
    """Public page with the same content."""
    valid_from: date | None = None
    """First day on which it may be quoted."""
    valid_to: date | None = None
    """Last day on which it may be quoted."""
    data_class: str = "public"
    """One of `DATA_CLASSES`: searched and quoted, chosen by hand only, or never quoted."""
    owner: str = ""
    """Who keeps it up to date: a section, never a person."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One sentence or list row of an article: the unit that is ranked, quoted and cited."""

    article: str
    """Id of the article."""
    article_title: str
    """Title of the article."""
    department: str
    """Department of the article."""
    ordinal: int
    """Place in the article from 1; 0 is the title itself and -1 the title with how the article begins: both
    rank and are never quoted."""
    text: str
    """The sentence, without list marks."""
    heading: str = ""
    """Headings and the lead-in of the list above it, joined by `` / ``."""
    valid_from: date | None = None
    """As in the article."""
    valid_to: date | None = None
    """As in the article."""

    @property
    def id(self) -> str:
        """Stable while the article's version stays the same."""
        return f"{self.article}#{self.ordinal}"

    @property
    def quotable(self) -> bool:
        """Whether the text may stand in a draft."""
        return self.ordinal > 0

    @property
    def context(self) -> str:
        """Title, headings and text on one line: where a draft's names may come from."""
        return " ".join(dict.fromkeys(part for part in (self.article_title, self.heading, self.text) if part))

    @property
    def is_row(self) -> bool:
        """Whether it is a list row, which says little without its heading, rather than a sentence."""
        return bool(self.heading) and not self.text.endswith("。")

    @property
    def limits_previous(self) -> bool:
        """Whether it limits what the sentence before it says: that one must not stand without it."""
        return self.quotable and self.text.startswith(("ただし", "但し"))

    @property
    def said(self) -> str:
        """The text, a list row after its heading."""
        return f"{self.heading} {self.text}" if self.is_row else self.text

    @property
    def ranked(self) -> str:
        """What is embedded and counted: what is said, in the city's words.

        Without the article's title, so that sentences that several articles share need only one vector.
        """
        return official(self.said)


def read_markdown(path: Path) -> Article:
    """Read one Markdown file with YAML front matter.

    Front matter: ``id``, ``title``, ``department``; optional ``valid_from``, ``valid_to`` (ISO dates, the
    last day included), ``url``, ``data_class``, ``owner``.

    Raises:
        BadArticle: Not UTF-8, over 200 kB, no or broken front matter, a missing or unknown field or one that
            comes twice, a bad date or data class, dates in the wrong order, no text.
    """
    lines = _read_text(path, MAX_ARTICLE_BYTES).split("\n")
    if lines[0].strip() != "---":
        raise BadArticle(path, 1, "先頭に、---の行ではさんだ項目欄がありません")
    end = next((i for i, line in enumerate(lines[1:], 1) if line.strip() == "---"), None)
    if end is None:
        raise BadArticle(path, 1, "先頭の項目欄が、---の行で閉じられていません")
    fields = _front_matter(path, "\n".join(lines[1:end]))
    return _article(path, 1, fields, "\n".join(lines[end + 1 :]))


def read_jsonl(path: Path, on_bad: Callable[[BadArticle], None] | None = None) -> list[Article]:
    """Read FAQ entries, one JSON object a line: ``id``, ``question``, ``answer``, ``department``, ``url``?.

    An entry without a department belongs to ``front_desk``: imported FAQs often leave it open.

    Args:
        path: UTF-8 file; blank lines are skipped.
        on_bad: Called for each bad line, which is then skipped; None: the first one is raised.

    Raises:
        BadArticle: Broken JSON, a missing field, an entry over 200 kB, an id that comes twice, no entry.
    """
    articles: dict[str, Article] = {}
    text = _read_text(path, None)
    if not text.strip():
        # Rather an export that failed than a city that takes back every answer.
        _report(BadArticle(path, 1, "ファイルが空です"), on_bad)
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            article = _faq_entry(path, number, line)
            if article.id in articles:
                raise BadArticle(path, number, f"ID「{article.id}」が重複しています")
        except BadArticle as error:
            _report(error, on_bad)
        else:
            articles[article.id] = article
    return list(articles.values())


def read_folder(path: Path, on_bad: Callable[[BadArticle], None] | None = None) -> list[Article]:
    """Read every ``*.md`` (except README) and ``*.jsonl`` under a folder, sorted by path; none is no error.

    Hidden files and folders are no articles: editors and other systems leave them beside the real ones.

    Args:
        path: The folder.
        on_bad: Called for each unreadable article, which is then skipped; None: the first one is raised.

    Raises:
        BadArticle: An unreadable article, an id used twice, or no such folder.
    """
    if not path.is_dir():
        _report(BadArticle(path, 0, "フォルダーがありません"), on_bad)
    articles: dict[str, Article] = {}
    for file in sorted(p for p in path.rglob("*") if _may_hold_articles(p.relative_to(path))):
        for article in read_file(file, on_bad):
            if article.id in articles:
                _report(
                    BadArticle(file, 1, f"ID「{article.id}」は、ほかのファイルでも使われています"), on_bad
                )
            else:
                articles[article.id] = article
    return list(articles.values())


def _may_hold_articles(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix.lower() in (".md", ".jsonl") and path.stem.upper() != "README" and not hidden


def read_file(path: Path, on_bad: Callable[[BadArticle], None] | None = None) -> list[Article]:
    """Read one file by its ending: ``.md`` is one article, anything else FAQ entries.

    Args:
        path: The file.
        on_bad: As in `read_jsonl`, which also says what is raised.
    """
    try:
        return [read_markdown(path)] if path.suffix.lower() == ".md" else read_jsonl(path, on_bad)
    except BadArticle as error:
        _report(error, on_bad)
        return []


def split_passages(article: Article) -> list[Passage]:
    """Cut an article into how it begins (ordinal -1), its title (0) and its sentences and list rows (from 1).

    Headings and lead-ins of lists are kept as context; a table row becomes 「見出し：値、…」. A sentence over
    300 characters is cut at a comma. The same text always gives the same ids.

    A title alone says little about what its article answers, and a sentence by itself often not about what:
    so the article's first `OPENING` characters, its title included, rank in one piece too.
    """
    pairs = [(article.title, ""), *_sentences_with_headings(article.text)]
    passages = [
        Passage(
            article=article.id,
            article_title=article.title,
            department=article.department,
            ordinal=ordinal,
            text=text,
            heading=heading,
            valid_from=article.valid_from,
            valid_to=article.valid_to,
        )
        for ordinal, (text, heading) in enumerate(pairs)
    ]
    opening = "\n".join(passage.said for passage in passages)[:OPENING].rstrip()
    return [replace(passages[0], ordinal=-1, text=opening), *passages]


def split_sentences(text: str) -> list[str]:
    """Cut Japanese text after 。！？ and at newlines; a full stop inside brackets does not cut."""
    return [sentence for line in text.split("\n") for sentence in _split_line(line)]


def _report(error: BadArticle, on_bad: Callable[[BadArticle], None] | None) -> None:
    if on_bad is None:
        raise error
    on_bad(error)


def _read_text(path: Path, limit_bytes: int | None) -> str:
    try:
        if limit_bytes is not None and path.stat().st_size > limit_bytes:
            size_kb = path.stat().st_size // 1000
            raise BadArticle(path, 1, f"{size_kb}kBあります。{limit_bytes // 1000}kB以内に分けてください")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadArticle(path, 0, "読めません。ファイルの種類と、読取りの権限を確かめてください") from error
    except UnicodeDecodeError as error:
        raise BadArticle(path, 1, f"文字コードがUTF-8ではありません({error.start + 1}バイト目)") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _front_matter(path: Path, text: str) -> Mapping[str, object]:
    try:
        # BaseLoader keeps every value a string (an id of 0012 stays 0012) and builds no objects.
        loader = yaml.BaseLoader(text)
        node = loader.get_single_node()
        fields: dict[str, object] = loader.construct_document(node) if node else {}
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise BadArticle(path, mark.line + 2 if mark else 2, _BAD_FRONT_MATTER) from error
    if not isinstance(node, yaml.MappingNode):
        raise BadArticle(path, 2, "項目欄は「項目名: 値」の行で書いてください")
    _refuse_odd_fields(path, node)
    return fields


def _refuse_odd_fields(path: Path, node: yaml.MappingNode) -> None:
    """A slip such as ``valid_untill`` must not keep an article in force for ever without a word."""
    seen: set[str] = set()
    for key, _ in node.value:
        line = key.start_mark.line + 2
        if key.value not in _FIELDS:
            known = "、".join(_FIELDS)
            raise BadArticle(path, line, f"「{key.value}」という項目はありません(書けるのは、{known})")
        if key.value in seen:
            raise BadArticle(path, line, f"「{key.value}」が二度あります")
        seen.add(key.value)


def _faq_entry(path: Path, number: int, line: str) -> Article:
    if len(line.encode()) > MAX_ARTICLE_BYTES:
        raise BadArticle(path, number, f"長すぎます。{MAX_ARTICLE_BYTES // 1000}kB以内に分けてください")
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        place = f"({error.colno}文字目)" if isinstance(error, json.JSONDecodeError) else ""
        raise BadArticle(path, number, f"JSONとして読めません{place}") from error
    if not isinstance(entry, dict):
        raise BadArticle(path, number, "一行に一つのJSONオブジェクトを書いてください")
    answer = entry.get("answer")
    if not isinstance(answer, str):
        raise BadArticle(path, number, "「answer」は文字列で書いてください")
    fields = {**entry, "title": entry.get("question"), "department": entry.get("department") or FRONT_DESK}
    return _article(path, number, fields, answer)


def _article(path: Path, line: int, fields: Mapping[str, object], text: str) -> Article:
    def optional(name: str) -> str | None:
        value = fields.get(name)
        if value is not None and not isinstance(value, str | int):
            raise BadArticle(path, line, f"「{name}」は一つの文字列で書いてください")
        return _clean(str(value)) or None if value is not None else None

    def required(name: str) -> str:
        value = optional(name)
        if not value:
            raise BadArticle(path, line, f"「{name}」がないか、空です")
        return value

    article_id, body = required("id"), _clean(text)
    if not _ID.fullmatch(article_id):
        raise BadArticle(path, line, "「id」は、空白と「#」を含まない100字以内にしてください")
    if not list(_sentences_with_headings(body)):
        raise BadArticle(path, line, "本文がありません")
    article = Article(
        id=article_id,
        title=required("title"),
        department=required("department"),
        text=body,
        url=optional("url"),
        valid_from=_date(path, line, "valid_from", optional("valid_from")),
        valid_to=_date(path, line, "valid_to", optional("valid_to")),
        data_class=_data_class(path, line, optional("data_class")),
        owner=optional("owner") or "",
    )
    if article.valid_from and article.valid_to and article.valid_to < article.valid_from:
        raise BadArticle(path, line, "「valid_to」が「valid_from」より前の日付です")
    return article


def _data_class(path: Path, line: int, value: str | None) -> str:
    if value and value not in DATA_CLASSES:
        choices = "、".join(DATA_CLASSES)
        raise BadArticle(path, line, f"「data_class」は{choices}のどれかにしてください(今の値: {value})")
    return value or "public"


def _date(path: Path, line: int, name: str, value: str | None) -> date | None:
    try:
        return date.fromisoformat(value) if value else None
    except ValueError as error:
        raise BadArticle(
            path, line, f"「{name}」は2026-04-01のような日付で書いてください(今の値: {value})"
        ) from error


def _clean(text: str) -> str:
    """Drop control and invisible characters that an editor pasted in; keep newlines."""
    text = text.replace("\t", " ")
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) not in _INVISIBLE).strip()


def _sentences_with_headings(text: str) -> Iterator[tuple[str, str]]:
    reader = _BodyReader()
    for line in _INLINE_BULLET.sub("\n", _plain(text)).split("\n"):
        for sentence in reader.read(line.strip()):
            if any(char.isalnum() for char in sentence):
                yield sentence, " / ".join(part for part in (reader.heading, reader.context) if part)


class _BodyReader:
    """Reads a body line by line and remembers what stands above: heading, list lead-in, table header."""

    def __init__(self) -> None:
        self.heading = ""
        self.context = ""
        self._lead = ""
        self._in_list = False
        self._table: list[str] = []

    def read(self, line: str) -> list[str]:
        """The sentences of one line; ``heading`` and ``context`` then hold what belongs to them."""
        if line.startswith("|"):
            return self._read_row(line)
        self._table = []
        if heading := _HEADING.fullmatch(line) or _SECTION_MARK.fullmatch(line):
            self.heading, self._lead = heading["title"].strip("。:： "), ""
            return []
        if bullet := _BULLET.match(line):
            self.context, self._in_list = self._lead, True
            return _split_line(line[bullet.end() :])
        self.context = ""
        if line or self._in_list:
            self._lead, self._in_list = "", False
        return self._read_prose(line) if line else []

    def _read_prose(self, line: str) -> list[str]:
        sentences = _split_line(line)
        self._lead = sentences[-1].rstrip("：:") if sentences and _introduces_list(sentences[-1]) else ""
        return sentences[:-1] if line.endswith(("：", ":")) else sentences

    def _read_row(self, line: str) -> list[str]:
        self.context = self._lead
        if _TABLE_RULE.fullmatch(line):
            return []
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not self._table:
            self._table = cells
            return []
        pairs = zip(self._table[1:], cells[1:], strict=False)
        named = [f"{name}：{cell}" if name else cell for name, cell in pairs if cell]
        return [f"{cells[0]}は、{'、'.join(named)}です。" if named else cells[0]]


def _introduces_list(sentence: str) -> bool:
    return sentence.endswith(("：", ":")) or "次の" in sentence or "以下の" in sentence


def _plain(text: str) -> str:
    text = _COMMENT.sub("", text)
    text = _LINK.sub(r"\1（\2）", text)
    return _STRONG.sub(r"\2", text)


def _split_line(line: str) -> list[str]:
    balanced = sum(c in _OPEN for c in line) == sum(c in _CLOSE for c in line)
    sentences, depth, start = [], 0, 0
    for position, char in enumerate(line, 1):
        depth += (char in _OPEN) - (char in _CLOSE) if balanced else 0
        if depth <= 0 and char in _STOP and _ends_sentence(char, line[position : position + 1]):
            sentences.append(line[start:position])
            start = position
    sentences.append(line[start:])
    return [part for s in sentences if s.strip() for part in _chop(s.strip())]


def _ends_sentence(stop: str, following: str) -> bool:
    in_url = stop in "!?" and following.isascii() and following.isalnum()
    return not following or not (in_url or following in _STOP + _CLOSE)


def _chop(sentence: str) -> Iterator[str]:
    while len(sentence) > MAX_PASSAGE_CHARS:
        cut = max(sentence.rfind(mark, 0, MAX_PASSAGE_CHARS) for mark in "、，, ") + 1 or MAX_PASSAGE_CHARS
        yield sentence[:cut].strip()
        sentence = sentence[cut:].strip()
    if sentence:
        yield sentence
