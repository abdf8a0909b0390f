"""Decoders in processes of their own: what goes wrong in one is contained, and the next upload works."""

import asyncio
import gc
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from builders.pictures import encoded as file_of
from builders.pictures import jpeg, photograph

import safeupload
from safeupload import (
    AVATAR,
    AsyncUploads,
    DecoderCrashed,
    DecoderMemory,
    DecoderTimeout,
    DecoderUnavailable,
    InvalidArgument,
    Rendition,
    TooComplex,
    Uploads,
    WorkerProcesses,
    _workers,
    normalize,
    normalize_async,
    validate,
)
from safeupload._worker import decoded_policy, encoded
from safeupload.storage import LocalStorage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")

#: A worker in which a word in the upload plants a fault.
PLANTED = """\
import json, sys
sys.path[:] = json.loads(sys.argv.pop(1))
import ctypes, os, time
from safeupload import _worker
work, send = _worker.answer, _worker._send

def planted(data, policy, *, pictures):
    what = data.partition(b"PLANT:")[2][:8].rstrip(b".").decode()
    if what == "segv":
        ctypes.string_at(0)
    elif what == "exit":
        os._exit(0)
    elif what == "loop":
        while True:
            pass
    elif what == "sleep":
        time.sleep(3600)
    elif what == "memory":
        bytearray(4 << 30)
    elif what == "garbage":
        return [os.urandom(1000)]
    elif what == "other":
        return [_worker.ANSWER.pack(0, 7)]
    elif what == "huge":
        return [_worker.ANSWER.pack(0, 1), _worker.LENGTH.pack(1 << 40)]
    elif what == "half":
        parts = work(data, policy, pictures=pictures)
        os.write(answers(), b"".join(parts)[:-100])
        os._exit(0)
    elif what == "stuck":
        parts = work(data, policy, pictures=pictures)
        os.write(answers(), b"".join(parts)[:-100])
        time.sleep(3600)
    elif what == "picture":
        return [_worker.ANSWER.pack(0, 1), _worker.LENGTH.pack(len(data)), data]
    elif what == "slow":
        time.sleep(0.3)
    return work(data, policy, pictures=pictures)

def answers():
    return _worker.numbers[1]

_worker.answer = planted
fdopen = os.fdopen
_worker.numbers = []
def noting(number, *rest):
    _worker.numbers.append(number)
    return fdopen(number, *rest)
os.fdopen = noting
_worker.main(sys.argv[1:])
"""


def png(width: int, height: int) -> bytes:
    """Return a PNG."""
    return file_of(photograph(width, height), "PNG")


def insert_comment(data: bytes, text: bytes) -> bytes:
    """Return a JPEG with a comment in it."""
    return data[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[2:]


def plant(what: str, picture: bytes | None = None) -> bytes:
    """Return an upload that plants this in a worker."""
    return insert_comment(jpeg(640, 480) if picture is None else picture, b"PLANT:" + what.encode() + b"." * 10)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Generator[WorkerProcesses]:
    """Give two workers in which faults can be planted."""
    monkeypatch.setattr(_workers, "_MAIN", PLANTED)
    with WorkerProcesses(2, timeout=2) as workers:
        yield workers


def children() -> set[int]:
    """Return the workers that this process has started."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(each) for each in (task / "children").read_text().split()}
    return {each for each in found if b"safeupload" in command_line(each)}


def command_line(process: int) -> bytes:
    """Return how a process was started; nothing if it is gone."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


POLICIES = {
    "avatar": AVATAR,
    "renditions": replace(
        AVATAR,
        size=(64, 48),
        renditions={
            "whole": Rendition(size=(200, 200), fit="contain", format="WEBP"),
            "padded": Rendition(size=(80, 200), fit="pad", format="PNG"),
            "avif": Rendition(size=(33, 44), format="AVIF"),
        },
    ),
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_a_worker_makes_the_same_picture(workers: WorkerProcesses, policy: safeupload.Policy) -> None:
    """Bit by bit, with its renditions, and tells the same of the upload."""
    for upload in (jpeg(640, 480), png(50, 70)):
        assert normalize(upload, policy, decoder=workers) == normalize(upload, policy)
        assert validate(upload, policy, decoder=workers) == validate(upload, policy)


def test_what_is_refused_is_refused_alike(workers: WorkerProcesses) -> None:
    """Nearly all of it before a worker sees it; what a decoder finds is `Corrupt` as well."""
    torn = bytearray(jpeg(640, 480))
    torn[len(torn) // 2 :] = torn[len(torn) // 2 : -40] + torn[-2:]
    for upload in (b"", b"text", jpeg(640, 480)[:3000], bytes(torn)):
        with pytest.raises(safeupload.Rejected) as here:
            normalize(upload)
        with pytest.raises(safeupload.Rejected) as there:
            normalize(upload, decoder=workers)
        assert there.value.problem() == here.value.problem()
    with pytest.raises(TooComplex):
        normalize(jpeg(640, 480), replace(AVATAR, max_decode_bytes=1000), decoder=workers)


FAULTS: dict[str, type[safeupload.Rejected]] = {
    "segv": DecoderCrashed,
    "exit": DecoderCrashed,
    "loop": DecoderTimeout,
    "sleep": DecoderTimeout,
    "memory": DecoderMemory,
    "garbage": DecoderCrashed,
    "other": DecoderCrashed,
    "huge": DecoderCrashed,
    "half": DecoderCrashed,
    "stuck": DecoderTimeout,
    "picture": DecoderCrashed,
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_in_a_worker_is_that_picture_s(workers: WorkerProcesses, what: str) -> None:
    """Whoever sent it is refused, in time; those beside him and after him are not."""
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        beside = pool.submit(normalize, plant("slow"), decoder=workers)
        with pytest.raises(FAULTS[what]):
            normalize(plant(what), decoder=workers)
        assert beside.result() == normalize(plant("slow"))
    assert time.monotonic() - started < 6

    for _ in range(3):
        assert normalize(jpeg(640, 480), decoder=workers) == normalize(jpeg(640, 480))
    if Path("/proc").exists():
        assert len(children()) == 2


@pytest.mark.parametrize("event", [selectors.EVENT_READ, selectors.EVENT_WRITE], ids=["read", "write"])
def test_p2_who_waits_for_a_worker_gives_up_in_time(event: int) -> None:
    """By its own clock: that a worker is ended by the kernel later on is for one whose application is gone."""
    readable, writable = os.pipe()
    try:
        os.set_blocking(writable, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writable, bytes(1 << 16))
        waited = os.pipe() if event == selectors.EVENT_READ else (readable, writable)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            _workers._wait(waited[event == selectors.EVENT_WRITE], event, started + 0.2)
        assert 0.19 < time.monotonic() - started < 2
    finally:
        for number in {readable, writable, *waited}:
            os.close(number)


def test_a_worker_that_dies_with_nothing_to_do_is_replaced(workers: WorkerProcesses) -> None:
    """Nobody is told, since nobody is to blame."""
    normalize(jpeg(64, 48), decoder=workers)
    for worker in workers._pool.workers:
        assert worker._process is not None
        worker._process.kill()
        worker._process.wait()
    for _ in range(4):
        normalize(jpeg(64, 48), decoder=workers)


def test_a_worker_is_replaced_after_a_while() -> None:
    """So that what a decoder loses or keeps is gone."""
    with WorkerProcesses(1, pictures=3) as workers:
        seen = []
        for _ in range(7):
            process = workers._pool.workers[0]._process
            assert process is not None
            seen.append(process.pid)
            normalize(jpeg(64, 48), decoder=workers)
    assert [seen.count(each) for each in dict.fromkeys(seen)] == [3, 3, 1]


def test_the_queue_is_bounded(workers: WorkerProcesses) -> None:
    """Whoever finds too many before him is told so at once, by a 503; the others get their pictures."""
    workers._waiting = 1
    with ThreadPoolExecutor(3) as pool:
        made = [pool.submit(normalize, plant("slow"), decoder=workers) for _ in range(3)]
        while workers._pool.busy < 3:
            time.sleep(0.001)
        with pytest.raises(DecoderUnavailable, match="1 uploads wait") as caught:
            normalize(jpeg(64, 48), decoder=workers)
        assert caught.value.status == 503
        assert len({each.result().sha256 for each in made}) == 1
    normalize(jpeg(64, 48), decoder=workers)


def test_a_worker_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is the picture to blame for that."""
    for main in ("raise SystemExit(1)", "import nonsense"):
        monkeypatch.setattr(_workers, "_MAIN", main)
        with WorkerProcesses(1) as workers, pytest.raises(DecoderUnavailable, match="did not start"):
            normalize(jpeg(64, 48), decoder=workers)
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    with pytest.raises(DecoderUnavailable, match="could not start"):
        WorkerProcesses(1).start()


@pytest.mark.parametrize(
    "arguments",
    [{"processes": 0}, {"processes": True}, {"memory": 1}, {"timeout": 0}, {"pictures": 0}, {"waiting": -1}],
    ids=repr,
)
def test_settings_that_cannot_work(arguments: dict[str, Any]) -> None:
    """Said where they are given."""
    with pytest.raises(InvalidArgument, match=next(iter(arguments))):
        WorkerProcesses(**arguments)


def test_a_policy_comes_to_a_worker_as_it_is() -> None:
    """By JSON and back, whatever is in it."""
    for policy in POLICIES.values():
        assert decoded_policy(encoded(policy)) == policy


# --- what a worker has ---

TELLING = """\
import json, os, sys
arguments = sys.argv[2:]
sys.path[:] = json.loads(sys.argv.pop(1))
from safeupload import _worker
import resource

def link(path):
    return os.readlink(path) if os.path.lexists(path) else ""

def telling(data, policy, *, pictures):
    what = {
        "environment": sorted(os.environ),
        "arguments": arguments,
        "folder": os.getcwd(),
        "files": [target for each in range(32) if (target := link(f"/proc/self/fd/{each}"))],
        "size": resource.getrlimit(resource.RLIMIT_FSIZE)[1],
        "session": os.getsid(0) == os.getpid(),
    }
    return [_worker.ANSWER.pack(0, 1), _worker.LENGTH.pack(len(json.dumps(what))), json.dumps(what).encode()]

_worker.answer = telling
_worker.main(sys.argv[1:])
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads what Linux knows of a process")
def test_a_worker_has_nothing_of_the_application(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No environment, no open file, no folder, and it may write no file."""
    monkeypatch.setattr(_workers, "_MAIN", TELLING)
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:password@host/name")
    with (tmp_path / "secret").open("w") as file, WorkerProcesses(1) as workers:
        os.set_inheritable(file.fileno(), True)  # noqa: FBT003 - as some libraries do
        (text,) = workers.run(jpeg(64, 48), AVATAR, pictures=True)
    told = json.loads(text)

    assert set(told["environment"]) <= {"LC_CTYPE", "LD_LIBRARY_PATH"}
    assert told["folder"] == "/"
    kinds = sorted(each.partition(":")[0] for each in told["files"])
    assert kinds == ["/dev/null"] * 4 + ["pipe"] * 2
    assert (told["size"], told["session"]) == (0, True)


# --- the end ---


def test_nothing_is_left_when_it_is_closed() -> None:
    """No process and no descriptor; used again, it starts others."""
    gc.collect()
    before = len(os.listdir("/proc/self/fd")), children()  # noqa: PTH208
    workers = WorkerProcesses(2)
    for _ in range(3):
        normalize(jpeg(64, 48), decoder=workers)
        assert len(children() - before[1]) >= 1
        workers.close()
        assert (len(os.listdir("/proc/self/fd")), children()) == before  # noqa: PTH208


def test_nothing_is_left_when_it_is_forgotten() -> None:
    """The garbage collector closes it."""
    gc.collect()
    before = children()
    workers = WorkerProcesses(1)
    normalize(jpeg(64, 48), decoder=workers)
    assert children() != before
    del workers
    gc.collect()
    assert children() == before


def test_closing_ends_what_is_at_work(workers: WorkerProcesses) -> None:
    """Whoever waits for it is told; nothing stays."""
    with ThreadPoolExecutor(1) as pool:
        at_work = pool.submit(normalize, plant("sleep"), decoder=workers)
        while not workers._pool.busy:
            time.sleep(0.001)
        time.sleep(0.2)
        workers.close()
        assert isinstance(at_work.exception(), DecoderCrashed | DecoderUnavailable)
    assert children() == set()


PARENT = """\
import sys, time, threading
sys.path.insert(0, {tests!r})
from builders.pictures import jpeg
import test_workers
from safeupload import WorkerProcesses, _workers, normalize
_workers._MAIN = test_workers.PLANTED
workers = WorkerProcesses(2, timeout=3)
workers.start()
normalize(jpeg(64, 48), decoder=workers)
threading.Thread(target=normalize, args=(test_workers.plant("sleep"),), kwargs={{"decoder": workers}}).start()
time.sleep(0.5)
print(*[worker._process.pid for worker in workers._pool.workers], flush=True)
time.sleep(60)
"""


def test_nothing_is_left_when_the_application_is_killed() -> None:
    """A worker with nothing to do notices at once, one that is at work when its time is over, whatever it does."""
    script = PARENT.format(tests=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(each) for each in parent.stdout.readline().split()]
        parent.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 15
    while any(is_alive(each) for each in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    """Tell whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_each_process_has_workers_of_its_own(workers: WorkerProcesses) -> None:
    """As after a fork while others are at work: no pipe is shared, and no lock waited for that nobody will release."""
    normalize(jpeg(64, 48), decoder=workers)
    with ThreadPoolExecutor(1) as pool:
        at_work = pool.submit(normalize, plant("slow"), decoder=workers)
        while not workers._pool.busy:
            time.sleep(0.001)
        with workers._lock:
            child = os.fork()
        if not child:
            try:
                made = [normalize(jpeg(64, 48), decoder=workers) for _ in range(3)]
                workers.close()
                os._exit(0 if len({each.sha256 for each in made}) == 1 else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        at_work.result()
    normalize(jpeg(64, 48), decoder=workers)


# --- many ---


def mixed(workers: WorkerProcesses, number: int, every: int) -> tuple[int, int]:
    """Normalize so many uploads, some of which kill their worker; return how many were accepted, how many crashed."""
    good, bad = jpeg(320, 240), plant("segv", jpeg(320, 240))
    expected = normalize(good).sha256

    def one(at: int) -> bool:
        try:
            made = normalize(bad if at % every == every - 1 else good, decoder=workers)
        except DecoderCrashed:
            return False
        assert made.sha256 == expected
        return True

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(one, range(number)))
    return results.count(True), results.count(False)


def test_crashes_lose_none_of_the_others(workers: WorkerProcesses) -> None:
    """One of twenty kills its worker, and no other upload with it."""
    assert mixed(workers, 100, 20) == (95, 5)


@pytest.mark.long
def test_crashes_lose_none_of_the_others_in_a_thousand(workers: WorkerProcesses) -> None:
    """One of a hundred."""
    assert mixed(workers, 1000, 100) == (990, 10)


# --- async, and uploads ---


def test_the_event_loop_goes_on(workers: WorkerProcesses) -> None:
    """While a worker works, and while one is ended; a cancelled call leaves none at work."""

    async def main() -> list[float]:
        gaps, last = [0.0], time.monotonic()

        async def tick() -> None:
            nonlocal last
            while True:
                await anyio.sleep(0.005)
                now = time.monotonic()
                gaps.append(now - last)
                last = now

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            assert (await normalize_async(plant("slow"), decoder=workers)).width == 300
            with pytest.raises(DecoderTimeout):
                await normalize_async(plant("sleep"), decoder=workers)
            with anyio.move_on_after(0.1):
                await normalize_async(plant("slow"), decoder=workers)
            assert workers._pool.busy == 0
            tasks.cancel_scope.cancel()
        return gaps

    assert max(asyncio.run(main())) < 0.2


def test_uploads_decode_where_they_are_told(workers: WorkerProcesses, tmp_path: Path) -> None:
    """Both classes, and every way to hand over an upload; what is refused leaves nothing behind."""
    rows: dict[int, str] = {}

    def used(keys: list[str]) -> list[str]:
        return [key for key in keys if key in rows.values()]

    async def used_async(keys: list[str]) -> list[str]:
        return used(keys)

    storage = LocalStorage(tmp_path)
    uploads = Uploads(storage, references=used, decoder=workers)
    with uploads.replace(jpeg(640, 480)) as new:
        key = new.replacing(None)
        new.commit(partial(rows.__setitem__, 1, key))
    with uploads.transaction() as tx:
        second = tx.save(jpeg(640, 480))
        tx.commit(partial(rows.__setitem__, 2, second))

    async def main() -> None:
        both = AsyncUploads(storage, references=used_async, decoder=workers)

        async def commit(row: int, key: str) -> None:
            rows[row] = key

        async with both.replace(jpeg(640, 480)) as new:
            key = new.replacing(None)
            await new.commit(lambda: commit(3, key))
        with pytest.raises(DecoderCrashed):
            async with both.replace(plant("segv")):
                pass
        async with both.transaction() as tx:
            with pytest.raises(DecoderCrashed):
                await tx.save(plant("exit"))
            key = await tx.save(jpeg(640, 480))
            await tx.commit(lambda: commit(4, key))

    asyncio.run(main())
    with pytest.raises(DecoderCrashed), uploads.replace(plant("segv")):
        pass
    assert {path.name for path in tmp_path.glob("*.jpg")} == set(rows.values())
    assert {storage.read(key) for key in rows.values()} == {normalize(jpeg(640, 480)).data}


def test_an_interrupt_leaves_no_answer_for_the_next(workers: WorkerProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a worker is at work: what it would answer belongs to nobody."""
    wait = _workers._wait
    calls = [0]

    def interrupted(*arguments: Any) -> None:  # noqa: ANN401
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt
        wait(*arguments)

    with WorkerProcesses(1) as one:
        normalize(jpeg(64, 48), decoder=one)
        calls[0] = 0
        monkeypatch.setattr(_workers, "_wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            normalize(plant("slow"), decoder=one)
        monkeypatch.undo()
        assert normalize(png(50, 70), decoder=one) == normalize(png(50, 70))


# --- what comes from a worker ---

ANSWERS: dict[str, Callable[[bytes, bytes], bytes]] = {
    "another size": lambda upload, made: normalize(upload, replace(AVATAR, size=(301, 300))).data,
    "another format": lambda upload, made: png(300, 300),
    "the upload": lambda upload, made: upload,
    "a comment": lambda upload, made: insert_comment(made, b"<script>"),
    "something after it": lambda upload, made: made + b"<script>",
    "the half of it": lambda upload, made: made[: len(made) // 2],
    "nothing": lambda upload, made: b"",
}


@contextmanager
def answering(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> Generator[WorkerProcesses]:
    """Give workers that all answer this."""
    workers = WorkerProcesses(1)
    monkeypatch.setattr(workers, "run", lambda *_, **__: [answer])
    yield workers


@pytest.mark.parametrize("name", ANSWERS)
def test_a_worker_that_has_been_taken_over_answers_in_vain(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it sends is a picture of the planned size and format without metadata, or a crash."""
    upload = jpeg(640, 480)
    made = normalize(upload).data
    with answering(made, monkeypatch) as workers:
        assert normalize(upload, decoder=workers).data == made
    with answering(ANSWERS[name](upload, made), monkeypatch) as workers, pytest.raises(DecoderCrashed):
        normalize(upload, decoder=workers)
