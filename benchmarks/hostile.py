"""
Send files that are made to be expensive through safeupload: time to the refusal, and memory.

The files are those of `safeupload compare`, and small enough for `max_bytes`. Times are medians; memory is the highest
of all runs, above what the process had before, which includes the file itself.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from measure import MB, cost, megabytes
from PIL import Image

import safeupload
from safeupload._samples import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeupload._samples import Sample

#: What we promise for each of them.
GOAL_SECONDS: Final = 0.050
GOAL_PEAK: Final = 20 * MB


class Row(NamedTuple):
    """One attack."""

    name: str
    size: int
    expected: str
    answer: str
    seconds: float
    peak: int | None


def main(argv: Sequence[str]) -> int:
    """Measure; return 1 if a goal is missed and that was asked for."""
    options = _options(argv)
    print("                        MB        ms   peak MB   answer")
    _warm_up()
    rows = []
    for sample in HOSTILE:
        if sample.code is not None:  # the others are harmless as pictures, and must become one
            rows.append(row := _attack(sample, sample.code, options.repeat))
            print(
                f"{row.name:20}{row.size / 1e6:6.2f}{row.seconds * 1e3:10.2f}{megabytes(row.peak):>10}   {row.answer}"
            )
    if options.json:
        options.json.write_text(json.dumps([row._asdict() for row in rows], indent=2) + "\n")
    missed = [text for row in rows for text in _missed(row)]
    print(*missed, sep="\n")
    return 1 if options.check and missed else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5, help="runs of each attack (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    parser.add_argument("--check", action="store_true", help="fail if a goal is missed")
    return parser.parse_args(argv)


def _warm_up() -> None:
    """Load every decoder and see every kind of answer once."""
    for kind in ("JPEG", "PNG", "GIF", "WEBP"):
        out = io.BytesIO()
        Image.new("RGB", (320, 320)).save(out, kind)
        safeupload.normalize(out.getvalue())
    for wrong in (b"wrong", b"II*\0"):
        _answer(wrong)


def _answer(data: bytes) -> str:
    """Return the code of the refusal."""
    try:
        safeupload.normalize(data)
    except safeupload.Rejected as error:
        return error.code
    return "accepted"


def _attack(sample: Sample, expected: str, repeat: int) -> Row:
    data = sample.make()
    answers: list[str] = []
    costs = [cost(lambda: answers.append(_answer(data))) for _ in range(repeat)]
    peaks = [found.peak for found in costs if found.peak is not None]
    seconds = median(found.cpu for found in costs)
    return Row(sample.name, len(data), expected, answers[0], seconds, max(peaks, default=None))


def _missed(row: Row) -> list[str]:
    """Return what to say about the goals that an attack misses."""
    missed = []
    if row.answer != row.expected:
        missed.append(f"missed: {row.name} is {row.expected}, answered {row.answer}")
    if row.seconds > GOAL_SECONDS:
        missed.append(f"missed: {row.name} within {GOAL_SECONDS * 1e3:.0f} ms, measured {row.seconds * 1e3:.0f}")
    if row.peak is not None and row.peak > GOAL_PEAK:
        missed.append(f"missed: {row.name} below {GOAL_PEAK / MB:.0f} MB, measured {row.peak / MB:.1f}")
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
