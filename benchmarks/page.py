r"""
Write the documentation's page about performance from a record, so that no figure on it was typed.

    python3 run.py bench --against managed,decode,vips,opencv,sharp \
        --json benchmarks/record.json --plots docs/explanation/performance
    python benchmarks/page.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
RECORD: Final = HERE / "record.json"
PAGE: Final = HERE.parent / "docs/explanation/performance.md"

_OURS: Final = "safeupload"
_NAMES: Final = {
    "plain": "plain",
    "managed": "plain, with colour management",
    "decode": "bare scaled decode",
    "vips": "libvips",
    "opencv": "OpenCV",
    "sharp": "sharp",
}


def text(record: dict[str, Any]) -> str:
    """Return the page."""
    parts = record["parts"]
    return "\n".join(
        [
            "# Performance",
            "",
            "What safeupload costs, beside other ways to the same picture of 300 x 300 pixels. This page is made from",
            "a recorded run of the [benchmarks](../../benchmarks/__main__.py), which tell how each figure comes about.",
            "",
            "Ratios above 1 say how many times more another way costs: processor time first, then the peak of memory.",
            "",
            "## Each kind of picture",
            "",
            *_pictures(parts["pictures"]),
            "",
            *_losses(parts["pictures"]),
            "",
            "The bare decode is Pillow's own, at the scale that safeupload uses: nobody who uses libjpeg-turbo can go",
            "below it. libvips, OpenCV and sharp run in one thread, and check nothing.",
            "",
            "## By size",
            "",
            "![Processor time by megapixels](performance/time.svg)",
            "",
            "![Memory by megapixels](performance/memory.svg)",
            "",
            "## Quality",
            "",
            "The finished JPEG, compared with a full decode that is resampled in floating point:",
            "",
            "| Way | Processor time | PSNR |",
            "| --- | ---: | ---: |",
            *(
                f"| {_NAMES.get(row['way'], row['way'])} | {row['cpu'] * 1e3:.0f} ms | {row['psnr']:.1f} dB |"
                for row in parts["quality"]
            ),
            "",
            "![PSNR by processor time](performance/quality.svg)",
            "",
            "## Several sizes",
            "",
            "Four sizes of a photograph of 12 megapixels, beside the largest of them alone (1024 x 576):",
            "",
            "| | Processor time | |",
            "| --- | ---: | ---: |",
            *(f"| {row['name']} | {row['cpu'] * 1e3:.0f} ms | {row['times']:.2f}x |" for row in parts["renditions"]),
            "",
            "## What the checks cost",
            "",
            "The walk through a file and the writing of a new one, as a part of the whole:",
            "",
            "| Picture | Checks | Whole | |",
            "| --- | ---: | ---: | ---: |",
            *(
                f"| {row['name']} | {row['checks'] * 1e3:.1f} ms | {row['whole'] * 1e3:.0f} ms"
                f" | {row['checks'] / row['whole']:.1%} |"
                for row in parts["safety"]
            ),
            "",
            "## Many at once",
            "",
            "40 photographs of 12 megapixels at the same moment, in one process. Late is how much later than asked the",
            "event loop woke a task, 99 of 100 times:",
            "",
            "| | Seconds | Late | Memory |",
            "| --- | ---: | ---: | ---: |",
            *(
                f"| {row['name']} | {row['seconds']:.1f} | {row['p99'] * 1e3:.1f} ms | {_megabytes(row['peak'])} |"
                for row in parts["concurrency"]
            ),
            "",
            "![Uploads a second by uploads at a time](performance/throughput.svg)",
            "",
            "## Measured with",
            "",
            *(f"- {name}: {value}" for name, value in record["machine"].items()),
            "",
        ]
    )


def _pictures(rows: list[dict[str, Any]]) -> list[str]:
    ways = [way for way in _NAMES if any(way in row["ratios"] for row in rows)]
    lines = [
        "| Picture | MB | safeupload | " + " | ".join(_NAMES[way] for way in ways) + " |",
        "| --- | ---: | ---: |" + " ---: |" * len(ways),
    ]
    for row in rows:
        ours = row["costs"][_OURS]
        cells = [f"{row['bytes'] / 1e6:.1f}", f"{ours['cpu'] * 1e3:.0f} ms, {_megabytes(ours['peak'])}"]
        for way in ways:
            cpu, peak = row["ratios"].get(way, (None, None))
            cells.append("" if cpu is None else f"{cpu:.1f}x" + ("" if peak is None else f", {peak:.1f}x"))
        lines.append(f"| {row['name']} | " + " | ".join(cells) + " |")
    return lines


def _losses(rows: list[dict[str, Any]]) -> list[str]:
    """Say where we are slower than somebody who makes a picture."""
    lost = [
        f"- {row['name']}: {_NAMES[way]} takes {cpu:.2f} times our processor time"
        for row in rows
        for way, (cpu, _) in row["ratios"].items()
        if way != "decode" and cpu < 1
    ]
    return ["Where safeupload is slower:", "", *lost] if lost else ["It is slower than none of them."]


def _megabytes(peak: float | None) -> str:
    return "" if peak is None else f"{peak / 1e6:.1f} MB"


if __name__ == "__main__":
    PAGE.write_text(text(json.loads(RECORD.read_text())))
