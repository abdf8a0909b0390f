"""
The same files the plain way and through safeupload, side by side.

The plain way is what tutorials do with Pillow: open, exif_transpose, fit,
convert, save. Each file goes each way in a process of its own, with limits of
time and memory. Without files, a handful of honest and hostile ones are made.
A contact sheet (one HTML file that loads nothing) shows the results.

The exit code tells whether safeupload kept its word: a clean picture or a
refusal for every file.
"""

from __future__ import annotations

import argparse
import tempfile
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from safeupload._cli.files import STDIN, Input, find, reason
from safeupload._cli.measure import megabytes, milliseconds
from safeupload._cli.normalize import written_whole
from safeupload._cli.screen import BAD, DIM, GOOD, ODD, PLAIN, Part, cell, complain, say, shorten
from safeupload._cli.sheet import Card, sheet
from safeupload._cli.trial import Limits, Outcome, attempt, misbehaviour, wrongs
from safeupload._samples import SAMPLES, Sample

NAME: Final = "compare"
HELP: Final = "show what safeupload does differently, on your files or on ours"

SHEET: Final = "safeupload-compare.html"
SAMPLE_FOLDER: Final = "safeupload-samples"
_KEPT_WORD, _BROKE_WORD, _UNUSABLE = 0, 1, 3
_MIB: Final = 1 << 20
_NAME_COLUMNS: Final = 18
_VERDICT_COLUMNS: Final = 22
_NUMBER_COLUMNS: Final = 8


class Trial(NamedTuple):
    """One file to try, and what is known about it."""

    file: Input
    sample: Sample | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command line may say."""
    parser.add_argument("files", nargs="*", metavar="FILE", help="file or folder (default: files made for this)")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where the sheet and our files go (default: a new one)"
    )
    parser.add_argument(
        "--open", action=argparse.BooleanOptionalAction, default=False, help="open the sheet in a browser"
    )
    parser.add_argument("--seconds", type=_positive, default=20.0, metavar="N", help="time for each file (default: 20)")
    parser.add_argument(
        "--memory", type=_positive, default=3072.0, metavar="MIB", help="address space for each file (default: 3072)"
    )


def _positive(word: str) -> float:
    with suppress(ValueError):
        if 0 < float(word) < 1e6:  # noqa: PLR2004 - beyond that it is a typing error
            return float(word)
    raise argparse.ArgumentTypeError(f"expected a number above 0, got {word!r}")


def run(arguments: argparse.Namespace) -> int:
    """Compare on all files and return the exit code."""
    if STDIN in arguments.files:
        arguments.usage_error('"-" cannot be compared: each file is read twice')
    if arguments.out is not None and arguments.out.exists() and not arguments.out.is_dir():
        arguments.usage_error(f"{arguments.out} is not a folder")
    limits = Limits(seconds=arguments.seconds, memory=round(arguments.memory * _MIB))
    folder = arguments.out or Path(tempfile.mkdtemp(prefix="safeupload-compare-"))
    folder.mkdir(parents=True, exist_ok=True)
    trials = _named(arguments.files) if arguments.files else _made(folder / SAMPLE_FOLDER)
    cards: list[Card] = []
    worst = _KEPT_WORD
    _say_header()
    for trial in trials:
        error = _unreadable(trial.file)
        if error is not None:
            complain(f"{trial.file.name}: cannot be read: {reason(error)}")
            worst = _UNUSABLE
            continue
        say(
            (cell(shorten(trial.file.below.name, _NAME_COLUMNS), _NAME_COLUMNS), PLAIN), end=""
        )  # the rest may take a while
        card = compare(trial, limits)
        if card.broken:
            worst = max(worst, _BROKE_WORD)
        cards.append(card)
        _say_row(card)
    target = folder / SHEET
    with written_whole(target) as file:
        file.write_text(sheet(cards, limits), encoding="utf-8")
    _say_summary(cards)
    say(("contact sheet: ", DIM), (str(target.absolute()), PLAIN))
    if arguments.open:
        webbrowser.open(target.absolute().as_uri())
    return worst


def _named(names: Sequence[str]) -> Iterator[Trial]:
    """Yield the files that the command line names."""
    for file in find(names):
        yield Trial(file, None)


def _made(folder: Path) -> Iterator[Trial]:
    """Make our own files, each when its turn comes."""
    folder.mkdir(exist_ok=True)
    for sample in SAMPLES:
        path = folder / sample.name
        path.write_bytes(sample.make())
        yield Trial(Input(sample.name, path, Path(sample.name)), sample)


def _unreadable(file: Input) -> OSError | None:
    """Return why a file cannot be read."""
    try:
        if file.error is not None:
            raise file.error
        with open(file.source(), "rb"):  # noqa: PTH123 - a Path all the same
            return None
    except OSError as error:
        return error


def compare(trial: Trial, limits: Limits) -> Card:
    """Try one file both ways."""
    path = trial.file.source()
    canaries: Mapping[bytes, str] = trial.sample.canaries if trial.sample else {}
    plain, safe = (attempt(pipeline, path, limits) for pipeline in ("plain", "safeupload"))
    return Card(
        name=trial.file.name,
        about=trial.sample.about if trial.sample else "",
        plain=plain,
        safe=safe,
        wrongs=wrongs(plain, safe, canaries, trial.sample.harm if trial.sample else "", path.stat().st_size),
        broken=misbehaviour(safe, canaries),
    )


def _say_header() -> None:
    way = cell("ms", _NUMBER_COLUMNS, right=True) + cell("peak MB", _NUMBER_COLUMNS, right=True)
    titles = [cell(title, _VERDICT_COLUMNS) + way for title in ("plain Pillow", "safeupload")]
    say((cell("file", _NAME_COLUMNS), DIM), *((f"  {title}", DIM) for title in titles), ("  what went wrong", DIM))


def _say_row(card: Card) -> None:
    say(
        *_way(card.plain, BAD if card.wrongs else GOOD),
        *_way(card.safe, BAD if card.broken else GOOD),
        *(("; ".join(["  " + card.wrongs[0], *card.wrongs[1:]]), ODD) for _ in card.wrongs[:1]),
        *((f"  safeupload: {what}", BAD) for what in card.broken),
    )


def _way(outcome: Outcome, style: str) -> Iterator[Part]:
    yield "  " + cell(shorten(outcome.verdict, _VERDICT_COLUMNS), _VERDICT_COLUMNS), style
    yield cell(milliseconds(outcome.seconds), _NUMBER_COLUMNS, right=True), PLAIN
    yield cell(megabytes(outcome.peak), _NUMBER_COLUMNS, right=True), PLAIN


def _say_summary(cards: Sequence[Card]) -> None:
    wrong = sum(bool(card.wrongs) for card in cards)
    broken = sum(bool(card.broken) for card in cards)
    say(
        (f"{len(cards)} files; plain Pillow: something went wrong with {wrong}; ", PLAIN),
        ("safeupload: ", PLAIN),
        (f"with {broken}" if broken else "a clean picture or a refusal for each", BAD if broken else GOOD),
    )
