"""What several sizes of one photograph cost, beside the largest of them alone."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Final

import pictures
from measure import arguments
from peers import POLICY

from safeupload import Policy, Rendition, normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How many times the processor time of the largest alone all four may take.
GOAL: Final = 1.3

_PICTURE: Final = "JPEG 12 MP"
_LARGEST: Final = (1024, 576)
_OTHERS: Final = {"thumb": Rendition(size=(64, 64)), "avatar": Rendition(size=(300, 300))}
_CASES: Final[dict[str, Policy]] = {
    "largest": replace(POLICY, size=_LARGEST),
    "four sizes": replace(POLICY, size=_LARGEST, renditions={**_OTHERS, "card": Rendition(size=(640, 360))}),
    "four sizes, one WebP": replace(
        POLICY, size=_LARGEST, renditions={**_OTHERS, "card": Rendition(size=(640, 360), format="WEBP", quality=80)}
    ),
    "four sizes, one AVIF": replace(
        POLICY, size=_LARGEST, renditions={**_OTHERS, "card": Rendition(size=(640, 360), format="AVIF", quality=60)}
    ),
}


def main(argv: Sequence[str]) -> int:
    """Let the cases take turns; return 1 if the goal is missed and that was asked for."""
    parser = arguments(__doc__ or "", 7)
    parser.add_argument("--check", action="store_true", help="fail if the goal is missed")
    options = parser.parse_args(argv)
    data = pictures.make(_PICTURE, options.scale)
    found: dict[str, list[float]] = {name: [] for name in _CASES}
    for at in range(options.repeat + 1):
        for name, policy in _CASES.items():
            start = time.process_time()
            normalize(data, policy)
            if at:  # the first time is to warm up
                found[name].append(time.process_time() - start)
    alone = median(found["largest"])
    rows = [{"name": name, "cpu": median(times), "times": median(times) / alone} for name, times in found.items()]
    for row in rows:
        print(f"{row['name']:24}{row['cpu'] * 1e3:6.0f} ms{row['times']:6.2f}x", flush=True)  # type: ignore[operator]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    times = median(found["four sizes"]) / alone
    if times > GOAL:
        print(f"missed: four sizes within {GOAL} times the largest alone, measured {times:.2f}")
    return 1 if options.check and times > GOAL else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
