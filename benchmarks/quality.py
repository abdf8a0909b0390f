"""
How close each way comes to a careful result, and what it costs.

Compared is what the uploader sees, the finished JPEG, with a full decode that is resampled by LANCZOS in floating
point. Most of what is missing to a perfect match is the JPEG's own loss, the same for all.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pictures
from compare import OURS, chosen, compare
from measure import arguments
from peers import SIDE
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

_PICTURE: Final = "JPEG 12 MP"


def main(argv: Sequence[str]) -> int:
    """Measure each way."""
    parser = arguments(__doc__ or "", 3)
    parser.add_argument("--against", type=chosen, default=[], metavar="PEERS")
    options = parser.parse_args(argv)
    expected = reference(pictures.make(_PICTURE, options.scale))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        ways = ["plain", OURS, *(way for way in options.against if way != "decode")]
        row = compare(_PICTURE, ways, options.scale, options.repeat, Path(folder))
        for way, cost in row.costs.items():
            decibels = psnr(Path(folder, f"{way}.jpg").read_bytes(), expected)
            rows.append({"way": way, "cpu": cost.cpu, "psnr": decibels})
            print(f"{way:12}{cost.cpu * 1e3:6.0f} ms{decibels:8.1f} dB", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


def reference(data: bytes) -> Any:  # noqa: ANN401 - numpy's
    """Return the rows of the careful result."""
    with Image.open(io.BytesIO(data)) as image:
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        bands = [band.convert("F") for band in image.convert("RGB").split()]
    small = [np.asarray(band.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=box)) for band in bands]
    return np.stack(small, axis=2)


def psnr(data: bytes, expected: Any) -> float:  # noqa: ANN401
    """Return the peak signal-to-noise ratio of a finished picture, in decibels."""
    with Image.open(io.BytesIO(data)) as image:
        rows = np.asarray(image.convert("RGB")).astype(np.float64)
    return float(10 * np.log10(255**2 / np.mean((rows - expected.clip(0, 255)) ** 2)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
