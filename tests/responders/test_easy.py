"""やさしい日本語 by rule: shorter, plainer, and not one fact more or less."""

import re
from collections import Counter
from pathlib import Path

import pytest

from responders.easy import easy
from responders.easy_check import check_easy, readability
from responders.facts import facts, normalise
from responders.japanese import long_tokens
from responders.knowledge import split_sentences

KNOWLEDGE = Path(__file__).resolve().parents[2] / "data" / "knowledge"
_MARKS = {
    "one of": r"/(?:いずれ|どれ|どちら)(?=/)",
    "or": r"/(?:また/は|又/?は|もし/?くは|若し/?くは|か)(?=/)",
    "among": r"/の/うち(?=/)",
    "before": r"/以前(?=/)|/それ/より/前(?=/)",
    "at least": r"/以上(?=/)",
    "at most": r"/以下(?=/)",
    "less than": r"/未満(?=/)",
    "within": r"/以内(?=/)",
    "until": r"/まで(?=/)",
    "most": r"/上限(?=/)",
    "except": r"/以外(?=/)|/除[くい](?=/)",
    "only": r"/(?:のみ|だけ|限[りるっ])(?=/)|/に限(?=[りっ])",
    "about": r"/(?:約|およそ|おおむね|おおよそ|だいたい)(?=/)",
    "not": r"/(?:ない|なく|なかっ|なけれ|ん|ず|ぬ)(?=/)|/不要(?=/)",
    "whose act": r"(?:方|人|者|主)/?に/[^。]*いただ[きく]",
    "and": r"/かつ(?=/)|/両方(?=/)",
    "a row that needs another": r"(?m:^/・.*/(?:いずれ|どれ|どちら|うち|あり/$|と/$))",
}
"""What limits, offers a choice or denies, in words of the offices and in plain ones, between slashes."""
_ON_PURPOSE = {"配偶者": "夫か妻", "原本": "コピーではない紙", "日以前": "日か、それより前"}
"""Plain words that hold a mark themselves and say the same."""


def _easy(text: str) -> str:
    return easy(text).body.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("14日以内に児童手当を申請してください。", "14日以内に児童手当を申し込んでください。"),
        ("申請書を窓口へお持ちください。", "申請書を窓口へ持って来てください。"),
        ("納期限までに納めていただきます。", "納期限までに払ってください。"),
        ("コンビニで請求できます。", "コンビニで頼むことができます。"),
        ("納税通知書を6月にお送りします。", "納税通知書を6月に送ります。"),
        ("市内に住む方のみ利用できます。", "市の中に住む人だけ使うことができます。"),
        ("前の年の申告は不要です。", "前の年の申告はいりません。"),
        ("変更した場合は、市民課へお問い合わせください。", "変えたときは、市民課に聞いてください。"),
        ("粗大ごみの手数料は、1点につき400円です。", "粗大ごみの手数料は、1点400円です。"),
    ],
)  # fmt: skip
def test_words_of_offices_become_words_of_every_day(text: str, expected: str) -> None:
    assert _easy(text) == expected


def test_a_name_keeps_its_words_and_is_explained() -> None:
    found = easy("住民票の写しの交付申請書に記入してください。")
    assert "住民票の 写し" in found.body
    assert "交付申請書に" in found.body, "a part of a longer name is no word of its own"
    assert "書いてください" in found.body
    assert dict(found.notes)["住民票の写し"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("窓口は1階の市民課で、受付時間は平日の9時からです。",
         ["窓口は1階の市民課です。", "受付の時間は平日の9時からです。"]),
        ("学校は休みですが、図書館は開いています。", ["学校は休みです。", "しかし、図書館は開いています。"]),
        ("領収書を発行しないため、通帳で確認してください。",
         ["領収書を作りません。", "そのため、通帳で確かめてください。"]),
        ("福祉課へ申請し、調査を受けてください。",
         ["福祉課へ申し込んでください。", "それから、調査を受けてください。"]),
        ("申請には、申請書、領収書、写真、通帳が必要です。",
         ["申し込みには、次のものが必要です。", "・申請書", "・領収書", "・写真", "・通帳"]),
    ],
)  # fmt: skip
def test_one_sentence_holds_one_fact(text: str, expected: list[str]) -> None:
    assert _easy(text).split("\n") == expected


@pytest.mark.parametrize(
    "text",
    [
        "凍結を防ぐため、水道管に布を巻いてください。",  # an aim, not a reason
        "みなと市に住み、新しい家を買った人は、市民課へ電話してください。",  # two conditions of one person
        "電話(平日は9時からですが、土曜は休み)で聞いてください。",
        "市民課で、名前を書いてください。",
        "撤去された自転車",  # a passive has no sure counterpart
        "相談は、8か月から受け付け、10日前までに電話してください。",  # the city accepts
        "紙は、4月に送り、5月までに出してください。",
        "紙は、4月に交付し、5月までに出してください。",
        "紙が届き、5月までに出してください。",
        "条例に基づき、話してください。",
        "祝日を除き、電話してください。",
        "必要に応じ、話してください。",
        "本人に代わり、話してください。",
        "今日を含め、3日以内に話してください。",
        "火をつけ、家から離れないでください。",  # neither of the two
        "水路にごみを捨て、川を汚さないでください。",
        "字が書けないため、家族に頼むときは、電話してください。",  # nobody says so of all
        "名前がないため、話せない人は、電話してください。",
        "本人の来庁です。",  # the person comes
        "個人の利用です。",
    ],
)
def test_what_no_rule_fits_stays(text: str) -> None:
    assert _easy(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "検診の対象は、市内に住所があり、その年度に20歳、30歳、70歳になる方です。",
        "自己負担は、所得に応じて費用の1割、2割、3割のいずれかです。",
        "自己負担は、費用の1割、2割、3割です。",
        "申請には、運転免許証、健康保険証、年金手帳のうち2点が必要です。",
        "申請のときは、運転免許証、健康保険証、年金手帳のいずれか1点をお持ちください。",
        "申請には、運転免許証、健康保険証、年金手帳のどれかが必要です。",
        "申請には、申請書、運転免許証、健康保険証または年金手帳が必要です。",
        "申請には、申請書、写真、通帳もしくは領収書が必要です。",
        "申請には、申請書、写真、および通帳が必要です。",
        "申請には、申請書、写真、通帳の3点が必要です。",
        "申請には、申請書、写真、通帳の両方が必要です。",
        "申請には、運転免許証、健康保険証、年金手帳の写しが必要です。",
        "申請には、運転免許証、健康保険証、年金手帳などの書類が必要です。",
        "戸籍を請求できるのは、記載されている方と、その配偶者、父母や祖父母、子や孫です。",
        "戸籍を請求できるのは、本人、配偶者、子です。",
        "助成の対象は、市内の店舗の改装費、設備費、広告費です。",
        "助成の対象は、市内で使う設備費、備品費、広告費です。",
        "粗大ごみは、家具、寝具、自転車などが対象です。",
        "対象は、市内に住み、働き、学ぶことです。",
        "利用する日は、医師が記入した連絡票、着替え、昼食をお持ちください。",
    ],
)
def test_what_is_no_list_of_things_stays_one_sentence(text: str) -> None:
    assert "\n" not in _easy(text)


def test_no_row_of_the_knowledge_is_half_a_condition() -> None:
    rows = [line for _, plain in _knowledge() for line in plain.split("\n") if line.startswith("・")]
    assert len(rows) > 100
    assert not [row for row in rows if row.endswith(("あり", "と", "いずれか", "どれか", "が対象", "人"))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("市営のみなと斎場です。", "市営のみなと斎場です。"),
        ("市外のみなさんも来られます。", "市の外のみなさんも来られます。"),
        ("薬をのみます。", "薬をのみます。"),
        ("薬をのみ、休んでから来ました。", "薬をのみ、休んでから来ました。"),
        ("市民のみならず、だれでも来られます。", "市民のみならず、だれでも来られます。"),
        ("市民のみ使えます。", "市民だけ使えます。"),
        ("台数に限りがあります。", "台数に限りがあります。"),
        ("市民に限りません。", "市民に限りません。"),
        ("雨の場合に限りません。", "雨のときに限りません。"),
        ("市民に限ってはいません。", "市民に限ってはいません。"),
        ("市民に限り使えます。", "市民だけ使えます。"),
        ("雨の場合に限ります。", "雨のときだけです。"),
        ("実際に見てください。", "実際に見てください。"),
        ("連絡には及びません。", "連絡には及びません。"),
        ("影響が及びます。", "影響が及びます。"),
        ("本及び紙です。", "本と紙です。"),
        ("本、または紙です。", "本、または紙です。"),
        ("本または紙です。", "本か紙です。"),
        ("おおよその数です。", "おおよその数です。"),
        ("調査に応じてください。", "調査に応じてください。"),
        ("所得に応じて決まります。", "所得によって決まります。"),
        ("調査に際して聞きます。", "調査のときに聞きます。"),
        ("病気にかかりません。", "病気にかかりません。"),
        ("手数料はかかりません。", "手数料はいりません。"),
        ("電話する必要はありません。", "電話する必要はありません。"),
        ("予約は必要ありません。", "予約はいりません。"),
        ("ありがとうございます。", "ありがとうございます。"),
        ("質問がございます。", "質問があります。"),
        ("お知らせくださいますようお願いします。", "お知らせください。"),
        ("早めの予約をお願いします。", "早めの予約をお願いします。"),
        ("手数料は窓口でいただきます。", "手数料は窓口でいただきます。"),
        ("来ていただきますと、渡せます。", "来ていただきますと、渡せます。"),
        ("来ていただきますようお願いします。", "来てください。"),
    ],
)  # fmt: skip
def test_a_phrase_is_replaced_where_it_is_one(text: str, expected: str) -> None:
    assert _easy(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("以前に住んでいた市です。", "前に住んでいた市です。"),
        ("4月1日以前に生まれた子どもです。", "4月1日か、それより前に生まれた子どもです。"),
        ("海外へ転出する人です。", "海外へ引っ越す人です。"),
        ("海外へ1年以上転出する人です。", "海外へ1年以上転出する人です。"),
        ("大阪市に転出する人です。", "大阪市に転出する人です。"),
        ("市外へ転居しました。", "市の外へ引っ越しました。"),
        ("市内で転居しました。", "市の中で転居しました。"),
        ("転出しました。", "ほかの市へ引っ越しました。"),
        ("土地を取得した人です。", "土地を手に入れた人です。"),
        ("家で保管してください。", "家で保管してください。"),
        ("自転車を保管しています。", "自転車を保管しています。"),
        ("バスの方が便利です。", "バスの方が便利です。"),
        ("西口の駐輪場の方が安いです。", "西口の駐輪場の方が安いです。"),
        ("早い方の日までです。", "早い方の日までです。"),
        ("申し込む方が早いです。", "申し込む方が早いです。"),
        ("使いたい方は来てください。", "使いたい人は来てください。"),
        ("65歳以上の方が使えます。", "65歳以上の人が使えます。"),
        ("年金のない方が使えます。", "年金のない人が使えます。"),
        ("がん検診を受診しました。", "がん検診を受診しました。"),
        ("料金を請求します。", "料金を請求します。"),
        ("コピーを請求します。", "コピーを頼みます。"),
        ("カードを破損しました。", "カードをこわしました。"),
        ("破損したカードです。", "破損したカードです。"),
        ("受付が開始しました。", "受付が開始しました。"),
        ("14日以内に届け出てください。", "14日以内に届け出てください。"),
        ("中止させていただきます。", "中止させていただきます。"),
        ("市民税の申告をしてください。", "市民税の申告をしてください。"),
        ("税金は土地を所有する方に納めていただきます。", "税金は土地を持つ人に払っていただきます。"),
        ("税金は1月1日の所有者に納めていただきます。", "税金は1月1日の所有者に払っていただきます。"),
        ("税金は市に納めていただきます。", "税金は市に払ってください。"),
        ("公務員の方も使えます。", "公務員の人も使えます。"),
        ("土地の所有者の方が払います。", "土地を持っている人が払います。"),
        ("所有者の方に知らせます。", "持っている人に知らせます。"),
        ("保護者の方は来てください。", "親などは来てください。"),
        ("利用者の方法です。", "使う人の方法です。"),
        ("申請書と申込書を出してください。", "申請書と申込書を出してください。"),
        ("避難するときは、薬をお持ちください。", "避難するときは、薬を持って行ってください。"),
        ("避難所へは、薬を持参してください。", "避難所へは、薬を持って行ってください。"),
        ("避難所の申請には、印鑑をお持ちください。", "避難所の申し込みには、印鑑を持って来てください。"),
        ("避難するときは、水、薬、服をお持ちください。",
         "避難するときは、次のものを持って行ってください。\n・水\n・薬\n・服"),
        ("土地の所有者です。", "土地を持っている人です。"),
        ("保険料を減額します。", "保険料を少なくします。"),
        ("税金は住所がある方に、毎年納めていただきます。", "税金は住所がある人に、毎年払っていただきます。"),
        ("警察へ届け出てください。", "警察へ届け出てください。"),
        ("上限は3個です。", "上限は3個です。"),
    ],
)  # fmt: skip
def test_plain_words_leave_duties_limits_and_who_acts_alone(text: str, expected: str) -> None:
    assert _easy(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("相談は無料で行い、秘密を守ります。", "相談は無料で行い、秘密を守ります。"),
        ("相談は無料で行います。", "相談は無料でします。"),
        ("職員が来庁し、話します。", "職員が市役所に来て、話します。"),
        ("市が地図を閲覧し、決めます。", "市が地図を見て、決めます。"),
        ("この工事は許可を要します。", "この工事は許可が必要です。"),
        ("許可を要する工事です。", "許可を要する工事です。"),
        ("工事に要する時間です。", "工事にかかる時間です。"),
    ],
)  # fmt: skip
def test_a_verb_stands_in_a_form_that_people_say(text: str, expected: str) -> None:
    assert _easy(text) == expected


def test_no_article_gets_a_broken_verb() -> None:
    assert not [plain for _, plain in _knowledge() if re.search(r"でし、|をかか", plain)]


def test_no_article_gets_a_phrase_inside_a_word() -> None:
    assert not [plain for _, plain in _knowledge() if "だけなと" in plain or "おだいたい" in plain]


def _knowledge() -> list[tuple[str, str]]:
    """Every sentence of the articles, and its easy text without spaces."""
    bodies = [file.read_text("utf-8").split("---\n", 2)[2] for file in sorted(KNOWLEDGE.glob("*.md"))]
    lines = [line for body in bodies for line in body.split("\n")]
    rows = [line.replace("- ", "・", 1) for line in lines if line.strip() and not line.startswith("#")]
    return [(sentence, _easy(sentence)) for row in rows for sentence in split_sentences(row)]


def test_no_fact_of_the_knowledge_is_lost_or_added() -> None:
    before, after = [], []
    for file in KNOWLEDGE.glob("*.md"):
        body = file.read_text("utf-8").split("---\n", 2)[2]
        lines = [line for line in body.split("\n") if line.strip() and not line.startswith("#")]
        before.append("\n".join(lines).replace("- ", "・"))
        after.append(easy(before[-1]).body)
        assert _values(after[-1]) == _values(before[-1]), file.name
    assert readability("\n".join(after))[0] < 0.92 * readability("\n".join(before))[0]


def test_no_article_says_another_limit_choice_or_denial() -> None:
    other = [(said, plain) for said, plain in _knowledge() if _marks(_on_purpose(said)) != _marks(plain)]
    assert not other


def _on_purpose(text: str) -> str:
    return re.sub("|".join(_ON_PURPOSE), lambda found: _ON_PURPOSE[found[0]], text)


def _marks(text: str) -> dict[str, int]:
    words = "\n".join(
        "/" + "".join(m.surface() + "/" for m in long_tokens(line)) for line in text.split("\n")
    )
    found = {name: len(re.findall(pattern, words)) for name, pattern in _MARKS.items()}
    return {**found, **Counter(re.findall(r"\d+", text))}


def _values(text: str) -> list[tuple[str, str]]:
    found = facts(normalise(text.replace(" ", "")))
    return sorted((fact.kind, fact.value) for fact in found if fact.kind != "section")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("この紙は、市役所の市民課の窓口で、あなたかあなたの家族がもらえます。", "long"),
        ("国民健康保険被保険者資格喪失届出書", "kanji"),
        ("来なければなりません。", "double_negative"),
        ("もらうことができないわけではありません。", "double_negative"),
        ("オンラインのコンシェルジュに聞いてください。", "loan_word"),
        ("払っていただきます。", "honorific"),
        ("子どもが呼ばれます。", "honorific"),
        ("国保の人は来てください。", "short_form"),
        ("2026/4/1に来てください。", "date"),
        ("令和8年に始まります。", "era"),
        ("ここに 記入 してください。", "hard_word"),
    ],
)
def test_what_is_still_hard_is_pointed_out(text: str, kind: str) -> None:
    found = [remark for remark in check_easy(text) if remark.kind == kind]
    assert found
    assert text[found[0].start : found[0].end].startswith(found[0].text[:3])


def test_a_hard_word_is_pointed_out_where_it_stands_by_itself_with_its_readings() -> None:
    text = "記入例（きにゅうれい）を 見て、 記入（きにゅう） してください。窓口に 申（もう）し出（で）る。"
    places = {text[r.start : r.end] for r in check_easy(text) if r.kind == "hard_word"}
    assert places == {"記入", "申（もう）し出（で）る"}
    assert text.rindex("記入") in {remark.start for remark in check_easy(text)}


def test_an_easy_text_has_no_remarks() -> None:
    assert check_easy("4月1日（ついたち）に 来てください。\nありがとう ございます。") == []
