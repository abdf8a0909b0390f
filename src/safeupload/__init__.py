"""
Safe image uploads: untrusted bytes become a clean picture or one clean error.

    >>> import safeupload
    >>> picture = safeupload.normalize(upload)      # bytes, a file, or any framework's upload object
    >>> picture.data                                # a 300 x 300 JPEG, upright, sRGB, without metadata

Whatever the bytes, the only other outcome is a `Rejected`, with a stable `code`, an HTTP `status` and a text fit for
the person who uploaded them.
"""

from safeupload._image import ImageInfo, NormalizedImage, normalize, normalize_async, validate, validate_async
from safeupload.errors import (
    Corrupt,
    Empty,
    FormatNotAllowed,
    InvalidPolicy,
    Misuse,
    NotAnImage,
    Rejected,
    SafeUploadError,
    TooComplex,
    TooLarge,
    TooManyPixels,
    TruncatedImagesEnabled,
    UnsupportedSource,
)
from safeupload.policy import AVATAR, Policy

__all__ = [
    "AVATAR",
    "Corrupt",
    "Empty",
    "FormatNotAllowed",
    "ImageInfo",
    "InvalidPolicy",
    "Misuse",
    "NormalizedImage",
    "NotAnImage",
    "Policy",
    "Rejected",
    "SafeUploadError",
    "TooComplex",
    "TooLarge",
    "TooManyPixels",
    "TruncatedImagesEnabled",
    "UnsupportedSource",
    "normalize",
    "normalize_async",
    "validate",
    "validate_async",
]
