"""Numbers, dates, phones, addresses and section names in a Japanese text, in one comparable form."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

_ERA_FIRST_YEAR = {"令和": 2019, "平成": 1989, "昭和": 1926, "R": 2019, "H": 1989, "S": 1926}
_DIGITS = {c: i for i, c in enumerate("〇一二三四五六七八九")} | {"零": 0}
_SCALES = {"十": 10, "百": 100, "千": 1000}
_UNIT = (
    "円|パーセント|%|割|倍|か月|ヶ月|カ月|ヵ月|箇月|か所|ヶ所|カ所|ヵ所|箇所|週間|日間|年間|年度|年|月|日|"
    "時間|時|分|秒|人|名|世帯|回|歳|才|枚|通|部|個|点|本|台|件|袋|箱|冊|匹|頭|級|階|番|号|丁目|条|項|類|種類|種|"
    "区分|口|週|泊|学期|期|親等|段階|次|つ|子(?!ど|供)|km2|km|cm|mm|kg|ml|kW|m2|"
    "平方メートル|立方メートル|キロメートル|センチメートル|ミリメートル|メートル|キログラム|グラム|リットル|"
    "センチ|ミリ|キロ|m|g|t|L|トン|坪|畳|ヘクタール"
)
_SENTENCE = 400
_KANJI = "〇零一二三四五六七八九十百千"
# Without an end each numeral of a run would read the whole run anew.
_RUN = rf"[{_KANJI}]{{1,40}}+"
_KANJI_UNIT = (
    "円|割|倍|[かヶカヵ箇][月所]|週|日(?![常程町]|市(?![民役内外長税]))|月|年|人|名|世帯|回|歳|才|枚|個|階|号|丁目|件|"
    "平方|メートル|キロ|グラム|級|通(?![り常知行学報])|冊|本(?![化松木庁部人])|台(?![帳風所])|点|袋|箱|匹|頭(?!町)|泊|"
    "項|学?期|親等|種類|段階|次(?![第市])|つ|畳|坪|時間"
)
_KANJI_NUMBER = re.compile(
    "|".join(
        (
            # Words whose numeral counts nothing: 万一台風が, 同一世帯, 市内一円, 千歳市.
            rf"(?P<word>(?<![\d{_KANJI}])万一|[同統単唯均画専随]一|第三者|(?<=[市区町村県内])一円|一期一会|"
            r"千歳|四万十)",
            rf"(?<=第){_RUN}",
            rf"(?<!\d){_RUN}(?=[万億]|{_KANJI_UNIT}|パーセント)",
            # 一時, 一番, 十分, 一部 and 一種 are words too: they count only beside other number signs.
            rf"(?:[二三四五六七八九十][{_KANJI}]{{0,40}}+|零)(?=時(?![的期点])|[部番]|種(?!町))",
            # 第二・四火曜日.
            rf"(?<=[{_KANJI}\d][・、]){_RUN}(?=[・、][{_KANJI}]|[月火水木金土日]曜)",
            r"(?<=午[前後])一(?=時)|一(?=時(?:から|まで|半))",
            rf"(?<=時){_RUN}(?=分)|{_RUN}(?=分(?:間|以内|おき|ごと|の[{_KANJI}\d]))",
            r"(?:[二三四五六七八九]十[一二三四五六七八九]?|十[一二三四五六七八九])(?=分(?!の))",
            rf"(?<=[{_KANJI}\d]分の){_RUN}(?![部般時定種])",
            r"(?<=要介護|要支援)[一二三四五]|(?<=支援区分)[一二三四五六]",
            r"[〇零一二三四五六七八九]{2,5}(?=-)|(?<=-)[〇零一二三四五六七八九]{2,4}",
        )
    )
)
_MIXED = re.compile(rf"(?<![\d.百千])(?:\d{{1,4}}[百千]){{1,3}}\d{{0,3}}(?=[万億]|{_KANJI_UNIT})")
_DECIMAL = r"\d++(?:\.\d++)?+"
_BIG = re.compile(
    rf"(?<!\d)(?:(?:({_DECIMAL})億)?({_DECIMAL})万(?:(\d{{1,2}})千|(\d{{1,4}}))?|({_DECIMAL})億)"
)
_COMMA = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_URL = re.compile(
    r"(?:https?://|www\.)[\w.~:/?#\[\]@!$&'()*+,;=%-]+|(?<![\w@.-])[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*"
    r"\.(?:jp|com|net|org|info|biz|io|example)\b(?:/[\w.~:/?#@!$&'*+,;=%-]*)?",
    re.ASCII,
)
EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]+(?:\.[\w-]+)+", re.ASCII)
"""An email address in a text after NFKC."""
_DASH = "-‐‑‒–—―−ーｰ－"
_PHONE = re.compile(
    rf"(?<!\d)(?:\+81[{_DASH} ]?\d{{1,4}}|\(?0\d{{1,4}}\)?)[{_DASH}( )]{{0,2}}\d{{1,4}}[{_DASH}) ]{{1,2}}"
    rf"\d{{3,4}}(?!\d)|(?<!\d)0\d{{9,10}}(?!\d)|#\d{{4}}(?!\d)"
)
_YEAR = r"(?:(?P<era>令和|平成|昭和|(?<![A-Za-z])[RHS])\s*(?P<ey>元|\d{1,2})|(?P<y>(?:19|20)\d\d))"
_DATE = re.compile(
    rf"{_YEAR}\s*(?:年\s*(?P<fy>度)?|[./-](?=\d))(?:(?P<m>\d{{1,2}})(?:月|[./-](?=\d))(?:(?P<d>\d{{1,2}})日?)?)?"
)
_MONTH_DAY = re.compile(
    r"(?<![\d/])(?P<m>1[0-2]|0?[1-9])(?:月\s*(?P<d>[0-3]?\d)日|/(?P<d2>[0-3]?\d)(?![\d/月])|月(?!額|間|曜|\d))"
)
_TIME = re.compile(
    r"(?:(?P<half>午前|午後|AM|PM|朝|夕方?|夜|晩)の?\s*+)?(?<!\d)(?P<h>[0-2]?\d)(?:時(?!間)(?:(?P<min>[0-5]?\d)分|(?P<mid>半))?"
    r"|:(?P<min2>[0-5]\d))(?!\d)"
)
_NUMBER = re.compile(rf"第?\d+(?:\.\d+)?\s*(?P<unit>(?![日月]曜)(?:{_UNIT}))?")
_WEEKDAY = re.compile(r"(?P<day>[月火水木金土日])曜")
_WEEKDAYS = re.compile(
    r"(?<![\d一-龥])[月火水木金土日](?:[・/~〜][月火水木金土日])+(?![一-龥])|"
    r"(?<![\d一-龥])(?:[月火水木金土日][・/~〜])+(?=[月火水木金土日]曜)|"
    r"(?<![\d一-龥])[月火水木金土日](?:、[月火水木金土日]){2,}(?![一-龥])"
)
_ORDINALS = re.compile(r"(?<=第\d)(?:[・、]\d)+(?=[月火水木金土日]曜)")
_SAME_MONTH = re.compile(
    r"(?P<month>(?<!\d)(?:1[0-2]|0?[1-9])月)(?P<first>[0-3]?\d日(?:\([月火水木金土日]曜?日?\))?\s*(?:から|[~〜-])\s*)"
    r"(?=[0-3]?\d日(?:まで|[()、。」]|に|です|$))"
)
_WEEKDAY_LETTER = re.compile("[月火水木金土日]")
_COST = (
    "(?:[一-龥]{0,5}(?:(?<![資材燃原肥塗衣試香飼食飲味染史給無])料|(?<!消)費|(?<![世時年交現古歴])代)|"
    "(?:自己|費用|本人|利用者)負担|お金)[金用額]?"
)
_NO_CHARGE = (
    "かかりません|かからず|かからない|不要|(?:必要[はが]?)?(?:あり|ござい)ません|必要な[いく]|[い要]りません|"
    "いただ(?:きません|いて(?:いま|おりま)せん)|[な無]し|発生しません"
)
FREE = re.compile(
    rf"無[料償](?!化|で(?:は|も)?(?:あり|ござい|な[いく])|に(?:は|も)?なりません)|"
    rf"(?P<cost>{_COST})[はがも]?、?(?:一切|特に|別途)?(?:{_NO_CHARGE})"
)
"""Says that something costs nothing: an amount of 0円."""
_FRACTION = re.compile(r"(?<!\d)(?P<below>\d++)分の(?P<above>\d++)")
_BOUND = re.compile(
    r"\s*(?:\([^)]{0,8}\))?"
    r"(?P<bound>まで|以内|以下|未満|以前|より前|より下|から|以上|以降|以後|超|を超え|より後|より上|に満たない|より若い|"
    r"ごと|おき)?"
)
_NAME = "[一-龥々ァ-ヶーA-Za-z]"
_SECTION = re.compile(
    r"(?:こども|すこやか|くらし|まちづくり|みどり)?"
    rf"(?:{_NAME}{{1,16}}?|{_NAME}{{1,8}}+て[一-龥々]{{1,4}}?{_NAME}{{0,8}}?)"
    r"(?:課|係|センター|支所|出張所|事務所|事務局|(?:相談|支援|対策|推進)室|保健所|警察署|消防署|税務署|役所|役場|"
    r"図書館|公民館|会館|支局|法務局|年金機構|協議会|委員会|公社)(?![一-龥々])"
)
_GENERIC = re.compile(
    r"(?:担当|各|関係|当|本|他|別|同|全|所管|主管)課|[市区]?役所|町?役場|担当係|[当各]センター|.*(?:関係|賦課)"
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One checkable fact; equal ``kind`` and ``value`` mean the same fact however it was written."""

    kind: str
    """phone, url, email, date, time, weekday, number or section."""
    value: str
    """Normalised: digits only for a phone, ``2026-4-1`` or ``-4-1`` for a date, ``17:15``, ``300円``."""
    bound: str
    """What limits it: 「まで」「以内」「から」「以上」…, or empty."""
    start: int
    """Place in the normalised text."""
    end: int
    """End in the normalised text."""
    surface: str
    """As it stands in the normalised text."""


@lru_cache(maxsize=4_000)
def normalise(text: str) -> str:
    """NFKC without invisible characters; 三百円 and 1万5千円 become digits, 月・水 becomes 月曜・水曜.

    「4月1日から30日」 gets its month twice, 第2・4水曜 its 第.
    """
    plain = "".join(
        c
        for c in unicodedata.normalize("NFKC", text)
        if unicodedata.category(c) not in ("Cf", "Cc") or c == "\n"
    )
    plain = _COMMA.sub("", plain)
    plain = _KANJI_NUMBER.sub(lambda m: m["word"] or _kanji_value(m[0]), plain)
    plain = _MIXED.sub(lambda m: _mixed_value(m[0]), plain)
    plain = _BIG.sub(_big_value, plain)
    plain = _ORDINALS.sub(lambda m: re.sub(r"\d", r"第\g<0>", m[0]), plain)
    plain = _SAME_MONTH.sub(r"\g<month>\g<first>\g<month>", plain)
    return _WEEKDAYS.sub(lambda m: _WEEKDAY_LETTER.sub(r"\g<0>曜", m[0]), plain)


@lru_cache(maxsize=4_000)
def facts(normal: str) -> tuple[Fact, ...]:
    """Every fact of a text that `normalise` returned, in its order; none overlaps another."""
    found: list[Fact] = []
    taken = [False] * len(normal)
    for kind, pattern, value in _READERS:
        for match in pattern.finditer(normal):
            start, end = match.span()
            text = value(match)
            if not text or any(taken[start:end]):
                continue
            taken[start:end] = [True] * (end - start)
            bound = _BOUND.match(normal, end)
            found.append(Fact(kind, text, (bound and bound["bound"]) or "", start, end, match[0].strip()))
    return tuple(sorted(found, key=lambda fact: fact.start))


def standing(words: str, text: str) -> list[int]:
    """Where words stand in a text; 300円 does not stand in 1,300円."""
    front = r"(?<!\d)(?<!\d[,.，．])" if words[:1].isdigit() else ""
    behind = r"(?![,.，．]?\d)" if words[-1:].isdigit() else ""
    return [found.start() for found in re.finditer(front + re.escape(words) + behind, text)] if words else []


def written_place(words: str, text: str, nth: int = 0) -> tuple[int, int] | None:
    """Where words of the normalised text stand in the text itself: 9999円 for 9,999円.

    Args:
        words: As they are normalised.
        text: As it is written; in more than 400 characters words are found only if they are written alike.
        nth: Which of the places where they stand in the normalised text, from 0.

    Returns:
        Start and end; None when they stand nowhere.
    """
    normal = normalise(text)
    alike, meant = standing(words, text), standing(words, normal)
    if len(alike) != len(meant) and nth < len(meant) and len(text) <= _SENTENCE:
        starts, ends = _cuts(text)
        start, end = starts.get(normal[: meant[nth]]), ends.get(normal[meant[nth] + len(words) :])
        if start is not None and end is not None and start < end:
            return start, end
    return (alike[nth], alike[nth] + len(words)) if nth < len(alike) else None


@lru_cache(maxsize=100)
def _cuts(text: str) -> tuple[dict[str, int], dict[str, int]]:
    """Of each normalised beginning of a text where it ends at last, of each end where it begins at first."""
    places = range(len(text) + 1)
    starts = {normalise.__wrapped__(text[:i]): i for i in places}
    return starts, {normalise.__wrapped__(text[i:]): i for i in reversed(places)}


def _kanji_value(text: str) -> str:
    if not any(c in _SCALES for c in text):
        return "".join(str(_DIGITS[c]) for c in text)
    total, digit = 0, 0
    for char in text:
        if char in _SCALES:
            total += (digit or 1) * _SCALES[char]
            digit = 0
        else:
            digit = digit * 10 + _DIGITS[char]
    return str(total + digit)


def _mixed_value(text: str) -> str:
    """2千5百 in digits: what follows the last scale counts ones."""
    parts = re.findall(r"(\d+)([百千]?)", text)
    return str(sum(int(digits) * _SCALES.get(scale, 1) for digits, scale in parts))


def _big_value(match: re.Match[str]) -> str:
    hundred_million, ten_thousand, thousand, rest, alone = match.groups()
    value = float(alone or hundred_million or 0) * 10**8 + float(ten_thousand or 0) * 10**4
    return f"{value + float(thousand or 0) * 1000 + float(rest or 0):.0f}"


def _phone(match: re.Match[str]) -> str:
    digits = re.sub(r"[^\d#+]", "", match[0])
    return "0" + digits.removeprefix("+81") if digits.startswith("+81") else digits


def _url(match: re.Match[str]) -> str:
    bare = match[0].rstrip(".,;:)!?'")
    return re.sub(r"^https?://", "", bare).rstrip("/")


def _date(match: re.Match[str]) -> str:
    era, year = match["era"], match["y"]
    if era:
        year = str(_ERA_FIRST_YEAR[era] + (1 if match["ey"] == "元" else int(match["ey"])) - 1)
    if match["fy"]:
        return f"{year}年度"
    return "-".join(str(int(part)) for part in (year, match["m"], match["d"]) if part)


def _month_day(match: re.Match[str]) -> str:
    day = match["d"] or match["d2"]
    return f"-{int(match['m'])}-{int(day)}" if day else f"-{int(match['m'])}"


def _time(match: re.Match[str]) -> str:
    hour = int(match["h"])
    half = match["half"]
    if hour < 12 and (half in ("午後", "PM") or (half in ("夕", "夕方", "夜", "晩") and hour > 3)):
        hour += 12
    minute = 30 if match["mid"] else int(match["min"] or match["min2"] or 0)
    return f"{hour}:{minute:02}"


def _number(match: re.Match[str]) -> str:
    unit = match["unit"] or ""
    digits = match[0].removesuffix(unit).strip().removeprefix("第")
    whole, _, part = digits.partition(".")
    value = _without_zeros(whole) + (f".{part.rstrip('0')}" if part.rstrip("0") else "")
    return ("第" if match[0].startswith("第") else "") + value + _UNIT_NAMES.get(unit, unit)


def _without_zeros(digits: str) -> str:
    # int() refuses more than 4,300 digits.
    return digits.lstrip("0") or "0"


def _section(match: re.Match[str]) -> str:
    return "" if _GENERIC.fullmatch(match[0]) else match[0]


_UNIT_NAMES = {
    "ヶ月": "か月",
    "カ月": "か月",
    "ヵ月": "か月",
    "箇月": "か月",
    "ヶ所": "か所",
    "カ所": "か所",
    "ヵ所": "か所",
    "箇所": "か所",
    "才": "歳",
    "名": "人",
    "パーセント": "%",
    "センチメートル": "cm",
    "センチ": "cm",
    "ミリメートル": "mm",
    "ミリ": "mm",
    "キログラム": "kg",
    "平方メートル": "m2",
    "メートル": "m",
    "キロメートル": "km",
}
_READERS = (
    ("email", EMAIL, lambda m: m[0].lower()),
    ("url", _URL, _url),
    ("phone", _PHONE, _phone),
    ("number", _FRACTION, lambda m: f"{_without_zeros(m['above'])}/{_without_zeros(m['below'])}"),
    ("date", _DATE, _date),
    ("date", _MONTH_DAY, _month_day),
    ("time", _TIME, _time),
    ("weekday", _WEEKDAY, lambda m: m["day"]),
    ("number", FREE, lambda _: "0円"),
    ("number", _NUMBER, _number),
    ("section", _SECTION, _section),
)
