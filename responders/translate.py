"""The second text in the citizen's language: a model translates sentence by sentence, a gate compares facts.

One sentence at a time, so that none can be dropped or merged without being noticed. A translation that the
gate refuses is not shown at all: a person may write one. The gate reads numbers and scripts, not meaning;
whoever approves must have the text read by somebody who knows the language.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from responders.errors import ModelError
from responders.facts import EMAIL
from responders.knowledge import split_sentences
from responders.letters import strip_control_tokens
from responders.llm import Llm, Rewrite, record_of
from responders.ruby import without_readings

Language = Literal["en", "zh", "ko", "vi", "pt", "tl", "ne"]
Status = Literal["translated", "refused", "model_error", "unsupported"]
LANGUAGES: dict[Language, str] = {
    "en": "English", "zh": "Simplified Chinese", "ko": "Korean", "vi": "Vietnamese",
    "pt": "Brazilian Portuguese", "tl": "Tagalog (Filipino)", "ne": "Nepali",
}  # fmt: skip
BUNDLED: frozenset[Language] = frozenset()
"""Languages that the bundled model translates well enough to be offered; see docs/decisions/0012."""
_ERAS = {"令和": 2018, "平成": 1988, "昭和": 1925}
_DIGITS = {c: i for i, c in enumerate("〇一二三四五六七八九")}
_ADDRESS = re.compile(rf"https?://[\x21-\x7e]+|{EMAIL.pattern}", re.ASCII)
_PHONE = re.compile(
    r"(?<!\d)(?:\+81[ -]?\d|\(?0\d)\d{0,3}\)?[-– ]\d{1,4}[-– ]\d{3,4}(?!\d)|(?<!\d)0\d{9,10}(?!\d)"
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PM = re.compile(
    r"午後|下午|晚上|오후|\bp\.?\s?m\b\.?|\bchiều\b|\btối\b|\bda tarde\b|\bda noite\b|ng hapon|ng gabi|"
    r"दिउँसो|बेलुका|साँझ",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"(?<![\d:])(?P<h>[0-2]?\d)\s*"
    r"(?::|時(?!間)|点(?!数)|點|시(?!간)|h(?=\d|\b)|giờ(?!\s?đồng)|बजे|(?=[ap]\.?\s?m\b))"
    r"\s*(?P<m>[0-5]\d(?!\d))?\s*(?:分|분|phút)?(?!間)",
    re.IGNORECASE,
)
_MONTHS: dict[str, Sequence[str]] = {
    "en": ("january", "february", "march", "april", "may", "june", "july", "august", "september",
           "october", "november", "december"),
    "pt": ("janeiro", "fevereiro", "março", "abril", "maio", "junho", "julho", "agosto", "setembro",
           "outubro", "novembro", "dezembro"),
    "tl": ("enero", "pebrero", "marso", "abril", "mayo", "hunyo", "hulyo", "agosto", "setyembre", "oktubre",
           "nobyembre", "disyembre"),
    "ne": ("जनवरी", "फेब्रुअरी", "मार्च", "अप्रिल", "मे", "जुन", "जुलाई", "अगस्ट", "सेप्टेम्बर", "अक्टोबर",
           "नोभेम्बर", "डिसेम्बर"),
}  # fmt: skip
_WORDS: dict[str, dict[str, Sequence[str]]] = {
    language: {number: spelled.split("/") for number, spelled in (entry.split(":") for entry in row.split())}
    for language, row in {
        "en": "0:free 1:one/first/per/each/a/an/every/once 2:two/second/half/twice 3:three/third"
        " 4:four/fourth 5:five/fifth 6:six/sixth 7:seven 8:eight 9:nine 10:ten 12:noon/twelve",
        "pt": "0:gratuito/gratuita/grátis 1:um/uma/primeiro/primeira/cada/por 2:dois/duas/segundo/metade "
        "3:três/terceiro 4:quatro/quarto 5:cinco 12:meio-dia",
        "vi": "0:miễn 1:một/mỗi/đầu 2:hai/nửa 3:ba 4:bốn/tư 5:năm 12:trưa",
        "tl": "0:libre 1:isa/isang/bawat/una/unang 2:dalawa/dalawang/ikalawa/kalahati 3:tatlo/tatlong 4:apat "
        "5:lima/limang 12:tanghali",
        "zh": "0:免费 1:一/每/首 2:二/两/半 3:三 4:四 5:五 6:六 7:七 8:八 9:九 10:十 12:中午/十二",
        "ko": "0:무료 1:한/하나/일/매/첫 2:두/둘/이/절반 3:세/셋/삼 4:네/넷/사 5:다섯/오 12:정오",
        "ne": "0:निःशुल्क 1:एक/प्रति/हरेक/पहिलो 2:दुई/दोस्रो/आधा 3:तीन 4:चार/चौथो 5:पाँच",
    }.items()
}
"""Words that may stand for a number of the original; they never count as a number too many."""
_NEGATIONS: dict[str, str] = {
    "en": r"\bnot?\b|n't\b|\bcannot\b|\bwithout\b|\bun\w+|\bnone\b|\bnever\b|\bfree\b|\bexcept|"
    r"\bprohibit|\bother than",
    "zh": r"不|无|無|没|未|非|禁止|免|除|勿|请勿|别",
    "ko": r"않|없|못|아니|금지|불가|불필요|무료|비과세|제외|외",
    "vi": r"không|chưa|chẳng|miễn|cấm|ngoài|trừ|đừng",
    "pt": r"\bnão\b|\bsem\b|\bnem\b|\bnenhum|\bgratuit|\bisent|\bproibid|\bexceto|\bdesnecess|\bfora\b",
    "tl": r"\bhindi\b|\bwala|\bhuwag\b|\bbawal\b|\blibre\b|\bmaliban\b|\bdi\b",
    "ne": r"छैन|हुँदैन|हुन्न|नगर्न|बिना|न\w*होस्|निःशुल्क|बाहेक|पर्दैन|सक्दैन|सकिँदैन|दैन",
}
_NEGATION_JA = re.compile(r"ません|ない(?!容)|なく(?!な)|不要|不可|禁止|ずに|以外|除[きく]")
_OBLIGATION_JA = re.compile(r"(?:なければ|なくては|ないと)(?:なり|いけ)ません")
_YEN: dict[str, str] = {
    "en": r"yen|¥|jpy", "zh": r"日[元圆圓币]|¥", "ko": r"엔", "vi": r"y[eê]n|¥", "pt": r"ienes?|yen|¥",
    "tl": r"yen|¥", "ne": r"येन|¥",
}  # fmt: skip
_SPELLED: dict[str, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:two|three|four|five|six|seven|eight|nine|ten)\b", re.IGNORECASE),
    "zh": re.compile(r"(?<![星期周第])[二两三四五六七八九十](?=天|日|年|个|周|小时|岁|人|次|点)"),
}
"""Numbers in words that may not be new: 三天 where the original has no 3."""
_MARKS: dict[str, str] = {
    "en": r"\b(?:the|of|to|and|for|you|is|are|please|at|by|in|from|can|your|be|will|it|we|"
    r"our|this|after|with|if|must|on)\b",
    "pt": r"\b(?:de|da|do|dos|das|para|que|não|em|é|ao|na|no|por|com|até|são|ou)\b",
    "tl": r"\b(?:ang|ng|mga|sa|na|ay|at|po|para|mula|hanggang|kung|ito|kay|o)\b",
    "vi": r"[ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]",
}
_SCRIPTS: dict[str, tuple[str, float]] = {
    "zh": (r"[一-鿿]", 0.7), "ko": (r"[가-힯]", 0.7), "ne": (r"[ऀ-ॿ]", 0.7),
    "en": (r"[a-z]", 0.9), "vi": (r"[a-zà-ỹăđơư]", 0.9), "pt": (r"[a-zà-ü]", 0.9), "tl": (r"[a-zà-ü]", 0.9),
}  # fmt: skip
"""Letters of each script, and their least share among all letters outside brackets."""
_LENGTHS: dict[str, tuple[float, float]] = {
    "zh": (0.35, 1.8), "ko": (0.45, 2.5), "ne": (0.8, 5.0), "en": (0.9, 6.0), "vi": (0.9, 6.0),
    "pt": (0.9, 6.0), "tl": (0.9, 6.5),
}  # fmt: skip
"""Characters per character of Japanese."""
_BRACKETS = re.compile(r"[(（「『【\[][^()（）「」『』【】\[\]]*[)）」』】\]]")
_KANA = re.compile(r"[぀-ヿ]+")
_HAN = re.compile(r"[一-鿿々]+")
_LINE = re.compile(r"[^\n。]+。?")


@dataclass(frozen=True, slots=True)
class Translation:
    """A translated body, or the reason why there is none."""

    status: Status
    """``translated``; ``refused``: by the gate; ``model_error``; ``unsupported``: not with this model."""
    text: str = ""
    """One sentence a line; empty unless translated."""
    reason_ja: str = ""
    """For the person at the screen; it never quotes the model."""
    model: dict[str, Any] = field(default_factory=dict)
    """As `responders.draft.DraftResult.model`, over all sentences; empty when no model was asked."""


def translate(body: str, language: Language, llm: Llm) -> Translation:
    """Translate the body of a reply.

    Args:
        body: Japanese, without greeting and closing; the city's words, never a citizen's.
        language: The citizen's.
        llm: The model.

    Returns:
        A text only when every sentence passed the gate.
    """
    lines: list[str] = []
    written: list[Rewrite] = []

    def without_text(status: Status, reason: str, why: str) -> Translation:
        return Translation(status, reason_ja=reason, model=record_of(llm, "translate", written, why))

    for number, (mark, sentence) in enumerate(_sentences(body), 1):
        try:
            answer = llm.translate(sentence, LANGUAGES[language])
        except ModelError as error:
            reason = "言語モデルが応答しませんでした。しばらくしてから、もう一度押してください。"
            return without_text("model_error", reason, str(error))
        written.append(answer)
        why = (
            "途中で切れています" if answer.finish_reason != "stop" else gate(sentence, answer.text, language)
        )
        if why:
            reason = f"{number}文目の訳が点検を通りませんでした({why})。訳は表示しません。"
            return without_text("refused", reason, f"{number}文目: {why}")
        lines.append(mark + answer.text.strip())
    return Translation(
        "translated", "\n".join(lines), model=record_of(llm, "translate", written, "") if written else {}
    )


def _sentences(body: str) -> list[tuple[str, str]]:
    found = []
    for line in body.splitlines():
        mark = "・" if line.strip().startswith("・") else ""
        found += [(mark, sentence) for sentence in (split_sentences(line) if line.strip() else [])]
    return found


def gate(japanese: str, foreign: str, language: Language) -> str:
    """Why a translation of one sentence may not be offered; empty when it may.

    Numbers, scripts, negation, repetition and length are compared; meaning is a reader's work.
    """
    checks: tuple[Callable[[str, str, Language], str], ...] = (
        _foul, _length, _script, _right_language, _repeats, _facts_differ, _spelled_out, _currency, _negation,
    )  # fmt: skip
    return next((why for check in checks if (why := check(japanese, foreign, language))), "")


def differing_facts(japanese: str, foreign: str, language: str) -> tuple[list[str], list[str]]:
    """Numbers, phones and addresses of a Japanese text and its second text, as two multisets.

    Args:
        japanese: The original.
        foreign: In another language, or in やさしい日本語.
        language: Of the second text; ``easy`` for やさしい日本語.

    Returns:
        What is missing in the second text, and what stands only there.
    """
    said, meant = _facts(foreign, language), _facts(japanese, "ja")
    missing = list((meant - said).elements())
    extra = list((said - meant).elements())
    spelled = {value for value in {*missing} if _stands_in_words(value, foreign.lower(), language)}
    return [value for value in missing if value not in spelled], extra


def _stands_in_words(value: str, folded: str, language: str) -> bool:
    bounded = language not in ("zh", "ko")
    words = _WORDS.get(language, {}).get(value, ())
    return any(re.search(rf"(?<!\w){w}(?!\w)" if bounded else w, folded) for w in words)


def place_of(fact: str, text: str, language: str) -> tuple[int, int]:
    """Where one of `differing_facts` stands: its digits, else its line, else the whole text."""
    for line in _LINE.finditer(text):
        if fact in _facts(without_readings(line[0]), language):
            start, end = line.span()
            exact = re.search(rf"(?<!\d){re.escape(fact)}(?!\d)", line[0])
            return (start + exact.start(), start + exact.end()) if exact else (start, end)
    return 0, len(text)


@lru_cache(maxsize=2_000)
def _facts(text: str, language: str) -> Counter[str]:
    plain = "".join(_ascii_digit(c) for c in unicodedata.normalize("NFKC", text))
    found: Counter[str] = Counter()
    for match in _ADDRESS.finditer(plain):
        found[match[0].rstrip(".,;:)").lower()] += 1
    plain = _ADDRESS.sub(" ", plain)
    for match in _PHONE.finditer(plain):
        digits = re.sub(r"\D", "", match[0].replace("+81", ""))
        found["0" + digits.removeprefix("0") if "+81" in match[0] else digits] += 1
    plain = _PHONE.sub(" ", plain)
    plain = _TIME.sub(lambda m: _hour(m), _without_commas(_half_past(_western_years(plain)), language))
    plain = _with_months(_big_numbers(plain), language)
    for match in _NUMBER.finditer(plain):
        whole, _, part = match[0].partition(".")
        value = (whole.lstrip("0") or "0") + (f".{part.rstrip('0')}" if part.rstrip("0") else "")
        found[value] += 1
    return found


def _ascii_digit(char: str) -> str:
    return str(unicodedata.digit(char, "")) if char.isdigit() and not char.isascii() else char


def _half_past(text: str) -> str:
    return re.sub(r"(\d{1,2})\s*([点點時시])\s*[半반]", r"\1\g<2>30分", text)


def _western_years(text: str) -> str:
    def year(match: re.Match[str]) -> str:
        return str(_ERAS[match[1]] + (1 if match[2] == "元" else int(match[2]))) + "年"

    return re.sub(r"(令和|平成|昭和)\s*(元|\d{1,2})年", year, text)


def _without_commas(text: str, language: str) -> str:
    """Thousands: 1,000, and 1.000 where a language writes a point."""
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    return re.sub(r"(?<=\d)\.(?=\d{3}(?!\d))", "", text) if language in ("pt", "vi") else text


def _hour(match: re.Match[str]) -> str:
    """An hour on the 24-hour clock, minutes only when there are any: 5:15 p.m. → 17 15, 9:00 → 9."""
    hour, minute = int(match["h"]), int(match["m"] or 0)
    before = match.string[max(0, match.start() - 4) : match.start()]
    after = match.string[match.end() : match.end() + 14].lstrip(" ,.")
    if hour < 12 and (_PM.match(after) or _PM.search(before)):
        hour += 12
    return f" {hour} {minute} " if minute else f" {hour} "


def _big_numbers(text: str) -> str:
    """15万8000, 10만 → plain digits; 三, 十 of a Japanese number beside its unit too."""
    text = re.sub(
        r"(?<!\d)(\d++(?:\.\d++)?+)\s*+[万만](?:\s*(\d{1,4}))?",
        lambda m: f"{float(m[1]) * 10_000 + int(m[2] or 0):.0f}",
        text,
    )
    return re.sub(r"(\d)\s*[千천]", lambda m: f"{m[1]}000", text)


def _with_months(text: str, language: str) -> str:
    names = _MONTHS.get(language, ())
    for number, name in enumerate(names, 1):
        short = rf"(?:{name}|{name[:3]}\.?)" if language in ("en", "pt", "tl") and name != "may" else name
        if name == "may":
            # May the month stands beside a day or a preposition; may the verb does not.
            short = r"may(?=\s\d)|(?<=\d\s)may|(?<=of\s)may|(?<=in\s)may"
        text = re.sub(rf"(?<!\w)(?:{short})(?!\w)", f" {number} ", text, flags=re.IGNORECASE)
    return text


def _foul(_japanese: str, foreign: str, _language: Language) -> str:
    if strip_control_tokens(foreign) != foreign:
        return "制御記号が混ざっています"
    if any(unicodedata.category(c) in ("Cc", "Co", "Cn", "Cs") for c in foreign.strip()):
        return "改行や見えない文字が混ざっています"
    return ""


def _length(japanese: str, foreign: str, language: Language) -> str:
    least, most = _LENGTHS[language]
    share = len(foreign.strip()) / max(len(japanese), 1)
    return "" if least <= share <= most + 20 / max(len(japanese), 1) else "長さが合いません"


def _script(japanese: str, foreign: str, language: Language) -> str:
    bare = _BRACKETS.sub(" ", foreign)
    if _KANA.search(bare):
        return "日本語の仮名が残っています"
    if language != "zh" and _HAN.search(bare):
        return "漢字が残っています"
    quoted = "".join(_BRACKETS.findall(foreign))
    if language != "zh" and any(run not in japanese for run in _HAN.findall(quoted)):
        return "元の文にない漢字があります"
    letters = [c for c in bare.lower() if c.isalpha()]
    pattern, least = _SCRIPTS[language]
    own = sum(bool(re.match(pattern, c)) for c in letters)
    return "" if letters and own >= least * len(letters) else "ほかの文字が混ざっています"


def _right_language(_japanese: str, foreign: str, language: Language) -> str:
    """A Latin sentence has the small words of its own language, and more of them than of any other."""
    if language not in _MARKS:
        return ""
    counts = {key: len(re.findall(pattern, foreign.lower())) for key, pattern in _MARKS.items()}
    if counts[language] == 0 or counts[language] < max(counts.values()):
        return "別の言語になっています"
    return ""


def _repeats(_japanese: str, foreign: str, language: Language) -> str:
    units = list(foreign) if language == "zh" else foreign.lower().split()
    size = 8 if language == "zh" else 5
    runs = Counter(tuple(units[i : i + size]) for i in range(len(units) - size + 1))
    return "繰り返しがあります" if any(count > 1 for count in runs.values()) else ""


def _facts_differ(japanese: str, foreign: str, language: Language) -> str:
    missing, extra = differing_facts(japanese, foreign, language)
    if missing:
        return f"「{'、'.join(missing)}」がありません"
    return f"「{'、'.join(extra)}」は元の文にありません" if extra else ""


def _spelled_out(japanese: str, foreign: str, language: Language) -> str:
    """A number in words that the original does not have."""
    known = _facts(japanese, "ja")
    for match in _SPELLED[language].finditer(foreign) if language in _SPELLED else ():
        value = next((v for v, spelled in _WORDS[language].items() if match[0].lower() in spelled), "")
        if value and value not in known:
            return f"「{value}」は元の文にありません"
    return ""


def _currency(japanese: str, foreign: str, language: Language) -> str:
    """200元 is not 200円."""
    said = re.search(_YEN[language], foreign, re.IGNORECASE)
    return "" if said or not re.search(r"\d[\d,万]*円", japanese) else "「円」がありません"


def _negation(japanese: str, foreign: str, language: Language) -> str:
    meant = _NEGATION_JA.search(_OBLIGATION_JA.sub("", japanese))
    if meant and not re.search(_NEGATIONS[language], foreign.lower()):
        return "否定の言葉がありません"
    return ""


def foreign_remarks(text: str, language: str) -> list[tuple[str, int, int]]:
    """What a person should see about a second text in another language that they wrote or mended.

    Returns:
        Each remark with start and end of its first place.
    """
    bare = _BRACKETS.sub(lambda quoted: " " * len(quoted[0]), text)
    found = []
    if kana := _KANA.search(bare):
        found.append(("日本語の仮名が残っています。課や施設の名前は、かっこに入れてください。", *kana.span()))
    if language != "zh" and (han := _HAN.search(bare)):
        found.append(("漢字が残っています。課や施設の名前は、かっこに入れてください。", *han.span()))
    if strip_control_tokens(text) != text:
        found.append(("モデルの制御記号が混ざっています。", 0, len(text)))
    return found
