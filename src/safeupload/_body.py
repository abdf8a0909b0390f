"""What the limits on whole request bodies have in common, whichever interface they are for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from safeupload.errors import InvalidArgument

__all__ = ["FRAME", "GRACE", "GRACE_SECONDS", "Limits", "declared"]

#: Bytes that a body may have beyond the file in it: boundaries, headers and the other fields of a multipart form.
#: 64 KiB: the frame of one file takes about 200 bytes; the rest is for a name, a caption, a token.
FRAME: Final = 64 << 10
#: Bytes beyond the limit that are still received, and thrown away, so that the client reads an answer and not only a
#: reset: most clients look for one only when they have sent everything. 3 MiB: with it, every photograph that is up to
#: 8 MiB large gets its answer, and the largest body costs, with what lies in the buffers of two kernels, 15 MB.
GRACE: Final = 3 << 20
#: Seconds that this may take. 10: a phone that sends 1 MB a second gets through in time.
GRACE_SECONDS: Final = 10

_MOST_DIGITS: Final = 18  # more than any body has bytes, and quick to convert


class Limits:
    """
    How many bytes a body may have, by the path it is sent to.

    In `routes` a ``*`` stands for one segment of a path; the first that fits counts. A path that none fits has the
    general limit, so that a mistake in a pattern shows when the first larger file is refused.
    """

    def __init__(self, max_bytes: int, routes: Mapping[str, int] | None) -> None:
        self._general = _checked("max_bytes", max_bytes)
        self._routes = [
            (_compiled(route), _checked(f"routes[{route!r}]", most)) for route, most in (routes or {}).items()
        ]

    def of(self, path: str) -> int:
        """Return how many bytes a file may have that is sent to `path`."""
        return next((most for pattern, most in self._routes if pattern.fullmatch(path)), self._general)


def declared(content_length: str | bytes | None) -> int | None:
    """Return the number in a Content-Length, if that is there and a number; who lies is found out by counting."""
    text = content_length.decode("latin-1") if isinstance(content_length, bytes) else content_length or ""
    return int(text.lstrip("0")[:_MOST_DIGITS] or "0") if re.fullmatch(r"[0-9]+", text) else None


def _checked(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidArgument(f"{name}: expected a whole number of bytes, at least 1, got {value!r}")
    return value


def _compiled(route: str) -> re.Pattern[str]:
    if not isinstance(route, str) or not route.startswith("/"):
        raise InvalidArgument(f'routes: expected paths like "/users/*/picture", got {route!r}')
    return re.compile("[^/]+".join(map(re.escape, route.split("*"))))
