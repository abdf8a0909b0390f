"""
Everything safeupload raises on purpose.

::

    SafeUploadError                 code, status, problem()
    +- Rejected             422     their bytes: the upload is not a picture we can take
    |  +- TooLarge          413     more bytes than the policy allows
    |  +- Empty             422     no bytes at all
    |  +- NotAnImage        415     no picture format recognised
    |  +- FormatNotAllowed  415     a picture, but of a format the policy does not take
    |  +- TooManyPixels     413     more pixels than the policy allows
    |  +- TooComplex        413     more scans, chunks, frames, metadata or memory than the policy allows
    |  +- Corrupt           422     damaged, cut short or contradicting itself
    |  +- DecoderCrashed    422     the worker that decoded it died, or answered nonsense
    |  +- DecoderTimeout    422     the worker that decoded it took too long
    |  +- DecoderMemory     413     the worker that decoded it took too much memory
    |  +- CheckFailed       422     a check of the application's refused it
    +- Unavailable          503     nothing is wrong with the upload; later it may work
    |  +- StorageError      503     our folder or bucket: full, read-only, unreachable, broken
    |  |  +- InvalidKey     404     not a key that we have made
    |  |  +- FileMissing    404     no file under that key
    |  |  +- UnsupportedStorage     a folder that cannot keep what the library promises
    |  |  +- LeaseExpired           a block that took longer than its storage's lease
    |  |  +- ClockSkew              two clocks that should agree, and do not
    |  +- DecoderUnavailable 503    too many uploads wait for a worker, or none can be started
    |  +- CheckUnavailable  503     a check of the application's could not tell
    +- Misuse               500     your code (also a RuntimeError)
       +- InvalidPolicy             a policy that cannot work (also a ValueError)
       +- InvalidArgument           any other argument that cannot work (also a ValueError)
       +- UnsupportedSource         not something to read bytes from (also a TypeError)
       +- TruncatedImagesEnabled    ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` is set in this process
       +- FolderNotOwned            a folder that holds other people's files
       +- InvalidReferences         ``references`` is not, or does not return, what it has to (also a TypeError)
       +- InvalidCheck              a check that returned something (also a TypeError)
       +- NotChecked                a picture that was made without the checks of the `Uploads`
       +- AsyncCallable             a coroutine function where a plain one is called (also a TypeError)
       +- IllegalTransition         a call that comes too early, too late, or twice
       +- NewKeyReleased            the key of a new file, given as the key of an old one
       +- CommitMissing             a block left without a commit, though its key was handed out
       +- NotCommitted              a commit that returned, and the database does not say what it should
       +- NotAborted                ``abort()``, and the database names the new key
       +- SweepRefused              a sweep that would remove too much to be right

The text of a `Rejected` is fit for the person who uploaded the file: it carries no path, no key and no decoder's
words. Those are in ``__cause__``, for your log.
"""

from safeupload.errors._base import (
    Misuse,
    Rejected,
    SafeUploadError,
    Unavailable,
)
from safeupload.errors._misuse import (
    AsyncCallable,
    CommitMissing,
    FolderNotOwned,
    IllegalTransition,
    InvalidArgument,
    InvalidCheck,
    InvalidPolicy,
    InvalidReferences,
    NewKeyReleased,
    NotAborted,
    NotChecked,
    NotCommitted,
    SweepRefused,
    TruncatedImagesEnabled,
    UnsupportedSource,
)
from safeupload.errors._rejected import (
    CheckFailed,
    Corrupt,
    DecoderCrashed,
    DecoderMemory,
    DecoderTimeout,
    Empty,
    FormatNotAllowed,
    NotAnImage,
    TooComplex,
    TooLarge,
    TooManyPixels,
)
from safeupload.errors._unavailable import (
    CheckUnavailable,
    ClockSkew,
    DecoderUnavailable,
    FileMissing,
    InvalidKey,
    LeaseExpired,
    StorageError,
    UnsupportedStorage,
)

__all__ = [
    "AsyncCallable",
    "CheckFailed",
    "CheckUnavailable",
    "ClockSkew",
    "CommitMissing",
    "Corrupt",
    "DecoderCrashed",
    "DecoderMemory",
    "DecoderTimeout",
    "DecoderUnavailable",
    "Empty",
    "FileMissing",
    "FolderNotOwned",
    "FormatNotAllowed",
    "IllegalTransition",
    "InvalidArgument",
    "InvalidCheck",
    "InvalidKey",
    "InvalidPolicy",
    "InvalidReferences",
    "LeaseExpired",
    "Misuse",
    "NewKeyReleased",
    "NotAborted",
    "NotAnImage",
    "NotChecked",
    "NotCommitted",
    "Rejected",
    "SafeUploadError",
    "StorageError",
    "SweepRefused",
    "TooComplex",
    "TooLarge",
    "TooManyPixels",
    "TruncatedImagesEnabled",
    "Unavailable",
    "UnsupportedSource",
    "UnsupportedStorage",
]
