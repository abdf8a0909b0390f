"""
Compare safeupload with the plain way (see plain.py): processor time and peak memory for each kind of picture.

Each measurement runs in a process of its own, after a warm-up with a small picture of the same kind; all ways take
turns, so that whatever else the machine does hits them alike. Shown are medians. The ratios say how many times more the
others cost than safeupload. With --against, the peers of peers.py take part: "decode" is the bare decode of a JPEG, at
the scale that safeupload uses; "managed" is the plain way with colour management.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

import peers
import pictures
from measure import Cost, cost, megabytes

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS: Final = "safeupload"
#: How many times less than another way we promise to cost: processor time, peak memory (0: no promise).
GOALS: Final[dict[tuple[str, str], tuple[float, float]]] = {
    ("JPEG 12 MP", "plain"): (3.5, 20),
    ("JPEG 12 MP, Display P3", "managed"): (8, 20),
    ("JPEG 50 MP", "plain"): (5.5, 80),
    ("JPEG 50 MP, progressive", "plain"): (6, 2),
    ("AVIF 4 MP", "plain"): (1, 1),
}

_WARM_UP_SCALE: Final = 0.1


class Row(NamedTuple):
    """All ways with one picture: medians."""

    name: str
    size: int
    costs: dict[str, Cost]

    def cpu_ratio(self, way: str) -> float:
        """How many times more processor time another way takes."""
        return self.costs[way].cpu / self.costs[OURS].cpu

    def peak_ratio(self, way: str) -> float | None:
        """How many times more memory another way takes."""
        theirs, ours = self.costs[way].peak, self.costs[OURS].peak
        return None if theirs is None or not ours else theirs / ours


def main(argv: Sequence[str]) -> int:
    """Run the comparison; return 1 if a goal is missed and that was asked for."""
    options = _options(argv)
    if options.child:
        way, warm_up, path, result = options.child
        print(json.dumps(_measure(way, Path(warm_up), Path(path), Path(result))))
        return 0
    ways = ["plain", OURS, *options.against]
    print(" " * 31 + "".join(f"{way:>20}" for way in ways))
    print(f"{'':26}MB" + "       CPU ms  MB   " * len(ways), flush=True)
    rows = []
    for name in pictures.NAMES:
        if options.only is None or options.only in name:
            rows.append(compare(name, ways, options.scale, options.repeat))
            print(_line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps([record(row) for row in rows], indent=2) + "\n")
    missed = [text for row in rows for text in _missed(row)]
    print(*missed, sep="\n")
    return 1 if options.check and missed else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5, help="measurements of each way (default: %(default)s)")
    parser.add_argument("--only", metavar="TEXT", help="only the pictures with this in their name")
    parser.add_argument("--scale", type=float, default=1, help="make the pictures smaller by this factor")
    parser.add_argument("--against", type=chosen, default=[], metavar="PEERS", help="any of " + ",".join(peers.PEERS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    parser.add_argument("--check", action="store_true", help="fail if a goal is missed")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def chosen(text: str) -> list[str]:
    """Return the peers that a command line names; refuse those that cannot run here."""
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in peers.PEERS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(peers.PEERS)}")
        if lacking := peers.missing(name):
            raise argparse.ArgumentTypeError(f"{name}: {lacking}")
    return names


def compare(name: str, ways: Sequence[str], scale: float, repeat: int, result: Path | None = None) -> Row:
    """Let all ways that can read such a picture take turns; write what they make into the folder `result`."""
    costs: dict[str, list[Cost]] = {way: [] for way in ways if peers.can_read(way, name)}
    with tempfile.TemporaryDirectory() as folder:
        warm_up, path = Path(folder, "warm-up"), Path(folder, "picture")
        warm_up.write_bytes(pictures.make(name, scale * _WARM_UP_SCALE))
        path.write_bytes(pictures.make(name, scale))
        for _ in range(repeat):
            for way, found in costs.items():
                made = Path(folder, way) if result is None else result / f"{way}.jpg"
                done = subprocess.run(_command(way, warm_up, path, made), stdout=subprocess.PIPE, check=True)
                found.append(Cost(*json.loads(done.stdout)))
        return Row(name, path.stat().st_size, {way: _median(found) for way, found in costs.items()})


def _command(way: str, *paths: Path) -> list[str]:
    if way == "sharp":
        return [str(shutil.which("node")), str(peers.SHARP), *map(str, paths)]
    return [sys.executable, __file__, "--child", way, *map(str, paths)]


def _measure(way: str, warm_up: Path, path: Path, result: Path) -> Cost:
    """Measure one way in this process."""
    work = peers.WAYS[way]
    made = [work(warm_up.read_bytes())]
    data = path.read_bytes()
    found = cost(lambda: made.append(work(data)))
    result.write_bytes(made[-1])
    return found


def _median(costs: Sequence[Cost]) -> Cost:
    peaks = [found.peak for found in costs if found.peak is not None]
    return Cost(
        median(found.cpu for found in costs),
        median(found.wall for found in costs),
        round(median(peaks)) if peaks else None,
    )


def _line(row: Row) -> str:
    texts = []
    for way, found in row.costs.items():
        times = "" if way == OURS else f" {row.cpu_ratio(way):.1f}x"
        texts.append(f"{found.cpu * 1e3:.0f}{times} {megabytes(found.peak)}")
    return f"{row.name:24}{row.size / 1e6:5.1f}  " + "".join(f"{text:>20}" for text in texts)


def record(row: Row) -> dict[str, object]:
    """Return the row for programs."""
    ratios = {way: [row.cpu_ratio(way), row.peak_ratio(way)] for way in row.costs if way != OURS}
    return {
        "name": row.name,
        "bytes": row.size,
        "costs": {way: found._asdict() for way, found in row.costs.items()},
        "ratios": ratios,
    }


def _missed(row: Row) -> list[str]:
    """Return what to say about the goals that this row misses."""
    missed = []
    for (name, way), goals in GOALS.items():
        if name == row.name and way in row.costs:
            found = zip(("processor time", "memory"), (row.cpu_ratio(way), row.peak_ratio(way)), goals, strict=True)
            missed += [
                f"missed: {name} at {goal:g} times less {what} than {way}, measured {times:.1f}"
                for what, times, goal in found
                if times is not None and times < goal
            ]
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
