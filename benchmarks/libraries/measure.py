"""Try all libraries and write the record: ``python -m libraries.measure`` in the environment that `__main__` makes."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from libraries import files, host
from libraries.about import LIBRARIES
from libraries.drills import DRILLS
from libraries.files import File

RECORD: Final = Path(__file__).with_name("record.json")


def main(argv: Sequence[str]) -> int:
    """Measure and write."""
    options = _options(argv)
    chosen = [each for each in LIBRARIES if not options.only or options.only in {each.way, each.store}]
    with tempfile.TemporaryDirectory(prefix="libraries-") as name, ThreadPoolExecutor(options.jobs) as pool:
        folder = Path(name)
        made = folder / "files"
        made.mkdir()
        tried = files.write(made, options.damaged)
        ways = pool.map(lambda way: _fed(way, folder, tried), [each.way for each in chosen if each.way])
        drilled = pool.map(lambda store: _drilled(store, folder), [each.store for each in chosen if each.store])
        fed = list(ways)
        record = {
            "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
            "machine": _machine(),
            "limits": {"seconds": host.SECONDS, "memory": host.MEMORY},
            "libraries": [_library(each) for each in chosen],
            "samples": [{"name": file.name, "kind": file.kind, **_sample(file)} for file in tried if file.sample],
            "drills": [{"name": drill.name, "about": drill.about} for drill in DRILLS],
            "files": [row for rows, _ in fed for row in rows],
            "damaged": [row for _, rows in fed for row in rows],
            "stores": [row for rows in drilled for row in rows],
        }
    if options.only and options.json.exists():
        record = merged(json.loads(options.json.read_text()), record)
    options.json.write_text(json.dumps(record, indent=1) + "\n")
    return 0


def merged(record: dict[str, Any], anew: dict[str, Any]) -> dict[str, Any]:
    """Return a record in which what was measured anew takes the place of what was there."""
    modules = {each[kind] for each in anew["libraries"] for kind in ("way", "store")}
    order = [name for each in LIBRARIES for name in (each.way, each.store)]

    def place(row: dict[str, Any]) -> int:
        return order.index(row["library"])

    parts = {
        part: sorted([row for row in record[part] if row["library"] not in modules] + anew[part], key=place)
        for part in ("files", "damaged", "stores")
    }
    versions = {(each["way"], each["store"]): each["version"] for each in record["libraries"] + anew["libraries"]}
    libraries = [
        {**each._asdict(), "version": versions[each.way, each.store]}
        for each in LIBRARIES
        if (each.way, each.store) in versions
    ]
    return {**anew, **parts, "libraries": libraries}


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="libraries", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--json", type=Path, default=RECORD, metavar="FILE", help="where the record goes")
    parser.add_argument("--only", metavar="NAME", help="one library, by the name of its module, anew in the record")
    parser.add_argument("--damaged", type=int, default=files.DAMAGED, help="damaged files of each format")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="libraries at a time")
    return parser.parse_args(argv)


def _library(each: Any) -> dict[str, str]:  # noqa: ANN401
    found = version(each.distribution) if each.distribution and each.distribution != "safeupload" else ""
    return {**each._asdict(), "version": found}


def _sample(file: File) -> dict[str, Any]:
    """Return what is known about a sample."""
    if file.sample is None:
        raise ValueError(file.name)
    data = file.make()
    return {"about": file.sample.about, "refuse": file.sample.code is not None, "bytes": len(data)}


def _lines(module: str, name: str, folder: Path) -> list[dict[str, Any]]:
    """Run a module and return what it prints."""
    command = [sys.executable, "-W", "ignore", "-m", f"libraries.{module}", name, str(folder)]
    with (folder / f"{module}.log").open("wb") as log:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {(folder / f'{module}.log').read_text()[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _fed(name: str, folder: Path, tried: Sequence[File]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a row for each sample, and one for each format of the damaged files."""
    own = folder / f"way-{name}"
    own.mkdir()
    (own / "files").symlink_to(folder / "files")
    rows = {row["file"]: row for row in _lines("host", name, own)}
    if rows.keys() != {file.name for file in tried}:
        raise RuntimeError(f"{name}: not all files were tried")
    judged = [rows[file.name] | _judged(file, own / "results" / file.name) for file in tried if file.sample]
    damaged = [file.name for file in tried if not file.sample]
    formats = sorted({file.rpartition(".")[2] for file in damaged})
    summed = [_summed(name, form, [rows[file] for file in damaged if file.endswith(form)]) for form in formats]
    print(name, file=sys.stderr)
    return judged, summed


def _judged(file: File, result: Path) -> dict[str, Any]:
    """Return what there is to say about a picture: the planted bytes that it holds, and what it looks like."""
    if not result.exists() or file.sample is None:
        return {}
    data = result.read_bytes()
    left = [what for canary, what in file.sample.canaries.items() if canary in data]
    decibels = files.similarity(file, data) if file.kind == "benign" else None
    return {"left": left, "psnr": None if decibels is None else round(decibels, 1)}


def _summed(name: str, form: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    outcomes = Counter(row["outcome"] for row in rows)
    errors = Counter(row["error"] for row in rows if row["outcome"] in {"other", "died"})
    return {"library": name, "format": form, "files": len(rows), "outcomes": dict(outcomes), "errors": dict(errors)}


def _drilled(name: str, folder: Path) -> list[dict[str, Any]]:
    own = folder / f"store-{name}"
    own.mkdir()
    rows = _lines("drills", name, own)
    print(name, file=sys.stderr)
    return rows


def _machine() -> dict[str, str]:
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    names = ("pillow", "django", "sqlalchemy")
    return {"system": system, "python": platform.python_version(), **{name: version(name) for name in names}}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
