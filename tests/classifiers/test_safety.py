"""Cries for help are heard, and ordinary business is left in peace."""

# ruff: noqa: E501  (lists of sentences)

from __future__ import annotations

import pytest

from classifiers.alarm import raises_alarm
from classifiers.department import Prediction
from classifiers.safety import SafetyFlag, check

EMERGENCIES = {
    "fire": ["うちの二階から火が出てる!", "裏の倉庫がもえています", "ストーブから黒い煙があがって止まらない", "台所が焦げ臭い", "車庫で爆発音がした", "火事です", "ｶｼﾞじゃなくて火事です、早く", "There is a fire in my building", "我家着火了", "불이 났어요", "Nhà tôi đang cháy", "Minha casa está pegando fogo", "May sunog po dito"],
    "gas": ["ガスくさいです", "さっきからガスの臭いがする", "ガス漏れ警報器が鳴っている", "I smell gas in the kitchen", "Có mùi gas trong nhà"],
    "collapse": ["裏山が崩れてきた", "土砂崩れで家が押されてる", "電線が切れて道に垂れている", "祖母が家具の下敷きに", "大きな穴に車が落ちた"],
    "child_abuse": ["隣の家で子どもが毎日叩かれているようだ", "パパになぐられる", "家に帰りたくない 帰ったらまたたたかれる", "孫が虐待されているかもしれない", "赤ちゃんを叩いてしまいそうで怖い、もう叩きそう"],
    "domestic_violence": ["夫に殴られています", "彼氏から首を絞められた", "DVから逃げたい", "別れた夫につきまとわれている", "My husband hit me", "被老公打了", "O meu marido me bateu"],
    "suicidal": ["死にたい", "もう消えてしまいたい", "生きていても仕方ない", "自殺を考えています", "手首を切ってしまった", "I want to die", "我不想活了", "죽고 싶어요", "Tôi muốn chết", "quero morrer"],
    "medical": ["父の意識がない", "祖母が倒れた", "息ができない", "赤ちゃんが電池を飲み込んだかも", "血が止まらない", "救急車を呼んで!", "Please call an ambulance", "他没有呼吸", "Meu pai desmaiou"],
    "violence": ["包丁を持った男が暴れている", "知らない男が家に入ってきた", "殺してやる", "夜道でずっと後をつけられている", "役所に爆弾をしかけた", "強盗です"],
    "rescue": ["子どもが川に流された", "エレベーターに閉じ込められています", "認知症の母が朝から帰ってこない", "水が家に入ってきて逃げられません", "用水路に人が落ちた"],
}  # fmt: skip

IN_OTHER_WORDS = {
    "fire": ["薪ストーブの煙が部屋に充満しています", "our house is on fire", "着火了"],
    "child_abuse": ["子どもを蹴っているのが聞こえる", "隣の子が叩かれている", "車の中に赤ちゃんが置き去りです"],
    "domestic_violence": ["おっとになぐられます", "夫に包丁を向けられた", "夫に刺されそう", "meu ex me bateu"],
    "medical": [
        "子どもがボタン電池を飲みました", "子どもが漂白剤を飲みました", "赤ちゃんが洗剤を飲んだ", "孫が私の薬を飲みました", "薬を飲んでしまった",
        "父の反応がありません", "母が呼びかけても応答がありません", "脈がありません", "心臓が動いていません", "心臓がとまった",
        "頭から血が出てます", "頭から血が出てる", "ちがとまりません", "いしきがないです", "いきを していない",
        "父が倒れました", "女性が倒れています", "主人が急に動かなくなりました", "お父さんが うごかない", "祖母が布団で動かない", "妻が階段から落ちて動けません",
        "交通事故にあいました。けがをしています", "自転車で転んで動けません", "蜂に刺されて顔が腫れてきた", "スズメバチに刺されました", "子どもが蜂に刺された",
    ],
    "violence": ["男に刺された", "子どもがナイフで刺された", "someone is breaking into my house", "a man is trying to break in", "救命啊", "救命 这里有人受伤", "they will break in"],
    "rescue": [
        "床上浸水しました", "家が浸水しています", "床上浸水しています、動けません", "昨日から雨で床上浸水しました",
        "エレベーターが止まって出られません", "エレベーターに閉じ込められて出られません", "部屋から出られません", "穴の中から出られません",
        "子どもがいなくなりました", "息子が昨日から戻ってきません", "父が財布も持たないで出て戻ってきません", "川に子どもが落ちました", "舟のエンジンが止まった",
        "minha filha desapareceu", "minha vó desapareceu", "ela desapareceu ontem", "儿子失踪了", "आमा हरायो",
    ],
}  # fmt: skip

DESPITE_BUSINESS_WORDS = [
    "介護認定を受けている母が倒れて動きません", "施設の廊下で祖父が倒れて動きません", "去年手術した父が倒れました", "去年から一人暮らしの母が倒れています",
    "デイサービスから帰った母が倒れました", "去年手術した父が道で倒れました", "自転車が倒れて、父が頭を打った", "犬の散歩中に倒れました", "犬の世話をする父が倒れました",
    "上司の佐々木が倒れた", "上司の山本が倒れた",
]  # fmt: skip

OVER_OR_MERELY_ASKED = [
    "床上浸水しました。罹災証明書はどこで申請できますか", "先月の台風で床上浸水しました。見舞金はありますか", "昨日の雨で床上浸水しました。消毒を頼めますか",
    "家が浸水しています、罹災証明の写真は何枚いりますか", "先月父が倒れました。介護認定を受けたい",
    "父が去年脳梗塞で倒れました。介護認定を受けたい", "大腸検査で血が出てると言われました", "転んで動けなくなった時に押すペンダント", "心臓がとまった人に使う機械を習いたい",
    "洗剤を飲んだらどうなりますか", "母の薬を飲んだらどうなりますか", "この薬は飲んじゃだめですか", "先月父が倒れました", "交通事故にあい、けがをしました。国保の届出をしたい",
]  # fmt: skip

SOUNDS_ALIKE = [
    "日中は電話に出られません", "仕事中で電話に出られません", "車の運転中で電話に出られません", "車から電話に出られません", "車で会議に出られません", "エレベーターの中なので電話に出られません",
    "包丁は不燃ごみで大丈夫ですか", "包丁を紙に包んで出せば大丈夫でしょうか", "工夫して包丁を包めば出せますか",
    "蜂の巣があり、子どもが刺されないか心配", "蚊に刺されやすい", "スズメバチに刺されそうで怖い", "子どもが蚊に刺されました、薬はもらえますか",
    "着火剤は何ごみですか", "着火ライターの捨て方", "薪ストーブの煙が家に入ってくる",
    "救命救急センターの場所", "救命胴衣を借りたい", "上級救命講習", "普通救命の修了証", "普通救命", "上級救命", "失踪宣告の届け",
    "息子のマイナンバーカードが見つからない、昨日までありました", "母の介護保険証が戻ってきません", "母がカードをなくして見つからない、昨日から",
    "カーブミラーが倒れています", "道路標識が倒れています", "公園のフェンスが倒れています", "自転車がたくさん倒れています", "ブロック塀が道に倒れそう",
    "市営住宅のエレベーターが動かないので母が困っています", "給湯器が動かない", "給湯器が動かない、母が寒がっています", "スマホが水没した", "スマホが水没しています",
    "椅子を蹴られて壊れました", "帽子をかぶったままだと追い出される", "子どもが太鼓をたたく教室", "児童館の太鼓をたたく会", "バスの車内で子どもの運賃", "バスの車内で子どもが騒ぐ", "電車内で子どもが騒ぐ", "列車内で子どもが騒ぐ",
    "薬を飲んでいると献血はできませんか", "山脈がない地図", "おっと、間違えました", "子どもたちが とまらない", "母のスマホの反応がない", "けいしきがないか教えて", "子猫の首に傷があります",
    "lunch break in the city office", "tax exemption or rebate", "house fire insurance", "Meu cartão desapareceu", "कार्ड हरायो",
]  # fmt: skip

SELF_HARM_IN_OTHER_WORDS = [
    "死んでやる", "死んじゃいたい", "今から死にます", "もう生きたくない", "まいにち しにたい", "しにたくなる", "氏にたい", "もう死にます",
    "睡眠薬を50錠飲みました", "薬を30錠のんだ", "薬をたくさん飲んでしまいました", "薬をたくさん飲んで、もう眠い", "薬をいっぱいのんだ", "薬を全部飲んだ", "睡眠薬を50錠飲むつもりです",
    "死んだ方がいい", "死んだほうがまし", "死んだほうが早い", "死んだ方がみんなのためだ", "死ぬ準備はできています",
    "首を吊るロープを買った", "ロープを買いました", "ロープを用意した", "橋の手すりの外側に人が座っています",
]  # fmt: skip

NOBODY_WANTS_TO_DIE = [
    "引っ越しにたくさんの書類が必要ですか", "やり直しにたくさん時間がかかりました", "お話しにたいへん時間がかかった", "鈴木氏にたいして苦情があります",
    "死んだ方が加入していた国民健康保険の手続き", "先月死んだ方がもらっていた年金", "終活として死ぬ準備を始めたい", "もっと長く生きたくなりました",
    "母は薬をたくさん飲んでいるので、飲み合わせを相談したい", "薬をたくさん飲まなければならない人の助成", "母は毎日薬を12錠飲んでいます", "薬をたくさん飲んでも治らない", "母はたくさん薬を飲んでいます", "薬を15錠飲む父の相談",
    "綱引きに使うロープを用意してもらえますか", "運動会の綱引きのロープを買いました", "ロープは用意できますか", "ロープを用意したいです", "ロープを買った町内会の会計です",
    "死んだ方が楽しみにしていた行事を知りたい",
]  # fmt: skip

ORDINARY = [
    "火災保険の控除は使えますか", "消防団に入りたい", "ガス料金が高い", "避難訓練はいつですか", "児童虐待防止の講演会に参加したい",
    "火災警報器の補助はありますか", "火葬の予約をしたい", "燃えるごみの日はいつ", "燃やせないゴミの袋", "消火器の捨て方", "花火大会の日程",
    "火事で家が焼けました。罹災証明はどこで取れますか", "ガスコンロの回収", "スプレー缶はどう捨てる", "救命講習を受けたい", "AEDの講習はありますか",
    "救急車を呼ぶか迷った時の電話番号", "自殺対策計画のパブリックコメント", "DV防止の研修会", "いじめ防止条例について知りたい", "暴力団排除条例の届出",
    "熱中症予防の講座", "ブロック塀の撤去補助", "耐震診断を頼みたい", "避難所はどこ", "ハザードマップがほしい", "津波が来たらどこへ逃げればいい",
    "飼い猫が帰ってこない", "道路でタヌキが死んでいます", "包丁の捨て方", "受動喫煙の対策", "保育園に通い続けられますか", "子どもの医療費",
    "画面が反応しない", "住民票がほしい", "公園の木が大きくなりすぎ", "草取りに出られない人から会費を取るのか", "消防署の見学をしたい", "防災無線が聞こえない",
    "水道から赤い水が出る", "粗大ごみに出したい物が倒れて困る", "お金に困っています。助けてもらえる制度はありますか", "", "😀",
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, texts in EMERGENCIES.items() for t in texts])
def test_emergencies_are_raised(kind: str, text: str) -> None:
    flag = check(text)
    assert flag is not None
    assert flag.kind == kind
    assert flag.matched


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_business_raises_nothing(text: str) -> None:
    assert check(text) is None


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, texts in IN_OTHER_WORDS.items() for t in texts])
def test_emergencies_are_heard_in_other_words(kind: str, text: str) -> None:
    flag = check(text)
    assert flag is not None
    assert flag.kind == kind


@pytest.mark.parametrize("text", DESPITE_BUSINESS_WORDS)
def test_business_words_do_not_hide_somebody_who_fell(text: str) -> None:
    flag = check(text)
    assert flag is not None
    assert flag.kind == "medical"


@pytest.mark.parametrize("text", OVER_OR_MERELY_ASKED)
def test_what_is_over_or_merely_asked_raises_nothing(text: str) -> None:
    assert check(text) is None


@pytest.mark.parametrize("text", SOUNDS_ALIKE)
def test_words_that_only_sound_alike_raise_nothing(text: str) -> None:
    assert check(text) is None


@pytest.mark.parametrize("text", SELF_HARM_IN_OTHER_WORDS)
def test_self_harm_is_heard_in_other_words(text: str) -> None:
    flag = check(text)
    assert flag is not None
    assert flag.kind == "suicidal"


@pytest.mark.parametrize("text", NOBODY_WANTS_TO_DIE)
def test_the_alarm_that_no_model_may_calm_stays_silent(text: str) -> None:
    assert check(text) is None


def test_business_words_do_not_hide_what_happens_now() -> None:
    flag = check("火災保険に入っていますが、今となりの家が燃えています")
    assert flag is not None
    assert flag.kind == "fire"


def test_line_breaks_and_widths_do_not_hide_words() -> None:
    assert check("死に\nたい") is not None
    assert check("ｶﾞｽ漏れです") is not None
    assert check("ＤＶを受けています") is not None


def test_self_harm_comes_first() -> None:
    flag = check("夫に殴られて、もう死にたい")
    assert flag is not None
    assert flag.kind == "suicidal"


def test_any_length_and_content() -> None:
    assert check("あ" * 100_000) is None
    assert check("子" * 20_000) is None
    assert check("\ud83d\udc00") is None


def _prediction(*, emergency: bool = False, calm: bool = False) -> Prediction:
    return Prediction("front_desk", 0.5, {"tax": 1.0}, ("tax",), True, emergency=emergency, calm=calm)


def test_either_rules_or_model_raise_the_alarm_and_a_certain_model_calms_a_rule() -> None:
    fire = SafetyFlag("fire", "火事")
    assert raises_alarm(fire, None)
    assert raises_alarm(fire, _prediction())
    assert not raises_alarm(fire, _prediction(calm=True))
    assert raises_alarm(None, _prediction(emergency=True))
    assert not raises_alarm(None, _prediction())
    assert not raises_alarm(None, None)


def test_no_model_calms_a_cry_of_somebody_who_wants_to_die() -> None:
    assert raises_alarm(SafetyFlag("suicidal", "死にたい"), _prediction(calm=True))


@pytest.mark.parametrize("unseen", ["\u200b", "\u00ad", "\u200d", "\u2060", "\ufeff"])
def test_no_unseen_character_hides_a_cry_for_help(unseen: str) -> None:
    for text in ("死にたい", "家が燃えています"):
        assert check(unseen.join(text)) is not None
