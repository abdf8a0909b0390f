"""
Draw the table of states as a picture, for the documentation.

    python docs/_ext/states.py

The arrows and what is written about them come from the table; only the places of the states are chosen here. A state
or an arrow that the drawing has no place for is a `KeyError`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Final

from safeupload._machine import TABLE, Does, State

PICTURE: Final = Path(__file__).resolve().parent.parent / "explanation/states.svg"

_WIDTH: Final = 420  # narrow: on a phone, its letters are as large as those around it
_LINE: Final = 16
_LETTERS: Final = 54  # a line of the legend
_PLACES: Final[dict[State, tuple[int, int]]] = {
    "staged": (210, 64),
    "in_doubt": (210, 162),
    "committed": (96, 262),
    "aborted": (324, 262),
}
_ARROWS: Final[dict[tuple[State, State], tuple[str, tuple[int, int]]]] = {  # the path, and where its number is
    ("staged", "in_doubt"): ("M210 82V138", (210, 110)),
    ("staged", "aborted"): ("M262 64C350 70 352 160 340 238", (338, 130)),
    ("in_doubt", "committed"): ("M190 180L116 239", (152, 210)),
    ("in_doubt", "aborted"): ("M230 180L304 239", (268, 210)),
    ("in_doubt", "in_doubt"): ("M158 156C84 128 84 196 152 170", (103, 162)),
}
_HEAD: Final = (
    '  <marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto" '
    'markerUnits="userSpaceOnUse"><path class="head" d="M0 0L8 4L0 8z"/></marker>'
)
_STYLE: Final = """
    .paper { fill: #fff; stroke: #d0d7de }
    .box { fill: #eef4ff; stroke: #2f5fb3; stroke-width: 1.5 }
    .end { fill: none; stroke: #2f5fb3 }
    .arrow { fill: none; stroke: #57606a; stroke-width: 1.5; marker-end: url(#head) }
    .head { fill: #57606a }
    .ball { fill: #2f5fb3 }
    text { fill: #1f2328; font: 12px system-ui, sans-serif }
    .name { font: bold 14px ui-monospace, monospace; text-anchor: middle }
    .number { fill: #fff; font-weight: bold; text-anchor: middle }
    .from { font: bold 12px ui-monospace, monospace }
    @media (prefers-color-scheme: dark) {
      .paper { fill: #161b22; stroke: #30363d }
      .box { fill: #1c2a41; stroke: #79a8ff }
      .end { stroke: #79a8ff }
      .arrow { stroke: #9da7b3 }
      .head { fill: #9da7b3 }
      .ball { fill: #79a8ff }
      text { fill: #e6edf3 }
      .number { fill: #0d1117 }
    }
"""


def legend() -> dict[tuple[State, State], dict[str, list[str]]]:
    """Return, for each arrow, what the transaction does, and after what; what changes no file is left out."""
    found: dict[tuple[State, State], dict[str, list[str]]] = {}
    for (state, happened), (target, does) in TABLE.items():
        if does is not Does.NOTHING:
            found.setdefault((state, target), {}).setdefault(does, []).append(happened)
    return found


def svg() -> str:
    """Return the picture; it has a paper of its own, and looks at whether the reader prefers a dark one."""
    arrows = legend()
    written = list(_written(arrows))
    height = max(y for y, _ in written) + _LINE
    box = f"0 0 {_WIDTH} {height}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="{box}" role="img">',
        "  <title>The states of a transaction</title>",
        f"  <style>{_STYLE}  </style>",
        _HEAD,
        f'  <rect class="paper" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>',
        '  <circle class="head" cx="210" cy="18" r="6"/>',
        '  <path class="arrow" d="M210 24V44"/>',
    ]
    parts += [f'  <path class="arrow" d="{_ARROWS[pair][0]}"/>' for pair in arrows]
    for state in dict.fromkeys(state for pair in arrows for state in pair):
        x, y = _PLACES[state]
        parts.append(f'  <rect class="box" x="{x - 52}" y="{y - 18}" width="104" height="36" rx="8"/>')
        if not any(source == state for source, _ in arrows):
            parts.append(f'  <rect class="end" x="{x - 56}" y="{y - 22}" width="112" height="44" rx="11"/>')
        parts.append(f'  <text class="name" x="{x}" y="{y + 5}">{state}</text>')
    for number, pair in enumerate(arrows, 1):
        x, y = _ARROWS[pair][1]
        parts.append(f'  <circle class="ball" cx="{x}" cy="{y}" r="9"/>')
        parts.append(f'  <text class="number" x="{x}" y="{y + 4}">{number}</text>')
    parts += [line for _, line in written]
    return "\n".join([*parts, "</svg>", ""])


def _written(arrows: dict[tuple[State, State], dict[str, list[str]]]) -> Iterator[tuple[int, str]]:
    """Return the lines under the drawing, each with its height."""
    y = 318
    for number, ((state, target), reasons) in enumerate(arrows.items(), 1):
        yield y, f'  <text class="from" x="16" y="{y}">{number}  {state} → {target}</text>'
        y += _LINE
        for does, happened in reasons.items():
            for line in textwrap.wrap(f"{', or '.join(happened)}: {does}", _LETTERS, subsequent_indent="  "):
                indent = 40 if line.startswith("  ") else 32
                yield y, f'  <text x="{indent}" y="{y}">{escape(line.strip())}</text>'
                y += _LINE
        y += 6


if __name__ == "__main__":
    PICTURE.write_text(svg(), encoding="utf-8")
