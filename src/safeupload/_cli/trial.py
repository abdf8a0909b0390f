"""Run a file through a pipeline in a child process with limits, and judge what comes back."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from PIL import ImageChops, ImageStat

from safeupload._cli.child import PICTURE, REPORT
from safeupload._cli.measure import peak_above
from safeupload._decode import decoded
from safeupload.errors import Rejected
from safeupload.policy import AVATAR

_MAX_REPORT: Final = 1 << 16
_MAX_PICTURE: Final = 4 << 20
#: Mean difference of two results, in levels of 255, from which on people see it. Two right results differ by about 1.
_VISIBLE: Final = 4.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a child may use."""

    seconds: float = 20.0
    memory: int = 3 << 30


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """
    What became of a file: "ok", "rejected", "error", "time" (killed) or "crash".

    `error` is the code of a refusal, the type of an exception, or the name of a signal.
    """

    outcome: str
    error: str = ""
    detail: str = ""
    seconds: float = 0.0
    peak: int | None = None
    picture: bytes = field(default=b"", repr=False)

    @property
    def verdict(self) -> str:
        """Say it in a word or two."""
        return {
            "ok": "ok",
            "rejected": self.error,
            "error": self.error,
            "time": "killed: time",
            "crash": f"killed: {self.error}",
        }[self.outcome]


def attempt(pipeline: str, source: Path, limits: Limits) -> Outcome:
    """Run the file through the pipeline in a new process."""
    with tempfile.TemporaryDirectory(prefix="safeupload-") as folder:
        command = [sys.executable, "-P", "-m", "safeupload._cli.child", pipeline, str(source.absolute()), folder]
        child = subprocess.Popen(  # noqa: S603 - our own module
            [*command, str(limits.memory), str(limits.seconds)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        try:
            return _watch(child, Path(folder), limits)
        finally:
            child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()


def _watch(child: subprocess.Popen[bytes], folder: Path, limits: Limits) -> Outcome:
    """Wait until the child is ready, then until it has ended or its time is up."""
    assert child.stdout is not None  # noqa: S101 - we asked for a pipe
    base = _base(child.stdout.readline(_MAX_REPORT))
    start = time.perf_counter()
    try:
        code = child.wait(limits.seconds)
    except subprocess.TimeoutExpired:
        return Outcome(outcome="time", seconds=limits.seconds, peak=peak_above(base, str(child.pid)))
    seconds = time.perf_counter() - start
    report = _report(folder)
    if code or report is None:
        return Outcome(outcome="crash", error=_cause(code), seconds=seconds)
    return Outcome(
        outcome=report["outcome"],
        error=str(report.get("error", "")),
        detail=str(report.get("detail", "")),
        seconds=report["seconds"],
        peak=report["peak"],
        picture=_picture(folder) if report["outcome"] == "ok" else b"",
    )


def _base(line: bytes) -> int | None:
    """Return the memory that the child starts from."""
    try:
        base = json.loads(line)["base"]
    except (ValueError, TypeError, KeyError):
        return None
    return base if isinstance(base, int) else None


def _report(folder: Path) -> dict[str, Any] | None:
    """Return what the child says, None if it makes no sense: whoever decodes hostile files is not to be trusted."""
    try:
        with (folder / REPORT).open("rb") as file:
            loaded: Any = json.loads(file.read(_MAX_REPORT))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(loaded, dict):
        return None
    report = cast("dict[str, Any]", loaded)
    if report.get("outcome") not in ("ok", "rejected", "error"):
        return None
    if not isinstance(report.get("seconds"), float) or not isinstance(report.get("peak"), int | None):
        return None
    return report


def _picture(folder: Path) -> bytes:
    with (folder / PICTURE).open("rb") as file:
        return file.read(_MAX_PICTURE)


def _cause(code: int) -> str:
    """Return why a child ended before its time."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    return {"SIGKILL": "memory", "SIGXCPU": "time"}.get(name, name)  # nobody but the kernel sends it that SIGKILL


# --- judging a picture

_NEEDED: Final = frozenset({0xC0, 0xC4, 0xDB, 0xDD})  # frame, tables, restart interval
_SOS, _EOI, _COMMENT = 0xDA, b"\xff\xd9", 0xFE
_EXTRA: Final = {(0xE1, b"Exif"): "EXIF", (0xE1, b"http"): "XMP", (0xE2, b"ICC_"): "an ICC profile"}


def leftovers(picture: bytes, canaries: Mapping[bytes, str]) -> list[str]:
    """Return what a JPEG holds besides a picture, in words: planted bytes, segments, what follows its end."""
    found = [what for canary, what in canaries.items() if canary in picture]
    position = 2
    while picture[position : position + 1] == b"\xff" and position + 4 <= len(picture):
        marker, length = picture[position + 1], int.from_bytes(picture[position + 2 : position + 4], "big")
        start = picture[position + 4 : position + 8]
        position += 2 + length
        if marker == _SOS:
            break
        if marker == _COMMENT:
            found.append("a comment")
        elif marker not in _NEEDED and (marker, start) != (0xE0, b"JFIF"):
            found.append(_EXTRA.get((marker, start), f"segment {marker:02X}"))
    end = picture.find(_EOI, position)
    if end < 0 or end + 2 < len(picture):
        found.append("bytes behind the picture" if end >= 0 else "no end")
    return found


def difference(one: bytes, other: bytes) -> float | None:
    """Return by how many levels two pictures differ in the mean, None if they cannot be compared."""
    try:
        with decoded(one, AVATAR) as (first, _, _), decoded(other, AVATAR) as (second, _, _):
            if first.size != second.size:
                return None
            channels = ImageStat.Stat(ImageChops.difference(first.convert("RGB"), second.convert("RGB"))).mean
    except Rejected:
        return None
    return sum(channels) / len(channels)


def wrongs(plain: Outcome, safe: Outcome, canaries: Mapping[bytes, str], harm: str, size: int) -> list[str]:
    """Return what went wrong in the plain way with a file of `size` bytes."""
    found: list[str] = []
    if plain.outcome == "time":
        found.append(f"still decoding after {plain.seconds:g} s")
    elif plain.outcome == "crash":
        found.append("the process died")
    elif plain.outcome == "error" and plain.error != "UnidentifiedImageError":  # which is the one that tutorials catch
        found.append(f"{plain.error} reaches the application")
    if plain.peak is not None and plain.peak > AVATAR.max_decode_bytes:
        found.append(f"{plain.peak / 1e6:,.0f} MB of memory for a file of {_size(size)}")
    if plain.outcome != "ok":
        return found
    if left := leftovers(plain.picture, canaries):
        found.append("the result holds " + ", ".join(left))
    if safe.outcome == "ok":
        levels = difference(plain.picture, safe.picture)
        if levels is None or levels >= _VISIBLE:
            found.append(harm or "looks different")
    elif harm:
        found.append(harm)
    return found


def _size(count: int) -> str:
    return f"{count} bytes" if count < 10_000 else f"{count / 1e3:,.0f} kB"  # noqa: PLR2004 - a matter of taste


def misbehaviour(safe: Outcome, canaries: Mapping[bytes, str]) -> list[str]:
    """Return in what safeupload broke its word: a clean picture or a refusal, within the limits."""
    if safe.outcome == "rejected":
        return []
    if safe.outcome != "ok":
        return [safe.verdict]
    found = leftovers(safe.picture, canaries)
    with contextlib.suppress(Rejected), decoded(safe.picture, AVATAR) as (image, _, _):
        return found if (image.size, image.mode) == (AVATAR.size, "RGB") else [*found, "not the picture asked for"]
    return [*found, "not a picture"]
