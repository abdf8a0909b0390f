"""What the checks cost: the walk through a file and the writing of a new one, as a part of the whole."""

from __future__ import annotations

import json
import sys
import time
from statistics import median
from typing import TYPE_CHECKING, Final

import pictures
from measure import arguments
from peers import POLICY

from safeupload import normalize
from safeupload._formats import rebuild

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The part of the whole that checks may take of a photograph in JPEG.
GOAL: Final = 0.05


def main(argv: Sequence[str]) -> int:
    """Measure each kind of picture; return 1 if the goal is missed and that was asked for."""
    parser = arguments(__doc__ or "", 7)
    parser.add_argument("--check", action="store_true", help="fail if the goal is missed")
    options = parser.parse_args(argv)
    rows = []
    for name in pictures.NAMES:
        data = pictures.make(name, options.scale)
        wholes, checks = [], []
        for at in range(options.repeat + 1):
            start = time.process_time()
            rebuild(data, POLICY)
            between = time.process_time()
            normalize(data, POLICY)
            if at:
                checks.append(between - start)
                wholes.append(time.process_time() - between)
        rows.append({"name": name, "checks": median(checks), "whole": median(wholes)})
        print(f"{name:26}{median(checks) * 1e3:7.1f} of {median(wholes) * 1e3:5.0f} ms", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    missed = [
        f"missed: {row['name']} checked in {GOAL:.0%} of the whole, measured {row['checks'] / row['whole']:.1%}"  # type: ignore[operator]
        for row in rows
        if str(row["name"]).startswith("JPEG") and row["checks"] > GOAL * row["whole"]  # type: ignore[operator]
    ]
    print(*missed, sep="\n")
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
