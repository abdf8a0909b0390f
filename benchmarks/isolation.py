"""What it costs to decode in a process of its own: by the clock, beside the same picture in this one."""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import pictures
from measure import arguments
from peers import POLICY

from safeupload import WorkerProcesses, normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How many seconds longer a picture may take for each 3 MB of it: that much goes through a pipe.
GOAL: Final = 0.010
_EACH: Final = 3e6

_PICTURES: Final = ("JPEG 12 MP", "JPEG 50 MP", "PNG 4 MP, RGBA")


def main(argv: Sequence[str]) -> int:
    """Let both ways take turns; return 1 if the goal is missed and that was asked for."""
    parser = arguments(__doc__ or "", 15)
    parser.add_argument("--check", action="store_true", help="fail if the goal is missed")
    options = parser.parse_args(argv)
    rows: list[dict[str, Any]] = []
    with WorkerProcesses(1) as workers:
        for name in _PICTURES:
            data = pictures.make(name, options.scale)
            here_alone = partial(normalize, data, POLICY)
            ways = {"here": here_alone, "there": partial(here_alone, decoder=workers)}
            found: dict[str, list[float]] = {way: [] for way in ways}
            for at in range(options.repeat + 1):
                for way, work in ways.items():
                    start = time.perf_counter()
                    work()
                    if at:  # the first time is to warm up
                        found[way].append(time.perf_counter() - start)
            here, there = (median(found[way]) for way in ways)
            rows.append({"name": name, "bytes": len(data), "here": here, "there": there, "times": there / here})
            print(
                f"{name:18}{len(data) / 1e6:5.1f} MB{here * 1e3:7.1f} ms here{there * 1e3:7.1f} ms there"
                f"{(there - here) * 1e3:6.1f} ms more{there / here:6.2f}x",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    missed = [row for row in rows if row["there"] - row["here"] > GOAL * max(1, row["bytes"] / _EACH)]
    for row in missed:
        print(f"missed: {row['name']} within {GOAL * 1e3:.0f} ms for each 3 MB")
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
