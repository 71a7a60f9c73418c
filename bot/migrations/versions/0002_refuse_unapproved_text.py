"""Let the database itself refuse text that no person approved, and keep the record immutable.

A reply leaves only as a row of ``outboxmessage``, and a citizen's web chat shows only rows of
``message``; both are checked here, so no route, command or hand-written SQL has another door.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPROVED = """NEW.approval_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM approval a JOIN inquiry i ON i.id = a.inquiry_id JOIN staff s ON s.id = a.staff_id
    WHERE a.id = NEW.approval_id AND a.text = NEW.text AND a.text_sha256 = NEW.text_sha256
      AND a.inquiry_id = NEW.inquiry_id AND i.conversation_id = NEW.conversation_id AND s.active)"""

FIXED = """NEW.fixed_text_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM fixedtext f LEFT JOIN inquiry i ON i.id = NEW.inquiry_id
    LEFT JOIN department d ON d.id = i.department_id
    WHERE f.id = NEW.fixed_text_id AND NEW.text = replace(replace(f.text,
      '{receipt_number}', coalesce(i.receipt_number, '')), '{department}', coalesce(d.name, '')))"""

DECIDED = """NOT EXISTS (
    SELECT 1 FROM draft d JOIN staff s ON s.id = NEW.staff_id
    WHERE d.id = NEW.draft_id AND d.inquiry_id = NEW.inquiry_id AND s.active AND s.role <> 'auditor')"""

SHOWN = """NEW.direction <> 'in' AND NOT EXISTS (
    SELECT 1 FROM outboxmessage o
    WHERE o.id = NEW.outbox_id AND o.text = NEW.text AND o.conversation_id = NEW.conversation_id)"""

# name, table, when, condition, what the error says
RULES = [
    ("outbox_approved", "outboxmessage", "INSERT", APPROVED, "one door: no approval of this text"),
    ("outbox_fixed", "outboxmessage", "INSERT", FIXED, "one door: not the approved fixed text"),
    (
        "outbox_frozen",
        "outboxmessage",
        "UPDATE OF id, conversation_id, inquiry_id, seq, approval_id, fixed_text_id, cause, text, text_sha256",
        None,
        "one door: a queued text is immutable",
    ),
    ("approval_decided", "approval", "INSERT", DECIDED, "one door: no such draft or person"),
    ("approval_frozen", "approval", "UPDATE", None, "one door: an approval is immutable"),
    ("approval_kept", "approval", "DELETE", None, "one door: an approval is kept"),
    ("fixedtext_frozen", "fixedtext", "UPDATE", None, "one door: a fixed text is immutable"),
    ("fixedtext_kept", "fixedtext", "DELETE", None, "one door: a fixed text is kept"),
    ("message_shown", "message", "INSERT", SHOWN, "one door: not a text that was sent"),
    (
        "message_frozen",
        "message",
        "UPDATE OF direction, text, outbox_id, conversation_id",
        SHOWN,
        "one door: not a text that was sent",
    ),
    ("audit_frozen", "auditentry", "UPDATE", None, "audit: append only"),
    ("audit_kept", "auditentry", "DELETE", None, "audit: append only"),
]


def upgrade() -> None:
    create = _sqlite if op.get_bind().dialect.name == "sqlite" else _postgresql
    for rule in RULES:
        create(*rule)


def _sqlite(name, table, when, condition, error):
    guard = f"WHEN {condition}" if condition else ""
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {when} ON {table} {guard} BEGIN SELECT RAISE(ABORT, '{error}'); END"
    )


def _postgresql(name, table, when, condition, error):
    op.execute(f"""CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF {condition or "true"} THEN RAISE EXCEPTION '{error}' USING ERRCODE = 'integrity_constraint_violation';
        END IF; RETURN NEW; END $$""")
    op.execute(f"CREATE TRIGGER {name} BEFORE {when} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()")
    if table == "auditentry" and when == "DELETE":
        for kept in ("auditentry", "approval", "fixedtext"):
            op.execute(
                f"CREATE TRIGGER {kept}_not_truncated BEFORE TRUNCATE ON {kept} EXECUTE FUNCTION {name}()"
            )
