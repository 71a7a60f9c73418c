"""やさしい日本語 by rule, in the three steps of the guideline; no model writes a word of it.

1. 日本人に分かりやすい文章: one fact a sentence, enumerations become lists (`_shorten`).
2. 外国人にも分かりやすい文章: plain words for those of offices (`_plain`), what must keep its name is
   explained below the text, spaces between phrases (`spaced`).
3. 分かりやすさの確認: `responders.easy_check` marks what is still hard, and a person reads it.

No sentence is left out and no number is touched: choosing what a citizen need not know is a person's work.
Source: 出入国在留管理庁・文化庁「在留支援のためのやさしい日本語ガイドライン」 2020.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import yaml

from responders.conjugate import inflected, polite_stem, te_form
from responders.japanese import long_tokens
from responders.knowledge import split_sentences

WORDS_FILE = Path(__file__).parent / "easy_words.yaml"
MOST_NOTES = 5
"""More explanations than these would bury the answer."""
_LIST = re.compile(
    r"^(?P<head>.{2,60}?(?:(?P<need>には)|は))、(?P<items>[^。]+?)(?P<tail>です|が必要です|を(?:お持ち|ご持参)ください)。$"
)
_LIST_HEADS = {
    "です": "は、次のものです。",
    "が必要です": "は、次のものが必要です。",
    "を": "は、次のものを持って来てください。",
}
_NO_ITEM = re.compile(
    r"[はをへ]|まで|から|ます|です|で$|し$|と$|あり$|\d人|ときに|円|のうち|いずれ|どれ|どちら|また|又は|もしくは|若しくは|"
    r"かつ|両方|すべて|全て|それぞれ|など.|の\d|[計各]\d|^(?:および|及び|ならびに|並びに)"
)
"""Which, how many, together or one for another: what a row of its own would not say any more."""
_COPY = re.compile(r"(?:写し|コピー|原本)$")
_PEOPLE = re.compile(
    r"(?:方|人|者|親|父|母|夫|妻|子|孫|児|民|員|家族|親族|遺族|世帯|姉妹|男性|女性|小学生|中学生|学生|子ども)$"
)
_ELSEWHERE = re.compile(r"避難(?!所の)|外出|(?:医療機関|病院|診療所|警察署)[にへ]|診療所で受診")
_AT_THE_CITY = re.compile(r"窓口|市役所|[課係館]へ|会場|申請|届")
_TAKE = re.compile(r"(?:お持ち|ご?持参して|ご持参)(?=ください)")
_OUTSIDE_COMMA = re.compile(r"、(?![^(]*\))")
_POLITE = {
    "ている": "ています", "ていない": "ていません", "がある": "があります", "がない": "がありません",
    "になる": "になります", "できる": "できます", "できない": "できません", "ない": "",
}  # fmt: skip
_BECAUSE = re.compile(rf"(?P<end>{'|'.join(sorted(_POLITE, key=len, reverse=True))})(?:ため|ので)、")
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"についての(?:お問い合わせ|問い合わせ|ご相談)は、(?P<who>[^。]+?)へ(?:、)?(?P<when>[^。]*?)お願いします。"),
        r"について聞きたいときは、\g<who>に\g<when>聞いてください。",
    ),
    (re.compile(r"(?<=[人個点枚通体台件回匹本])につき、?(?=\d)"), " "),
    (re.compile(r"(?<=\d月|毎月)末日"), "の最後の日"),
    (re.compile(r"本庁舎(?=\d)"), "市役所の建物の"),
    (re.compile(r"翌(年度|年|月|日)(?=\d)"), r"次の\1の"),
    (re.compile(r"(?<![一-龥\d])前月(?=\d)"), "前の月の"),
    (re.compile(r"は不要です"), "はいりません"),
    (re.compile(r"(?<=\d日|末日)以前(?=[にの])"), "か、それより前"),  # the day itself counts
)  # fmt: skip
_ONLY_AS = {
    hard: re.compile(pattern)
    for hard, pattern in {
        "していただきます": r"していただきます(?=。|$)",
        "ていただきます": r"(?<!せ)ていただきます(?=。|$)",  # させていただきます is what the city does
        "でいただきます": r"(?<=[んい])でいただきます(?=。|$)",  # 窓口でいただきます: what the city takes
        "ございます": r"(?<=[がはも])ございます",
        "かかりません": r"(?<=[料費用金税][はもが])かかりません",
        "必要ありません": r"(?<=[はもが])必要ありません",
        "必要はありません": r"(?<=[はもが、])必要はありません",  # 連絡する必要はありません
        "のみ": r"(?<!を)のみ(?!なら)",
        "のみです": r"(?<!を)のみです",
        **{hard: hard + "(?![がはもまなあの])" for hard in ("に限り", "場合に限り")},
        "に限って": "に限って(?![いおはも])",
        "に応じて": "(?<=[得入況数齢額量度分類合積間])に応じて",  # not 調査に応じて
        "以前に": r"(?:(?<=[、。はがも])|^)以前に",  # 4月1日以前 includes the day
        "に際して": "(?<![るうくすつむぶぐぬた])に際して",
        **{hard: f"(?<=[^、。(「]){hard}" for hard in ("または", "又は", "もしくは", "若しくは")},
        **{hard: f"(?<=[^、。(「]){hard}" for hard in ("および", "及び", "ならびに", "並びに")},
    }.items()
}
"""What a phrase must stand between to mean what its plain words say."""
_NO_REQUEST = ("受け付ける", "受付ける", "送る", "配る", "渡す", "届く", "なる", "ある", "決まる", "始まる")
_LIKE_A_PARTICLE = frozenset(
    re.findall(
        r"\S+",
        "除く 基づく 応じる 応ずる 限る 伴う 含む 含める 通じる 通ずる 対する 関する 代わる 替わる "
        "先立つ 従う 沿う よる 当たる あたる 際する 準じる 準ずる 加える 経る 踏まえる 合わせる 兼ねる",
    )
)
"""「祝日を除き、電話してください」 asks nobody to 除く."""
_OF_SOME = re.compile(r"(?:^|、)[^、は]+(?:ため|ので)、.*(?:場合|とき|際|(?:方|人|者|世帯)[はがにも])")
"""A reason of some cases and no fact: 「署名できないため、代理人が申請する場合は」."""
_CITY_DOES = ("送付", "発送", "郵送", "通知", "交付", "支給", "配布", "発行", "実施", "開催", "開始", "決定")
"""What the city or nobody does; the citizen who is asked in the same sentence is asked for the rest only."""
_STAYS_BEHIND = {
    "転出": re.compile(r"に$"),  # 3月に or 大阪に: when, or where to
    "転居": re.compile(r"[にで]$"),
    "受診": re.compile(r"を$"),
    "請求": re.compile(r"[料費金額代]を$"),  # a bill is no wish
    "凍結": re.compile(r"を$"),
    "要する": re.compile(r"(?<!に)$"),  # 修理に要する費用, but 許可を要する
    "破損": re.compile(r"(?<!を)$"),  # what broke, nobody need have broken
    **dict.fromkeys(("変更", "開始", "停止", "延長", "短縮", "中止", "廃止"), re.compile(r"が$")),
}
"""Where a verb of the table does not mean what its plain one says."""
_MOVES = {"転出": re.compile(r"へ[^、]{0,8}$"), "転居": re.compile(r"(?:へ|から)[^、]{0,8}$")}
"""These name their place themselves: 海外へ引っ越す."""
_PERSON = re.compile(
    r"(?:以上|以下|未満|\d歳|歳まで|世帯|課税|お持ち|お住まい|級|予定|人|者|民|学生|年生|代理|対象|該当|希望|難病|病気|障害|暮らし|員|症|すべて|"
    r"全て|地区|中|在住|在勤|在学|女性|男性|妊婦|ひとり親)の$"
)
_PERSONS = ("人", "親など", "夫か妻", "家族")
_NO_PERSON = re.compile(r"の$|(?:いずれか|どちらか)[^、]{0,8}$|(?<!な)(?<!難し)(?<!若)い$")
_RATHER = re.compile(r"方が(?:便利|安|早|速|高|低|よ|良|い[いっ]|得|簡単|多|少|望まし|安全|有利|楽)")
_BY_WHOM = re.compile(r"(?:方|人|者|親|主|族|民|員|世帯)に[^。]*$")
"""「所有者に納めていただきます」: who pays; 「所有者に払ってください」 would be to whom."""
_PARTICLES = {*(("に", verb) for verb in ("付く", "つく", "よる", "関する", "対する")), ("と", "する")}
"""Two words that one reads as a particle: について, による."""
_NO_SPACE_BEFORE = frozenset({"助詞", "助動詞", "接尾辞", "補助記号", "空白", "記号"})
_COMPOUND = frozenset({"名詞", "形状詞", "接尾辞", "接頭辞", "記号"})
_WHEN = frozenset({"日", "月", "年", "年度", "時", "現在", "時点"})
_CLAUSES = {"こと": "を", "入っている人": "に", "持っている人": "を", "使う人": "を", "買った人": "を"}


@dataclass(frozen=True, slots=True)
class EasyText:
    """A body in やさしい日本語."""

    body: str
    """One sentence a line, list rows with 「・」, spaces between phrases; without readings."""
    notes: tuple[tuple[str, str], ...]
    """Words that stayed and what they mean."""


@dataclass(frozen=True, slots=True)
class _Words:
    phrases: tuple[tuple[str, str], ...]
    verbs: dict[str, str]
    nouns: dict[str, str]
    notes: dict[str, str]


@cache
def words() -> _Words:
    """The table of `WORDS_FILE`; longer entries come first."""
    raw = yaml.safe_load(WORDS_FILE.read_text("utf-8"))
    phrases = tuple(sorted(raw["phrases"].items(), key=lambda pair: -len(pair[0])))
    return _Words(phrases, raw["verbs"], raw["words"], raw["notes"])


def easy(body: str) -> EasyText:
    """Put the body of a reply into やさしい日本語.

    Args:
        body: Without greeting and closing, any layout; personal data is the caller's concern.

    Returns:
        The same facts in shorter sentences and plainer words; a line that no rule fits stays as it is.
    """
    plain_brackets = body.replace("（", "(").replace("）", ")")
    lines: list[str] = []
    for line in plain_brackets.splitlines():
        row = "・" if line.strip().startswith("・") else ""
        for sentence in split_sentences(line) if line.strip() else []:
            parts = [sentence] if row else list(_shorten(sentence))
            lines += (row + spaced(_plain(part)) if row else spaced(_plain(part)) for part in parts)
    notes = tuple((word, spaced(meaning)) for word, meaning in _noted(plain_brackets))
    return EasyText("\n".join(lines), notes)


def _noted(body: str) -> Iterator[tuple[str, str]]:
    """Explained words in the order in which they stand; a word inside a longer explained one is none."""
    known = words().notes
    pattern = re.compile("|".join(sorted(map(re.escape, known), key=len, reverse=True)))
    found = list(dict.fromkeys(pattern.findall(body)))
    yield from ((word, known[word]) for word in found[:MOST_NOTES])


def _shorten(sentence: str) -> Iterator[str]:
    """Step 1: a list for an enumeration, two sentences for two facts."""
    joints = (_at_because, _at_but, _at_copula, _at_request)
    while not (rows := _as_list(sentence)):
        parts = next(filter(None, (joint(sentence) for joint in joints)), None)
        if parts is None:
            yield sentence
            return
        first, sentence = parts
        yield first
    yield from rows


def _as_list(sentence: str) -> list[str]:
    match = _LIST.match(sentence)
    if not match:
        return []
    items = _OUTSIDE_COMMA.split(match["items"])
    if len(items) < 3 or not all(map(_is_item, items)) or not _stand_alone(items):
        return []
    tail = next(value for key, value in _LIST_HEADS.items() if match["tail"].startswith(key))
    tail = tail.replace("来て", "行って") if _goes_elsewhere(sentence) else tail
    if match["need"] and not match["tail"].startswith("が"):
        return []
    head = match["head"].removesuffix("は")
    return [head + tail, *(f"・{item}" for item in items)]


def _is_item(text: str) -> bool:
    bare = re.sub(r"\([^()]*\)", "", text)
    if _NO_ITEM.search(bare) or _PEOPLE.search(bare) or "(" in bare or ")" in bare:
        return False
    *before, last = long_tokens(bare)
    # A verb alone is a noun here (着替え); behind other words it is a condition (市内に住み).
    return not before or last.part_of_speech()[0] not in ("動詞", "形容詞", "助動詞", "助詞")


def _stand_alone(items: Sequence[str]) -> bool:
    """Whether each item says by itself what it says in the sentence.

    What modifies the first may modify all (市内の店舗の改装費、設備費); so may the last (手帳の写し).
    """
    first = long_tokens(items[0])
    modified = len(first) > 1 and any(
        m.surface() == "の" or m.part_of_speech()[0] in ("動詞", "形容詞", "助動詞", "連体詞") for m in first
    )
    return not modified and not _COPY.search(items[-1]) and len(set(map(_has_predicate, items))) == 1


def _has_predicate(item: str) -> bool:
    """「第1期が4月末日」 and 「自転車などが対象」, but not 「金額が分かるもの」."""
    return "が" in item and not any(m.part_of_speech()[0] in ("動詞", "形容詞") for m in long_tokens(item))


def _goes_elsewhere(sentence: str) -> bool:
    """Whether what one takes along goes to another place than the city hall, from where the text speaks."""
    return bool(_ELSEWHERE.search(sentence)) and not _AT_THE_CITY.search(sentence)


def _at_because(sentence: str) -> tuple[str, str] | None:
    """「発行しないため、」: a reason; 「防ぐため、」 is an aim and stays."""
    match = _BECAUSE.search(sentence)
    if not match or _in_brackets(sentence, match.start()) or _OF_SOME.search(sentence):
        return None
    first, rest = sentence[: match.start()], "そのため、" + sentence[match.end() :]
    if match["end"] != "ない":
        return first + _POLITE[match["end"]] + "。", rest
    verb = long_tokens(first)[-1]
    if verb.part_of_speech()[0] != "動詞":
        return None
    return first.removesuffix(verb.surface()) + polite_stem(verb.dictionary_form()) + "ません。", rest


def _at_but(sentence: str) -> tuple[str, str] | None:
    match = re.search(r"(?:です|ます|ません)(?P<how>が|ので|し)、", sentence)
    if not match or _in_brackets(sentence, match.start()):
        return None
    link = {"が": "しかし、", "ので": "ですから、", "し": "また、"}[match["how"]]
    return sentence[: match.start("how")] + "。", link + sentence[match.end() :]


def _at_copula(sentence: str) -> tuple[str, str] | None:
    """「窓口は1階で、受付時間は…です。」: both halves have a topic of their own and end in a noun or です."""
    for match in re.finditer(r"(?<=[一-龥ー0-9)])で、", sentence):
        first, rest = sentence[: match.start()], sentence[match.end() :]
        topic = re.match(r"[^、はがをに]{2,24}は", rest)
        states = rest.endswith(("です。", "いりません。", "かかりません。"))
        if "は" in first and topic and states and not _in_brackets(sentence, match.start()):
            return first + "です。", rest
    return None


def _at_request(sentence: str) -> tuple[str, str] | None:
    """「申請し、調査を受けてください。」: two requests."""
    # 「火をつけ、離れないでください」 asks for neither.
    if not sentence.endswith("ください。") or sentence.endswith("ないでください。"):
        return None
    tokens = long_tokens(sentence)
    at = 0
    for verb, comma in pairwise(tokens):
        noun = sentence[:at].endswith("、")  # alone between commas: 着替え
        at += len(verb.surface())
        rest = sentence[at + 1 :]
        kind = verb.part_of_speech()
        if noun or kind[0] != "動詞" or not kind[5].startswith("連用形") or comma.surface() != "、":
            continue
        if re.search(r"方|人|とき|場合|もの|際", rest) or _in_brackets(sentence, at):
            continue
        stem = sentence[: at - len(verb.surface())]
        acts = stem.rsplit("、", 1)[-1]
        word = verb.dictionary_form()
        if word in _LIKE_A_PARTICLE or word in _NO_REQUEST or acts.endswith(_CITY_DOES) or "が" in acts:
            continue
        return stem + te_form(word) + "ください。", "それから、" + rest
    return None


def _in_brackets(text: str, at: int) -> bool:
    return text.count("(", 0, at) + text.count("「", 0, at) > text.count(")", 0, at) + text.count("」", 0, at)


def _plain(sentence: str) -> str:
    """Step 2: rules and phrases, then verbs and nouns word by word; names that are explained stay."""
    if _goes_elsewhere(sentence):
        sentence = _TAKE.sub("持って行って", sentence)
    for pattern, replacement in _RULES:
        sentence = pattern.sub(replacement, sentence)
    whole = "".join(_reworded(long_tokens(_phrased(sentence))))
    return whole.replace("の\b", "")


def _phrased(sentence: str) -> str:
    """Phrases in plain words, from one border of words to another: 市営のみなと斎場 holds no のみ."""
    tokens = long_tokens(sentence)
    ends = list(accumulate(len(token.surface()) for token in tokens))
    borders = {0, *ends}
    # A verb that sounds like a phrase is none: 薬をのみます, 影響が及びます.
    pairs = zip(tokens, ends, strict=True)
    verbs = {end: token.surface() for token, end in pairs if token.part_of_speech()[0] == "動詞"}
    parts: list[str] = []
    at = 0
    while at < len(sentence):
        hard, soft = sentence[at], sentence[at]
        if at in borders:
            standing = (pair for pair in words().phrases if at + len(pair[0]) in borders)
            fitting = (pair for pair in standing if _stands(pair[0], sentence, at))
            hard, soft = next((p for p in fitting if verbs.get(at + len(p[0])) != p[0]), (hard, soft))
        parts.append(soft)
        at += len(hard)
    return "".join(parts)


def _stands(hard: str, sentence: str, at: int) -> bool:
    if "ていただきます" in hard and _BY_WHOM.search(sentence, 0, at):
        return False
    if hard.endswith("ください") and sentence.startswith("ます", at + len(hard)):
        return False
    only = _ONLY_AS.get(hard)
    return bool(only.match(sentence, at)) if only else sentence.startswith(hard, at)


def _reworded(tokens: Sequence[Any]) -> Iterator[str]:
    at = 0
    while at < len(tokens):
        taken, text = _kept(tokens, at) or _honorific(tokens, at) or _verb(tokens, at) or _noun(tokens, at)
        if taken and at > 1 and tokens[at - 1].surface() == "の" and (link := _link(text)):
            # 「住所の変更」→「住所を変えること」; 「床材への変更」 and 「本人の来庁」 cannot be said so.
            taken, text = (taken, f"\b{link}{text}") if _is_object(tokens[at - 2]) else (0, "")
        yield text if taken else tokens[at].surface()
        at += taken or 1


def _is_object(before: Any) -> bool:  # noqa: ANN401
    """Whether what stands before の is acted on, and is no person who acts nor a day."""
    word = before.surface()
    return before.part_of_speech()[0] != "助詞" and word not in _WHEN and not _PEOPLE.search(word)


def _link(text: str) -> str:
    """The particle that a clause wants where its noun had の; empty for a plain noun."""
    return next((particle for end, particle in _CLAUSES.items() if text.endswith(end)), "")


def _surface(tokens: Sequence[Any], start: int, count: int) -> str:
    return "".join(t.surface() for t in tokens[start : start + count])


def _longest(tokens: Sequence[Any], at: int, table: Sequence[str] | dict[str, str], most: int = 6) -> int:
    lengths = range(min(most, len(tokens) - at), 0, -1)
    return next((n for n in lengths if _surface(tokens, at, n) in table), 0)


def _kept(tokens: Sequence[Any], at: int) -> tuple[int, str] | None:
    count = _longest(tokens, at, words().notes)
    return (count, _surface(tokens, at, count)) if count else None


def _honorific(tokens: Sequence[Any], at: int) -> tuple[int, str] | None:
    """「お送りします」→「送ります」, 「お納めください」→「払ってください」."""
    if tokens[at].surface() not in ("お", "ご") or at + 2 >= len(tokens):
        return None
    word, after = tokens[at + 1], tokens[at + 2]
    kind = word.part_of_speech()
    verb = word.dictionary_form() if kind[0] == "動詞" else word.surface() + "する"
    if (kind[0] != "動詞" and tokens[at].surface() != "ご") or word.dictionary_form() == "願う":
        return None
    verb = words().verbs.get(verb) or words().verbs.get(verb.removesuffix("する"), verb)
    if after.surface() == "ください":
        return 3, te_form(verb) + "ください"
    if after.dictionary_form() in ("する", "いたす") and after.part_of_speech()[5].startswith("連用形"):
        return 3, polite_stem(verb)
    if after.dictionary_form() == "できる":
        return 3, verb + "ことが" + after.surface()
    return None


def _verb(tokens: Sequence[Any], at: int) -> tuple[int, str] | None:
    """A verb of the table in the same form; what has no sure form, a passive above all, stays."""
    table, first, before = words().verbs, tokens[at], _surface(tokens, 0, at)
    word = first.dictionary_form()
    if first.part_of_speech()[0] == "動詞" and word in table:
        return None if _stays(word, before) else inflected(table[word], tokens, at, 0)
    if at and _inside_name(tokens[at - 1]):
        return None
    count = _longest(tokens, at, table, most=3)
    follows = tokens[at + count] if count and at + count < len(tokens) else None
    if follows is None or follows.dictionary_form() not in ("する", "できる"):
        return None
    word = _surface(tokens, at, count)
    if _stays(word, before):
        return None
    moves = word in _MOVES and _MOVES[word].search(before)
    return inflected("引っ越す" if moves else table[word], tokens, at, count)


def _stays(word: str, before: str) -> bool:
    return word in _STAYS_BEHIND and bool(_STAYS_BEHIND[word].search(before))


def _inside_name(before: Any) -> bool:  # noqa: ANN401
    return before.part_of_speech()[0] in _COMPOUND and before.surface() not in "・「」()"


def _noun(tokens: Sequence[Any], at: int) -> tuple[int, str]:
    table = words().nouns
    if at and _inside_name(tokens[at - 1]):
        return 0, ""
    if tokens[at].surface() == "方" and not _is_person(tokens, at):
        return 0, ""
    count = _longest(tokens, at, table)
    after = tokens[at + count] if at + count < len(tokens) else None
    if not count or (after is not None and after.part_of_speech()[0] in ("名詞", "接尾辞")):
        return 0, ""
    plain = table[_surface(tokens, at, count)]
    # 「所有者の方」 is one person: 持っている人の人 would be two.
    courteous = plain.endswith(_PERSONS) and _surface(tokens, at + count, 2) == "の方"
    return (count + 2 if courteous and _is_person(tokens, at + count + 1) else count), plain


def _is_person(tokens: Sequence[Any], at: int) -> bool:
    """Whether 方 is a person, and not a side or the better choice (バスの方が便利, 早い方の日)."""
    if tokens[at].part_of_speech()[0] != "名詞" or _RATHER.match(_surface(tokens, at, len(tokens))):
        return False
    before = _surface(tokens, 0, at)
    wants = tokens[at - 1].part_of_speech()[0] == "助動詞" if at else False  # 使いたい方
    return bool(_PERSON.search(before) or wants or not _NO_PERSON.search(before))


def spaced(text: str) -> str:
    """Step 2's 分かち書き: a space before each phrase, none inside numbers, names and brackets."""
    parts: list[str] = []
    before: Any = None
    for token in long_tokens(text):
        kind = token.part_of_speech()
        starts = kind[0] not in _NO_SPACE_BEFORE and before is not None
        if starts and _goes_on(before, token):
            starts = False
        parts.append((" " if starts else "") + token.surface())
        before = token
    # The dictionary takes 「は要りません」 in kana for a form of 入る.
    return re.sub(r" +", " ", "".join(parts)).replace(" はいりません", "は いりません").strip()


def _goes_on(before: Any, token: Any) -> bool:  # noqa: ANN401
    """Whether a content word belongs to the phrase before it."""
    kind, previous = token.part_of_speech(), before.part_of_speech()
    if previous[0] in ("接頭辞", "記号", "補助記号", "空白"):
        return True
    if kind[0] == "名詞" and previous[0] in ("名詞", "接尾辞", "形状詞"):
        return True
    if kind[0] == "動詞" and kind[1] == "非自立可能":
        # しています, 確認する, 持って来る: no phrase of their own.
        return previous[0] in ("名詞", "動詞") or previous[1] == "接続助詞"
    return (before.surface(), token.dictionary_form()) in _PARTICLES
