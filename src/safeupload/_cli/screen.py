"""
Lines for people: aligned, in colour where somebody is watching, harmless whatever a file is called.

Colours and bars need the extra ``cli`` (rich); without it the same lines come plain.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Part: TypeAlias = tuple[str, str]  # a text and its style
#: From how many files on a bar says more than lines do.
MANY: Final = 10
#: From how many on a count is worth watching: the database has been asked more than once.
LONG: Final = 1000

GOOD, BAD, ODD, DIM, PLAIN = "green", "bold red", "yellow", "dim", ""


def printable(text: str) -> str:
    """Return the text with everything escaped that could steer a terminal or hide: control, format, lone surrogates."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def width(text: str) -> int:
    """Return how many columns the text takes."""
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def cell(text: str, columns: int, *, right: bool = False) -> str:
    """Return the text padded to that many columns, escaped as `say` will."""
    text = printable(text)
    padding = " " * (columns - width(text))
    return padding + text if right else text + padding


def shorten(text: str, columns: int) -> str:
    """Return the text, escaped, with its middle left out if it is longer than that many columns."""
    text = printable(text)
    if width(text) <= columns:
        return text
    head, tail = text, text
    while width(head) > (columns - 1) // 2:
        head = head[:-1]
    while width(tail) > columns - 1 - width(head):
        tail = tail[1:]
    return f"{head}…{tail}"


def say(*parts: Part, file: IO[str] | None = None, end: str = "\n") -> None:
    """Print one line, on standard output unless told otherwise."""
    stream = sys.stdout if file is None else file
    if stream is None:  # closed by whoever started us
        return
    console = _console(stream)
    if console is None:
        stream.write("".join(printable(text) for text, _ in parts) + end)
        stream.flush()
    else:
        _say_rich(console, parts, end)


def complain(message: str) -> None:
    """Print one line on standard error."""
    say(("safeupload: ", BAD), (message, PLAIN), file=sys.stderr)


@contextmanager
def progress(total: int) -> Generator[tuple[Callable[[], None], Callable[..., None], bool]]:
    """
    Show how far `total` files are, if there are many and standard error is a terminal.

    Gives a function to call after each file, one that prints a line on standard error without disturbing the bar, and
    whether there is a bar (which makes a line for each file needless).
    """
    console = _console(sys.stderr) if total >= MANY and sys.stderr is not None else None
    if console is None:
        yield lambda: None, lambda *parts: say(*parts, file=sys.stderr), False
        return
    from rich.progress import Progress  # noqa: PLC0415 - only where rich is installed

    with Progress(console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("normalizing", total=total)
        yield lambda: bar.advance(task), lambda *parts: _say_rich(console, parts, "\n"), True


class Count:
    """
    A long count whose end nobody knows, on a terminal; without one it does nothing.

    Not rich's `status`, which sends standard output to the terminal as well.
    """

    def __init__(self, console: Console | None, what: str) -> None:
        self._bar: Progress | None = None
        if console is None:
            return
        from rich.progress import Progress, SpinnerColumn, TextColumn  # noqa: PLC0415 - only where rich is installed

        columns = SpinnerColumn(), TextColumn("{task.completed:,} {task.description}")
        self._bar = Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
        self._task = self._bar.add_task(what, total=None)

    def __call__(self, count: int) -> None:
        """Show how far it has come, from some number on."""
        if self._bar is not None:
            self._bar.update(self._task, completed=count)
            if count >= LONG:
                self._bar.start()  # which does nothing if it is there

    def hide(self) -> None:
        """Take it from the screen until the next call, so that a line can be printed."""
        if self._bar is not None and self._bar.live.is_started:
            self._bar.stop()


@contextmanager
def counter(what: str) -> Generator[Count]:
    """Give what shows a count, if standard error is a terminal, and is gone in the end."""
    count = Count(_console(sys.stderr) if sys.stderr is not None else None, what)
    try:
        yield count
    finally:
        count.hide()


def _console(stream: IO[str]) -> Console | None:
    """Return rich's console for a terminal, None for anything else or without rich."""
    if not stream.isatty():
        return None
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return Console(file=stream, highlight=False)


def _say_rich(console: Console, parts: Sequence[Part], end: str) -> None:
    from rich.text import Text  # noqa: PLC0415 - only where rich is installed

    # Never markup: a file may be called "[red]".
    console.print(Text.assemble(*((printable(text), style) for text, style in parts)), soft_wrap=True, end=end)
