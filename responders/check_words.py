"""Words that the checks look for: limits, opposites, claims that a city hall may not make, general words.

Texts are normalised by `responders.facts.normalise`.
"""

import re

from responders.wording import UNCERTAIN

FAULT = "不手際|手違い|過ち|誤り|ミス|過失|落ち度|不備|怠慢|怠って|不適切"
ASSERTION = re.compile(
    "必ず|かならず|絶対に|ぜったいに|確実に|保証(?:し|いた)|お約束|約束(?:し|いた)|間違いなく|"
    "違法|適法|合法|不法(?!投棄)|脱法|法的に|法律上|(?:法律?|法令|条例|規則)違反|(?:法律?|法令|条例)に(?:違反|反し)|"
    "違憲|勝訴|敗訴|賠償|損害|補償(?:し|いた)|弁償|慰謝料|示談|責任を(?:負|取り|取ら|とり|認め)|"
    "(?:[当本]?市|課|当方)(?:側)?(?:の責任|に責任)|"
    rf"(?:[当本]?市|課|職員|担当者?|当方|こちら|私ども|わたくしども)(?:側)?の(?:{FAULT})"
)
IN_KANA = (("必ず", "かならず"), ("絶対に", "ぜったいに"))
"""Assertions that a source may write in the other way."""
ADMITS = re.compile(FAULT)
APOLOGY = re.compile("申し?訳(?=[あごな])|[おご]詫び|おわび|陳謝|謝罪")
"""Regret alone is a courtesy; beside a fault it admits liability."""
OPPOSITE = (
    {"まで", "以内", "以下", "未満", "以前", "より前", "より下", "に満たない", "より若い"},
    {"から", "以上", "以降", "以後", "超", "を超え", "より後", "より上"},
)
"""Bounds of a number from above, and from below."""
WITH_ITSELF = {"まで", "以内", "以下", "以前", "から", "以上", "以降", "以後"}
"""Bounds that hold the number itself: 65歳以上 is not 65歳より上."""
NEEDED_BOUNDS = frozenset(
    re.findall(r"\S+", "以内 以上 以下 未満 以降 以前 以後 まで 超 を超え より前 より後 より上 より下")
)
LIMIT_BEHIND = re.compile(
    r"(?:\([^)]{0,20}\))?(?:日?間|前|後|目|ごろ|頃|末日?|の(?:前日|翌日|末日))*"
    r"(?:までに?|以内に?|以[下前後降上]|未満|超|を超え|より[前後上下]|から|を過ぎ)?"
)
BINDING = re.compile(rf"(?:{'|'.join(NEEDED_BOUNDS)}|を過ぎ)に?$")
"""Ends of limits that no text may leave out, as it may a beginning."""
SIDES = (
    re.compile("まで|迄|以内|以下|未満|以前|より[前下]|前に|内に|満たない|期限と|締め?切|[~〜]"),
    re.compile("から|以上|以降|以後|超|より[後上]|上回"),
)
"""Words for each of `OPPOSITE`, also those that follow no number."""
BARE_LIMIT = re.compile(r"(?<=[一-龥々ァ-ヶー])(?:まで|以内|以下|未満|以前|以上|以降|以後)")
RESTRICTIONS = (
    re.compile(
        r"(?<!る)限り|(?<![期制上下権極門])限(?:る|られ|って|定)|のみ(?!なら)|"
        r"(?<!でき)(?<!きる)(?<!いた)だけ(?!で[なは])|しか(?!し)"
    ),
    re.compile("原則|基本的に"),
    re.compile(
        r"(?<![一-龥])約(?=\d)|およそ|だいたい|大体|(?<=[\d月日間年週分円回人枚件時歳])(?:程度|ほど|[くぐ]らい|前後)"
    ),
    re.compile(r"各(?=\d)|ずつ|それぞれ"),
    re.compile(UNCERTAIN),
    re.compile("できれば|できるだけ|なるべく|極力|可能(?:であれば|でしたら|なら|な限り)"),
    re.compile("隔[日週月年]"),
    re.compile("税[込別抜]|消費税"),
)
"""Words of one row limit a statement alike: none of them may be lost or added."""
ORDINAL_DAY = re.compile(r"第\d(?:週?[・、と]第?\d)*週?の?(?P<day>[月火水木金土日]曜)")
"""第2・第4水曜: without its ordinals it is every week."""
PER = re.compile(r"(?<!\d)1(?P<what>[^\d、。()\s]{1,4})(?:につき|に付き|あたり|当たり)")
MUST = re.compile(
    r"(?:なければ|なくては|ないと)(?:なり|いけ)ません|必要(?:です|で、|[がも]?(?:あり|ござい)ます|[とに]なります)|義務"
)
MAY = re.compile(
    r"でき(?:ます|る)|可能です|いただけます|[てで]も(?:よ[いく]|い[いっ]|かまい|構い|差し支え)|任意"
)
ASKS = re.compile(r"ください|下さい|いただきます|お願い|[れた]ば|なら|うえで|上で")
"""A request obliges too, and a condition says what the rest needs."""
EITHER = re.compile(
    r"または|又は|もしくは|あるいは|いずれか|どちらか|(?<=[一-龥ァ-ヶー])か(?=[、一-龥ァ-ヶー])"
)
BOTH = re.compile(
    r"および|及び|ならびに|並びに|かつ|(?<=[一-龥ァ-ヶー])と(?![同異判認違別比])(?=[一-龥ァ-ヶー])"
)
TO = re.compile(r"[~〜-]\s*$")
FROM = re.compile(r"(?:\([月火水木金土日]曜?日?\))?\s*[~〜-]")
"""What a mark before a day, or behind it, says."""
BEGINS = re.compile("開始|始ま|始め|施行|スタート|開[きくいけ館庁]|変わ|変更|改[正定]|なり|なる")
"""A day on which this happens is the first one too: 「4月1日に変わります」."""
DUE = (
    re.compile("期限|締め?切|納期|最終日|必着|消印|提出日|納付日|上限|最[大高]|限度|閉[じまめ館庁]|終"),
    re.compile("開始|始ま|施行|スタート|下限|最[低小]|開[きくいけ館庁]"),
)
"""Words beside a number that say what one of `OPPOSITE` would say."""
EVERY = re.compile(r"(?:毎|(?<![\d一-龥]))(?P<what>[年月週])間?に?(?=\d+回)")
ONE_OF = {"年": ("1年", "1年間"), "月": ("1か月",), "週": ("1週", "1週間")}
"""年2回 is 1年に2回."""
SLASHED = re.compile(r"(?P<above>[1-9]\d?)/(?P<below>[1-9]\d?)")
OF_DAYS = {"まで", "から", "以前", "以降", "以後"}
"""Bounds that nobody gives to a share: 「1/2から」 is a day."""
WORKDAYS = re.compile(r"月曜日?(?:から|[~〜-])金曜日?")
ON_WORKDAYS = re.compile(rf"平日|{WORKDAYS.pattern}")
OTHER_DAYS = re.compile("土曜|日曜|休日|祝")
"""A source that names these too has rows, of which a draft may leave some out."""
SEE = re.compile(
    r"(?:詳細|詳しく|くわしく)は、?(?P<where>.+?)(?:を|で)(?:ご?覧|ご?確認|お確かめ)(?:ください|いただけます)。?"
)
"""A sentence that only points to a page."""
SITE = re.compile(r"[、,\s()「」:]|市|公式|の|ホーム|ウェブ|ページ|サイト|URL", re.IGNORECASE)
LIGHT_NOUNS = frozenset(
    re.findall(
        r"\S+",
        "方 件 旨 際 点 等 内容 方法 手続 手続き 手数 面倒 迷惑 恐れ 案内 連絡 "
        "確認 願い お願い 問い合わせ 問合せ 相談 参考 質問 回答 返答 以下 下記 "
        "上記 次 詳細 説明 対応 場合 必要 可能 予定 本人 自分 自身 皆様 皆さま "
        "様 さま 市 市役所 役所 窓口 担当 課 職員 事項 状況 事情 理由 都合 不便 "
        "理解 協力 了承 利用 使用 申請 届け出 届出 提出 持参 来庁 来所 お越し "
        "受付 実施 対象 期間 時間 時期 日時 場所 料金 費用 金額 手元 全て すべて 用意 期限 締切 締め切り",
    )
)
"""General words of official letters: one of them in the place of another changes no fact."""
_OFTEN = (
    r"(?<!\d)[1毎]?年間?",
    r"(?<!\d)(?:1か|ひと|毎)?月間?",
    r"(?<!\d)[1毎]?週間?",
    r"(?:[2-9]|\d\d)(?:年|か月|週|日)間?(?=に)",
)
EXCLUSIVE = (
    tuple(re.compile(rf"{often}に?(?=\d+回)") for often in _OFTEN),
    *(
        tuple(re.compile(word) for word in row.split())
        for row in re.findall(
            r"\S.*",
            r"""
無料|無償 有料|有償 半額 全額
増額 減額
税込 税別|税抜
必着 消印有効
最大|最高|上限 最小|最低|下限
有効 無効
必須|義務 任意
開始|再開 中止|停止|終了|休止
開館 休館|閉館
開庁 閉庁
営業 休業
[当今同]月 [翌来]月 [前先]月
[当今同]年 [翌来]年 [前昨]年
[当本同]日 翌日 前日
[今同]週 [翌来]週 [前先]週
毎日 毎週 隔週 毎月 隔月 毎年 隔年
上旬 中旬 下旬
前期 後期
前半 後半
月初 月末
午前 午後
事前 事後
以前 以後|以降
[うくすつぬぶむる]前 [ただ]後
まで の後|を過ぎ|より後|以降|以後
平日 毎日 (?:休日|祝日|土日)(?![^、。]{0,8}(?:除|以外|休み))
地上|(?<!地下)\d階 地下
本庁舎?|本館 分庁舎|別館
市内 市外
転入 転出 転居
入学 卒業
大人 子ども|小人
本人 代理人
窓口 郵送|オンライン|電子申請
燃える|燃やせる|可燃 燃えない|燃やせない|不燃
""",
        )
    ),
)
"""In a row each word shuts the others out; a new one in the place of the source's says something else."""
ACTORS = frozenset(["市", "市役所", "役所", "職員", "担当者", "本人", "自分", "国", "県", "業者"])
"""General words, which may yet take the place of those who pay or act by the source."""
PERSON = re.compile(r"(?:方|人|者|親|主|族|員|業者|会社|世帯|組合|自治会|学校|市|国|県|課)$")
ONE_NAME = (
    (re.compile("お子(?:さま|様|さん|さん)|子供|こども|小人|小児"), "子ども"),
    (re.compile("おとな|成人"), "大人"),
    (re.compile("(?<=[月火水木金土日]曜)日"), ""),
)
LISTED_DAYS = re.compile("(?:(?<=曜)|(?<=曜日)|(?<=祝日))、(?=[月火水木金土日]曜|祝)")
"""Of several days that name one row: 「土曜日、日曜日、祝日は17時まで」."""
TOO = re.compile("(?<!子ど)も")
SAME = re.compile("同じ|同額|同様|変わ(?:りません|らない)|一律")
COSTS = re.compile("[料税代]|費用|金額|値段|価格|いくら")
PREFIXES = "未非無不再"
PREFIXED = re.compile(rf"[{PREFIXES}](?P<stem>[一-龥]{{2}})")
SIDE_OF = re.compile(r"(?P<what>\w\w)の?(?<!午)(?P<side>[前後])(?![期半回金])")
TOPIC = re.compile(
    r"(?:^|[、。])(?P<topic>[^、。はが]{1,20}?)(?:に|で)?[はが](?P<said>.*?)(?=[、。][^、。はが]{1,20}[はが]|$)"
)
POLITE_END = re.compile(
    r"(?:です|ます|ません|ました|でした|でしょう|ましょう|ください|下さい|ませ|ですか|ますか|願います)[)」]*。?$"
)
DOUBLE_HONORIFIC = re.compile(
    r"になられ|おっしゃられ|いらっしゃられ|召し上がられ|ご覧になられ|させていただかせ|お伺いさせて|拝見させていただ"
)
YEAR = re.compile(r"^\d{4}(?=-)")
BUILDING = re.compile(r"(?:\w{1,3}市)?(?:市?役所|[本東西南北新分別]庁舎?|支所|出張所|\d?階|内)?")
MUNICIPALITY = re.compile(r"[市区町村県都府]")
ADDRESS = re.compile(r"https?://[!-~]+|www\.[!-~]+|[!-~]+@[!-~]+")
NAMES_JA = {("人名", "姓"): ("人名", True), ("人名", "名"): ("人名", True), ("地名", "一般"): ("地名", True)}
"""What to call it, and hard: a country may only tell of a language or a currency, and マイナ is a name."""
LATIN = re.compile(r"[A-Za-z]{3,}")
