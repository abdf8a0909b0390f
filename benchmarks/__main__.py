"""
Measure everything, here: python3 run.py bench.

usage: python3 run.py bench [--quick] [--against PEERS] [--json FILE] [--plots FOLDER] [--fail-under RATIO]

Each part has a script of its own, which says how it measures; this runs them one after the other, prints their tables,
and keeps what they found, with the machine and the versions, in one record.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import compare
import peers

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE: Final = Path(__file__).resolve().parent
#: What `--fail-under` looks at: how many times more processor time than ours the plain way takes for these.
GATE: Final = ("JPEG 12 MP", "JPEG 50 MP")


def main(argv: Sequence[str]) -> int:
    """Run all parts; return 1 if a part fails, or a ratio is below what was asked for."""
    options = _options(argv)
    against = ",".join(options.against)
    few = ["--repeat", "1"] if options.quick else []
    small = ["--scale", "0.25"] if options.quick else []
    uploads = ["--uploads", "8"] if options.quick else []
    parts = {
        "pictures": ["compare.py", *few, *small, "--against", against],
        "megapixels": ["megapixels.py", *few, *small, "--against", against],
        "quality": ["quality.py", *few, *small, "--against", against],
        "renditions": ["renditions.py", *few, *small],
        "safety": ["safety.py", *few, *small],
        "concurrency": ["concurrency.py", *uploads, *small, "--busy", "--plain"],
        "throughput": ["throughput.py", *few, *small],
        "hostile": ["hostile.py", *few],
        "replacing": ["replacing.py", *(["--repeat", "20", "--files", "1000"] if options.quick else [])],
    }
    record: dict[str, Any] = {"machine": machine(), "quick": options.quick, "parts": {}}
    failed = False
    for name, (script, *arguments) in parts.items():
        print(f"\n=== {name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder, "rows")
            command = [sys.executable, str(HERE / script), "--json", str(result), *arguments]
            done = subprocess.run(command, check=False)
            failed |= done.returncode != 0
            record["parts"][name] = json.loads(result.read_text()) if result.exists() else []
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    if options.plots:
        import plots  # noqa: PLC0415 - matplotlib

        plots.draw(record, options.plots)
    low = [
        f"{row['name']}: {row['ratios']['plain'][0]:.1f} times less processor time than the plain way"
        for row in record["parts"]["pictures"]
        if options.fail_under is not None and row["name"] in GATE and row["ratios"]["plain"][0] < options.fail_under
    ]
    print(*low, sep="\n")
    return 1 if failed or low else 0


def machine() -> dict[str, str]:
    """Return what figures depend on: the machine, and the versions of what does the work."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), model)
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    found = {"processor": model, "system": system, "python": platform.python_version()}
    for name in ("safeupload", "pillow", "anyio", "pyvips", "opencv-python-headless"):
        with contextlib.suppress(ImportError):
            found[name] = version(name)
    sharp = peers.SHARP.parent / "node_modules/sharp/package.json"
    if sharp.exists():
        found["sharp"] = json.loads(sharp.read_text())["version"]
    return found


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py bench", description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller pictures, once each: a look, not a result")
    parser.add_argument(
        "--against",
        type=compare.chosen,
        default=["managed", "decode"],
        metavar="PEERS",
        help=f"others to measure: any of {','.join(peers.PEERS)} (default: managed,decode)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results there")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw the results there, as SVG")
    parser.add_argument(
        "--fail-under",
        type=float,
        metavar="RATIO",
        help=f"fail if the plain way takes less than so many times our processor time ({', '.join(GATE)})",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
