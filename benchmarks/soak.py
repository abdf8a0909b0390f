"""
Many uploads, honest and hostile, through the FastAPI example with decoding in processes of its own.

Each client has a user and replaces his picture again and again: by photographs, by files that are made to harm, by
bodies that are too large or end in the middle; now and then somebody kills a worker. Shown in the end: the answers by
kind, how long they took, the memory and the descriptors of all processes over time, and whether each user has the
picture that he was told he has, and nobody else has a file. Needs Linux, and the packages of the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Final, NamedTuple

from PIL import Image
from processes import family, resident, wait_for_answer

import safeupload
from safeupload._samples import SAMPLES
from safeupload._samples.benign import scene

_HERE: Final = Path(__file__).resolve().parent
_CLIENTS: Final = 6
_EVERY: Final = 5.0  # seconds between two looks at the processes
_KILLS: Final = 200  # one worker is killed for so many uploads
#: Growth of the resident memory, from the second quarter of the time to the last, that is noise.
_GROWTH: Final = 1.1
#: Of so many looks the median is taken, at least: one look sees whatever is decoded at the moment.
_LOOKS: Final = 5
_BOUNDARY: Final = "a-boundary-that-no-picture-has"


class Kind(NamedTuple):
    """A body that is sent: how often, what it may be answered, and the digest of the picture that comes of it."""

    name: str
    weight: int
    data: bytes
    statuses: frozenset[int]
    digest: str = ""


class Look(NamedTuple):
    """The processes of the server at a time."""

    memory: int
    of_workers: int
    descriptors: int
    processes: int


def kinds() -> list[Kind]:
    """Return what is sent; nothing of it is asked of the server that this process would not do."""
    small = scene(1280, 960)
    honest = {name: _file(small, name) for name in ("JPEG", "PNG", "GIF", "WEBP")}
    honest |= {sample.name: sample.make() for sample in SAMPLES if not sample.code}
    found = [Kind(name, 12, data, frozenset({200}), safeupload.normalize(data).sha256) for name, data in honest.items()]
    found += [Kind(sample.name, 4, sample.make(), frozenset({413, 415, 422})) for sample in SAMPLES if sample.code]
    found.append(Kind("too large", 4, os.urandom(6 << 20), frozenset({413})))
    found.append(Kind("noise", 4, b"\xff\xd8\xff\xe0" + os.urandom(100_000), frozenset({422})))
    found.append(Kind("hangs up", 4, honest["JPEG"], frozenset()))
    return found


def _file(picture: Image.Image, name: str) -> bytes:
    out = io.BytesIO()
    picture.save(out, name)
    return out.getvalue()


class Client:
    """A user, and what he has been told."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._random = random.Random(seed)  # noqa: S311 - a choice of pictures
        self.answers: Counter[tuple[str, int, str]] = Counter()
        self.times: defaultdict[str, list[float]] = defaultdict(list)
        self.expected = ""  # the digest of the picture that he has
        status, body = self._ask("POST", "/users", b"name=somebody", "application/x-www-form-urlencoded")
        assert status == 201, body  # noqa: PLR2004, S101
        user = json.loads(body)
        self.user, self._token = user["id"], user["token"]

    def upload(self, kind: Kind) -> None:
        """Replace the picture, and note the answer."""
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'.encode()
        body = head + kind.data + f"\r\n--{_BOUNDARY}--\r\n".encode()
        if not kind.statuses:
            self._hang_up(body)
            return
        started = time.perf_counter()
        status, text = self._ask(
            "PATCH", f"/users/{self.user}/picture", body, f"multipart/form-data; boundary={_BOUNDARY}"
        )
        self.times[kind.name].append(time.perf_counter() - started)
        code = "" if status == 200 else json.loads(text).get("code", "")  # noqa: PLR2004
        self.answers[kind.name, status, code] += 1
        if status == 200:  # noqa: PLR2004
            self.expected = kind.digest

    def choose(self, among: Sequence[Kind]) -> Kind:
        """Return one of them."""
        return self._random.choices(among, [kind.weight for kind in among])[0]

    def has_what_was_said(self) -> bool:
        """Tell whether the user's picture is the last one that was accepted."""
        profile = json.loads(self._ask("GET", f"/users/{self.user}")[1])
        if not profile["picture"]:
            return not self.expected
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", profile["picture"])
            answer = connection.getresponse()
            answer.read()
            return answer.headers["ETag"] == f'"{self.expected}"'

    def _ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, bytes]:
        headers = {"Content-Type": kind} if kind else {}
        if hasattr(self, "_token"):
            headers["Authorization"] = f"Bearer {self._token}"
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def _hang_up(self, body: bytes) -> None:
        """Send the half of a body, and be gone."""
        head = (
            f"PATCH /users/{self.user}/picture HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", self._port), 60) as connection:
            connection.sendall(head.encode() + body[: len(body) // 2])


@contextlib.contextmanager
def served(folder: Path) -> Generator[tuple[int, int]]:
    """Run the application; give its port and its process."""
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'app.db'}",
        "MEDIA": str(folder / "pictures"),
        "DECODER": "processes",
        "PYTHONPATH": os.pathsep.join((str(_HERE.parent / "examples"), os.environ.get("PYTHONPATH", ""))),
        "TMPDIR": str(folder),
    }
    with socket.create_server(("127.0.0.1", 0)) as listener, (folder / "server.log").open("wb") as log:
        command = [sys.executable, "-m", "uvicorn", "--fd", str(listener.fileno()), "fastapi_example.app:app"]
        process = subprocess.Popen(
            command, env=environment, pass_fds=[listener.fileno()], stdout=log, stderr=log, cwd=folder
        )
        try:
            wait_for_answer(process, listener.getsockname()[1])
            yield listener.getsockname()[1], process.pid
        finally:
            process.terminate()
            process.wait()


def look(server: int) -> Look:
    """Return what the server and its workers take now."""
    memory = {server: 0}
    descriptors = 0
    for pid in family(server):
        with contextlib.suppress(OSError, SystemExit):  # it has just ended
            memory[pid] = resident(pid)
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    return Look(memory[server], sum(memory.values()) - memory[server], descriptors, len(memory))


def soak(uploads: int, folder: Path) -> tuple[list[Client], list[Look], int, list[str]]:
    """Send so many; return the clients, the looks at the server, the kills, and what is wrong."""
    among = kinds()
    looks: list[Look] = []
    done = threading.Event()
    left = iter(range(uploads))
    kills = [0]
    with served(folder) as (port, server):
        clients = [Client(port, seed) for seed in range(_CLIENTS)]

        def watch() -> None:
            while not done.wait(_EVERY):
                looks.append(look(server))

        def use(client: Client) -> None:
            for number in left:
                if number % _KILLS == _KILLS - 1:
                    with contextlib.suppress(OSError, IndexError):
                        os.kill(random.choice(family(server)[1:]), signal.SIGKILL)  # noqa: S311
                        kills[0] += 1
                client.upload(client.choose(among))

        watcher = threading.Thread(target=watch)
        users = [threading.Thread(target=use, args=[client]) for client in clients]
        for thread in (watcher, *users):
            thread.start()
        for thread in users:
            thread.join()
        done.set()
        watcher.join()
        time.sleep(1)  # for those who have hung up
        wrong = [f"user {each.user} has another picture" for each in clients if not each.has_what_was_said()]
    files = len(list(folder.glob("pictures/*.jpg")))
    wrong += [f"{files} files for {_CLIENTS} users"] * (files != sum(bool(each.expected) for each in clients))
    wrong += [f"the log has: {line}" for line in (folder / "server.log").read_text().splitlines() if "Error" in line]
    return clients, looks, kills[0], wrong


def judge(clients: Sequence[Client], looks: Sequence[Look], kills: int) -> list[str]:
    """Return what is wrong with the answers and the processes."""
    wrong, crashed = [], 0
    expected = {kind.name: kind.statuses for kind in kinds()}
    for (name, status, code), count in sum((each.answers for each in clients), Counter[tuple[str, int, str]]()).items():
        if code == "decoder_crashed":
            crashed += count
        elif status not in expected[name]:
            wrong.append(f"{name}: {count} times {status} {code}")
    if crashed > kills:
        wrong.append(f"{crashed} uploads crashed, {kills} workers were killed")
    quarter = len(looks) // 4
    if quarter >= _LOOKS:
        early, late = looks[quarter : 2 * quarter], looks[-quarter:]
        for name in Look._fields:
            before, after = (median(getattr(each, name) for each in part) for part in (early, late))
            if after > before * _GROWTH:
                wrong.append(f"{name} grew from {before:,.0f} to {after:,.0f}")
    return wrong


def main(argv: Sequence[str]) -> int:
    """Soak, and tell; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=20_000, help="how many (20,000 take ten to twenty minutes)")
    options = parser.parse_args(argv)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        clients, looks, kills, wrong = soak(options.uploads, Path(name))
    wrong += judge(clients, looks, kills)
    answers = sum((each.answers for each in clients), Counter[tuple[str, int, str]]())
    print(f"{sum(answers.values()):,} answers in {time.perf_counter() - started:,.0f} s, {kills} workers killed")
    for (kind, status, code), count in sorted(answers.items()):
        print(f"  {kind:20}{status} {code:20}{count:6,}")
    for kind in sorted({kind for kind, *_ in answers}):
        times = sorted(each * 1e3 for client in clients for each in client.times[kind])
        shares = quantiles(times, n=100, method="inclusive") if len(times) > 1 else times * 99
        print(f"  {kind:20}p50 {shares[49]:7.0f} ms, p99 {shares[98]:7.0f} ms, at most {times[-1]:7.0f} ms")
    for which in Look._fields:
        values = [getattr(each, which) for each in looks] or [0]
        shown = ", ".join(f"{each:,}" for each in values[:: max(1, len(values) // 8)])
        print(f"  {which}: {shown}")
    for line in wrong:
        print(f"wrong: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
