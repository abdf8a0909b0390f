"""Your code: fix the call, do not catch the error."""

from __future__ import annotations

from collections.abc import Iterable

from safeupload.errors._base import Misuse


class InvalidPolicy(Misuse, ValueError):
    """The policy cannot work; raised when it is built."""

    code = "invalid_policy"


class InvalidArgument(Misuse, ValueError):
    """An argument that cannot work, such as a negative age; raised where it is given."""

    code = "invalid_argument"


class UnsupportedSource(Misuse, TypeError):
    """The source is not something bytes can be read from."""

    code = "unsupported_source"


class TruncatedImagesEnabled(Misuse):
    """
    Somebody set ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` in this process.

    With it Pillow passes torn files for whole ones, so no answer of ours would be worth anything.
    """

    code = "truncated_images_enabled"
    _text = "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is True in this process; set it to False"


class FolderNotOwned(Misuse):
    """
    The folder holds files and was never a storage.

    A storage removes files, so it must not be pointed at somebody else's by mistake; ``adopt=True`` says it is none.
    """

    code = "folder_not_owned"


class InvalidReferences(Misuse, TypeError):
    """
    `references` is not, or does not return, what it has to: of the keys that it is given, those that rows name.

    What it returned is not believed, so nothing is removed on its word.
    """

    code = "invalid_references"


class InvalidCheck(Misuse, TypeError):
    """A check returned something. It has to raise what it finds: nobody looks at a ``return False``."""

    code = "invalid_check"


class NotChecked(Misuse):
    """
    The picture has not been through all checks of the `Uploads` that should store it.

    Hand the upload itself over, or give `normalize` (or the field of a form) the same checks.
    """

    code = "not_checked"
    _text = "the picture was made without the checks of this Uploads; give normalize the same, or pass the upload"


class AsyncCallable(Misuse, TypeError):
    """A coroutine function was given where a plain function is called; `AsyncUploads` takes it."""

    code = "async_callable"


class IllegalTransition(Misuse):
    """The call comes too early (before ``with``), too late or twice: the transaction's `state` does not allow it."""

    code = "illegal_transition"

    def __init__(self, state: str, call: str) -> None:
        """Note the `state` of the transaction and the `call` that it does not allow."""
        super().__init__(state, call)
        self.state = state
        self.call = call

    def __str__(self) -> str:
        """Say what was called when."""
        return f"{self.call} is not possible here: the transaction is {self.state.replace('_', ' ')}"


class NewKeyReleased(Misuse):
    """The key that this transaction has just made was given as the old one: read the row before you assign to it."""

    code = "new_key_released"
    _text = "this is the key of the new file, not of the old one; read the old one before you assign the new one"


class CommitMissing(Misuse):
    """
    The block was left without a commit, though the new key was handed out or an old one released.

    Nobody knows now whether a row names the new file or still names the old one, so both are kept, and `recover`
    settles it.
    """

    code = "commit_missing"
    _text = "the block was left without commit(session.commit) or abort(); all files are kept"


class NotCommitted(Misuse):
    """
    The commit returned, and the database does not say what it should: it names an old key still, or a new one not.

    Either the commit did nothing (another session, a row that was not assigned to, a rollback before it), or
    `references` does not look where the rows are. Everything is kept.
    """

    code = "not_committed"

    def __init__(self, missing: Iterable[str], still: Iterable[str]) -> None:
        """Note the new keys that are `missing`, and the old ones that are `still` named."""
        self.missing: tuple[str, ...] = tuple(sorted(missing))
        self.still: tuple[str, ...] = tuple(sorted(still))
        super().__init__(self.missing, self.still)

    def __str__(self) -> str:
        """Say what is wrong, for the developer."""
        found = (("still names the old file", self.still), ("does not name the new file", self.missing))
        facts = " and ".join(f"the database {what} {' '.join(keys)}" for what, keys in found if keys)
        return (
            f"the commit returned, but {facts}; all files are kept. Was the key assigned to the row, is this the"
            " session that holds it, and does references look at that database?"
        )


class NotAborted(Misuse):
    """`abort()` was called, and the database names the new key: it was committed. Everything is kept."""

    code = "not_aborted"
    _text = "abort() was called, but the database names the new file; all files are kept"


class SweepRefused(Misuse):
    """
    The sweep would remove so much that `references`, or its database, is more likely wrong than the files are.

    Nothing was removed. ``force=True`` removes them all the same.
    """

    code = "sweep_refused"
