"""
One library and all files: ``python -m libraries.host NAME FOLDER``.

The library is imported and prepared once; then each file of FOLDER/files gets a process of its own, forked from this
one, with limits. Prints one line of JSON for each; pictures go to FOLDER/results.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any, Final, NoReturn, cast

from libraries.ways import Way
from safeupload._cli.measure import peak_above, reset_peak

#: Of the processor, so that a busy machine changes nothing; beyond the second figure nobody waits.
SECONDS: Final = 20
PATIENCE: Final = 180
MEMORY: Final = 2 << 30  # bytes of address space


def main(name: str, folder: Path) -> None:
    """Try each file."""
    warnings.simplefilter("ignore")
    way = cast("Way", importlib.import_module(f"libraries.ways.{name}"))
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    way.prepare(work)
    results = folder / "results"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir()
    for path in sorted((folder / "files").iterdir()):
        report = _attempt(way, path, work, results / path.name)
        report["kept"] = _kept(work, path.read_bytes())
        sys.stdout.write(json.dumps({"library": name, "file": path.name, **report}) + "\n")
        sys.stdout.flush()
        _empty(work)


def _attempt(way: Way, path: Path, work: Path, result: Path) -> dict[str, Any]:
    """Fork, wait, and tell what became of the child."""
    told = work.parent / "told.json"
    told.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        _child(way, path, work, result, told)
    deadline = time.monotonic() + PATIENCE
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            break
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    seconds = usage.ru_utime + usage.ru_stime
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 and told.exists():
        return {**json.loads(told.read_text()), "seconds": round(seconds, 3)}
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    late = number == signal.SIGXCPU or time.monotonic() > deadline
    error = signal.Signals(number).name if number else f"exit code {os.WEXITSTATUS(status)}"
    return {
        "outcome": "time" if late else "died",
        "error": "" if late else error,
        "seconds": round(seconds, 3),
        "peak": max(0, (usage.ru_maxrss << 10) - _resident()),
    }


def _child(way: Way, path: Path, work: Path, result: Path, told: Path) -> NoReturn:
    """Give the library the file, and write down what it did."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    data = path.read_bytes()
    base = reset_peak()
    try:
        picture = way.take(data, path.name, work)
    except MemoryError:
        report = {"outcome": "memory", "error": "MemoryError"}
    except way.DOCUMENTED as error:
        report = {"outcome": "refused", "error": type(error).__name__}
    except BaseException as error:  # noqa: BLE001 - that is what is counted
        report = {"outcome": "other", "error": type(error).__name__}
    else:
        report = {"outcome": "accepted" if picture is None else "picture", "error": ""}
        if picture is not None:
            result.write_bytes(picture)
    told.write_text(json.dumps({**report, "peak": peak_above(base)}))
    os._exit(0)


def _kept(work: Path, data: bytes) -> bool:
    """Tell whether the upload lies in the library's storage as it came."""
    paths = (path for path in work.rglob("*") if path.is_file() and path.stat().st_size == len(data))
    return any(path.read_bytes() == data for path in paths)


def _empty(work: Path) -> None:
    for path in sorted(work.rglob("*"), reverse=True):
        if path.is_file():
            path.unlink()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
