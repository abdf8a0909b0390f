"""
Safe image uploads: untrusted bytes become a clean picture or one clean error.

    >>> import safeupload
    >>> picture = safeupload.normalize(upload)      # bytes, a file, or any framework's upload object
    >>> picture.data                                # a 300 x 300 JPEG, upright, sRGB, without metadata

Whatever the bytes, the only other outcome is a `Rejected`, with a stable `code`, an HTTP `status` and a text fit for
the person who uploaded them.
"""

from safeupload._blocks import AsyncReplacement, AsyncTransaction, Replacement, Transaction
from safeupload._checks import AsyncCheck, Check
from safeupload._events import Event
from safeupload._image import (
    ImageInfo,
    NormalizedImage,
    RenderedImage,
    normalize,
    normalize_async,
    validate,
    validate_async,
)
from safeupload._recovery import RecoveryReport
from safeupload._sweep import SweepReport
from safeupload._uploads import AsyncUploads, Uploads
from safeupload._workers import WorkerProcesses
from safeupload.errors import (
    AsyncCallable,
    CheckFailed,
    CheckUnavailable,
    ClockSkew,
    CommitMissing,
    Corrupt,
    DecoderCrashed,
    DecoderMemory,
    DecoderTimeout,
    DecoderUnavailable,
    Empty,
    FileMissing,
    FolderNotOwned,
    FormatNotAllowed,
    IllegalTransition,
    InvalidArgument,
    InvalidCheck,
    InvalidKey,
    InvalidPolicy,
    InvalidReferences,
    LeaseExpired,
    Misuse,
    NewKeyReleased,
    NotAborted,
    NotAnImage,
    NotChecked,
    NotCommitted,
    Rejected,
    SafeUploadError,
    StorageError,
    SweepRefused,
    TooComplex,
    TooLarge,
    TooManyPixels,
    TruncatedImagesEnabled,
    Unavailable,
    UnsupportedSource,
    UnsupportedStorage,
)
from safeupload.policy import AVATAR, Policy, Rendition

__all__ = [
    "AVATAR",
    "AsyncCallable",
    "AsyncCheck",
    "AsyncReplacement",
    "AsyncTransaction",
    "AsyncUploads",
    "Check",
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
    "Event",
    "FileMissing",
    "FolderNotOwned",
    "FormatNotAllowed",
    "IllegalTransition",
    "ImageInfo",
    "InvalidArgument",
    "InvalidCheck",
    "InvalidKey",
    "InvalidPolicy",
    "InvalidReferences",
    "LeaseExpired",
    "Misuse",
    "NewKeyReleased",
    "NormalizedImage",
    "NotAborted",
    "NotAnImage",
    "NotChecked",
    "NotCommitted",
    "Policy",
    "RecoveryReport",
    "Rejected",
    "RenderedImage",
    "Rendition",
    "Replacement",
    "SafeUploadError",
    "StorageError",
    "SweepRefused",
    "SweepReport",
    "TooComplex",
    "TooLarge",
    "TooManyPixels",
    "Transaction",
    "TruncatedImagesEnabled",
    "Unavailable",
    "UnsupportedSource",
    "UnsupportedStorage",
    "Uploads",
    "WorkerProcesses",
    "normalize",
    "normalize_async",
    "validate",
    "validate_async",
]
