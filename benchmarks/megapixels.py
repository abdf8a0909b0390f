"""How time and memory grow with the size of a photograph, from 1 to 50 megapixels, in each way."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

import pictures
from compare import OURS, chosen, compare, record
from measure import arguments, megabytes

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Of a photograph of 12 megapixels, by which its sides are multiplied.
SIDES: Final = (0.3, 0.5, 0.7, 1, 1.4, 2)
_PICTURE: Final = "JPEG 12 MP"


def main(argv: Sequence[str]) -> int:
    """Measure each size."""
    parser = arguments(__doc__ or "", 3)
    parser.add_argument("--against", type=chosen, default=[], metavar="PEERS")
    options = parser.parse_args(argv)
    rows = []
    for side in SIDES:
        row = compare(_PICTURE, ["plain", OURS, *options.against], options.scale * side, options.repeat)
        pixels = pictures.PHONE_12[0] * pictures.PHONE_12[1] * (options.scale * side) ** 2
        rows.append({"megapixels": pixels / 1e6, **record(row)})
        print(f"{pixels / 1e6:5.1f} MP", end="")
        for way, cost in row.costs.items():
            print(f"{way:>12}{cost.cpu * 1e3:6.0f} ms{megabytes(cost.peak):>8} MB", end="")
        print(flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
