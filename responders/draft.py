"""From a message to a draft, as one visible list of steps; each may stop it with a typed status.

The citizen's message only ranks the city's sentences. It is never a source, and no model sees it, unless an
administrator switched ``answer`` mode on for a site's own model: then every check stands between the two.
"""

import math
import re
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal

from responders.check_sources import Register
from responders.checks import Finding, check, support
from responders.errors import BadCompletion, DraftTimeout, ModelError, ModelUnavailable
from responders.gate import strict_gate
from responders.knowledge import Passage, split_sentences
from responders.letters import foul, strip_control_tokens
from responders.llm import Llm, Mode, Rewrite, record_of
from responders.ranking import speaks_of
from responders.retrieve import HARDLY, Index, Selection

Status = Literal["drafted", "no_source", "handed_off"]
Origin = Literal["model", "template", "holding"]
Length = Literal["short", "normal", "long"]
Tone = Literal["standard", "gentle", "list"]
HOLDING_TEXT = "お問い合わせの件につきましては、担当課で確認のうえ、あらためてご連絡いたします。"
MAX_RANKED_CHARS = 2_000
"""Of a longer message only the beginning ranks."""
SENTENCES = 4
LENGTHS: dict[Length, int] = {"short": 2, "normal": SENTENCES, "long": 7}
"""Sentences of a draft; a list that belongs to one of them comes on top."""
HINT_SENTENCES = 2
NEAR = "near: "
"""Begins the flag that names the best article of a draft that stands on none: a person may tick in it."""
_CITATION = re.compile(r"\s*\[(\d{1,3})\]")
_PLEASE = re.compile(r"(?<=くださ)い。$")


@dataclass(frozen=True, slots=True)
class Wish:
    """How a caseworker wants the draft. It only ranks and renders: a wish never adds a fact."""

    hint: str = ""
    """What the draft should say as well (「手数料も書いて」); it ranks sentences as a question does."""
    length: Length = "normal"
    tone: Tone = "standard"
    """``gentle`` ends requests with 「…くださいますようお願いいたします」, ``list`` makes rows."""


@dataclass(frozen=True, slots=True)
class DraftSentence:
    """One sentence of the body and what carries it."""

    text: str
    support: str
    """``supported``, ``partial`` or ``unsupported``."""
    citations: tuple[str, ...]
    """Passage ids, best first."""


@dataclass(frozen=True, slots=True)
class DraftResult:
    """A draft body, or the reason why there is none. Greeting, closing and signature are not in it."""

    status: Status
    """``drafted``; ``no_source``: nothing answers it; ``handed_off``: no draft was tried."""
    body: str
    """One sentence a line; the holding text for ``no_source``; empty for ``handed_off``."""
    sentences: tuple[DraftSentence, ...] = ()
    flags: tuple[str, ...] = ()
    """Why it is as it is: ``message_cut``, ``message_empty``, ``drafting_off``, ``low_score``,
    ``near: <article>``,
    ``model_unavailable``, ``model_timeout``, ``model_length``, ``model_bad``, ``gate: <reason>``,
    ``answer: <reason>``, ``finding: <kind>``."""
    findings: tuple[Finding, ...] = ()
    """Every place that the sources do not carry."""
    model: dict[str, Any] = field(default_factory=dict)
    """mode, name, served and sha256 (what the endpoint says of itself), prompt_version, parameters,
    prompt_tokens, completion_tokens, seconds, gate (passed, reason), text (what the model wrote); empty when
    no model was asked."""
    passages: tuple[Passage, ...] = ()
    """The selected sentences, in the body's order."""
    score: float = 0.0
    """How well the best article answers; below the index's `abstain_below` there is no draft."""
    article: str | None = None
    """Id of the best article, also when it was not good enough."""
    origin: Origin = "holding"
    """Who worded the body."""
    ready: bool = False
    """May be approved in one click: drafted, and no hard finding."""
    times: dict[str, float] = field(default_factory=dict)
    """Seconds of the steps that took place: ``select``, ``template``, ``model``, ``check``."""


@dataclass(frozen=True, slots=True)
class _Case:
    """What the steps hand on."""

    text: str
    index: Index
    llm: Llm | None
    departments: Mapping[str, float] | None
    today: date | None
    drafting_enabled: bool
    register: Register
    abstain_below: float
    wish: Wish
    mode: Mode
    result: DraftResult


def draft(
    text: str,
    *,
    index: Index,
    llm: Llm | None = None,
    departments: Mapping[str, float] | None = None,
    today: date | None = None,
    drafting_enabled: bool = True,
    register: Register | None = None,
    abstain_below: float | None = None,
    wish: Wish | None = None,
    mode: Mode = "rewrite",
) -> DraftResult:
    """Draft the body of an answer to one message.

    Args:
        text: The citizen's message, personal data masked; any length, any characters.
        index: The passages that may be quoted: public, published.
        llm: Rewords the sentences; None: they stay verbatim.
        departments: Chance of each department, from the routing; their articles rank a little higher.
        today: Articles not valid on this day are left out.
        drafting_enabled: The kill switch.
        register: The city's own names and phones.
        abstain_below: Smallest score that counts as an answer; default: the index's own.
        wish: How a caseworker wants it.
        mode: What the model does: join the sentences, or read the message and answer from them.

    Returns:
        Always a result, whatever the model does: its errors become flags and the verbatim sentences stay.
    """
    case = _Case(
        text, index, llm, departments, today, drafting_enabled, register or Register(),
        index.abstain_below if abstain_below is None else abstain_below,
        wish or Wish(), mode, DraftResult("drafted", ""),
    )  # fmt: skip
    for step in STEPS:
        case = _clocked(step, case)
        if case.result.status != "drafted":
            break
    return case.result


def reword(
    result: DraftResult, llm: Llm, register: Register | None = None, tone: Tone = "standard"
) -> DraftResult:
    """Let the model reword a verbatim draft; it stays verbatim, with the reason, when the gate says no."""
    case = _given(result, llm, register, tone)
    return _clocked(_check, _clocked(_write, case)).result


def answer(
    result: DraftResult,
    message: str,
    llm: Llm,
    register: Register | None = None,
    tone: Tone = "standard",
) -> DraftResult:
    """Let the model read the message and answer it from a verbatim draft's sentences.

    Only for models that passed the evaluation of this mode. The draft stays verbatim, with the reason, unless
    each sentence cites a given one that carries it and no check has a hard finding.

    Args:
        result: A draft in the city's own sentences.
        message: The citizen's message, personal data masked.
        llm: The site's model.
        register: The city's own names and phones.
        tone: As `Wish.tone`.
    """
    case = replace(_given(result, llm, register, tone), text=sanitise(message), mode="answer")
    return _clocked(_check, _clocked(_write, case)).result


def take(
    result: DraftResult, llm: Llm, rewrite: Rewrite, register: Register | None = None, tone: Tone = "standard"
) -> DraftResult:
    """As `reword`, for what the model has written already (a stream that ended)."""
    case = _clocked(_check, _gated(_given(result, llm, register, tone), llm, rewrite))
    return replace(case.result, times=case.result.times | {"model": round(rewrite.seconds, 3)})


def compose(
    passages: Sequence[Passage], *, register: Register | None = None, tone: Tone = "standard"
) -> DraftResult:
    """Draft from sentences that a caseworker ticked, verbatim, in the given order.

    Returns:
        As `draft`; ``no_source`` when nothing is ticked.
    """
    if not passages:
        return DraftResult("no_source", HOLDING_TEXT, flags=("nothing_selected",))
    result = DraftResult("drafted", "", passages=tuple(passages), score=1.0, article=passages[0].article)
    return _check(_render_verbatim(_given(result, None, register, tone))).result


def to_join(passages: Sequence[Passage]) -> list[str]:
    """The sentences that a model may join; list rows stay as they are, fewer than two need no joining."""
    whole = [passage.text for passage in passages if _is_sentence(passage.text)]
    return whole if len(whole) > 1 else []


def _given(result: DraftResult, llm: Llm | None, register: Register | None, tone: Tone) -> _Case:
    own = register or Register()
    return _Case("", Index(()), llm, None, None, True, own, 0.0, Wish(tone=tone), "rewrite", result)


def _clocked(step: Callable[[_Case], _Case], case: _Case) -> _Case:
    started = time.perf_counter()
    case = step(case)
    if name := _CLOCKED.get(step):
        times = case.result.times | {name: round(time.perf_counter() - started, 3)}
        case = replace(case, result=replace(case.result, times=times))
    return case


def sanitise(message: str) -> str:
    """The part of a message that ranks: NFC, no control characters, no control tokens, 2,000 characters."""
    whole = message[: 4 * MAX_RANKED_CHARS].encode("utf-8", "ignore").decode()
    kept = "".join(c for c in whole if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Co", "Cn"))
    return strip_control_tokens(unicodedata.normalize("NFC", kept)).strip()[:MAX_RANKED_CHARS]


def _switched_on(case: _Case) -> _Case:
    return case if case.drafting_enabled else _hand_off(case, "drafting_off")


def _clean(case: _Case) -> _Case:
    text = sanitise(case.text)
    if not any(char.isalnum() for char in text):
        return _hand_off(case, "message_empty")
    if len(case.text) > MAX_RANKED_CHARS:
        case = _flagged(case, "message_cut")
    return replace(case, text=text)


def _select(case: _Case) -> _Case:
    limit = LENGTHS[case.wish.length]
    # Who asks for a longer draft wants what hardly answers too.
    least = -math.inf if case.wish.length == "long" else HARDLY
    found = case.index.select(
        case.text, limit=limit, departments=case.departments, today=case.today, least=least
    )
    if hint := sanitise(case.wish.hint):
        wider = _with_hint(case, found, hint)
        if wider is None:
            case = _flagged(case, "hint_not_found")
        found = wider or found
    result = replace(case.result, passages=found.passages, score=found.score, article=found.article)
    return replace(case, result=result)


def _with_hint(case: _Case, found: Selection, hint: str) -> Selection | None:
    """Add what the hint asks for: about the matter at hand, or, when that is not known, about the hint.

    Returns:
        None when the articles hold nothing of what the hint asks for about the matter at hand.
    """
    known = bool(found.passages) and found.score >= case.abstain_below
    topic = found.passages[0].article_title if known else ""
    more = case.index.select(
        f"{topic} {hint}", limit=HINT_SENTENCES, departments=case.departments, today=case.today
    )
    if not known:
        return more
    asked = [passage for passage in more.passages if speaks_of(hint, passage.ranked)]
    if not asked:
        return None
    both = {passage.id: passage for passage in (*found.passages, *asked)}
    ordered = sorted(both.values(), key=lambda p: (p.article != found.article, p.article, p.ordinal))
    return replace(found, passages=tuple(ordered))


def _abstain(case: _Case) -> _Case:
    result = case.result
    if result.passages and result.score >= case.abstain_below:
        return case
    near = (f"{NEAR}{result.article}",) if result.article else ()
    flags = (*result.flags, "low_score", *near)
    return replace(case, result=replace(result, status="no_source", body=HOLDING_TEXT, flags=flags))


def _render_verbatim(case: _Case) -> _Case:
    sentences = [DraftSentence(p.text, "supported", (p.id,)) for p in case.result.passages]
    return _rendered(case, sentences, "template")


def _rendered(case: _Case, sentences: Sequence[DraftSentence], origin: Origin) -> _Case:
    voiced = tuple(replace(one, text=_voiced(one.text, case.wish.tone)) for one in sentences)
    body = _body([one.text for one in voiced])
    return replace(case, result=replace(case.result, sentences=voiced, body=body, origin=origin))


def _voiced(text: str, tone: Tone) -> str:
    """A sentence in another tone, by rule: a small model's own tone loses numbers and conditions."""
    if tone == "gentle":
        return _PLEASE.sub("いますようお願いいたします。", text)
    return text.removesuffix("。") if tone == "list" else text


def _write(case: _Case) -> _Case:
    """Ask the model, in the case's mode; an error leaves the verbatim sentences."""
    llm, passages = case.llm, case.result.passages
    lines = [p.text for p in passages] if case.mode == "answer" else to_join(passages)
    if llm is None or not lines:
        return case
    try:
        written = llm.answer(case.text, lines) if case.mode == "answer" else llm.rewrite(lines)
    except ModelError as error:
        return _flagged(case, MODEL_FLAGS[type(error)], model=record_of(llm, case.mode, [], str(error)))
    return _gated(case, llm, written)


def _gated(case: _Case, llm: Llm, written: Rewrite) -> _Case:
    """Take what the model wrote only when it is whole and the mode's gate lets it through."""
    if written.finish_reason != "stop":
        flag = "model_length" if written.finish_reason == "length" else "model_bad"
        reason = f"finish_reason {written.finish_reason}"
        return _flagged(case, flag, model=record_of(llm, case.mode, [written], reason))
    if case.mode == "answer":
        sentences, reason = _cited(written.text, case.result.passages, case.register)
    else:
        sentences, reason = _joined(written.text, case.result.passages)
    case = replace(case, result=replace(case.result, model=record_of(llm, case.mode, [written], reason)))
    if reason:
        return _flagged(case, f"{'answer' if case.mode == 'answer' else 'gate'}: {reason}")
    return _rendered(case, sentences, "model")


def _joined(text: str, passages: Sequence[Passage]) -> tuple[list[DraftSentence], str]:
    """A rewrite's sentences between the list rows, or why the strict gate refuses it."""
    joined = [passage for passage in passages if _is_sentence(passage.text)]
    gate = strict_gate(text, joined)
    if not gate.passed:
        return [], gate.reason
    return _interleaved(split_sentences(text), passages, joined), ""


def _cited(text: str, passages: Sequence[Passage], register: Register) -> tuple[list[DraftSentence], str]:
    """An answer's sentences with what each cites, or the first thing that its sources do not carry."""
    if odd := foul(_CITATION.sub("", text), "".join(passage.text for passage in passages)):
        return [], f"glyph: {odd}"
    sentences = []
    for said, numbers in _with_citations(text):
        if not numbers or not all(1 <= n <= len(passages) for n in numbers):
            return [], f"no source named: {said[:40]}"
        level, cited = support(said, [passages[n - 1] for n in numbers])
        if level == "unsupported":
            return [], f"not in the source it names: {said[:40]}"
        sentences.append(DraftSentence(said, level, cited))
    for finding in check([s.text for s in sentences], passages, register):
        # A person may add what they know; a model knows nothing.
        if finding.hard or finding.kind == "noun":
            return [], f"{finding.kind}: {finding.text[:40]}"
    return sentences, ""


def _with_citations(text: str) -> Iterator[tuple[str, list[int]]]:
    """Each sentence without its marks, and the numbers that follow it or stand in it."""
    # A mark behind the full stop belongs to the sentence before it.
    text = re.sub(r"。((?:\s*\[\d{1,3}\])+)", r"\1。", text)
    for sentence in split_sentences(text):
        if said := _CITATION.sub("", sentence).strip():
            yield said, [int(n) for n in _CITATION.findall(sentence)]


def _interleaved(
    texts: Sequence[str], passages: Sequence[Passage], joined: Sequence[Passage]
) -> list[DraftSentence]:
    """The model's sentences where their sources stood, so that a list stays under its lead-in."""
    said: dict[str, list[DraftSentence]] = {}
    for text in texts:
        level, cited = support(text, joined)
        said.setdefault(cited[0], []).append(DraftSentence(text, level, cited))
    rows = {p.id: [DraftSentence(p.text, "supported", (p.id,))] for p in passages if p not in joined}
    return [sentence for p in passages for sentence in (said | rows).get(p.id, [])]


def _check(case: _Case) -> _Case:
    result = case.result
    findings = tuple(check([s.text for s in result.sentences], result.passages, case.register))
    hard = [finding for finding in findings if finding.hard]
    unsupported = {finding.sentence for finding in hard}
    sentences = tuple(
        replace(sentence, support="unsupported") if i in unsupported else sentence
        for i, sentence in enumerate(result.sentences)
    )
    flags = tuple(dict.fromkeys((*result.flags, *(f"finding: {finding.kind}" for finding in hard))))
    ready = not hard and bool(sentences)
    return replace(
        case, result=replace(result, sentences=sentences, findings=findings, flags=flags, ready=ready)
    )


STEPS: tuple[Callable[[_Case], _Case], ...] = (
    _switched_on,
    _clean,
    _select,
    _abstain,
    _render_verbatim,
    _write,
    _check,
)
"""The pipeline; a step that sets another status than ``drafted`` ends it."""
_CLOCKED: dict[Callable[[_Case], _Case], str] = {
    _select: "select",
    _render_verbatim: "template",
    _write: "model",
    _check: "check",
}

MODEL_FLAGS: dict[type[ModelError], str] = {
    ModelUnavailable: "model_unavailable",
    DraftTimeout: "model_timeout",
    BadCompletion: "model_bad",
}


def _hand_off(case: _Case, flag: str) -> _Case:
    return replace(case, result=replace(_flagged(case, flag).result, status="handed_off"))


def _flagged(case: _Case, flag: str, model: dict[str, Any] | None = None) -> _Case:
    result = case.result
    return replace(case, result=replace(result, flags=(*result.flags, flag), model=model or result.model))


def _body(texts: Sequence[str]) -> str:
    """One sentence a line; what is no sentence becomes a list row."""
    return "\n".join(text if _is_sentence(text) else f"・{text}" for text in texts)


def _is_sentence(text: str) -> bool:
    return text.endswith(("。", "！", "？", "!", "?", "」"))
