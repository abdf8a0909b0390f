"""
What it costs to replace a file safely: beside a plain write and unlink, and beside normalizing a photograph.

The two ways take turns in one folder, with a database that is a dictionary; times are medians. Then `recover` settles a
number of marks, and `sweep` goes through a number of files.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Final, NamedTuple, get_args

import pictures
from measure import MB, megabytes, peak_above, reset_peak

import safeupload
from safeupload.storage import Durability, LocalStorage

#: What we promise of the level "safe": so many times a plain write and unlink, and this share of normalizing.
GOAL_RATIO: Final = 5.0
GOAL_SHARE: Final = 0.05
#: And of a sweep, however many files there are.
GOAL_PEAK: Final = 60 * MB

_PHOTOGRAPH: Final = (3000, 2000)
_WARM_UP: Final = 5


class Row(NamedTuple):
    """One measurement."""

    name: str
    seconds: float
    compared: float | None = None  # times a plain write and unlink, or microseconds for each mark or file
    peak: int | None = None


class Table:
    """The application's rows: one for each key that is in use."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def used(self, keys: list[str]) -> list[str]:
        """Return those of the keys that a row names."""
        return [key for key in keys if key in self.keys]

    def replace(self, old: str | None, new: str | None) -> None:
        """Commit."""
        self.keys = {key for key in (*(self.keys - {old}), new) if key}


def main(argv: Sequence[str]) -> int:
    """Measure; return 1 if a goal is missed and that was asked for."""
    options = _options(argv)
    rows: list[Row] = []
    missed: list[str] = []
    photograph = io.BytesIO()
    width, height = (round(side * options.scale) for side in _PHOTOGRAPH)
    pictures.photograph(width, height).save(photograph, "JPEG", quality=90)
    image = safeupload.normalize(photograph.getvalue())
    normalizing = _seconds(lambda: safeupload.normalize(photograph.getvalue()), max(3, options.repeat // 50))
    rows.append(Row("normalize 6 MP", median(normalizing)))
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="replacement-") as name:
        folder = Path(name)
        for level in get_args(Durability):
            plain, synced, ours = _take_turns(folder, level, image, options.repeat)
            ratio = median(ours) / median(plain)
            rows += [
                Row(f'write, unlink beside "{level}"', median(plain), 1.0),
                Row("  and fsync of file and folder", median(synced), median(synced) / median(plain)),
                Row(f'replace "{level}"', median(ours), ratio),
                Row("  the slowest of 20", worst := quantiles(ours, n=20)[-1], worst / median(plain)),
            ]
            if level == "safe" and ratio > GOAL_RATIO:
                missed.append(f"missed: safe at most {GOAL_RATIO:.0f} times a write and unlink, measured {ratio:.1f}")
            share = median(ours) / median(normalizing)
            if level == "safe" and share > GOAL_SHARE:
                missed.append(f"missed: safe below {GOAL_SHARE:.0%} of normalizing, measured {share:.1%}")
        rows += [_recover(folder / f"marks-{count}", count) for count in options.marks]
        rows += [_sweep(folder / f"files-{count}", count) for count in options.files]
    print("                                           ms  compared   peak MB")
    for row in rows:
        compared = "" if row.compared is None else f"{row.compared:.2f}"
        peak = "" if row.peak is None else megabytes(row.peak)
        print(f"{row.name:32}{row.seconds * 1e3:13.3f}{compared:>10}{peak:>10}")
        if row.peak is not None and row.peak > GOAL_PEAK:
            missed.append(f"missed: {row.name} below {GOAL_PEAK / MB:.0f} MB, measured {row.peak / MB:.1f}")
    if options.json:
        options.json.write_text(json.dumps([row._asdict() for row in rows], indent=2) + "\n")
    print(*missed, sep="\n")
    return 1 if options.check and missed else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=300, help="replacements of each kind (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1, help="size of the photograph (default: %(default)s)")
    parser.add_argument("--marks", type=int, nargs="*", default=[1_000, 10_000], help="marks to recover")
    parser.add_argument("--files", type=int, nargs="*", default=[10_000, 100_000], help="files to sweep")
    parser.add_argument("--folder", type=Path, help="where to work (default: the folder for temporary files)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    parser.add_argument("--check", action="store_true", help="fail if a goal is missed")
    return parser.parse_args(argv)


def _take_turns(
    folder: Path, level: Durability, image: safeupload.NormalizedImage, repeat: int
) -> tuple[list[float], ...]:
    """Replace a file the plain ways and ours, one after the other, again and again; return the seconds of each."""
    table = Table()
    uploads = safeupload.Uploads(LocalStorage(folder / level, durability=level), references=table.used)
    key: str | None = None

    def ours() -> None:
        nonlocal key
        old = key
        with uploads.replace(image) as new:
            key = new.replacing(old)
            new.commit(lambda: table.replace(old, key))

    plain = _Plain(folder / f"plain-{level}", image.data)
    synced = _Plain(folder / f"synced-{level}", image.data, sync=True)
    ways: tuple[Callable[[], object], ...] = (plain, synced, ours)
    times: tuple[list[float], ...] = ([], [], [])
    for count in range(_WARM_UP + repeat):
        for found, work in zip(times, ways, strict=True):
            seconds = _seconds(work, 1)
            if count >= _WARM_UP:
                found.extend(seconds)
    return times


class _Plain:
    """Write a file and remove the former one."""

    def __init__(self, folder: Path, data: bytes, *, sync: bool = False) -> None:
        folder.mkdir()
        self._folder = folder
        self._data = data
        self._sync = sync
        self._old: Path | None = None

    def __call__(self) -> None:
        path = self._folder / f"{os.urandom(16).hex()}.jpg"
        with path.open("wb") as file:
            file.write(self._data)
            if self._sync:
                file.flush()
                os.fsync(file.fileno())
        if self._sync:
            folder = os.open(self._folder, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        if self._old is not None:
            self._old.unlink()
        self._old = path


def _seconds(work: Callable[[], object], repeat: int) -> list[float]:
    found = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return found


def _recover(folder: Path, count: int) -> Row:
    """Settle marks that crashes have left: for half of them a row names the file."""
    table = Table()
    storage = LocalStorage(folder, durability="none")
    uploads = safeupload.Uploads(storage, references=table.used)
    for number in range(count):
        mark = storage.new_mark()
        mark.save(b"picture")
        mark.close()
        if number % 2:
            table.keys.add(mark.name.key)
    before = reset_peak()
    (seconds,) = _seconds(lambda: uploads.recover(min_age=0), 1)
    return Row(f"recover {count:,} marks", seconds, seconds / count * 1e6, peak_above(before))


def _sweep(folder: Path, count: int) -> Row:
    """Go through files of which a row names all but a hundred; only these are held in memory."""
    storage = LocalStorage(folder, durability="none")
    for number in range(count):
        name = f"{number:032x}.jpg"
        os.close(os.open(folder / name, os.O_CREAT | os.O_WRONLY, 0o644))
    unnamed = {f"{number:032x}.jpg" for number in range(min(100, count // 3))}
    uploads = safeupload.Uploads(storage, references=lambda keys: [key for key in keys if key not in unnamed])
    before = reset_peak()
    reports = []
    (seconds,) = _seconds(lambda: reports.append(uploads.sweep(min_age=0)), 1)
    if (reports[0].examined, len(reports[0].removed)) != (count, len(unnamed)):
        raise RuntimeError(f"the sweep did not do its work: {reports[0]}")
    return Row(f"sweep {count:,} files", seconds, seconds / count * 1e6, peak_above(before))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
