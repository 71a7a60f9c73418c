"""The checks against planted errors: what is changed must be seen, what is copied must pass."""

from pathlib import Path

import pytest

from responders import checks
from responders.check_sources import Register
from responders.checks import check
from responders.facts import facts, normalise, written_place
from responders.gate import strict_gate
from responders.knowledge import Article, Passage, read_folder, split_passages, split_sentences
from responders.letters import strip_control_tokens
from responders.translate import differing_facts
from responders.wording import share_of_pairs

RULES = """市外からみなと市に引っ越してきたときは、引っ越した日から14日以内に転入届を市民課に出してください。
住民票の写しの手数料は、窓口では1通300円、コンビニでは1通200円です。
本人と同じ世帯の方に限り、委任状なしで住民票の写しを請求できます。
粗大ごみ受付センターの電話番号は、0000-12-3908です。
令和8年4月1日から、住民票の写しの窓口手数料が変わりました。
冷蔵庫とエアコンは、市では収集できません。
窓口は、平日の午前8時30分から午後5時15分まで開いています。
詳しくは、https://www.city.minato.example/juminhyo/ をご覧ください。
保育料は、3歳以上の子どもは無料です。
代理の方が届け出る場合は、委任状もお持ちください。
大人の入場料は500円、子どもの入場料は250円です。
毎週水曜日に収集します。
図書館には就労証明書を提出しなければなりません。"""

PLANTED = [
    (1, "14日", "41日", "number"),
    (1, "14日以内", "14日以降", "bound"),
    (1, "市民課", "税務課", "section"),
    (1, "みなと市", "横浜市", "municipality"),
    (2, "300円", "3000円", "number"),
    (2, "1通200円", "1通無料", None),
    (2, "300円、コンビニでは1通200円", "200円、コンビニでは1通300円", "wrong_row"),
    (3, "本人と同じ世帯の方に限り、", "", "condition"),
    (4, "0000-12-3908", "0000-12-3980", "phone"),
    (5, "4月1日", "4月10日", "date"),
    (5, "令和8年", "令和7年", "date"),
    (6, "収集できません", "収集できます", "negation"),
    (7, "5時15分", "5時45分", "time"),
    (7, "平日", "休日", None),
    (8, "city.minato", "city.mlnato", "url"),
    (9, "3歳以上", "3歳未満", "bound"),
    (9, "3歳以上の子どもは", "", "condition"),
    (9, "無料", "有料", None),
    (10, "代理の方が届け出る場合は、", "", "condition"),
    (10, "お持ちください", "不要です", "negation"),
    (
        11,
        "大人の入場料は500円、子どもの入場料は250円",
        "大人の入場料は250円、子どもの入場料は500円",
        "wrong_row",
    ),
    (11, "大人の入場料は500円、子どもの", "子どもの入場料は500円、大人の", "wrong_row"),
    (12, "水曜", "火曜", "weekday"),
    (13, "提出しなければなりません", "提出する必要はありません", "negation"),
]
"""Sentence, right words, wrong words, and the kind that `check` must report (None: only the gate)."""


TURNED = [
    ("毎月第三水曜日に収集します。", "第三", "第二"),
    ("毎月第3水曜日に収集します。", "第3", "第二"),
    ("毎月第三月曜日に収集します。", "第三", "第二"),
    ("収集日は、第一・第三火曜日です。", "第一・第三", "第二・第四"),
    ("収集日は、第二・四火曜日です。", "四火", "三火"),
    ("燃えるごみの収集は月・水・金です。", "月・水・金", "火・木・土"),
    ("身体障害者手帳一級または二級の方が対象です。", "一級または二級", "三級または四級"),
    ("身体障害者手帳1級の方が対象です。", "1級", "三級"),
    ("要介護三以上の認定を受けた方が対象です。", "三以上", "一以上"),
    ("申請書は二通必要です。", "二通", "三通"),
    ("申請書は3通必要です。", "3通", "五通"),
    ("申請書は二部提出してください。", "二部", "三部"),
    ("手数料は四分の一になります。", "四分", "三分"),
    ("補助額は工事費の四分の三です。", "の三", "の一"),
    ("手数料は5百円です。", "5百円", "5百万円"),
    ("第三子以降の保育料は無料です。", "第三子", "第二子"),
    ("二親等以内の親族が申請できます。", "二親等", "三親等"),
    ("窓口は午前十時から開いています。", "十時", "十一時"),
    ("未就学児は無料で利用できます。", "未就学", "就学"),
    ("就学児は無料で利用できます。", "就学", "未就学"),
    ("未成年の方は保護者の同意が必要です。", "未成年", "成年"),
    ("再交付の手数料は500円です。", "再交付", "交付"),
    ("電子メールで対応できます。", "できます", "できかねます"),
    ("電子メールでの相談に対応しています。", "対応しています", "対応しかねます"),
    (
        "印鑑は必要ですが、住民票は必要ありません。",
        "必要ですが、住民票は必要ありません",
        "必要ありませんが、住民票は必要です",
    ),
    ("本人は窓口で、代理人は郵送で申請してください。", "窓口で、代理人は郵送", "郵送で、代理人は窓口"),
    (
        "特別徴収は年金から、普通徴収は納付書で納めます。",
        "年金から、普通徴収は納付書で",
        "納付書で、普通徴収は年金から",
    ),
    (
        "特別徴収は年金から、普通徴収は納付書で納めます。",
        "特別徴収は年金から、普通徴収",
        "普通徴収は年金から、特別徴収",
    ),
    ("ごみは有料で、資源は無料で収集します。", "有料で、資源は無料", "無料で、資源は有料"),
    ("入場は無料です。", "無料", "有料"),
    ("保育料は翌月に納めてください。", "翌月", "当月"),
    ("手数料は半額になります。", "半額", "全額"),
    ("税金は納期限までに納めてください。", "までに", "の後に"),
    ("税金は納期限までに納めてください。", "までに", "に"),
    ("引っ越し後14日以内に届け出てください。", "後14", "前14"),
    ("申請する前に相談してください。", "する前", "した後"),
    ("体調の悪い方は利用を控えてください。", "利用を控えて", "利用して"),
    ("車でのご来庁はご遠慮ください。", "車でのご来庁はご遠慮", "車でお越し"),
    ("65歳以上の方が対象です。", "以上", ""),
    ("65歳以上の方が対象です。", "以上", "より上"),
    ("65歳以上の方が対象です。", "以上の", "に満たない"),
    ("令和8年4月1日から20日以内に申請してください。", "から20日", "から4月20日"),
    ("65歳以上の方が対象です。", "以上の", "より若い"),
    ("対象は、満65歳以上で、要介護3以上の方です。", "65歳以上", "65歳"),
    ("世帯の所得が基準額未満で、市内に住む方が対象です。", "世帯の所得が基準額未満で、", ""),
    ("申請できるのは、本人に限ります。", "に限ります", "です"),
    ("受け付けは窓口のみです。", "のみ", ""),
    ("窓口で受け付けます。", "窓口で", "窓口でのみ"),
    ("事前に予約したうえで、窓口へお越しください。", "事前に予約したうえで、", ""),
    ("結果は、原則として14日以内にお知らせします。", "原則として", ""),
    ("給与のほかに所得がない方は、市民税の申告は不要です。", "不要", "必要"),
    ("住所がない方は、申請できません。", "できません", "できます"),
    ("住所がない方は、申請できません。", "がない", "がある"),
    ("本人以外の方は、この窓口では受け取れません。", "受け取れません", "受け取れます"),
    ("収集日に当たらない日は、ごみを出さないでください。", "出さないで", "出して"),
    ("届け出をしないと、料金はお返しできません。", "できません", "できます"),
    ("法律の基準がないため、市は当事者への指導を行いません。", "行いません", "行います"),
    ("手数料は、いすが300円、たんすが1,200円です。", "いすが300円、たんすが1,200円", "たんすが300円"),
    (
        "手数料は、いすが300円、たんすが1,200円です。",
        "手数料は、いすが300円、たんすが",
        "たんすの手数料は、いすが",
    ),
    ("手数料は、いすが300円、たんすが1,200円です。", "いす", "ベッド"),
    ("証明書の手数料は、戸籍謄本が450円、住民票が300円です。", "戸籍謄本が450円、住民票が300", "住民票が450"),
    (
        "受付時間は、平日は9時から17時まで、土曜日は9時から12時までです。",
        "平日は9時から17時まで、土曜日は9時から12時",
        "土曜日は9時から17時",
    ),
    (
        "手当は、3歳未満の子ども1人につき15,000円、3歳以上の子ども1人につき10,000円です。",
        "15,000円、3歳以上の子ども1人につき10,000円",
        "10,000円、3歳以上の子ども1人につき15,000円",
    ),
    (
        "みなと市立の小学校の給食費は月4,500円、みなと市立の中学校の給食費は月5,200円です。",
        "4,500円、みなと市立の中学校の給食費は月5,200円",
        "5,200円、みなと市立の中学校の給食費は月4,500円",
    ),
    ("住民票の写しの手数料は、1通300円です。", "住民票", "印鑑証明書"),
    ("住民票の写しの手数料は、1通300円です。", "住民票", "戸籍謄本"),
    ("軽自動車税の納期限は、5月31日です。", "軽自動車税", "固定資産税"),
    ("国民健康保険に加入している方が対象です。", "国民健康保険", "後期高齢者医療"),
    ("国民健康保険に加入している方が対象です。", "国民健康", "社会"),
    ("国民健康保険に加入している方が対象です。", "国民健康保険", "国民年金"),
    ("燃えるごみは、毎週月曜日と木曜日に収集します。", "燃える", "プラスチック"),
    ("運転免許証または旅券をお持ちください。", "運転免許証", "健康保険証"),
    ("水道の使用を中止するときは、ご連絡ください。", "中止", "開始"),
    ("水道の使用を中止するときは、ご連絡ください。", "中止", "再開"),
    ("窓口は、平日に開いています。", "平日", "毎日"),
    ("窓口は、平日の8時30分から開いています。", "平日の", ""),
    ("申込みは、3月31日必着です。", "必着", "消印有効"),
    ("手数料は、500円(税込)です。", "税込", "税別"),
    ("休館日は、毎週月曜日です。", "休館", "開館"),
    ("古紙は、毎週収集します。", "毎週", "隔週"),
    ("窓口は、本庁舎1階です。", "本庁舎", "分庁舎"),
    ("窓口は、本庁舎1階です。", "1階", "地下1階"),
    ("運転免許証または旅券をお持ちください。", "または", "および"),
    ("運転免許証または旅券をお持ちください。", "または", "と"),
    ("免許証と印鑑をお持ちください。", "と印", "または印"),
    ("抽選日は、3月31日です。", "31日", "31日以降"),
    ("届くまで、約2週間かかります。", "約", ""),
    ("写真は、各2枚お持ちください。", "各", ""),
    ("この健診の対象は、65歳の方です。", "65歳", "65歳以上"),
    ("住民票の写しの手数料は、300円です。", "300円", "300円以下"),
    ("受付は、9時から17時までです。", "9時から17時まで", "9時まで"),
    ("受付は、9時〜17時です。", "9時〜17時", "9時まで"),
    ("保険料が免除される場合があります。", "免除される場合があります", "免除されます"),
    ("雨天の場合は、延期することがあります。", "することがあります", "します"),
    ("保険料の額は、毎年7月に、世帯ごとに通知します。", "します", "することがあります"),
    ("古紙は、隔週で収集します。", "隔週で", ""),
    ("納税通知書は、市が所有者に送ります。", "市が所有者に", "所有者が市に"),
    ("みなと市から市外へ引っ越すときは、届け出てください。", "みなと市から市外", "市外からみなと市"),
    ("委任状は、本人が代理人に渡してください。", "本人が代理人に", "代理人が本人に"),
    ("ブロック塀を直す費用は、所有者が負担します。", "所有者が", "市が"),
    ("引っ越しの届け出は、世帯主が行います。", "世帯主", "ご本人"),
    (
        "工事をする方は、始める日の7日前までに、市へ届け出なければなりません。",
        "届け出なければなりません",
        "届け出ることができます",
    ),
    ("施設の利用には、予約が必要です。", "が必要です", "ができます"),
    ("古紙は、第2・第4水曜日に収集します。", "第2・第4", ""),
    ("古紙は、第2・第4水曜日に収集します。", "第2・第4", "毎週"),
    ("古紙は、第2・第4水曜日に収集します。", "第2・第4", "第2"),
    ("健診は、年1回受けられます。", "年1回", "月1回"),
    ("健診は、年に1回受けられます。", "年に1回", "週に1回"),
    ("健診は、2年に1回受けられます。", "2年に1回", "年1回"),
    ("健診は、2年に1回受けられます。", "2年に1回", "毎年1回"),
    ("健診は、年1回受けられます。", "年1回", "1か月に1回"),
    ("健診は、年1回受けられます。", "年1回", "2年に1回"),
    ("ごみは、朝8時までに出してください。", "朝8時", "夜8時"),
    ("ごみは、朝8時までに出してください。", "朝8時", "夜の8時"),
    ("受付は、午前に行います。", "午前", "午後"),
    ("受付は、午前9時から行います。", "午前9時", "午後9時"),
    ("申込みは、4月1日から受け付けます。", "から", "に"),
    ("申込みは、9時から受け付けます。", "から", "に"),
    ("手数料は、500円(税込)です。", "(税込)", ""),
    ("手数料は、500円(税別)です。", "(税別)", ""),
    ("参加費は、1人につき500円です。", "1人につき", ""),
    ("結果は、14日以内にお知らせします。", "結果は", "結果は、かならず"),
    ("書類は、窓口で受け取ることができます。", "受け取ることができます", "受け取る必要があります"),
    ("この制度は、令和7年度に廃止しました。", "廃止しました", "廃止します"),
    ("商品券の販売は、終了しました。", "終了しました", "終了します"),
    ("申請は、窓口で受け付けています。", "受け付けています", "受け付けていました"),
    ("新しい料金は、4月から始まります。", "始まります", "始まりました"),
    ("工事のため、公園を閉鎖しています。", "閉鎖しています", "閉鎖します"),
    ("工事のため、公園を閉鎖しています。", "閉鎖しています", "閉鎖していました"),
    ("廃止した路線の定期券は、払い戻します。", "廃止した", "廃止する"),
    ("入場は無料です。", "無料です", "無料でした"),
    ("支給の対象は、市内に住む方です。", "方です", "方でした"),
    ("郵送では申請できません。", "できません", "できませんでした"),
]
"""A whole sentence, right words, wrong words: both the gate and `check` must notice."""

QUANTITIES = [
    ("14日以内に届け出てください。", "14日", "約14日"),
    ("手数料は300円です。", "300円", "300円ほど"),
    ("手数料は300円です。", "300円", "300円くらい"),
    ("用紙は1枚ずつお取りください。", "ずつ", ""),
    ("住民票などをお持ちください。", "など", ""),
]
"""What the model may neither add nor leave out, though a person may."""

HARMLESS = [
    ("毎月第3水曜日に収集します。", "毎月第三水曜日に収集します。"),
    ("申請書は3通必要です。", "申請書は、三通必要です。"),
    ("手数料は4分の1になります。", "手数料は四分の一になります。"),
    ("要介護3以上の認定を受けた方が対象です。", "要介護三以上の認定を受けた方が対象です。"),
    ("窓口は午前十一時から開いています。", "窓口は午前11時から開いています。"),
    ("手数料は5百円です。", "手数料は500円です。"),
    ("未就学児は無料で利用できます。", "なお、未就学児は、無料で利用できます。"),
    ("車でのお越しはご遠慮ください。", "車でのお越しはご遠慮くださいますようお願いいたします。"),
    ("費用の一部を助成します。", "費用の一部を助成いたします。"),
    ("印鑑は必要ありません。", "印鑑は不要です。"),
    ("本人は窓口で、代理人は郵送で申請してください。", "本人は窓口で、代理人は郵送で、申請してください。"),
    ("図書館の展示室への入場は無料です。", "図書館の展示室への入場は無料となります。"),
    ("申請できるのは、本人に限ります。", "申請できるのは本人に限られます。"),
    ("結果は、原則として14日以内にお知らせします。", "結果は原則として14日以内にお知らせいたします。"),
    (
        "世帯の所得が基準額未満で、市内に住む方が対象です。",
        "世帯の所得が基準額未満で市内に住む方が対象となります。",
    ),
    ("手続きは窓口でできます。郵送ではできません。", "手続きは窓口でできます。なお、郵送ではできません。"),
]
"""Another notation, politeness, particles: neither the gate nor `check` may mind."""

FREER = [
    ("市民課の窓口は、平日に開いています。", "市民課の窓口は、月曜日から金曜日に開いています。"),
    ("令和8年4月1日から20日以内に申請してください。", "20日以内に申請してください。"),
    ("入院中の方は、支給の対象外です。", "入院中の方は、支給の対象になりません。"),
    ("入院中の方は、支給の対象になりません。", "入院中の方は、支給の対象外です。"),
    ("敷地内での喫煙はできません。", "敷地内での喫煙は禁止です。"),
    ("敷地内での喫煙は禁止です。", "敷地内での喫煙はできません。"),
    ("電話での請求はできません。", "電話での請求は不可です。"),
    (
        "市営住宅の敷金は、未納の家賃を差し引いて、お返しします。",
        "未納の家賃を差し引いて、市営住宅の敷金は、お返しします。",
    ),
    ("印鑑登録証がない場合は、申請できません。", "印鑑登録証をお持ちでない場合は、申請できません。"),
    ("手数料の返還はできません。", "手数料は返還しません。"),
    ("申請には、本人確認書類が必要です。", "申請には、本人確認書類をご用意ください。"),
    ("申込みの期限は、3月31日です。", "申込みの締め切りは、3月31日です。"),
    ("募集期間は、4月1日〜4月30日です。", "募集期間は、4月1日から4月30日までです。"),
    ("申込みは、3月31日必着です。", "申込みは、3月31日まで(必着)です。"),
    (
        "窓口は平日の9時から開いています。土曜日は休みです。",
        "窓口は平日の9時から開いており、土曜日は休みです。",
    ),
    ("毎月第2日曜日と平日に開いています。", "平日と毎月第2日曜日に開いています。"),
    ("祝日を除く月曜日から金曜日に開いています。", "月曜日から金曜日(祝日を除く)に開いています。"),
    (
        "本人または同じ世帯の方が請求できます。",
        "ご本人か、ご本人と同じ世帯の方が請求できます。",
    ),
    ("手当の額は、障害の程度に応じて決まります。", "手当の額は、障害に応じて決まります。"),
    ("届くまで、約2週間かかります。", "届くまで、2週間前後かかります。"),
    ("募集は、4月1日から4月30日までです。", "募集は、4月1日から30日までです。"),
    ("募集は、4月1日から4月30日までです。", "募集は、4月1日〜30日です。"),
    ("窓口は、平日に開いています。", "窓口は、月曜日から金曜日に開いています。"),
    ("手数料は、いすが300円、たんすが1,200円です。", "手数料は、たんすが1,200円です。"),
    ("手数料は、300円(いす)、1,200円(たんす)です。", "手数料は、1,200円(たんす)です。"),
    (
        "受付時間は、平日は9時から17時まで、土曜日は9時から12時までです。",
        "土曜日は9時から12時まで受け付けます。",
    ),
    ("申込みの期限は、3月31日です。", "申込みは、3月31日までです。"),
    ("戸籍全部事項証明書の手数料は、450円です。", "戸籍謄本の手数料は、450円です。"),
    ("引っ越しをしたら、届け出をしてください。", "引越しをされましたら、届出をしてください。"),
    ("申請できるのは、本人に限ります。", "本人に限り、申請できます。"),
    ("税金は納期限までに納めてください。", "納期限までに税金を納めてください。"),
    ("65歳以上の方が対象です。", "対象は、65歳以上の方です。"),
    ("引っ越し後14日以内に届け出てください。", "引っ越した後14日以内に届け出てください。"),
    ("事前に予約したうえで、窓口へお越しください。", "事前に予約した上で、窓口へお越しください。"),
    ("体調の悪い方は利用を控えてください。", "体調の悪い方は利用しないでください。"),
    ("冷蔵庫は収集できません。", "冷蔵庫は収集できかねます。"),
    ("窓口は、月曜日から金曜日まで開いています。", "窓口は、月曜日～金曜日に開いています。"),
    ("申込みは、5月31日までに提出してください。", "申込みは、5月31日を期限として提出してください。"),
    ("入場は無料です。", "入場料は無料です。"),
    ("補助金の上限は、5万円です。", "補助金は、5万円までです。"),
    ("受付は、9時〜17時です。", "受付は、17時までです。"),
    ("図書館は、9時に開きます。", "図書館は、9時から開いています。"),
    ("手当は、18歳になる年度の末まで支給します。", "手当は、18歳までの年度の末まで支給します。"),
    ("納税通知書は、市が所有者に送ります。", "市は、所有者に納税通知書を送ります。"),
    ("納税通知書は、市が所有者に送ります。", "納税通知書は、所有者に送ります。"),
    ("引っ越しの届け出は、世帯主または本人が行います。", "引っ越しの届け出は、本人が行います。"),
    ("倒れた木は、道路課が片付けます。", "倒れた木は、市の道路課が片付けます。"),
    ("施設の利用には、予約が必要です。", "施設の利用は、予約すればできます。"),
    ("施設の利用には、予約が必要です。", "施設の利用には、予約をしてください。"),
    ("工事の前に、市へ届け出なければなりません。", "工事の前に、市へ届け出ていただく必要があります。"),
    ("費用がかかる場合があります。", "費用がかかることがあります。"),
    ("古紙は、第2・第4水曜日に収集します。", "古紙は、第2水曜日と第4水曜日に収集します。"),
    ("古紙は、毎月第2・第4水曜日に収集します。", "古紙は、第2・4水曜日に収集します。"),
    ("古紙は第2水曜日、びんは第4木曜日に収集します。", "びんは、第4木曜日に収集します。"),
    ("健診は、年1回受けられます。", "健診は、年に1回受けられます。"),
    ("ごみは、朝8時までに出してください。", "ごみは、午前8時までに出してください。"),
    ("窓口は、夜8時まで開いています。", "窓口は、20時まで開いています。"),
    ("申込みは、4月1日から受け付けます。", "申込みの受付は、4月1日に始まります。"),
    ("手数料は、4月1日から変わりました。", "手数料は、4月1日に変わりました。"),
    ("参加費は、1人につき500円です。", "参加費は、お1人500円です。"),
    ("交通事故相談は、市内に住む方が利用できます。", "交通事故相談は、市内に住む方がご利用いただけます。"),
    ("結果は、必ずお知らせします。", "結果は、かならずお知らせします。"),
    ("補助率は、費用の2分の1です。", "補助率は、費用の1/2です。"),
    ("補助率は、費用の2分の1以内です。", "補助率は、費用の1/2以内です。"),
    ("補助率は、費用の1/2以内です。", "補助率は、費用の2分の1以内です。"),
    ("補助率は、費用の１／２です。", "補助率は、費用の二分の一です。"),
    ("費用がかかる場合があります。", "費用がかかる場合もございます。"),
    (
        "本人は窓口で、代理人は郵送で申請してください。",
        "本人は窓口で申請し、代理人は郵送で申請してください。",
    ),
    ("この制度は、令和7年度に廃止しました。", "この制度は、令和7年度に廃止されています。"),
    ("この制度は、令和9年度に廃止します。", "この制度は、令和9年度に廃止することになりました。"),
    ("申請は、窓口で受け付けています。", "申請は、窓口で受け付けます。"),
    ("手数料は、4月1日から500円になりました。", "手数料は、4月1日から500円です。"),
    ("手数料は、変わりません。", "手数料は、変わっていません。"),
    ("健診は、年1回受けられます。", "健診は、1年に1回受けられます。"),
    ("健診は、年1回受けられます。", "健診は、毎年1回受けられます。"),
    ("古紙は、月2回収集します。", "古紙は、1か月に2回収集します。"),
    ("古紙は、毎月2回収集します。", "古紙は、1ヶ月に2回収集します。"),
    ("ごみは、週1回収集します。", "ごみは、1週間に1回収集します。"),
    ("ごみは、1週間に2回収集します。", "ごみは、週2回収集します。"),
    (
        "届け出は、マイナポータルでできるため、来庁は不要です。",
        "届け出は、マイナポータルでできるため、来庁は不要となります。",
    ),
    ("公園でのたき火は禁止です。", "公園でのたき火は禁止となります。"),
    ("転入届の場合は、転出証明書も必要です。", "転入届のときは、転出証明書も必要です。"),
    (
        "お問い合わせは、平日の9時から16時までにお願いします。\n資源ごみは、月曜日に収集します。",
        "お問い合わせは、月曜日から金曜日の9時から16時までにお願いします。",
    ),
    ("およそ1か月で、交付通知書(はがき)を送ります。\n・交付通知書(はがき)", "交付通知書(はがき)"),
]
"""What a person may make of it: `check` finds nothing hard, whatever the gate says."""


def _whole(sentence: str) -> list[Passage]:
    return [p for p in split_passages(Article("a", "手続き", "x", sentence)) if p.quotable]


@pytest.mark.parametrize(("sentence", "right", "wrong"), TURNED)
def test_an_opposite_or_another_number_in_kanji_is_noticed_by_both(
    sentence: str, right: str, wrong: str
) -> None:
    changed, passages = sentence.replace(right, wrong), _whole(sentence)
    assert changed != sentence
    assert strict_gate(sentence, passages).passed
    assert not strict_gate(changed, passages).passed
    assert check([sentence], passages) == []
    assert [f for f in check([changed], passages) if f.hard] != []


@pytest.mark.parametrize(
    ("title", "sentence", "right", "wrong"),
    [
        ("転入届・転出届", "転入届は、14日以内に出してください。", "転入", "転出"),
        ("本庁舎と分庁舎の窓口", "税金の窓口は、本庁舎の1階です。", "本庁舎", "分庁舎"),
        ("窓口・郵送での申請", "申請は、平日に窓口で受け付けます。", "窓口", "郵送"),
    ],
)
def test_a_title_that_names_both_excuses_no_opposite(
    title: str, sentence: str, right: str, wrong: str
) -> None:
    passages = [p for p in split_passages(Article("a", title, "x", sentence)) if p.quotable]
    found = check([sentence.replace(right, wrong)], passages)
    assert [f.text for f in found if f.kind == "opposite" and f.hard] == [wrong]
    assert check([sentence], passages) == []


@pytest.mark.parametrize(("sentence", "right", "wrong"), QUANTITIES)
def test_the_model_may_not_make_a_quantity_vague_or_sure(sentence: str, right: str, wrong: str) -> None:
    changed, passages = sentence.replace(right, wrong), _whole(sentence)
    assert strict_gate(sentence, passages).passed
    assert not strict_gate(changed, passages).passed


@pytest.mark.parametrize(("sentence", "reworded"), HARMLESS)
def test_a_harmless_rewording_passes_both(sentence: str, reworded: str) -> None:
    passages = _whole(sentence)
    assert strict_gate(reworded, passages).reason == ""
    assert [f for f in check(split_sentences(reworded), passages) if f.hard] == []


@pytest.mark.parametrize(("sentence", "reworded"), FREER)
def test_a_persons_own_order_and_words_are_no_opposite(sentence: str, reworded: str) -> None:
    assert [f for f in check(split_sentences(reworded), _whole(sentence)) if f.hard] == []


DEADLINES = [
    ("軽自動車税の減免は、5月31日までに申請してください。", "5月31日までに", "5月31日までに"),
    ("軽自動車税の減免は、令和8年5月31日までに申請してください。", "令和8年5月31日までに", "5月31日までに"),
    ("出生届は、生まれた日から14日以内に出してください。", "生まれた日から14日以内に", "14日以内に"),
    (
        "市民課の窓口は、12月28日から1月3日までを除き、開いています。",
        "12月28日から1月3日までを除き、",
        "1月3日まで",
    ),
    ("粗大ごみは、収集日の3日前までに申し込んでください。", "収集日の3日前までに", "3日前までに"),
    ("診断書は、2月末日までに提出してください。", "2月末日までに", "2月末日までに"),
    ("騒音計は、7日間まで無料で借りられます。", "7日間まで", "7日間まで"),
    ("ごみは、朝8時までに集積所へ出してください。", "朝8時までに", "朝8時までに"),
    ("募集の受付は、4月1日から4月30日まで、教育課で行います。", "4月1日から4月30日まで、", "4月30日まで"),
]


@pytest.mark.parametrize(("sentence", "part", "lost"), DEADLINES)
def test_a_deadline_left_out_is_an_error_for_both(sentence: str, part: str, lost: str) -> None:
    passages = _whole(f"{sentence}\n手続きは、どの窓口でもできます。")
    without = sentence.replace(part, "")
    assert not strict_gate(without, passages[:1]).passed
    found = [f for f in check([without, passages[1].text], passages) if f.hard and f.kind == "condition"]
    assert any(lost.startswith(f.text) or f.text.endswith(lost) for f in found)
    assert check([passages[1].text], passages) == [], "who leaves out the whole sentence says nothing wrong"


@pytest.mark.parametrize(
    ("sentence", "part", "lost"),
    [
        (
            "市民課の窓口は、平日の8時30分から17時15分まで開いています。",
            "8時30分から17時15分まで",
            "8時30分から",
        ),
        ("福祉タクシー券は、3月15日から受け付けます。", "3月15日から", "3月15日から"),
        ("敷金は、退去から2か月後に返します。", "退去から2か月後に", "2か月後"),
    ],
)
def test_hours_and_beginnings_left_out_are_named_but_do_not_block(
    sentence: str, part: str, lost: str
) -> None:
    found = check([sentence.replace(part, "")], _whole(sentence))
    assert lost in [f.text for f in found if f.kind == "condition"]
    assert [f for f in found if f.hard] == []


def test_a_deadline_is_missed_though_another_sentence_has_the_same() -> None:
    passages = _whole(
        "転入届は、引っ越した日から14日以内に出してください。\n国民健康保険の加入は、14日以内に届け出てください。"
    )
    body = [passages[0].text, passages[1].text.replace("14日以内に", "")]
    found = [(f.sentence, f.kind, f.text) for f in check(body, passages) if f.hard]
    assert found == [(1, "condition", "14日以内に")]


@pytest.mark.parametrize(
    "divided",
    [
        ["転入届は、市民課に出してください。", "届け出は、引っ越した日から14日以内です。"],
        ["届け出の期限は、引っ越した日から14日以内です。", "転入届は、市民課に出してください。"],
    ],
)
def test_a_deadline_may_stand_in_a_sentence_of_its_own(divided: list[str]) -> None:
    passages = _whole(
        "転入届は、引っ越した日から14日以内に市民課に出してください。\n届け出には、手数料がかかりません。"
    )
    assert [f for f in check(divided, passages) if f.hard] == []


def test_the_gate_keeps_a_limit_and_an_alternative_beside_their_nouns() -> None:
    only = "本人のみ窓口で、代理人は郵送で申請してください。"
    assert strict_gate(only.replace("本人のみ", "本人は").replace("人は郵", "人のみ郵"), _whole(only)).reason
    either = "対象は、一級または二級の方です。"
    assert strict_gate(either.replace("または", "および"), _whole(either)).reason.startswith("order")


def test_a_restriction_of_another_cited_sentence_may_be_joined() -> None:
    passages = _whole(
        "工事は、指定の工事店だけが行えます。\n工事をする方は、始める日の7日前までに申請書を提出してください。"
    )
    joined = "工事は、指定の工事店だけが行えますが、" + passages[1].text
    assert [f for f in check([joined], passages) if f.kind == "condition"] == []


def test_a_sentence_may_not_lose_the_next_one_that_limits_it() -> None:
    free, only = "証明書の手数料は無料です。", "ただし、75歳以上の方に限ります。"
    passages = _whole(f"{free}\n{only}\n申込みは、市民課で受け付けます。")
    assert check([free, only], passages) == []
    assert [(f.kind, f.hard, f.text) for f in check([free], passages)] == [("condition", True, only)]
    assert check([passages[-1].text], passages) == []
    assert check([free], passages[:1]) == [], "who left it out of the sources has seen it"


@pytest.mark.parametrize(
    ("front", "known"), [("本庁舎", True), ("市役所", True), ("2階", True), ("障害", False), ("生活", False)]
)
def test_another_section_whose_name_ends_alike_is_another_section(front: str, known: bool) -> None:
    passages = _whole("お申し込みは、福祉課の窓口で受け付けます。")
    found = check([f"お申し込みは、{front}福祉課の窓口で受け付けます。"], passages)
    assert ([f for f in found if f.kind == "section" and f.hard] == []) == known


@pytest.fixture(scope="module")
def source() -> list[Passage]:
    """The title, then the sentences by their numbers."""
    return split_passages(Article("rules", "いろいろな手続き", "citizen_registry", RULES))[1:]


@pytest.mark.parametrize(("number", "right", "wrong", "kind"), PLANTED)
def test_the_gate_refuses_a_planted_error(
    source: list[Passage], number: int, right: str, wrong: str, kind: str | None
) -> None:
    sentence = source[number]
    changed = sentence.text.replace(right, wrong)
    assert changed != sentence.text
    assert not strict_gate(changed, [sentence]).passed


@pytest.mark.parametrize(("number", "right", "wrong", "kind"), [case for case in PLANTED if case[3]])
def test_the_check_reports_a_planted_error(
    source: list[Passage], register: Register, number: int, right: str, wrong: str, kind: str
) -> None:
    found = check([source[number].text.replace(right, wrong)], source, register)
    assert kind in [finding.kind for finding in found]
    assert kind == "section" or any(finding.hard for finding in found if finding.kind == kind)
    assert all(finding.sentence == 0 for finding in found)
    assert all(finding.message_ja for finding in found)


def test_verbatim_sentences_raise_no_alarm(source: list[Passage]) -> None:
    body = [passage.text for passage in source if passage.quotable]
    assert check(body, source) == []
    for passage in source[1:]:
        assert strict_gate(passage.text, [passage]).passed, passage.text
    assert strict_gate("".join(body), source[1:]).passed


@pytest.mark.parametrize(
    ("number", "paraphrase"),
    [
        (1, "市外から引っ越してきたときは、引っ越した日から十四日以内に、市民課へ転入届を出してください。"),
        (2, "手数料は、窓口では1通３００円、コンビニでは1通二百円です。"),
        (4, "粗大ごみ受付センターの電話番号は(0000)12-3908です。"),
        (5, "2026年4月1日から、住民票の写しの窓口手数料が変わりました。"),
        (7, "窓口は、平日の8時30分から17時15分まで開いています。"),
        (13, "図書館には、就労証明書を提出する必要があります。"),
    ],
)
def test_a_careful_paraphrase_raises_no_hard_finding(
    source: list[Passage], register: Register, number: int, paraphrase: str
) -> None:
    assert [f for f in check([paraphrase], source, register) if f.hard] == []


@pytest.mark.parametrize("wrong", ["1月", "令和8年1月", "4月", "4月から5月1日"])
def test_a_lost_or_changed_month_is_another_date(source: list[Passage], wrong: str) -> None:
    changed = source[5].text.replace("令和8年4月1日", wrong)
    assert any(f.kind == "date" and f.hard for f in check([changed], source))


@pytest.mark.parametrize(
    ("number", "right", "wrong"),
    [
        (2, "300円", "250円"),
        (11, "500円", "300円"),
        (1, "14日以内", "3日以内"),
        (7, "午後5時15分", "午後6時"),
        (4, "0000-12-3908", "0000-12-3100"),
    ],
)
def test_a_number_of_another_cited_sentence_is_a_wrong_row(
    source: list[Passage], number: int, right: str, wrong: str
) -> None:
    other = """閉館は、午後6時です。
代表電話は、0000-12-3100です。
粗大ごみは、収集日の3日前までに申し込んでください。"""
    cited = [*source, *split_passages(Article("other", "そのほか", "x", other))]
    changed = source[number].text.replace(right, wrong)
    assert changed != source[number].text
    assert [f.text for f in check([changed], cited) if f.kind == "wrong_row" and f.hard] != []


AGES = """65歳未満の方は、500円です。
65歳以上の方は、無料です。
3歳以上の子どもは、保育料が無料です。
3歳未満の子どもは、保育料がかかります。"""


@pytest.mark.parametrize(
    ("wrong", "bound"),
    [
        ("65歳未満の方は、無料です。", "65歳未満"),
        ("65歳以上の方は、500円です。", "65歳以上"),
        ("3歳未満の子どもは、保育料が無料です。", "3歳未満"),
        ("保育料は、3歳未満の子どもは無料です。", "3歳未満"),
        ("3歳以上の子どもは、保育料がかかります。", "3歳以上"),
    ],
)
def test_what_the_source_says_of_the_other_side_of_a_bound_is_a_wrong_row(wrong: str, bound: str) -> None:
    passages = _whole(AGES)
    assert check([passage.text for passage in passages], passages) == []
    assert bound in [f.text for f in check([wrong], passages) if f.kind == "wrong_row" and f.hard]


@pytest.mark.parametrize(
    "right",
    [
        "65歳以上の方は無料で、65歳未満の方は500円です。",
        "65歳未満の方は500円ですが、65歳以上の方は無料です。",
        "無料なのは、65歳以上の方です。",
        "保育料は、3歳以上の子どもは無料ですが、3歳未満の子どもはかかります。",
    ],
)
def test_both_sides_of_a_bound_may_stand_in_one_sentence(right: str) -> None:
    assert [f for f in check([right], _whole(AGES)) if f.hard] == []


ONE_SENTENCE = "入場料は、大人が500円、子どもが250円です。"
TWO_SENTENCES = "大人の料金は、500円です。\n子どもの料金は、250円です。"
TABLE = """|区分|料金|
|---|---|
|大人|500円|
|子ども|250円|"""


@pytest.mark.parametrize(
    ("source", "wrong", "words"),
    [
        (ONE_SENTENCE, "お子さまの入場料は、500円です。", "500円"),
        (ONE_SENTENCE, "お子さまの入場料は、大人と同じです。", "同じ"),
        (ONE_SENTENCE, "入場料は、大人も子どもも500円です。", "500円"),
        (TWO_SENTENCES, "お子さまの料金は、500円です。", "500円"),
        (TWO_SENTENCES, "料金は、大人が250円、子どもが500円です。", "250円"),
        (TWO_SENTENCES, "料金は、大人も子どもも500円です。", "500円"),
        (TWO_SENTENCES, "子どもの料金も、大人と同額です。", "同額"),
        (TABLE, "子どもの料金は500円です。", "500円"),
        (TABLE, "料金は、お子さまが500円です。", "500円"),
        ("平日:500円、休日:600円", "大人の平日の料金は600円です。", "600円"),
    ],
)
def test_an_amount_of_another_column_told_in_other_words_is_a_wrong_row(
    source: str, wrong: str, words: str
) -> None:
    assert words in [f.text for f in check([wrong], _whole(source)) if f.kind == "wrong_row" and f.hard]


@pytest.mark.parametrize("source", [ONE_SENTENCE, TWO_SENTENCES, TABLE])
@pytest.mark.parametrize(
    "right",
    [
        "お子さまの料金は、250円です。",
        "料金は、大人が500円、お子さまが250円です。",
        "大人の方は、500円です。",
    ],
)
def test_an_amount_of_its_own_column_in_other_words_is_none(source: str, right: str) -> None:
    assert [f for f in check([right], _whole(source)) if f.hard] == []


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ("代理人が申請する場合は、できれば委任状をお持ちください。", "condition"),
        ("代理人が申請する場合は、なるべく委任状をお持ちください。", "condition"),
        ("代理人が申請する場合も、委任状なしで申請してください。", "negation"),
    ],
)
def test_what_must_be_brought_may_not_become_a_wish(wrong: str, kind: str) -> None:
    passages = _whole("代理人が申請する場合は、委任状をお持ちください。")
    assert kind in [f.kind for f in check([wrong], passages) if f.hard]


MAILED = "写しの交付手数料は、300円です。\n写しの郵送は、無料です。"
FEE = "証明書の手数料は、1通300円です。"
FREE_FOR_SOME = "健診の自己負担額は、500円です。70歳になる方は、無料です。"


@pytest.mark.parametrize(
    ("source", "wrong", "words"),
    [
        (FEE, "証明書は、無料です。", "無料"),
        (FEE, "証明書の手数料は、かかりません。", "手数料は、かかりません"),
        (FEE, "証明書は、無償でお渡しします。", "無償"),
        (MAILED, "写しの交付は、無料です。", "無料"),
        (MAILED, "交付は無料ですが、郵送は300円です。", "300円"),
        (MAILED, "写しの交付に手数料はかかりません。", "手数料はかかりません"),
        (MAILED, "写しの郵送には、300円かかります。", "300円"),
        (FREE_FOR_SOME, "健診の自己負担額は、無料です。", "無料"),
        (FREE_FOR_SOME, "健診の自己負担額はかかりません。", "自己負担額はかかりません"),
        ("入場料は、大人が500円、子どもが無料です。", "大人は、無料です。", "無料"),
        ("入場料は、大人が500円、子どもが無料です。", "入場料は、大人も子どもも無料です。", "無料"),
    ],
)
def test_free_said_of_what_has_a_fee_blocks_and_a_fee_said_of_what_is_free(
    source: str, wrong: str, words: str
) -> None:
    found = [f.text for f in check([wrong], _whole(source)) if f.kind in ("number", "wrong_row") and f.hard]
    assert words in found


@pytest.mark.parametrize(
    ("source", "right"),
    [
        ("住民票の写しの郵送は、無料です。", "住民票の写しの郵送に手数料はかかりません。"),
        (MAILED, "写しの交付は300円ですが、郵送は無料です。"),
        ("写しの郵送に手数料はかかりません。", "写しの郵送の手数料は無料です。"),
        ("写しの郵送に手数料はかかりません。", "写しの郵送に料金はかかりません。"),
        ("写しの郵送は、無料です。", "写しの郵送は、無償です。"),
        ("写しの郵送は、無料です。", "写しの郵送料は、0円です。"),
        ("写しの郵送に手数料はかからず、予約も必要ありません。", "写しの郵送に手数料はかかりません。"),
        (
            "婚姻届に手数料はかかりませんが、婚姻届受理証明書の手数料は1通350円です。",
            "婚姻届に料金はかかりませんが、婚姻届受理証明書の料金は1通350円です。",
        ),
    ],
)
def test_what_is_free_may_be_told_in_other_words(source: str, right: str) -> None:
    assert [f for f in check([right], _whole(source)) if f.hard] == []


COUNTER = """市民課の窓口の受付時間

- 平日 8:30から17:15まで
- 土曜 9:00から12:00まで"""
HALLS = """|施設|開館時間|
|---|---|
|公民館|9時から21時まで|
|体育館|8時30分から20時まで|"""
COURTS = "テニスコートの利用時間は8時から21時まで、野球場の利用時間は6時から18時までです。"
LIBRARY = "図書館の開館時間は9時30分から19時までで、土曜日、日曜日、祝日は17時までです。"
ROUNDS = """前期の申込みは、4月1日から4月15日まで受け付けます。
後期の申込みは、9月1日から9月15日まで受け付けます。"""
TOWNS = """|地区|健診の日|
|---|---|
|東町|7月3日|
|西町|7月10日|"""


@pytest.mark.parametrize(
    ("source", "wrong", "words"),
    [
        (COUNTER, "土曜は朝8時半からです。", "朝8時半"),
        (COUNTER, "平日は12時まで受け付けています。", "12時"),
        (COUNTER, "土曜日の受付は、午前9時から午後5時15分までです。", "午後5時15分"),
        (HALLS, "体育館は、夜9時まで使えます。", "夜9時"),
        (COURTS, "野球場は、朝8時から使えます。", "朝8時"),
        (LIBRARY, "日曜日は、夜7時まで開いています。", "夜7時"),
        (ROUNDS, "後期は、4月15日が締切りです。", "4月15日"),
        (TOWNS, "東町にお住まいの方は、7月10日にお越しください。", "7月10日"),
        ("びんの収集は月曜日です。\n缶の収集は木曜日です。", "缶は月曜に出してください。", "月曜"),
    ],
)
def test_hours_and_days_of_another_row_told_in_other_words_are_a_wrong_row(
    source: str, wrong: str, words: str
) -> None:
    assert words in [f.text for f in check([wrong], _whole(source)) if f.kind == "wrong_row" and f.hard]


@pytest.mark.parametrize(
    ("source", "right"),
    [
        (COUNTER, "土曜日は、朝9時から正午まで受け付けています。"),
        (COUNTER, "平日は17時15分、土曜日は12時に閉まります。"),
        (HALLS, "公民館は9時、体育館は8時半に開きます。"),
        (COURTS, "野球場は朝6時から、テニスコートは夜9時まで使えます。"),
        (LIBRARY, "祝日は、夕方5時までです。"),
        (ROUNDS, "後期は、9月15日が締切りです。"),
        (TOWNS, "東町にお住まいの方は、7月3日にお越しください。"),
        ("献血の受付時間は、10時から11時45分までと13時から16時までです。", "受付は13時から16時です。"),
        (
            "みなと市自転車保管所での引き取りは、火曜日から土曜日の10時から17時まで受け付けています。",
            "みなと市自転車保管所での引き取りについては土曜日の10時から17時までとなります。",
        ),
        (
            "電話の受付は、9時から始まります。\n窓口では、本庁舎1階の市民課が8時30分から開いています。",
            "受付は8時30分からです。",
        ),
    ],
)
def test_hours_and_days_of_their_own_row_in_other_words_are_none(source: str, right: str) -> None:
    assert [f for f in check([right], _whole(source)) if f.kind == "wrong_row"] == []


WEEK = """|地区|燃えるごみ|古紙|
|---|---|---|
|東町|月曜日と木曜日|水曜日|
|西町|火曜日と金曜日|土曜日|"""


@pytest.mark.parametrize(
    ("source", "wrong", "weekday"),
    [
        ("びんは、月曜日に収集します。\n缶は、水曜日に収集します。", "びんは、水曜日に収集します。", "水曜"),
        ("古紙は月曜日、びんは水曜日に収集します。", "びんは、月曜日に収集します。", "月曜"),
        (WEEK, "東町の燃えるごみは、火曜日と金曜日です。", "火曜"),
        (WEEK, "東町の燃えるごみは、水曜日です。", "水曜"),
        (WEEK, "西町は、燃えるごみ：土曜日、古紙：火曜日と金曜日です。", "土曜"),
    ],
)
def test_a_weekday_of_another_row_or_column_is_a_wrong_row(source: str, wrong: str, weekday: str) -> None:
    passages = _whole(source)
    assert check([passage.text for passage in passages], passages) == []
    assert weekday in [f.text for f in check([wrong], passages) if f.kind == "wrong_row" and f.hard]


@pytest.mark.parametrize(
    "right",
    ["東町の燃えるごみは、月曜日と木曜日です。", "西町の古紙は、土曜日です。", "古紙は、西町は土曜日です。"],
)
def test_a_weekday_of_its_own_row_and_column_is_none(right: str) -> None:
    assert [f for f in check([right], _whole(WEEK)) if f.hard] == []


def test_two_sentences_joined_into_one_have_no_wrong_row(source: list[Passage]) -> None:
    joined = source[2].text.removesuffix("。") + "が、" + source[11].text
    assert [f for f in check([joined], source) if f.kind == "wrong_row"] == []


JOINED = """犬の登録の手数料は、3,000円です。
犬の登録を変更する手続きに手数料はかかりません。
マイナンバーカードをお持ちの方は、変更の届け出が不要です。
市外へ引っ越す方は、新しい住所の市町村へ届け出てください。"""


@pytest.mark.parametrize(
    "sentences",
    [
        ["申請の結果は、30日以内に郵送でお知らせします。", "申請と調査に費用はかかりません。"],
        ["手帳の更新は、期限の3か月前から受け付けます。", "手帳の申請に手数料はかかりません。"],
        [
            "市営駐輪場の定期利用の料金は、1階が月2,500円、2階が月1,800円です。",
            "市営駐輪場の学生の定期利用の料金は、1階が月1,800円、2階が月1,200円です。",
        ],
        ["受診期間は、7月1日から1月31日までです。", "歯周病検診の受診券は、6月下旬に郵送します。"],
        ["公園でのたき火は禁止です。", "犬を散歩させるときは、引き綱を付けてください。"],
    ],
)
def test_two_sentences_joined_into_one_are_compared_one_by_one(sentences: list[str]) -> None:
    passages, (first, second) = _whole("\n".join(sentences)), sentences
    end = first.removesuffix("。")
    joined = (f"{end}が、" if end.endswith("ます") else f"{end.removesuffix('です')}で、") + second
    assert [f for f in check([joined], passages) if f.hard] == []


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ("犬の登録の手数料は、3,000円ですが、犬の登録を変更する手続きに手数料がかかります。", "negation"),
        ("変更の届け出が不要ですが、市外へ引っ越す方は、新しい住所の市町村へ届け出てください。", "condition"),
    ],
)
def test_an_error_in_one_of_two_joined_sentences_is_seen(wrong: str, kind: str) -> None:
    assert kind in [f.kind for f in check([wrong], _whole(JOINED)) if f.hard]


def test_a_place_in_the_second_of_two_joined_sentences_is_its_own() -> None:
    passages = _whole("大人の入場料は、300円です。\n市外に住む子どもの入場料は、200円です。")
    wrong = "大人の入場料は、300円で、市外に住む子どもの入場料は、300円です。"
    assert [(f.text, f.nth) for f in check([wrong], passages) if f.kind == "wrong_row"] == [("300円", 1)]


@pytest.mark.parametrize("wrong", ["1/3", "2/1", "2/3", "3分の1"])
def test_another_share_is_another_number(wrong: str) -> None:
    for right in ("1/2", "2分の1"):
        passages = _whole(f"補助率は、費用の{right}です。")
        assert [f for f in check([f"補助率は、費用の{wrong}です。"], passages) if f.hard]


def test_a_day_is_no_share() -> None:
    passages = _whole("補助率は2分の1で、受付は4月1日からです。")
    found = check(["補助率は2分の1で、受付は1/2からです。"], passages)
    assert [f.text for f in found if f.kind == "date"] == ["1/2"]


def test_a_date_without_its_year_says_less_and_nothing_else(source: list[Passage]) -> None:
    assert check([source[5].text.replace("令和8年", "")], source) == []


def test_a_lost_or_repeated_or_added_sentence_is_refused(source: list[Passage]) -> None:
    first, second = source[1], source[6]
    assert strict_gate(first.text, [first, second]).reason.startswith("lost sentence")
    assert not strict_gate(first.text + second.text + second.text, [first, second]).passed
    assert strict_gate(first.text + "ご予約は不要です。", [first]).reason.startswith("unaligned")
    assert strict_gate("", [first]).reason == "empty"


@pytest.mark.parametrize(
    ("right", "wrong"), [("転入届を", "転入届と印鑑を"), ("転入届を", "書類を"), ("転入届を", "転居届を")]
)
def test_the_gate_refuses_a_noun_of_the_models_own(source: list[Passage], right: str, wrong: str) -> None:
    reason = strict_gate(source[1].text.replace(right, wrong), [source[1]]).reason
    assert reason.startswith("foreign noun")


def test_the_gate_refuses_a_lost_noun(source: list[Passage]) -> None:
    assert strict_gate(source[6].text.replace("冷蔵庫とエアコン", "冷蔵庫"), [source[6]]).reason.startswith(
        "lost noun"
    )


def test_facts_from_the_register_are_named_but_do_not_block(
    source: list[Passage], register: Register
) -> None:
    (finding,) = (f for f in check(["窓口は税務課です。"], source, register) if f.kind == "section")
    assert not finding.hard
    (finding,) = (f for f in check(["担当は0000-12-3101です。"], source, register) if f.kind == "phone")
    assert not finding.hard
    assert any(f.kind == "phone" and f.hard for f in check(["電話は0000-12-9999です。"], source, register))


@pytest.mark.parametrize(
    ("right", "wrong", "kind"),
    [
        ("税務課(0000-12-3102)", "市民課(0000-12-3102)", "section"),
        ("税務課(0000-12-3102)", "税務課(0000-12-3101)", "phone"),
    ],
)
def test_another_section_of_the_city_in_its_place_blocks(
    register: Register, right: str, wrong: str, kind: str
) -> None:
    passages = _whole("詳しくは、税務課(0000-12-3102)へお問い合わせください。")
    changed = passages[0].text.replace(right, wrong)
    assert kind in [f.kind for f in check([changed], passages, register) if f.hard]


def test_another_section_of_the_city_beside_it_does_not_block(register: Register) -> None:
    passages = _whole("詳しくは、税務課(0000-12-3102)へお問い合わせください。")
    both = "詳しくは、税務課(0000-12-3102)か市民課(0000-12-3101)へお問い合わせください。"
    assert [f for f in check([both], passages, register) if f.hard] == []


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ("请您带上证明书。", "glyph"),
        ("감사합니다。", "glyph"),
        ("必ず給付を受けられます。", "assertion"),
        ("尼崎市の窓口へどうぞ。", "municipality"),
        ("転入届です<|im_end|>。", "control_token"),
        ("今日は天気がよく、散歩に向いています。", "unsupported"),
    ],
)
def test_what_no_source_carries_blocks(
    source: list[Passage], register: Register, sentence: str, kind: str
) -> None:
    assert kind in {finding.kind for finding in check([sentence], source, register) if finding.hard}


@pytest.mark.parametrize(
    ("sentence", "name", "hard"),
    [
        ("転入届は、市民課の田中が受け付けます。", "田中", True),
        ("転入届は、佐藤花子へ出してください。", "佐藤花子", True),
        ("市外から横浜の窓口に引っ越してきたときは、転入届を出してください。", "横浜", True),
        ("転入届は、ブラジルの方も出してください。", "ブラジル", False),
    ],
)
def test_a_name_that_no_source_holds_is_found(
    source: list[Passage], register: Register, sentence: str, name: str, hard: bool
) -> None:
    found = [(f.text, f.hard) for f in check([sentence], source, register) if f.kind == "name"]
    assert found == [(name, hard)]


def test_two_sources_may_say_the_working_days_in_two_ways() -> None:
    passages = _whole(
        "市民課の窓口は、平日に開いています。\n税務課の窓口は、月曜日から金曜日に開いています。"
    )
    assert check([passage.text for passage in passages], passages) == []


def test_a_word_that_is_only_added_is_named_but_does_not_block() -> None:
    passages = _whole("転入届は、市民課の窓口で受け付けます。")
    found = check(["転入届は、市民課の窓口とコンビニで受け付けます。"], passages)
    assert [(f.kind, f.text, f.hard) for f in found] == [("noun", "コンビニ", False)]


@pytest.mark.parametrize(
    ("sentence", "hard"),
    [
        ("詳しくは、https://www.city.minato.example/gomi をご覧ください。", []),
        ("詳しくは、市のホームページ(https://www.city.minato.example/gomi)でご確認ください。", []),
        ("詳しくは、https://www.city.minato.example/gesui をご覧ください。", ["url", "unsupported"]),
        ("詳しくは、青空商店の https://www.city.minato.example/gomi をご覧ください。", ["unsupported"]),
    ],
)
def test_the_citys_own_page_may_be_pointed_to(sentence: str, hard: list[str]) -> None:
    own = Register(urls=frozenset(["https://www.city.minato.example/gomi"]))
    found = check([sentence], _whole("粗大ごみは、電話で申し込んでください。"), own)
    assert [f.kind for f in found if f.hard] == hard


def test_another_city_is_one_finding_and_a_name_of_the_source_is_none(source: list[Passage]) -> None:
    found = [f.kind for f in check(["横浜市の方は、転入届を市民課に出してください。"], source)]
    assert found.count("municipality") == 1
    assert "name" not in found
    named = split_passages(Article("a", "申込み", "x", "申込みは、横浜の田中記念館で受け付けます。"))
    assert check([named[1].text], named) == []


@pytest.mark.parametrize(
    ("sentence", "word"),
    [
        ("当市の不手際により、ご迷惑をおかけしました。", "当市の不手際"),
        ("案内に誤りがあり、誠に申し訳ございません。", "申し訳"),
        ("職員の手違いにつきまして、深くお詫びいたします。", "お詫び"),
        ("手続きの不備をおわびします。", "おわび"),
        ("市が責任を負います。", "責任を負"),
        ("修理の費用は、市が弁償します。", "弁償"),
        ("慰謝料をお支払いします。", "慰謝料"),
        ("その工事は条例違反です。", "条例違反"),
        ("その契約は、法律上無効です。", "法律上"),
        ("違法ではありません。", "違法"),
    ],
)
def test_a_fault_admitted_and_a_legal_judgement_block(
    source: list[Passage], sentence: str, word: str
) -> None:
    found = [f.text for f in check([sentence], source) if f.kind == "assertion" and f.hard]
    assert word in found


@pytest.mark.parametrize(
    "sentence",
    [
        "ご不便をおかけし、申し訳ありません。",
        "お待たせして申し訳ございません。",
        "ご希望に沿えず、おわび申し上げます。",
        "申請に誤りがあった場合は、訂正してください。",
        "責任者の方がお越しください。",
        "不法投棄を見つけたときは、お知らせください。",
    ],
)
def test_a_polite_regret_admits_nothing(source: list[Passage], sentence: str) -> None:
    assert [f for f in check([sentence], source) if f.kind == "assertion"] == []


def test_an_address_hides_no_name_beside_it(source: list[Passage]) -> None:
    assert "name" not in {f.kind for f in check(["tanaka@example.jp"], source)}
    found = check(["転入届は田中(tanaka@example.jp)へ出してください。"], source)
    assert [f.text for f in found if f.kind == "name"] == ["田中"]


def test_the_citys_own_articles_raise_no_alarm() -> None:
    articles = read_folder(Path(__file__).resolve().parents[2] / "data" / "knowledge")
    for article in articles:
        quotable = [passage for passage in split_passages(article) if passage.quotable]
        assert check([passage.text for passage in quotable], quotable) == [], article.id


@pytest.mark.parametrize(
    "run", ["9", "1.", "一", "十一", "第十", " ", "a", "a@", "課", "9分の", "月・", "一、"]
)
def test_a_long_run_is_read_once(run: str) -> None:
    # Read anew from each of its characters, it would take hours.
    text = run * (200_000 // len(run))
    facts(normalise(text))
    differing_facts(text, text, "en")


def test_many_limits_compare_a_sentence_no_oftener_than_few(monkeypatch: pytest.MonkeyPatch) -> None:
    passages = _whole("手数料は、1通300円以内です。\n窓口は、9時から17時までです。")
    compared = list[str]()

    def counted(sentence: str, source: str) -> float:
        compared.append(sentence)
        return share_of_pairs(sentence, source)

    monkeypatch.setattr(checks, "share_of_pairs", counted)
    counts = list[int]()
    for most in (3, 300):
        compared.clear()
        check(["手数料は、" + "か".join(f"{n}円以内" for n in range(300, 300 + most)) + "です。"], passages)
        counts.append(len(compared))
    few, many = counts
    assert many == few


def test_empty_and_too_long_texts_block(source: list[Passage]) -> None:
    assert [f.kind for f in check([], source)] == ["empty"]
    assert [f.kind for f in check(["  "], source) if f.sentence < 0] == ["empty"]
    emoji = "😀"
    assert "too_long" not in {f.kind for f in check([emoji * 2_500], source)}
    assert "too_long" in {f.kind for f in check([emoji * 2_501], source)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("三百円", "300円"),
        ("１，５００円", "1500円"),
        ("1万5千円", "15,000円"),
        ("二十五万三千円", "253000円"),
        ("令和八年四月一日", "2026年4月1日"),
        ("R8.4.1", "2026/4/1"),
        ("午後5時15分", "17:15"),
        ("令和元年度", "2019年度"),
        ("９時半", "9時30分"),
        ("０１２０－０００－５３０", "0120(000)530"),
        ("十四日以内", "14日以内"),
        ("65才", "65歳"),
        ("https://x.example/a/", "x.example/a"),
        ("二か月", "２ヶ月"),
        ("三通", "3通"),
        ("二十一部", "21部"),
        ("一級", "1級"),
        ("二つ", "2つ"),
        ("二親等", "2親等"),
        ("第三子", "第3子"),
        ("三か所", "3箇所"),
        ("四分の一", "4分の1"),
        ("要介護三", "要介護3"),
        ("午前十一時", "11:00"),
        ("午後一時", "13:00"),
        ("5百円", "500円"),
        ("5百万円", "5,000,000円"),
        ("2千5百円", "2500円"),
        ("1億2千万円", "120000000円"),
        ("三十分", "30分"),
    ],
)
def test_one_fact_in_two_notations_is_the_same(one: str, other: str) -> None:
    (left,), (right,) = facts(normalise(one)), facts(normalise(other))
    assert (left.kind, left.value) == (right.kind, right.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("第三水曜日", "第3水曜日"),
        ("第三月曜日", "第3月曜日"),
        ("第二・四火曜日", "第2・4火曜日"),
        ("月・水・金", "月曜・水曜・金曜"),
        ("月～金", "月曜日～金曜日"),
        ("土・日曜日", "土曜・日曜"),
    ],
)
def test_weekdays_in_two_notations_are_the_same(one: str, other: str) -> None:
    left, right = ([(f.kind, f.value) for f in facts(normalise(text))] for text in (one, other))
    assert left == right
    assert len(left) > 1


@pytest.mark.parametrize(
    ("written", "fact", "place"),
    [
        ("手数料は9,999円です。", "9999円", "9,999円"),
        ("手数料は９９９９円です。", "9999円", "９９９９円"),
        ("手数料は三百円です。", "300円", "三百円"),
        ("上限は1万5千円です。", "15000円", "1万5千円"),
        ("電話は０１２０－０００－５３０です。", "0120-000-530", "０１２０－０００－５３０"),
        ("三百円と、手数料は9,999円です。", "9999円", "9,999円"),
        ("要介護三以上の方が対象です。", "3", "三"),
        ("毎月第三水曜日に収集します。", "第3", "第三"),
        ("手数料は無料です。", "300円", ""),
        ("写しの郵送に手数料はかかりません。", "手数料はかかりません", "手数料はかかりません"),
    ],
)
def test_a_fact_is_found_as_it_is_written(written: str, fact: str, place: str) -> None:
    start, end = written_place(fact, written) or (0, 0)
    assert written[start:end] == place


@pytest.mark.parametrize(
    ("written", "nth", "place"),
    [
        ("1,300円と300円です。", 0, 7),
        ("1300円と300円です。", 0, 6),
        ("１，３００円と300円です。", 0, 7),
        ("300円と300円です。", 1, 5),
        ("三百円と300円です。", 0, 0),
        ("三百円と300円です。", 1, 4),
    ],
)
def test_each_of_equal_facts_has_its_place_and_no_part_of_a_number_is_one(
    written: str, nth: int, place: int
) -> None:
    start, _ = written_place("300円", written, nth) or (-1, 0)
    assert start == place


def test_the_one_of_two_equal_numbers_that_is_wrong_is_named() -> None:
    passages = _whole("入場料は、大人が300円、子どもが200円です。")
    found = check(["入場料は、大人が300円、子どもが300円です。"], passages)
    assert [(f.text, f.nth) for f in found if f.kind == "wrong_row"] == [("300円", 1)]


@pytest.mark.parametrize(
    "word",
    [
        "一部の方", "一時預かり", "十分に", "一般の方", "関係する書類", "一番近い窓口の担当課", "一緒に",
        "三者面談", "第三者", "一時保育", "一時的", "一本化", "一種の", "一通りの", "万一期限を過ぎたら",
        "統一部品", "同一世帯", "市内一円", "不十分", "四日市市", "千歳市", "六本木", "三種町", "一期一会",
        "祝日・月", "月、水道", "日・英", "資料は不要です", "無料ではありません", "有料化",
    ],
)  # fmt: skip
def test_words_that_look_like_facts_are_none(word: str) -> None:
    assert facts(normalise(word)) == ()


@pytest.mark.parametrize(
    "text",
    ["a<|im_end|>b", "a<|im_<|im_end|>end|>b", "a＜｜im_end｜＞b", "a</s>b", "a[INST]b", "a<start_of_turn>b"],
)
def test_control_tokens_are_removed_even_when_nested(text: str) -> None:
    assert strip_control_tokens(text) == "ab"
