"""
The names of stored files: made by us, from random bits, and of one form only (P8).

No part of a key comes from a client, so none can reach a path; and what does not have the form was not made by us, so
it is never removed. Renditions stand beside the file of their key, under its name with a suffix.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from safeupload.errors import InvalidKey

#: 128 random bits, as many as a UUID has and more than any number of files makes collide.
_RANDOM_BYTES: Final = 16
_KEY: Final = re.compile(r"[0-9a-f]{32}\.jpg", re.ASCII)
_DIGITS: Final = 2 * _RANDOM_BYTES
_SUFFIX: Final = re.compile(r"-[a-z][a-z0-9_]{0,19}\.(?:jpg|png|webp|avif)", re.ASCII)


def new_key() -> str:
    """Return a key that nobody has used or can guess: 32 hexadecimal digits and ".jpg"."""
    return f"{secrets.token_hex(_RANDOM_BYTES)}.jpg"


def is_key(value: object) -> bool:
    """Tell whether the value has the form of a key."""
    return isinstance(value, str) and _KEY.fullmatch(value) is not None


def is_suffix(value: str) -> bool:
    """Tell whether the value is what the name of a rendition ends with: "-", its name, and an extension."""
    return _SUFFIX.fullmatch(value) is not None


def suffix_of(name: str) -> str:
    """Return what the name of a rendition's file ends with."""
    return name[_DIGITS:]


def new_suffix(name: str, extension: str) -> str:
    """Return what the name of a rendition's file ends with; raise `InvalidKey` if nothing may be called so."""
    suffix = f"-{name}.{extension}"
    if not is_suffix(suffix):
        raise InvalidKey
    return suffix


def beside(key: str, suffix: str) -> str:
    """Return the name of a rendition's file, which stands beside that of the key."""
    return key[:_DIGITS] + suffix


def key_beside(name: str) -> str | None:
    """Return the key of the file that a rendition's stands beside, None if the name is not that of a rendition."""
    key = f"{name[:_DIGITS]}.jpg"
    return key if is_key(key) and is_suffix(suffix_of(name)) else None


def checked(name: str) -> str:
    """Return the key, or the name of a rendition; raise `InvalidKey` if it is neither."""
    if not is_key(name) and not (isinstance(name, str) and key_beside(name)):
        raise InvalidKey
    return str(name)


class Named(NamedTuple):
    """What a row held: a key of ours, or something else that was there (`foreign`), or nothing."""

    key: str | None
    foreign: bool = False


def named(value: object) -> Named:
    """
    Return what a row's value says: a string, nothing (None or ""), or an object with a `name` (Django's `FieldFile`).

    Anything but a key is foreign: a default picture, a path, what another program wrote.
    """
    name = value if isinstance(value, str | None) else getattr(value, "name", value)
    if name is None or name == "":
        return Named(None)
    return Named(str(name)) if is_key(name) else Named(None, foreign=True)


@dataclass(frozen=True, slots=True)
class MarkName:
    """
    The name of a mark: on which file, and how its fate came to be open.

    ``KEY`` marks a new file, ``~KEY~TOKEN`` one that its transaction releases, ``~KEY~TOKEN~SECONDS`` one that stays
    so long after its release (`retain`). Several transactions may release one file, hence the token. ``!SECONDS`` at
    the end is for how long its owner holds it, where it is held by a lease.

    `dated` is the date of the mark, in seconds by the storage's clock, where listing the marks has told it.
    """

    name: str
    key: str
    is_new: bool
    retain: int = 0  # seconds
    lease: int = 0  # seconds
    dated: float | None = field(default=None, compare=False)


_MARK: Final = re.compile(
    rf"(?:(?P<new>{_KEY.pattern})|~(?P<old>{_KEY.pattern})~[0-9a-f]{{16}}(?:~(?P<retain>[0-9]{{1,10}}))?)"
    r"(?:!(?P<lease>[0-9]{1,10}))?",
    re.ASCII,
)
#: What has no more than ten digits: 317 years.
LONGEST: Final = 9_999_999_999  # seconds
_TOKEN_BYTES: Final = 8


def new_mark(lease: int = 0) -> MarkName:
    """Return the name of the mark of a fresh key, held for `lease` seconds, or by a lock."""
    key = new_key()
    return MarkName(key + _leased(lease), key, is_new=True, lease=lease)


def old_mark(key: str, retain: int, lease: int = 0) -> MarkName:
    """Return a fresh name for a mark on a file that is to be released, `retain` seconds after the commit."""
    name = f"~{key}~{secrets.token_hex(_TOKEN_BYTES)}" + (f"~{retain}" if retain else "")
    return MarkName(name + _leased(lease), key, is_new=False, retain=retain, lease=lease)


def _leased(lease: int) -> str:
    return f"!{lease}" if lease else ""


def parse_mark(name: str, dated: float | None = None) -> MarkName | None:
    """Return the mark of that name, None if it is not the name of one."""
    match = _MARK.fullmatch(name)
    if match is None:
        return None
    retain, lease = int(match["retain"] or 0), int(match["lease"] or 0)
    key = match["new"] or match["old"]
    return MarkName(name, key, is_new=bool(match["new"]), retain=retain, lease=lease, dated=dated)
