"""What tests of the replacement use in place of pictures and databases."""

import hashlib

from safeupload import ImageInfo, NormalizedImage

INFO = ImageInfo(format="PNG", width=1, height=1, orientation=1, animated=False, has_alpha=False, has_icc=False)


def picture(text: str = "picture") -> NormalizedImage:
    """Return a "picture" that is told from others by its bytes, and takes no time to make."""
    data = text.encode() * 100
    return NormalizedImage(data=data, width=1, height=1, sha256=hashlib.sha256(data).hexdigest(), info=INFO)
