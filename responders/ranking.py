"""What speaks for an article, for a sentence and for there being an answer at all, and how much each counts.

The weights are learnt: ``python -m bot.evaluation`` writes ``weights.json`` from the tuning questions.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from responders.japanese import official, words
from responders.knowledge import Passage

Floats = NDArray[np.float32]

FILE = Path(__file__).with_name("weights.json")

KINDS: Mapping[str, tuple[str, str]] = {
    "money": (
        r"いくら|幾ら|なんぼ|料金|費用|値段|金額|手数料|お金|お代|代金|何円|有料|無料|タダ|ただで|自己負担|使用料|高い|安く|かかるん",
        r"円|無料|手数料|料金|費用|代金|分の\d|負担|\d割",
    ),
    "deadline": (
        r"いつまで|期限|締め?切|何日以内|間に合|何日前|何日まで|前まで|さかのぼ|もう遅|まだ申|今から",
        r"までに|以内|期限|締切|日前|さかのぼ|前の分",
    ),
    "period": (
        r"いつから|何月|時期|期間|募集|受付はいつ|いつ.{0,6}(?:あり|です|ござい|受け|できま|やって|行)",
        r"毎年|\d月|から.{0,12}まで|毎月|毎週|期間",
    ),
    "hours": (r"何時|時間|開いて|閉ま|朝|受付.{0,3}(?:は|いつ)", r"\d時|24時間"),
    "weekend": (
        r"夜|深夜|土曜|日曜|土日|休日|祝日|平日.{0,6}(?:仕事|行け|無理|休)|休み|お盆|年末|正月",
        r"夜間|休日|24時間|日曜|土曜|祝日|休み|12月\d+日から|最終|友引|月曜",
    ),
    "weekday": (r"何曜|曜日|相談日|日はあり|日にち|いつ(?:です|やって|あり|開)", r"曜日|毎月第|毎週|第\d"),
    "place": (
        r"どこ|場所|窓口|どちら|何階|会場|行けば",
        r"窓口|[課所館]で|センター|場所|階|会場|か所|取扱店",
    ),
    "bring": (
        r"持ち物|持(?:って|参|ち)|必要な?(?:もの|物|書類)|何[がを]?.{0,6}(?:必要|[い要][りる]|用意|そろえ|揃え|出せ|出す|添え)|書類|用意|何がい",
        r"お持ち|必要なものは|が必要です|持参|書類|証明書|添えて|ご用意|必要な?もの|申請書",
    ),
    "tell": (r"伝え|何を言|知らせるとき", r"伝えて|お知らせ"),
    "contact": (
        r"電話|連絡|問い?合わせ|言えば|知らせ|通報|頼めば|どこに頼|誰に",
        r"電話 ?\d|連絡|お知らせ|問い?合わせ|依頼|通報",
    ),
    "booking": (r"予約|申し込|申込|取る", r"予約|申し?込|申請"),
    "proxy": (
        r"代理|代わり|かわり|家族|本人以外|委任|夫に|母に|妻に|息子|娘",
        r"代理|委任|家族|本人以外|代わり|同じ世帯",
    ),
    "remote": (
        r"ネット|オンライン|スマホ|ホームページ|郵送|郵便|コンビニ|メール|来庁|行かなくても|行けな|足が",
        r"インターネット|オンライン|郵送|ホームページ|コンビニ|電子|スマート|マイナポータル|訪問|来庁が難|電話でも|届け",
    ),
    "who": (
        r"対象|誰が|だれが|誰でも|どういう人|どんな(?:人|方|家)|資格|条件|受けられ|なれま|(?:使え|もらえ|借りられ|でき|入れ)ますか",
        r"対象|方が|方は|方です|世帯|家庭|以上|未満|限り|どなたでも|できません|なりません",
    ),
    "age": (
        r"何歳|歳|才|年生|か月の|ヶ月の|対象年齢|高校|中学|大学",
        r"歳|年生|か月児|か月から|年齢",
    ),
    "how_many": (
        r"何(?:枚|冊|回|匹|人|袋|台|個|本|部|キロ|品|区画)|いくつ|全部の|何度",
        r"\d(?:枚|冊|回|匹|人|袋|台|個|本|部|キロ|区画|席)|回に|1回",
    ),
    "how_long": (
        r"[どの]れ?[くぐ]らい|何日(?:くらい|ぐらい|で|後|か)|何週間|何[かヶ]月|何年|何分|日数|長さ|いつ(?:頃|ごろ)"
        r"|いつ.{0,8}(?:届|わか|分か|振り?込|入金|来|出|決ま|もらえ)",
        r"およそ|おおむね|以内に|後に|かかります|日間|年間|か月間|週間|旬に|ごろ|\d分|お知らせします",
    ),
    "sent": (r"届|送られ|通知|案内|お知らせ|来ますか|郵送", r"お送り|郵送|通知|お知らせ|配布|届け"),
    "paid": (
        r"振り?込|入金|口座|引き落と|支払|払い|納め|返(?:って|し|金)|戻",
        r"振り込|引き落と|口座|納め|支払|お返し|差し引|払戻",
    ),
    "lost": (
        r"なくし|無くし|落とし|紛失|再発行|再交付|もう一度|作り直|忘れ",
        r"なくした|紛失|再発行|再交付|再設定",
    ),
    "change": (
        r"やめ|止め|取り消|キャンセル|解除|変更|変え|延ば|伸ば|更新|続け",
        r"やめ|取り消|解除|変更|延長|更新|中止",
    ),
    "too_late": (
        r"[てで]しま|もう.{1,14}(?:た|ました)|した後|たあと|してから|始め",
        r"前に|後に|後は|始める",
    ),
    "whose_task": (
        r"市[でがに]|してもらえ|してくれ|してほしい|してください|切って|直して|引き取",
        r"所有者|負担|行って(?:いません|ください)|しません|できません|市が|職員が|市では|依頼",
    ),
    "limit": (
        r"まで(?:です|もら|出|貸|借|使|補助|の補助)|上限|限度|何割|補助|助成|もらえる",
        r"上限|限度|まで|分の|割|\d円",
    ),
    "how": (
        r"どう(?:やって|すれば|したら|い)|方法|手続き?|やり方|仕方|出し方|順番|どんなふうに|捨て",
        r"申請|申し?込|手続|届|提出|方法|てください|できます",
    ),
    "must": (
        r"必要(?:です|でしょう|か)|[い要]りますか|いるん|しないと|しなければ|だめ|義務|絶対|勝手に|いいですか|いいん|かまわない|大丈夫|OK|平気",
        r"不要|必要は?(?:あり|です)|必要ありません|任意|てください|禁止|できません|なしで|かかりません",
    ),
}
"""What a clause may ask for: how it asks, and how a sentence that answers looks."""
_ASKED = tuple(re.compile(asked) for asked, _ in KINDS.values())
_ANSWERED = tuple(re.compile(answered) for _, answered in KINDS.values())
_CONTACT_LINE = re.compile(r"お問い合わせは|問い合わせ先|受付時間は|受け付けています。$")

ARTICLE = ("nearest", "whole", "title", "words", "pairs", "department")
"""Per article: the message's likeness to its nearest sentence, to its title with how it begins and to its
title alone, by the encoder; BM25 over words and character pairs; the chance of its department."""
AGAIN = ("chance", "fit")
"""Per article that leads: the log chance so far, and how well its best sentence fits each clause."""
SENTENCE = (
    *("clause_near", "message_near", "clause_words", "message_words", "message_pairs", "first", "row"),
    *("contact_line", "nearest", "most_words", "read"),
    *(f"asks_{kind}" for kind in KINDS),
)
"""Per clause and sentence, measured within the article: likeness to the clause and to the message, from the
article's own average; shared words and character pairs that not every sentence of the article has; place
and form; whether it leads by likeness or words; the reader's log odds that it answers the message; whether it
holds the kind of fact that the clause asks."""
ANSWER = (
    *("chance", "near", "mean", "whole", "words", "margin", "known", "least_known", "kinds", "fit"),
    *("above_mean", "department", "read", "read_anywhere"),
)
"""Per message and its best article: `Index` says what each is."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One learnt model: how much each piece of evidence counts, in the order of its tuple of names."""

    article: Floats
    again: Floats
    sentence: Floats
    answer: Floats
    constant: float
    """Added to the sum over ``answer``."""
    abstain_below: float
    """Smallest probability of an answer that counts as one."""

    @classmethod
    def neutral(cls) -> "Weights":
        """Nothing counts: where learning begins."""
        article, again, sentence, answer = (
            np.zeros(len(names), np.float32) for names in (ARTICLE, AGAIN, SENTENCE, ANSWER)
        )
        return cls(article, again, sentence, answer, constant=0.0, abstain_below=0.5)

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Weights":
        """From one part of ``weights.json``."""
        named = {"article": ARTICLE, "again": AGAIN, "sentence": SENTENCE, "answer": ANSWER}
        parts = {
            part: np.array([raw[part][name] for name in names], np.float32) for part, names in named.items()
        }
        return cls(**parts, constant=raw["constant"], abstain_below=raw["abstain_below"])

    def written(self) -> dict[str, Any]:
        """As `read` takes it, rounded so that two machines write the same."""
        named = {"article": ARTICLE, "again": AGAIN, "sentence": SENTENCE, "answer": ANSWER}
        parts: dict[str, Any] = {
            part: {n: round(float(v), 3) for n, v in zip(names, getattr(self, part), strict=True)}
            for part, names in named.items()
        }
        return parts | {
            "constant": round(self.constant, 3), "abstain_below": round(self.abstain_below, 3)
        }  # fmt: skip


@cache
def shipped(kind: str) -> Weights:
    """The weights that come with the product: ``lexical``; ``dense``, with encoder; ``read``, with reader."""
    return Weights.read(json.loads(FILE.read_text(encoding="utf-8"))[kind])


class View:
    """One article's quotable sentences with all that does not depend on the question."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.texts = [passage.ranked for passage in passages]
        self.words = [frozenset(words(text)) for text in self.texts]
        self.pairs = [frozenset(text[i : i + 2] for i in range(len(text) - 1)) for text in self.texts]
        self._word_weight, self._pair_weight = _rarity(self.words), _rarity(self.pairs)
        self.answered = np.array([kinds_answered(text) for text in self.texts], np.float32).reshape(
            len(passages), len(KINDS)
        )
        self._form = np.array(
            [[i == 0, p.is_row, bool(_CONTACT_LINE.search(p.text))] for i, p in enumerate(passages)],
            np.float32,
        ).reshape(len(passages), 3)

    def evidence(self, asked: Sequence[str], message: str, cosine: Floats, read: Floats) -> Floats:
        """`SENTENCE`, shape (clauses, sentences, features).

        Args:
            asked: The clauses.
            message: All of it.
            cosine: Of the message (row 0) and each clause with each sentence; zeros without an encoder.
            read: The reader's view of each sentence, all the same without one.
        """
        # From the article's own average: within one article every sentence is near its subject.
        near = 10 * (cosine - cosine.mean(axis=1, keepdims=True))
        whole_words = _shared(frozenset(words(message)), self.words, self._word_weight)
        whole_pairs = _shared(
            frozenset(message[i : i + 2] for i in range(len(message) - 1)), self.pairs, self._pair_weight
        )
        return np.stack(
            [
                self._of_clause(clause, near[row], near[0], whole_words, whole_pairs, read)
                for row, clause in enumerate(asked, start=1)
            ]
        )

    def _of_clause(
        self,
        clause: str,
        near: Floats,
        near_all: Floats,
        whole_words: Floats,
        whole_pairs: Floats,
        read: Floats,
    ) -> Floats:
        own_words = _shared(frozenset(words(clause)), self.words, self._word_weight)
        columns = np.stack([near, near_all, own_words, whole_words, whole_pairs], axis=1)
        leads = np.stack([_is_top(near), _is_top(own_words), read], axis=1)
        return np.hstack([columns, self._form, leads, self.answered * kinds_asked(clause)]).astype(np.float32)


def kinds_asked(clause: str) -> Floats:
    """1 for each of `KINDS` that the clause asks for."""
    return np.array([bool(kind.search(clause)) for kind in _ASKED], np.float32)


def kinds_answered(text: str) -> Floats:
    """1 for each of `KINDS` that a sentence holds."""
    return np.array([bool(kind.search(text)) for kind in _ANSWERED], np.float32)


def speaks_of(asked: str, text: str) -> bool:
    """Whether a sentence holds a word of what is asked for, or the kind of fact that it asks for."""
    shared = set(words(official(asked))) & set(words(text))
    return bool(shared) or bool((kinds_asked(asked) * kinds_answered(text)).any())


def _rarity(terms: Sequence[frozenset[str]]) -> dict[str, float]:
    counts = Counter(term for sentence in terms for term in sentence)
    return {term: math.log((len(terms) + 1) / (count + 0.5)) for term, count in counts.items()}


def _shared(
    asked: frozenset[str], sentences: Sequence[frozenset[str]], weight: Mapping[str, float]
) -> Floats:
    return np.array([sum(weight[term] for term in asked & terms) for terms in sentences], np.float32)


def _is_top(values: Floats) -> Floats:
    return np.asarray((values > 0) & (values >= values.max(initial=0.0) - 1e-6), np.float32)


def log_chances(scores: Floats) -> Floats:
    """Log of the softmax along the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), np.float32)
