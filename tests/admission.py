"""Throws the costliest pictures that a policy accepts at it, many at a time, and prints what memory that took."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from typing import Any

import anyio
from PIL import Image

from safeupload import AVATAR, Policy, normalize_async
from safeupload._cli.measure import peak_above, reset_peak
from safeupload._formats import rebuild
from safeupload._plan import plans, render_bytes

BUDGET = 48 << 20
AT_A_TIME = 2
UPLOADS = 8  # of each kind

POLICY = replace(AVATAR, formats={*AVATAR.formats, "AVIF"}, max_decode_bytes=BUDGET)

#: A kind of picture, and how many pixels a side make it cost as much as may be.
KINDS: dict[str, tuple[str, str, int, dict[str, Any]]] = {
    "progressive JPEG": ("JPEG", "RGB", 2720, {"progressive": True, "subsampling": 0}),
    "PNG": ("PNG", "RGBA", 3350, {"compress_level": 1}),
    "GIF": ("GIF", "P", 6650, {}),
    "lossy WebP": ("WEBP", "RGB", 1640, {"method": 0}),
    "lossless WebP": ("WEBP", "RGBA", 1640, {"lossless": True, "method": 0}),
    "AVIF": ("AVIF", "RGB", 1810, {"speed": 10}),
}


def costly(kind: str) -> bytes:
    """Return such a picture."""
    format_name, mode, side, options = KINDS[kind]
    out = io.BytesIO()
    Image.new(mode, (side, side), 7).save(out, format_name, **options)
    return out.getvalue()


def needed(data: bytes, policy: Policy = POLICY) -> int:
    """Return what the policy thinks that it takes."""
    found = rebuild(data, policy)
    steps = plans(found, policy)
    return found.decode_bytes(steps[0].scale) + render_bytes(steps, found, policy)


async def uploads(data: bytes, count: int) -> None:
    """Start all at once."""
    limiter = anyio.CapacityLimiter(AT_A_TIME)
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(lambda: normalize_async(data, POLICY, limiter=limiter))


def main() -> None:
    """Measure each kind."""
    rows = {}
    for kind in KINDS:
        data = costly(kind)
        small = io.BytesIO()
        Image.new("RGB", (64, 64)).save(small, KINDS[kind][0])
        anyio.run(uploads, small.getvalue(), AT_A_TIME)
        before = reset_peak()
        anyio.run(uploads, data, UPLOADS)
        rows[kind] = {"needed": needed(data), "peak": peak_above(before)}
    sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    main()
