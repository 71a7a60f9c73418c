"""Which language a message is written in: by script first, then by frequent words.

A general detector needs sentences; citizens write three words. Eight languages, told apart by their
letters and the words nobody avoids, need no model.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Language = Literal["ja", "en", "zh", "ko", "vi", "pt", "tl", "ne"]

_KANA = re.compile(r"[぀-ヿㇰ-ㇿ]")
_HAN = re.compile(r"[㐀-䶿一-鿿々]")
_HANGUL = re.compile(r"[ᄀ-ᇿ㄰-㆏가-힯]")
_DEVANAGARI = re.compile(r"[ऀ-ॿ]")
_WORD = re.compile(r"[a-zà-ɏ̀-ͯḀ-ỿ']+")
# Characters that Japanese does not write (simplified, or traditional where Japan simplified), and
# words that Chinese hardly avoids.
_CHINESE = re.compile(
    r"[们這这吗嗎呢吧啊您你哪谁么麼怎请问还过说话时间办证费户东车电给让对应该岁买卖钱见听读贵处馆级题页难开关门从进远边达"
    r"迁递领预须顾养产业邮岛飞孩类种儿圾药银龄团险缴补钥换坏灯桥树离满语译帮担]"
    r"|[說辦證戶醫讓對歲賣錢寫讀處從邊遷遞預應該號學國會點單輛聽廳體裡繳險補壞條變寶]"
    r"|我[想要的是在有家和]|[是在]哪|可以|什[么麼]|谢谢|謝謝|不[是能会會要想知]|[的了]$|需要|疫苗|你好|如何"
)
_VIETNAMESE = re.compile(r"[ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]")
_PORTUGUESE = re.compile(r"[ãõç]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORDS: dict[Language, frozenset[str]] = {
    "en": _words(
        """
        the a an is are am i my me you do does how what where when can could would please need
        want to of for in on at and or not have has help it this that there from with will be was
        hello thanks thank your we our if any get
        """
    ),
    "vi": _words(
        """
        toi tôi ban bạn la là co có khong không o ở dau đâu cho xin chao chào cam cảm on ơn muon
        muốn hoi hỏi lam làm the thế nao nào duoc được cua của va và nguoi người giay giấy to con
        toi bi bị nha nhà hay anh chi em oi ơi gi gì khi voi với phai phải mat mất
        """
    ),
    "pt": _words(
        """
        o os as um uma é e eu não nao de do da dos das em no na para por com que quero preciso
        como onde quando qual meu minha você voce posso tem tenho estou está esta obrigado
        obrigada olá ola bom dia fazer prefeitura filho filha se mas
        """
    ),
    "tl": _words(
        """
        ang ng mga sa na po ako ko ka mo siya ba ay at hindi paano saan kailan ano sino gusto
        kailangan may meron wala naman lang yung kung para ito iyon dito salamat opo anak namin
        natin kami tayo nang din rin pwede magkano
        """
    ),
    "ne": _words(
        """
        ma malai mero kasari kaha kahile garne garnu garna ho cha chha chaina hunchha huncha lagi
        parcha parchha ke ko ki namaste dhanyabad chahiyo bachha hamro tapai
        """
    ),
    "ja": _words(
        """
        desu masu desuka masuka doko nani itsu kudasai watashi onegai shimasu arigatou konnichiwa
        wa ga wo ni de kara made ikura juminhyo juuminhyou nihon arimasu
        """
    ),
}


def detect(text: str) -> Language:
    """Language of a message; the answer is always one of the eight.

    Args:
        text: Any string, in any normalisation form.

    Returns:
        ``ja`` when nothing tells (digits, emoji, empty), because most citizens write Japanese.
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    # Names and places are quoted in Japanese inside foreign sentences: the larger part decides.
    latin = len(_WORD.findall(folded))
    scripts: dict[Language, int] = {
        "ko": len(_HANGUL.findall(folded)),
        "ne": len(_DEVANAGARI.findall(folded)),
    }
    kana, han = len(_KANA.findall(folded)), len(_HAN.findall(folded))
    cjk: Language = "ja" if kana or not _looks_chinese(folded) else "zh"
    scripts = {cjk: kana + han, **scripts}
    language = max(scripts, key=lambda key: scripts[key])
    # A Latin word is worth about two letters of the other scripts.
    if latin and scripts[language] < 2 * latin:
        return _by_words(folded)
    return language


def _looks_chinese(text: str) -> bool:
    return bool(_CHINESE.search(text))


def _by_words(text: str) -> Language:
    words = _WORD.findall(text)
    scores = {key: float(sum(word in known for word in words)) for key, known in _WORDS.items()}
    scores["vi"] += 1.5 * len(_VIETNAMESE.findall(text))
    scores["pt"] += 1.5 * len(_PORTUGUESE.findall(text))
    # English words occur inside every other language ("My Number"), so English wins ties only when
    # nothing else was seen.
    best = max(scores, key=lambda key: (scores[key], key != "en"))
    return best if scores[best] > 0 else "en"
