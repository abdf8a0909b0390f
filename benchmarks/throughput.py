"""How many photographs a second go through one process, by how many arrive at a time, in each way."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Final

import anyio
import pictures
import plain
from anyio import to_thread
from measure import arguments

import safeupload

if TYPE_CHECKING:
    from collections.abc import Sequence

AT_A_TIME: Final = (1, 2, 4, 8, 16, 40)
_PICTURE: Final = "JPEG 12 MP"


async def _worker(way: str, data: bytes, work: list[None]) -> None:
    while work:
        work.pop()
        if way == "plain":
            await to_thread.run_sync(plain.thumbnail, data)
        else:
            await safeupload.normalize_async(data)


async def _run(way: str, data: bytes, clients: int, uploads: int) -> float:
    """Let so many clients upload one picture after the other; return how long all of them took."""
    work: list[None] = [None] * uploads
    start = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(clients):
            tasks.start_soon(_worker, way, data, work)
    return time.perf_counter() - start


def main(argv: Sequence[str]) -> int:
    """Measure each number of clients, the two ways in turns."""
    parser = arguments(__doc__ or "", 2)
    options = parser.parse_args(argv)
    data = pictures.make(_PICTURE, options.scale)
    rows = []
    for clients in AT_A_TIME:
        uploads = max(4, clients * options.repeat)
        row: dict[str, float] = {"clients": clients}
        for way in ("safeupload", "plain"):
            anyio.run(_run, way, data, 1, 1)
            row[way] = uploads / anyio.run(_run, way, data, clients, uploads)
        rows.append(row)
        print(f"{clients:3} clients{row['safeupload']:8.1f}/s{row['plain']:8.1f}/s, the plain way", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
