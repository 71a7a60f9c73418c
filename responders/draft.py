"""From a message to a draft, as one visible list of steps; each may stop it with a typed status.

The citizen's message only ranks the city's sentences. It is never shown to the model and never a source.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal

from responders.checks import Finding, Register, check, strict_gate, strip_control_tokens, support
from responders.errors import BadCompletion, DraftTimeout, ModelError, ModelUnavailable
from responders.knowledge import Passage, split_sentences
from responders.llm import PARAMETERS, Llm, Rewrite
from responders.retrieve import Index

Status = Literal["drafted", "no_source", "handed_off"]
Origin = Literal["model", "template", "holding"]
HOLDING_TEXT = "お問い合わせの件につきましては、担当課で確認のうえ、あらためてご連絡いたします。"
MAX_RANKED_CHARS = 2_000
"""Of a longer message only the beginning ranks."""
SENTENCES = 4


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
    ``model_unavailable``, ``model_timeout``, ``model_length``, ``model_bad``, ``gate: <reason>``,
    ``finding: <kind>``."""
    findings: tuple[Finding, ...] = ()
    """Every place that the sources do not carry."""
    model: dict[str, Any] = field(default_factory=dict)
    """name, prompt_version, parameters, prompt_tokens, completion_tokens, seconds, gate (passed, reason),
    text (what the model wrote); empty when no model was asked."""
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

    Returns:
        Always a result, whatever the model does: its errors become flags and the verbatim sentences stay.
    """
    case = _Case(
        text, index, llm, departments, today, drafting_enabled, register or Register(),
        index.abstain_below if abstain_below is None else abstain_below,
        DraftResult("drafted", ""),
    )  # fmt: skip
    for step in STEPS:
        case = step(case)
        if case.result.status != "drafted":
            break
    return case.result


def reword(result: DraftResult, llm: Llm, register: Register | None = None) -> DraftResult:
    """Let the model reword a verbatim draft; it stays verbatim, with the reason, when the gate says no."""
    case = _Case("", Index(()), llm, None, None, True, register or Register(), 0.0, result)
    return _check(_reword(case)).result


def compose(
    passages: Sequence[Passage], *, llm: Llm | None = None, register: Register | None = None
) -> DraftResult:
    """Draft from sentences that a caseworker ticked, in the given order; without ``llm`` at once.

    Returns:
        As `draft`; ``no_source`` when nothing is ticked.
    """
    if not passages:
        return DraftResult("no_source", HOLDING_TEXT, flags=("nothing_selected",))
    result = DraftResult("drafted", "", passages=tuple(passages), score=1.0, article=passages[0].article)
    case = _Case("", Index(()), llm, None, None, True, register or Register(), 0.0, result)
    for step in (_render_verbatim, _reword, _check):
        case = step(case)
    return case.result


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
    found = case.index.select(case.text, limit=SENTENCES, departments=case.departments, today=case.today)
    result = replace(case.result, passages=found.passages, score=found.score, article=found.article)
    return replace(case, result=result)


def _abstain(case: _Case) -> _Case:
    result = case.result
    if result.passages and result.score >= case.abstain_below:
        return case
    flags = (*result.flags, "low_score")
    return replace(case, result=replace(result, status="no_source", body=HOLDING_TEXT, flags=flags))


def _render_verbatim(case: _Case) -> _Case:
    texts = [passage.text for passage in case.result.passages]
    cited = [(passage.id,) for passage in case.result.passages]
    sentences = tuple(DraftSentence(t, "supported", c) for t, c in zip(texts, cited, strict=True))
    return replace(
        case, result=replace(case.result, sentences=sentences, body=_body(texts), origin="template")
    )


def _reword(case: _Case) -> _Case:
    if case.llm is None:
        return case
    try:
        rewrite = case.llm.rewrite([passage.text for passage in case.result.passages])
    except ModelError as error:
        record = _record(case.llm, None, False, str(error))
        return _flagged(case, _MODEL_FLAGS[type(error)], model=record)
    return _gated(case, case.llm, rewrite)


def _gated(case: _Case, llm: Llm, rewrite: Rewrite) -> _Case:
    """Take the rewrite only when it is whole and the strict gate lets it through."""
    passages = case.result.passages
    if rewrite.finish_reason != "stop":
        flag = "model_length" if rewrite.finish_reason == "length" else "model_bad"
        return _flagged(
            case, flag, model=_record(llm, rewrite, False, f"finish_reason {rewrite.finish_reason}")
        )
    gate = strict_gate(rewrite.text, passages)
    record = _record(llm, rewrite, gate.passed, gate.reason)
    if not gate.passed:
        return _flagged(case, f"gate: {gate.reason}", model=record)
    texts = split_sentences(rewrite.text)
    sentences = tuple(DraftSentence(text, *support(text, passages)) for text in texts)
    result = replace(case.result, sentences=sentences, body=_body(texts), origin="model", model=record)
    return replace(case, result=result)


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
    _reword,
    _check,
)
"""The pipeline; a step that sets another status than ``drafted`` ends it."""

_MODEL_FLAGS: dict[type[ModelError], str] = {
    ModelUnavailable: "model_unavailable",
    DraftTimeout: "model_timeout",
    BadCompletion: "model_bad",
}


def _hand_off(case: _Case, flag: str) -> _Case:
    return replace(case, result=replace(_flagged(case, flag).result, status="handed_off"))


def _flagged(case: _Case, flag: str, model: dict[str, Any] | None = None) -> _Case:
    result = case.result
    return replace(case, result=replace(result, flags=(*result.flags, flag), model=model or result.model))


def _record(llm: Llm, rewrite: Rewrite | None, passed: bool, reason: str) -> dict[str, Any]:
    return {
        "name": llm.model,
        "prompt_version": llm.prompt_version,
        "parameters": PARAMETERS,
        "prompt_tokens": rewrite.prompt_tokens if rewrite else 0,
        "completion_tokens": rewrite.completion_tokens if rewrite else 0,
        "seconds": round(rewrite.seconds, 3) if rewrite else None,
        "gate": {"passed": passed, "reason": reason},
        "text": rewrite.text if rewrite else "",
    }


def _body(texts: Sequence[str]) -> str:
    """One sentence a line; what is no sentence becomes a list row."""
    return "\n".join(
        text if text.endswith(("。", "！", "？", "!", "?", "」")) else f"・{text}" for text in texts
    )
