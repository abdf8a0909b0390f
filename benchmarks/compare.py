"""
Compare safeupload with the plain way (see plain.py): processor time and peak memory for each kind of picture.

Each measurement runs in a process of its own, after a warm-up with a small picture of the same kind; the two ways take
turns, so that whatever else the machine does hits both alike. Shown are medians. The ratios say how many times more the
plain way costs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

import pictures
import plain
from measure import Cost, cost, megabytes

import safeupload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: How many times less than the plain way we promise to cost: processor time, peak memory.
GOALS: Final = {"JPEG 12 MP": (3.5, 12.0), "JPEG 50 MP": (5.0, 12.0)}

_WARM_UP_SCALE: Final = 0.1
#: A photograph of 50 megapixels has 10 to 20 MB.
_POLICY: Final = replace(safeupload.AVATAR, max_bytes=32 << 20)


def _safe(data: bytes) -> bytes:
    return safeupload.normalize(data, _POLICY).data


_WAYS: Final[dict[str, Callable[[bytes], bytes]]] = {"plain": plain.thumbnail, "safeupload": _safe}


class Row(NamedTuple):
    """Both ways with one picture: medians."""

    name: str
    size: int
    plain: Cost
    safe: Cost

    @property
    def cpu_ratio(self) -> float:
        """How many times more processor time the plain way takes."""
        return self.plain.cpu / self.safe.cpu

    @property
    def peak_ratio(self) -> float | None:
        """How many times more memory the plain way takes."""
        return None if self.plain.peak is None or not self.safe.peak else self.plain.peak / self.safe.peak


def main(argv: Sequence[str]) -> int:
    """Run the comparison; return 1 if a goal is missed and that was asked for."""
    options = _options(argv)
    if options.child:
        way, warm_up, path = options.child
        print(json.dumps(_measure(_WAYS[way], Path(warm_up), Path(path))))
        return 0
    print("                               plain               safeupload          plain / safeupload")
    print("                         MB    CPU ms   peak MB    CPU ms   peak MB       CPU   peak", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in pictures.NAMES:
            if options.only is None or options.only in name:
                rows.append(_compare(name, options.scale, options.repeat, Path(folder)))
                print(_line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps([_record(row) for row in rows], indent=2) + "\n")
    missed = [text for row in rows for text in _missed(row)]
    print(*missed, sep="\n")
    return 1 if options.check and missed else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5, help="measurements of each way (default: %(default)s)")
    parser.add_argument("--only", metavar="TEXT", help="only the pictures with this in their name")
    parser.add_argument("--scale", type=float, default=1, help="make the pictures smaller by this factor")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    parser.add_argument("--check", action="store_true", help="fail if a goal is missed")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _compare(name: str, scale: float, repeat: int, folder: Path) -> Row:
    """Let both ways take turns."""
    warm_up, path = folder / "warm-up", folder / "picture"
    warm_up.write_bytes(pictures.make(name, scale * _WARM_UP_SCALE))
    path.write_bytes(pictures.make(name, scale))
    costs: dict[str, list[Cost]] = {way: [] for way in _WAYS}
    for _ in range(repeat):
        for way, found in costs.items():
            command = [sys.executable, __file__, "--child", way, str(warm_up), str(path)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            found.append(Cost(*json.loads(done.stdout)))
    return Row(name, path.stat().st_size, *(_median(found) for found in costs.values()))


def _measure(way: Callable[[bytes], bytes], warm_up: Path, path: Path) -> Cost:
    """Measure one way in this process."""
    way(warm_up.read_bytes())
    data = path.read_bytes()
    return cost(lambda: way(data))


def _median(costs: Sequence[Cost]) -> Cost:
    peaks = [found.peak for found in costs if found.peak is not None]
    return Cost(
        median(found.cpu for found in costs),
        median(found.wall for found in costs),
        round(median(peaks)) if peaks else None,
    )


def _line(row: Row) -> str:
    times = "-" if row.peak_ratio is None else f"{row.peak_ratio:.1f}x"
    return (
        f"{row.name:23}{row.size / 1e6:5.1f}"
        f"{row.plain.cpu * 1e3:9.0f}{megabytes(row.plain.peak):>10}"
        f"{row.safe.cpu * 1e3:10.0f}{megabytes(row.safe.peak):>10}"
        f"{row.cpu_ratio:9.1f}x{times:>8}"
    )


def _record(row: Row) -> dict[str, object]:
    return {
        "name": row.name,
        "bytes": row.size,
        "plain": row.plain._asdict(),
        "safeupload": row.safe._asdict(),
        "cpu_ratio": row.cpu_ratio,
        "peak_ratio": row.peak_ratio,
    }


def _missed(row: Row) -> list[str]:
    """Return what to say about the goals that this row misses."""
    if row.name not in GOALS:
        return []
    found = zip(("processor time", "memory"), (row.cpu_ratio, row.peak_ratio), GOALS[row.name], strict=True)
    return [
        f"missed: {row.name} at {goal:g} times less {what}, measured {times:.1f}"
        for what, times, goal in found
        if times is not None and times < goal
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
