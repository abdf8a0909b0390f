"""One file to try, and what the library has to say to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from safeupload._image import ImageInfo


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Sample:
    """
    One file to try.

    `name` is that of a file, `about` says in a few words what it is, and `make()` makes its bytes, always the same;
    `data` are these bytes, made once.

    `code` is the code of the refusal that a policy with the default limits must answer with, None if it must make a
    picture; `info` is then what it must say of the upload. `canaries` are bytes in the file that may not be in a
    result, with what they are. `harm` is what a result that looks otherwise, or exists at all, means.
    """

    name: str
    make: Callable[[], bytes]
    about: str
    code: str | None = None
    info: ImageInfo | None = None
    canaries: Mapping[bytes, str] = field(default_factory=dict[bytes, str])
    harm: str = ""

    def __str__(self) -> str:
        """Return the name, for the identifiers of tests."""
        return self.name

    def __repr__(self) -> str:
        verdict = "a picture" if self.code is None else self.code
        return f"<Sample {self.name}: {self.about}; {verdict}>"

    @cached_property
    def data(self) -> bytes:
        """The bytes of the file."""
        return self.make()
