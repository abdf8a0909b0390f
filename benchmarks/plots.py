"""Draws a record of the benchmarks, as SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

#: The same record gives the same files, which can be read without a font of ours.
_SETTINGS: Final = {"svg.hashsalt": "safeupload", "svg.fonttype": "none", "font.size": 9}
_SIZE: Final = (6, 3.4)  # inches


def draw(record: dict[str, Any], folder: Path) -> None:
    """Write all plots into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = record["parts"]
    with mpl.rc_context(_SETTINGS):
        _megapixels(parts["megapixels"], "cpu", 1e3, "processor time, ms", folder / "time.svg")
        _megapixels(parts["megapixels"], "peak", 1e-6, "memory, MB", folder / "memory.svg")
        _quality(parts["quality"], folder / "quality.svg")
        _throughput(parts["throughput"], folder / "throughput.svg")


def _megapixels(rows: list[dict[str, Any]], what: str, unit: float, label: str, path: Path) -> None:
    figure, axes = plt.subplots(figsize=_SIZE)
    for way in rows[0]["costs"]:
        values = [row["costs"][way][what] for row in rows]
        if None not in values:
            axes.plot([row["megapixels"] for row in rows], [value * unit for value in values], marker="o", label=way)
    axes.set(xlabel="megapixels of a JPEG", ylabel=label, ylim=(0, None))
    axes.legend()
    _save(figure, path)


def _quality(rows: list[dict[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(figsize=_SIZE)
    for row in rows:
        axes.plot([row["cpu"] * 1e3], [row["psnr"]], marker="o", linestyle="", label=row["way"])
    axes.set(xlabel="processor time, ms", ylabel="PSNR of the finished JPEG, dB", xlim=(0, None))
    axes.legend()
    _save(figure, path)


def _throughput(rows: list[dict[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(figsize=_SIZE)
    for way in ("safeupload", "plain"):
        axes.plot([row["clients"] for row in rows], [row[way] for row in rows], marker="o", label=way)
    axes.set(xlabel="uploads at a time", ylabel="uploads a second", ylim=(0, None))
    axes.legend()
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:  # noqa: ANN401 - matplotlib has no types
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
