"""
One file through one pipeline, in a process of its own: ``python -m safeupload._cli.child``.

The parent names the pipeline, the file, the folder for the answer and the limits on the command line. The child prints
one line when it is ready, ``{"base": N}`` with its memory in bytes; when it is done it leaves ``picture.jpg`` and then
``report.json`` in the folder.
"""

from __future__ import annotations

import io
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageOps

from safeupload._cli.measure import peak_above, reset_peak, warm_up
from safeupload._image import normalize
from safeupload.errors import Rejected
from safeupload.policy import AVATAR

REPORT: Final = "report.json"
PICTURE: Final = "picture.jpg"
_GRACE: Final = 5  # seconds after which the kernel ends a child that its parent has forgotten
_SIZE: Final = (300, 300)


def plain(path: Path) -> bytes:
    """Do what tutorials do."""
    with Image.open(io.BytesIO(path.read_bytes())) as original:
        upright = ImageOps.exif_transpose(original)
        small = ImageOps.fit(upright, _SIZE, Image.Resampling.LANCZOS)
        out = io.BytesIO()
        small.convert("RGB").save(out, "JPEG", quality=85)
    return out.getvalue()


def safe(path: Path) -> bytes:
    """Do what safeupload does."""
    return normalize(path).data


PIPELINES: Final[dict[str, Callable[[Path], bytes]]] = {"plain": plain, "safeupload": safe}


def main(arguments: Sequence[str]) -> None:
    """Run a pipeline: name, file, folder for the answer, bytes of memory, seconds."""
    name, source, folder, memory, seconds = arguments
    warm_up(AVATAR)
    Image.init()
    warnings.simplefilter("ignore")
    _limit(int(memory), float(seconds))
    base = reset_peak()
    sys.stdout.write(json.dumps({"base": base}) + "\n")
    sys.stdout.flush()
    start = time.perf_counter()
    report, data = _attempt(PIPELINES[name], Path(source))
    report |= {"seconds": time.perf_counter() - start, "peak": peak_above(base)}
    Path(folder, PICTURE).write_bytes(data)
    Path(folder, REPORT).write_text(json.dumps(report))


def _attempt(pipeline: Callable[[Path], bytes], source: Path) -> tuple[dict[str, Any], bytes]:
    """Run the pipeline; return what became of the file, and the picture."""
    try:
        data = pipeline(source)
    except Rejected as error:
        return {"outcome": "rejected", "error": error.code, "detail": str(error)}, b""
    except Exception as error:  # noqa: BLE001 - that the plain way leaks everything is what we are here to see
        return {"outcome": "error", "error": type(error).__name__, "detail": str(error)[:200]}, b""
    return {"outcome": "ok"}, data


def _limit(memory: int, seconds: float) -> None:
    """Have the kernel enforce the limits, where it can."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    for kind, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, round(seconds) + _GRACE)):
        try:
            resource.setrlimit(kind, (limit, limit))
        except (OSError, ValueError):  # already lower, or not on this system
            continue


if __name__ == "__main__":
    main(sys.argv[1:])
