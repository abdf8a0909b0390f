"""
Normalize many photographs at once on one event loop: throughput, lateness of the loop, and memory.

A ticker asks to be woken every millisecond and notes how much later it is. On an idle machine that is below 1 ms, since
the loop's own timers are no finer. With --busy a thread of pure Python competes for the interpreter all the time, as a
badly placed loop in an application would; it alone makes every wake-up some 5 ms late. The plain way (see plain.py)
runs in the threads that Starlette's `run_in_threadpool` uses, 40 at a time.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import anyio
import pictures
import plain
from anyio import to_thread
from measure import MB, megabytes, peak_above, reset_peak

import safeupload

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Sequence

#: What we promise: the 99th of 100 wake-ups is no later than this, memory stays below that, and the uploads are through
#: in so many times less time than in the plain way; beside a busy thread, the 99th wake-up is so many times later than
#: with that thread alone.
GOAL_P99: Final = 0.010
GOAL_PEAK: Final = 60 * MB
GOAL_THROUGHPUT: Final = 4
GOAL_BUSY: Final = 2.5

_TICK: Final = 0.001
_PICTURE: Final = "JPEG 12 MP"
_WARM_UP_SCALE: Final = 0.1


Way: TypeAlias = "Callable[[bytes], Coroutine[None, None, object]]"


class Row(NamedTuple):
    """One run."""

    name: str
    seconds: float
    ticks: int
    p50: float
    p99: float
    worst: float
    peak: int | None


def main(argv: Sequence[str]) -> int:
    """Measure; return 1 if a goal is missed and that was asked for."""
    options = _options(argv)
    data = pictures.make(_PICTURE, options.scale)
    print(f"{options.uploads} x {_PICTURE}, {len(data) / 1e6:.1f} MB each, on {options.backend}")
    print("                          seconds   ticks    p50 ms    p99 ms    max ms   peak MB")
    small = pictures.make(_PICTURE, options.scale * _WARM_UP_SCALE)
    for way in (_safe, _plain):
        anyio.run(_uploads, way, small, 4, backend=options.backend)
        anyio.run(_uploads, way, data, 1, backend=options.backend)
    rows = []
    for name, way, uploads, busy in (
        ("nothing", _safe, 0, False),
        ("uploads", _safe, options.uploads, False),
        *((("uploads, the plain way", _plain, options.uploads, False),) if options.plain else ()),
        *(
            (("busy thread", _safe, 0, True), ("uploads, busy thread", _safe, options.uploads, True))
            if options.busy
            else ()
        ),
    ):
        with ExitStack() as stack:
            if busy:
                stack.enter_context(_busy())
            rows.append(anyio.run(_measure, name, way, data, uploads, backend=options.backend))
        row = rows[-1]
        print(
            f"{row.name:25}{row.seconds:8.2f}{row.ticks:8}"
            f"{row.p50 * 1e3:10.2f}{row.p99 * 1e3:10.2f}{row.worst * 1e3:10.2f}{megabytes(row.peak):>10}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps([row._asdict() for row in rows], indent=2) + "\n")
    missed = _missed({row.name: row for row in rows})
    print(*missed, sep="\n")
    return 1 if options.check and missed else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("--uploads", type=int, default=40, help="how many at once (default: %(default)s)")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio", help="trio if installed")
    parser.add_argument("--busy", action="store_true", help="measure beside a busy thread as well")
    parser.add_argument("--plain", action="store_true", help="measure the plain way as well")
    parser.add_argument("--scale", type=float, default=1, help="make the pictures smaller by this factor")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    parser.add_argument("--check", action="store_true", help="fail if a goal is missed")
    return parser.parse_args(argv)


async def _safe(data: bytes) -> object:
    return await safeupload.normalize_async(data)


async def _plain(data: bytes) -> object:
    return await to_thread.run_sync(plain.thumbnail, data)


async def _uploads(way: Way, data: bytes, count: int) -> None:
    """Start all uploads at once and wait for them."""
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(way, data)


async def _measure(name: str, way: Way, data: bytes, uploads: int) -> Row:
    """Run the uploads (none: one second of nothing) beside the ticker."""
    late: list[float] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tick, late)
        await anyio.sleep(0.1)
        late.clear()
        before, start = reset_peak(), time.perf_counter()
        await (_uploads(way, data, uploads) if uploads else anyio.sleep(1))
        seconds, peak = time.perf_counter() - start, peak_above(before)
        tasks.cancel_scope.cancel()
    late.sort()
    return Row(name, seconds, len(late), late[len(late) // 2], late[len(late) * 99 // 100], late[-1], peak)


async def _tick(late: list[float]) -> None:
    """Note again and again how much later than asked this task is woken."""
    while True:
        due = time.perf_counter() + _TICK
        await anyio.sleep(_TICK)
        late.append(time.perf_counter() - due)


@contextmanager
def _busy() -> Generator[None]:
    """Run a thread that never gives up the interpreter by itself."""
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _missed(rows: dict[str, Row]) -> list[str]:
    """Return what to say about the goals that the uploads miss."""
    missed = []
    ours, theirs = rows["uploads"], rows.get("uploads, the plain way")
    if ours.p99 > GOAL_P99:
        missed.append(f"missed: p99 within {GOAL_P99 * 1e3:.0f} ms, measured {ours.p99 * 1e3:.1f}")
    if ours.peak is not None and ours.peak > GOAL_PEAK:
        missed.append(f"missed: peak below {GOAL_PEAK / MB:.0f} MB, measured {ours.peak / MB:.1f}")
    if theirs is not None and theirs.seconds < GOAL_THROUGHPUT * ours.seconds:
        missed.append(f"missed: {GOAL_THROUGHPUT} times the throughput, measured {theirs.seconds / ours.seconds:.1f}")
    if "busy thread" in rows:
        times = rows["uploads, busy thread"].p99 / rows["busy thread"].p99
        if times > GOAL_BUSY:
            missed.append(f"missed: p99 within {GOAL_BUSY} times that of the busy thread alone, measured {times:.1f}")
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
