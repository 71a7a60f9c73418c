"""Whether the model may read the citizen's message: what was measured, and what an administrator decided."""

from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select

from bot import audit
from bot.errors import Conflict
from bot.models import DraftingMode, ModelEvaluation, Staff
from responders.llm import Llm, Mode


class NotEvaluated(Conflict):
    """The present model has not passed the evaluation of the mode."""

    message_ja = (
        "今のモデルとプロンプトの組合せは、回答方式の評価に合格していません。切り替えていません。"
        "システム担当者が「madoguchi evaluate drafts --mode answer」を実行し、合格すると切り替えられます。"
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """Which model with which prompt: an evaluation counts for exactly this."""

    model: str
    sha256: str
    prompt_version: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the page shows."""

    identity: Identity
    evaluation: ModelEvaluation | None
    """The newest of exactly this identity."""
    chosen: DraftingMode | None
    """The newest decision; none: ``rewrite``."""

    @property
    def may_answer(self) -> bool:
        """Whether an administrator may switch ``answer`` on now."""
        return self.evaluation is not None and self.evaluation.passed

    @property
    def in_force(self) -> Mode:
        """What the worker does: ``answer`` only while it is chosen and earned."""
        chosen = self.chosen is not None and self.chosen.mode == "answer"
        return "answer" if chosen and self.may_answer else "rewrite"


def identify(llm: Llm) -> Identity:
    """Ask the endpoint; not remembered, for another model may stand behind it at the next draft."""
    served = llm.served()
    return Identity(served.model or llm.model, served.sha256, llm.prompt_versions["answer"])


def standing(session: Session, identity: Identity) -> Standing:
    """The newest evaluation of this model, and the newest decision."""
    query = select(ModelEvaluation).where(
        ModelEvaluation.mode == "answer",
        ModelEvaluation.model == identity.model,
        ModelEvaluation.sha256 == identity.sha256,
        ModelEvaluation.prompt_version == identity.prompt_version,
    )
    evaluation = session.exec(query.order_by(col(ModelEvaluation.created_at).desc()).limit(1)).first()
    return Standing(identity, evaluation, _chosen(session))


def in_force(session: Session, llm: Llm) -> Mode:
    """The mode of the next draft; the model is asked who it is only where ``answer`` was chosen."""
    chosen = _chosen(session)
    if chosen is None or chosen.mode == "rewrite":
        return "rewrite"
    return standing(session, identify(llm)).in_force


def keep(
    session: Session, identity: Identity, *, figures: dict[str, Any], passed: bool, data_sha256: str
) -> ModelEvaluation:
    """Store what an evaluation of the answer mode found."""
    row = ModelEvaluation(
        mode="answer",
        model=identity.model,
        sha256=identity.sha256,
        prompt_version=identity.prompt_version,
        data_sha256=data_sha256,
        figures=figures,
        passed=passed,
    )
    session.add(row)
    session.flush()
    audit.record(
        session, actor="system:cli", action="evaluate_model", subject=f"model:{row.model}", passed=passed,
        evaluation=row.id,
    )  # fmt: skip
    return row


def switch(session: Session, mode: Mode, identity: Identity, *, staff: Staff, screen: str) -> None:
    """Record an administrator's decision.

    Raises:
        NotEvaluated: ``answer`` was asked for, and the newest evaluation of this model did not pass.
    """
    now = standing(session, identity)
    if mode == "answer" and not now.may_answer:
        raise NotEvaluated
    evaluation = now.evaluation.id if mode == "answer" and now.evaluation else None
    session.add(DraftingMode(mode=mode, evaluation_id=evaluation, decided_by=staff.id))
    audit.record(
        session, actor=staff.login, action="switch_mode", subject=f"model:{identity.model}", screen=screen,
        mode=mode, evaluation=evaluation,
    )  # fmt: skip


def _chosen(session: Session) -> DraftingMode | None:
    return session.exec(select(DraftingMode).order_by(col(DraftingMode.decided_at).desc()).limit(1)).first()
