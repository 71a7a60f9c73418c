"""What can go wrong in the domain, each with its HTTP status and its words for staff."""


class BotError(Exception):
    """Base of the tree; one handler in ``bot.app`` renders it.

    BotError
    ├── NotFound            no such case, draft or page for this person (404)
    ├── NotAllowed          the person's role or department does not permit it (403)
    ├── NotSignedIn         no valid session (401)
    ├── Conflict            someone else was faster; nothing was changed (409)
    │   ├── DraftNotPending     the draft was decided or replaced already
    │   ├── CaseChanged         the case moved on since the page was loaded
    │   ├── CitizenWrites       the citizen's newest words are not in the case yet
    │   └── SourceEnded         an article that the draft cites is not in force any more as it was
    ├── TextRefused         the text cannot go out as it is (422)
    │   ├── DraftingOff         a kill switch is down
    │   └── NeedsConfirmation   unsupported facts: edit or confirm each place
    │       └── OwnWordsNeedConfirmation  the same for a text that quotes nothing
    ├── BadInput            a malformed request (400)
    ├── TooLarge            a body over the limit (413)
    └── StorageUnavailable  the database is full or away; nothing was stored (503)
    """

    status = 500
    message_ja = "処理できませんでした。"

    def __init__(self, message_ja: str | None = None) -> None:
        self.message_ja = message_ja or type(self).message_ja
        super().__init__(self.message_ja)


class NotFound(BotError):
    """No such thing, or not for this person."""

    status = 404
    message_ja = "見つかりません。案件は、ほかの課へ移った可能性があります。一覧へ戻って確認してください。"


class NotAllowed(BotError):
    """The role does not permit it."""

    status = 403
    message_ja = "この操作をする権限がありません。"


class NotSignedIn(BotError):
    """No valid session."""

    status = 401
    message_ja = "ログインしてください。"


class Conflict(BotError):
    """Someone else was faster."""

    status = 409
    message_ja = "ほかの職員が先に操作しました。画面を更新して確認してください。"


class DraftNotPending(Conflict):
    """The draft was decided or replaced already."""

    message_ja = (
        "この下書きは、すでに処理済みか、新しい下書きに置き換わっています。"
        "画面を更新して、最新の内容を確認してください。"
    )


class CaseChanged(Conflict):
    """The case moved on since the page was loaded."""

    message_ja = "この案件は、画面を開いたあとに更新されています。最新の内容を確認してください。"


class CitizenWrites(Conflict):
    """The citizen's newest words are stored, but which case they belong to is not decided yet."""

    message_ja = (
        "市民から新しい発言が届き、案件に取り込んでいるところです。何も送っていません。"
        "少し待ってから画面を更新し、発言を確認して承認してください。"
    )


class SourceEnded(Conflict):
    """An article that the draft cites is not in force any more as it was."""

    message_ja = (
        "引用している記事が変わったか、有効期間が終わったため、送っていません。下書きを作り直します。"
    )


class TextRefused(BotError):
    """The text cannot go out as it is."""

    status = 422
    message_ja = "この文面は送信できません。"


class DraftingOff(TextRefused):
    """A kill switch is down."""

    message_ja = "下書き機能は停止中です。自分で書いて送ることはできます。"


class NeedsConfirmation(TextRefused):
    """Places without a source: each must be edited or confirmed."""

    message_ja = (
        "文面に、確認が必要な箇所があります。指摘された箇所を直すか、一つずつ確認のチェックを入れてください。"
    )


class OwnWordsNeedConfirmation(NeedsConfirmation):
    """A person's own words, which need no source: what is wrong with them in any case."""

    message_ja = (
        "自分で書いた文面に、確認が必要な箇所があります。"
        "指摘された箇所を直すか、一つずつ確認のチェックを入れてください。"
    )


class BadInput(BotError):
    """A malformed request."""

    status = 400
    message_ja = "入力の形式が正しくありません。"


class TooLarge(BotError):
    """A body over the limit."""

    status = 413
    message_ja = "入力が大きすぎます。"


class StorageUnavailable(BotError):
    """The database is full or away; the sender must try again."""

    status = 503
    message_ja = (
        "データベースに書き込めません(容量不足または停止)。入力した内容は保存されていません。"
        "システム担当者に連絡してください。"
    )
