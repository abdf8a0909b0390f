"""
What a sweep of a bucket costs, and a replacement in one: seconds, requests, questions to the database, memory.

The bucket that is swept is a server on loopback, in a process of its own, that makes names up as they are listed, in
pages of 1,000; so time is that of our side, and of Python that writes pages for us to read. On a network every request
takes as long as the network does, one after the other. Each sweep runs in a fresh process, after a small one to warm
up; rows name all files but one in so many. Replacements go to a server that keeps what it gets (moto's).

Not a part of `run.py bench`: it needs obstore and moto. Memory needs Linux.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import Request, urlopen

import pictures
from measure import MB, cost, megabytes
from obstore.store import S3Store
from replacing import Table

import safeupload
from safeupload.storage import ObjectStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from multiprocessing.connection import Connection

#: What we promise of a sweep of any size: so much memory, and so little more than for the smallest number of keys.
GOAL_PEAK: Final = 60 * MB
GOAL_GROWTH: Final = 10 * MB
#: How many requests a picture with two renditions may take. A new one: its mark, three objects, and the mark's removal.
#: In the place of another: the other one's mark, the list of suffixes, and the removal of three objects and the mark.
GOAL_REQUESTS: Final = {"create": 5, "replace": 11, "delete": 6}

_PAGE: Final = 1000
_RENDITIONS: Final = {"thumb": safeupload.Rendition(size=(64, 64)), "large": safeupload.Rendition(size=(600, 600))}
_SUFFIXES: Final = ("-large.jpg", "-thumb.jpg")
#: One file of so many has no row: some; or one in each question to the database, each of which then lists the marks.
_SOME: Final = 10_000
_EACH: Final = 900
#: Marks after a bad day: three pages of them.
_MARKS: Final = 2_500
_WARM_UP: Final = 3_000
_LONG_AGO: Final = "2020-01-01T00:00:00.000Z"
_COUNTS: Final = "counts"


class Case(NamedTuple):
    """One bucket, and what its rows name."""

    keys: int
    every: int = _SOME
    renditions: int = 0
    marks: int = 0

    def __str__(self) -> str:
        words = [f"sweep {self.keys:,} keys"]
        words += [f"{self.renditions} renditions each"] if self.renditions else []
        words += [f"1 of {self.every} unnamed"] if self.every != _SOME else []
        words += [f"{self.marks:,} marks"] if self.marks else []
        return ", ".join(words)


class Row(NamedTuple):
    """One measurement; of replacements, for each of them."""

    name: str
    number: int  # keys that were swept, or replacements
    seconds: float
    cpu: float
    questions: float
    requests: dict[str, float]
    peak: int | None = None


def main(argv: Sequence[str]) -> int:
    """Measure; return 1 if a goal is missed and that was asked for."""
    options = _options(argv)
    cases = [Case(keys) for keys in sorted(options.keys)]
    largest = max(options.keys)
    cases += [Case(largest, renditions=2), Case(largest, every=_EACH), Case(largest, every=_EACH, marks=_MARKS)]
    rows: list[Row] = []
    print(f"{'':54}seconds  s/million     cpu  questions  peak MB   requests")
    with _served(_serve_names) as address:
        for case in cases:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
                rows.append(fresh.submit(_sweep, address, case).result())
            _show(rows[-1])
    with _served(_serve_moto) as address:
        for row in _replacements(address, options.repeat):
            rows.append(row)
            _show(row)
    print(
        f"\nThe marks are listed once for each {_EACH} files without a row, and once more for each {_EACH} to remove;"
        f" each time takes a request for every {_PAGE:,} marks, and at least one.\n"
    )
    missed = list(_missed(rows))
    if options.json:
        options.json.write_text(json.dumps([row._asdict() for row in rows], indent=2) + "\n")
    print(*missed, sep="\n")
    return 1 if options.check and missed else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument(
        "--keys", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="files to sweep (default: a million)"
    )
    parser.add_argument("--repeat", type=int, default=100, help="replacements (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="few of both: a look, not a result")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    parser.add_argument("--check", action="store_true", help="fail if a goal is missed")
    options = parser.parse_args(argv)
    if options.quick:
        options.keys, options.repeat = [1_000, 10_000], 5
    return options


def _show(row: Row) -> None:
    """Print a row."""
    requests = ", ".join(f"{count:,.6g} {kind}" for kind, count in sorted(row.requests.items()) if count)
    million = "" if row.name in GOAL_REQUESTS else f"{row.seconds / row.number * 1e6:.1f}"
    peak = "" if row.peak is None else megabytes(row.peak)
    print(
        f"{row.name:53}{row.seconds:8.3f}{million:>11}{row.cpu:8.3f}{row.questions:11,.6g}{peak:>9}   {requests}",
        flush=True,
    )


def _missed(rows: Sequence[Row]) -> Generator[str]:
    """Say which goals are missed."""
    peaks = [(row, row.peak) for row in rows if row.peak is not None]
    least = peaks[0][1] if peaks else 0
    for row, peak in peaks:
        if peak > GOAL_PEAK:
            yield f"missed: {row.name} below {GOAL_PEAK / MB:.0f} MB, measured {megabytes(peak)}"
        if peak - least > GOAL_GROWTH:
            goal = f"{GOAL_GROWTH / MB:.0f} MB of {megabytes(least)}"
            yield f"missed: {row.name} within {goal}, measured {megabytes(peak)}"
    for row in rows:
        count = sum(row.requests.values())
        if row.name in GOAL_REQUESTS and count > GOAL_REQUESTS[row.name]:
            yield f"missed: {row.name} by {GOAL_REQUESTS[row.name]} requests, measured {count:g}"


# --- our side ---------------------------------------------------------------------------------------------------------


def _storage(address: str, bucket: str) -> ObjectStorage:
    """Return the storage as an application has it."""
    store = S3Store(
        bucket,
        endpoint=address,
        client_options={"allow_http": True},
        access_key_id="key",
        secret_access_key="secret",  # noqa: S106 - the server believes everything
        region="us-east-1",
    )
    return ObjectStorage(store)


def _sweep(address: str, case: Case) -> Row:
    """Sweep, in a process that does nothing else."""
    asked = 0

    def used(keys: list[str]) -> list[str]:
        nonlocal asked
        asked += 1
        return [key for key in keys if int(key[:32], 16) % case.every]

    def sweep(case: Case) -> safeupload.SweepReport:
        bucket = "-".join(map(str, ("names", case.keys, case.renditions, case.marks)))
        return safeupload.Uploads(_storage(address, bucket), references=used).sweep()

    sweep(case._replace(keys=_WARM_UP))
    _counts(address)
    asked = 0
    reports: list[safeupload.SweepReport] = []
    took = cost(lambda: reports.append(sweep(case)))
    requests = _counts(address)
    (report,) = reports
    unnamed = -(-case.keys // case.every)
    if (report.examined, len(report.removed) + report.remaining + report.marked) != (case.keys, unnamed):
        raise RuntimeError(f"the sweep did not do its work: {report}")
    return Row(str(case), case.keys, took.wall, took.cpu, asked, requests, took.peak)


def _replacements(address: str, repeat: int) -> Generator[Row]:
    """Create pictures with two renditions, replace all of them, delete all of them."""
    photograph = io.BytesIO()
    pictures.photograph(900, 600).save(photograph, "JPEG", quality=90)
    image = safeupload.normalize(photograph.getvalue(), safeupload.Policy(renditions=_RENDITIONS))
    with urlopen(Request(f"{address}/pictures", method="PUT")):  # noqa: S310 - a server of ours
        pass
    table = Table()
    asked = 0

    def used(keys: list[str]) -> list[str]:
        nonlocal asked
        asked += 1
        return table.used(keys)

    uploads = safeupload.Uploads(_storage(address, "pictures"), references=used)

    def put(old: str | None) -> str:
        with uploads.replace(image) as new:
            key = new.replacing(old)
            new.commit(lambda: table.replace(old, key))
        return key

    def delete(old: str | None) -> None:
        with uploads.transaction() as tx:
            tx.release(old)
            tx.commit(lambda: table.replace(old, None))

    delete(put(put(None)))  # from now on the process knows what there is to know
    keys: list[str | None] = [None] * repeat
    works: dict[str, Callable[[str | None], str | None]] = {"create": put, "replace": put, "delete": delete}
    for name, work in works.items():
        _counts(address)
        asked = 0
        times, cpu = [], time.process_time()
        for place, old in enumerate(keys):
            started = time.perf_counter()
            keys[place] = work(old)
            times.append(time.perf_counter() - started)
        cpu = time.process_time() - cpu
        requests = {kind: count / repeat for kind, count in _counts(address).items()}
        yield Row(name, repeat, median(times), cpu / repeat, asked / repeat, requests)


def _counts(address: str) -> dict[str, float]:
    """Return how many requests of each kind there were since this was asked last."""
    with urlopen(f"{address}/{_COUNTS}") as answer:  # noqa: S310 - a server of ours
        found: dict[str, float] = json.load(answer)
    return found


# --- servers ----------------------------------------------------------------------------------------------------------


@contextmanager
def _served(serve: Callable[[Connection], None]) -> Generator[str]:
    """Run a server in a process of its own; give its address."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()
        process.close()
        ours.close()


def _kind(method: str, query: dict[str, list[str]]) -> str:
    """Return what kind of request it is."""
    if "list-type" not in query:
        return method
    (prefix,) = query.get("prefix", [""])
    return "LIST marks" if ".pending/" in prefix else "LIST suffixes" if ".renditions/" in prefix else "LIST files"


class _Bucket:
    """A bucket of as many files as its name says: "names-1000000-2-0" has a million, two renditions each, no marks."""

    def __init__(self, name: str) -> None:
        self.keys, renditions, marks = map(int, name.split("-")[1:])
        self._parts = [*_SUFFIXES[:renditions], ".jpg"]  # in the order in which they are listed
        # All that has a name before "0", in order. The marks are of files that are gone.
        self.small = [".clock"]
        self.small += [f".pending/~{self.keys + mark:032x}.jpg~{mark:016x}" for mark in range(marks)]
        self.small += [f".renditions/{suffix}" for suffix in self._parts[:-1]]

    def page(self, prefix: str, first: int) -> tuple[list[str], int | None]:
        """Return the names on a page, and with which the next one begins."""
        small = [name for name in self.small if name.startswith(prefix)]
        end = len(small) + (0 if prefix else self.keys * len(self._parts))
        found = small[first : first + _PAGE]
        for place in range(max(first, len(small)) - len(small), min(first + _PAGE, end) - len(small)):
            number, part = divmod(place, len(self._parts))
            found.append(f"{number:032x}{self._parts[part]}")
        return found, first + _PAGE if first + _PAGE < end else None


class _Names(BaseHTTPRequestHandler):
    """S3 as far as a sweep goes. What is removed is counted, and stays."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # heads and bodies go out together
    counts: ClassVar[Counter[str]] = Counter()  # of the one server of this process
    buckets: ClassVar[dict[str, _Bucket]] = {}

    def log_message(self, *_: Any) -> None:  # noqa: ANN401
        """Be quiet."""

    def do_GET(self) -> None:
        """Answer with a page of names; or with how many requests there were."""
        address = urlsplit(self.path)
        if address.path == f"/{_COUNTS}":
            body = json.dumps(self.counts).encode()
            self.counts.clear()
            self._answer(200, body)
            return
        query = parse_qs(address.query)
        self.counts[_kind("GET", query)] += 1
        bucket = self._bucket(address.path)[0]
        (prefix,), (first,) = query.get("prefix", [""]), query.get("continuation-token", ["0"])
        names, after = bucket.page(prefix, int(first))
        contents = "".join(
            f"<Contents><Key>{name}</Key><LastModified>{_LONG_AGO}</LastModified><ETag>&quot;0&quot;</ETag>"
            "<Size>0</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for name in names
        )
        more = f"<NextContinuationToken>{after}</NextContinuationToken>" if after else ""
        self._answer(
            200,
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult'
            ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<KeyCount>{len(names)}</KeyCount><MaxKeys>{_PAGE}</MaxKeys>"
            f"<IsTruncated>{'true' if after else 'false'}</IsTruncated>{more}{contents}</ListBucketResult>".encode(),
        )

    def do_HEAD(self) -> None:
        """Tell that an object is there, and of now."""
        self.counts["HEAD"] += 1
        bucket, name = self._bucket(self.path)
        self._answer(200 if name in bucket.small else 404)

    def do_PUT(self) -> None:
        """Take an object of a name that is there."""
        self.counts["PUT"] += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        bucket, name = self._bucket(self.path)
        self._answer(200 if name in bucket.small else 403)  # another would shift the pages

    def do_DELETE(self) -> None:
        """Say yes."""
        self.counts["DELETE"] += 1
        self._answer(204)

    def _bucket(self, path: str) -> tuple[_Bucket, str]:
        bucket, _, name = unquote(path).removeprefix("/").partition("/")
        if bucket not in self.buckets:
            self.buckets[bucket] = _Bucket(bucket)
        return self.buckets[bucket], name

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Last-Modified", formatdate(usegmt=True))
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _serve_names(connection: Connection) -> None:
    """Serve buckets that are made up."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Names) as server:
        connection.send(server.server_address[1])
        server.serve_forever()


def _serve_moto(connection: Connection) -> None:
    """Serve one bucket, "pictures", by moto."""
    import logging  # noqa: PLC0415 - only here

    from moto.moto_server import werkzeug_app  # noqa: PLC0415
    from werkzeug.serving import make_server  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    dispatcher = werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app)
    counts: Counter[str] = Counter()

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI
        if environ["PATH_INFO"] == f"/{_COUNTS}":
            body = json.dumps(counts).encode()
            counts.clear()
            start_response("200 OK", [("Content-Length", str(len(body)))])
            return [body]
        query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
        counts[_kind(environ["REQUEST_METHOD"], query)] += 1
        answer: Iterable[bytes] = dispatcher(environ, start_response)
        return answer

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=werkzeug_app.MotoRequestHandler)
    connection.send(server.server_address[1])
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
