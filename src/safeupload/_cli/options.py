"""Options that the commands share: from words to a policy."""

from __future__ import annotations

import argparse
import dataclasses
import re

from safeupload.errors import InvalidPolicy
from safeupload.policy import AVATAR, Policy

_FIELDS = ("max_bytes", "max_pixels", "formats", "size", "quality", "background")


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the options for what may come in."""
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--max-bytes", type=int, metavar="N", help=f"largest file to take, in bytes (default: {AVATAR.max_bytes})"
    )
    group.add_argument(
        "--max-pixels", type=int, metavar="N", help=f"most pixels, width times height (default: {AVATAR.max_pixels})"
    )
    group.add_argument(
        "--formats",
        type=formats,
        metavar="A,B",
        help=f"formats to take, separated by commas (default: {','.join(sorted(AVATAR.formats))})",
    )


def add_result(parser: argparse.ArgumentParser) -> None:
    """Add the options for what comes out."""
    group = parser.add_argument_group("result")
    group.add_argument("--size", type=size, metavar="WxH", help="pixels of the result (default: 300x300)")
    group.add_argument("--quality", type=int, metavar="N", help=f"JPEG quality, 1 to 95 (default: {AVATAR.quality})")
    group.add_argument(
        "--background", type=colour, metavar="RRGGBB", help="what shows through transparent places (default: ffffff)"
    )


def policy(arguments: argparse.Namespace) -> Policy:
    """Return the policy that the options ask for; end with a usage error if there cannot be such a one."""
    asked = {name: value for name in _FIELDS if (value := getattr(arguments, name, None)) is not None}
    try:
        return dataclasses.replace(AVATAR, **asked)
    except InvalidPolicy as error:
        arguments.usage_error(str(error))
        raise  # not reached: it exits


def formats(word: str) -> frozenset[str]:
    """Return the names in a list like "jpeg,png"."""
    return frozenset(name.strip().upper() for name in word.split(",") if name.strip())


def size(word: str) -> tuple[int, int]:
    """Return the numbers of "300x200"."""
    match = re.fullmatch(r"([0-9]{1,9})[x×]([0-9]{1,9})", word, re.IGNORECASE)  # noqa: RUF001 - people write it
    if match is None:
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT, for example 300x300, got {word!r}")
    return int(match[1]), int(match[2])


def colour(word: str) -> tuple[int, int, int]:
    """Return red, green and blue of "ffcc00" or "#ffcc00"."""
    if re.fullmatch(r"#?[0-9a-fA-F]{6}", word) is None:
        raise argparse.ArgumentTypeError(f"expected six hexadecimal digits, for example ffffff, got {word!r}")
    red, green, blue = bytes.fromhex(word.removeprefix("#"))
    return red, green, blue
