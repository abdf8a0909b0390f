"""
Tell which files would be accepted, and what that costs.

Each file is decoded in full, as an upload would be; nothing is written.
Folders are searched for files at any depth; "-" is standard input.
"""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

from safeupload._cli import options
from safeupload._cli.files import STDIN, Input, find, reason
from safeupload._cli.measure import Cost, measured, megabytes, milliseconds, warm_up
from safeupload._cli.screen import BAD, DIM, GOOD, ODD, PLAIN, cell, complain, say
from safeupload._image import ImageInfo, validate
from safeupload.errors import Rejected
from safeupload.policy import Policy

NAME: Final = "check"
HELP: Final = "tell which files would be accepted"

_ACCEPTED, _REJECTED, _UNREADABLE = 0, 1, 3
_STYLES: Final = {"accepted": GOOD, "rejected": BAD, "unreadable": ODD}
_COLUMNS: Final = (
    ("verdict", 10, False),
    ("code", 18, False),
    ("format", 6, False),
    ("size", 11, True),
    ("ms", 8, True),
    ("peak MB", 7, True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command line may say."""
    parser.add_argument("files", nargs="+", metavar="FILE", help='file, folder, or "-" for standard input')
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for scripts")
    options.add_limits(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check all files and return the exit code."""
    policy = options.policy(arguments)
    if arguments.files.count(STDIN) > 1:
        arguments.usage_error('"-" can be read only once')
    warm_up(policy)
    if not arguments.json:
        say(*((cell(title, columns, right=right) + "  ", DIM) for title, columns, right in _COLUMNS), ("file", DIM))
    worst, count = _ACCEPTED, 0
    for file in find(arguments.files):
        code, record = check(file, policy)
        worst, count = max(worst, code), count + 1
        if arguments.json:
            say((json.dumps(record), PLAIN))
        else:
            _say_row(record)
        if code == _UNREADABLE:
            complain(f"{file.name}: cannot be read: {record['detail']}")
    if not count:
        complain("no files there")
    return worst


def check(file: Input, policy: Policy) -> tuple[int, dict[str, Any]]:
    """Check one file; return the exit code that it calls for, and what there is to say about it."""
    cost = Cost()
    info: ImageInfo | None = None
    problem: dict[str, Any] = {}
    try:
        if file.error is not None:
            raise file.error
        with measured() as cost:
            info = validate(file.source(), policy)
    except Rejected as error:
        code, verdict, problem = _REJECTED, "rejected", error.problem()
        problem = {name: value for name, value in problem.items() if name not in {"type", "title", "status"}}
    except OSError as error:
        code, verdict, problem = _UNREADABLE, "unreadable", {"detail": reason(error)}
    else:
        code, verdict = _ACCEPTED, "accepted"
    record: dict[str, Any] = {"file": file.name, "verdict": verdict, "code": None, **problem}
    if info is not None:
        record |= {
            "format": info.format,
            "width": info.width,
            "height": info.height,
            "orientation": info.orientation,
            "animated": info.animated,
            "has_alpha": info.has_alpha,
            "has_icc": info.has_icc,
        }
    if code != _UNREADABLE:
        record |= {"ms": round(cost.seconds * 1000, 3), "peak_bytes": cost.peak}
    return code, record


def _say_row(record: dict[str, Any]) -> None:
    texts = (
        record["verdict"],
        record["code"] or "",
        record.get("format", ""),
        f"{record['width']}x{record['height']}" if "width" in record else "",
        milliseconds(record["ms"] / 1000) if "ms" in record else "",
        megabytes(record["peak_bytes"]) if "ms" in record else "",
    )
    cells = [cell(text, columns, right=right) + "  " for text, (_, columns, right) in zip(texts, _COLUMNS, strict=True)]
    say((cells[0], _STYLES[record["verdict"]]), ("".join(cells[1:]), PLAIN), (record["file"], PLAIN))
