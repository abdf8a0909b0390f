"""Decoders in processes of their own: what goes wrong in one is contained, and the next upload works."""

import asyncio
import gc
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
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
    _process,
    _render,
    _workers,
    normalize,
    normalize_async,
    validate,
)
from safeupload._render import Shape
from safeupload._worker import as_json, from_json
from safeupload.storage import LocalStorage, MemoryStorage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")

#: A worker in which a word in the upload plants a fault.
PLANTED = """\
import json, sys
sys.path[:] = json.loads(sys.argv.pop(1))
import ctypes, os, signal, time
from safeupload import _worker
work = _worker.answer

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
    elif what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif what == "children":
        if os.fork():
            os.fork()
        time.sleep(3600)
    elif what == "orphan":  # left by a worker that dies
        if os.fork():
            os._exit(0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        time.sleep(3600)
    elif what == "poor":
        rendered = _worker.rendered
        _worker.rendered = lambda *rest: map(poor, rendered(*rest))
    elif what == "memory":
        bytearray(4 << 30)
    elif what == "garbage":
        yield bytes(range(128, 256)) * 8
    elif what == "other":
        yield bytes([7])
    elif what == "alpha":
        yield b"4"
        yield bytes(4 * 300 * 300)
    elif what == "none":
        yield b"D"
        return
    elif what == "twice":
        yield from list(work(data, policy, pictures=pictures))[:-1]
    elif what == "half":
        os.write(answers(), b"".join(work(data, policy, pictures=pictures))[:-100])
        os._exit(0)
    elif what == "stuck":
        os.write(answers(), b"".join(work(data, policy, pictures=pictures))[:-100])
        time.sleep(3600)
    elif what == "slow":
        time.sleep(0.3)
    yield from work(data, policy, pictures=pictures)
    if what == "more":
        yield b"3" + bytes(1000)

def poor(picture):
    def tobytes():
        raise MemoryError
    picture.tobytes = tobytes
    return picture

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


def pids(workers: WorkerProcesses) -> list[int]:
    """Return the numbers of the processes that there are."""
    return sorted(process.pid for process in workers._pool._all)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Generator[WorkerProcesses]:
    """Give two workers in which faults can be planted."""
    monkeypatch.setattr(_process, "_MAIN", PLANTED)
    with WorkerProcesses(2, timeout=2) as workers:
        yield workers


def children() -> set[int]:
    """Return the workers that this process has started."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(each) for each in (task / "children").read_text().split()}
    return {each for each in found if b"sys.path[:] = " in command_line(each)}


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
    "poor": DecoderMemory,
    "orphan": DecoderTimeout,
    "garbage": DecoderCrashed,
    "stop": DecoderTimeout,
    "children": DecoderTimeout,
    "other": DecoderCrashed,
    "alpha": DecoderCrashed,
    "none": DecoderCrashed,
    "twice": DecoderCrashed,
    "half": DecoderCrashed,
    "stuck": DecoderTimeout,
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_in_a_worker_is_that_picture_s(workers: WorkerProcesses, what: str) -> None:
    """Whoever sent it is refused, in time; those beside him and after him are not."""
    started = time.monotonic()
    groups = pids(workers)
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
        assert not members(set(groups) - set(pids(workers)))  # nor children of what was ended


def members(groups: set[int]) -> list[int]:
    """Return the processes that live in these groups; one that a worker forks is in its."""
    found = []
    for process in map(int, filter(str.isdigit, os.listdir("/proc"))):  # noqa: PTH208
        with suppress(OSError):
            if os.getpgid(process) in groups and is_alive(process):
                found.append(process)
    return found


def test_what_a_worker_says_unasked_reaches_nobody(workers: WorkerProcesses) -> None:
    """Bytes behind an answer are not the beginning of the next one: such a worker is not asked again."""
    for _ in range(3):
        before = pids(workers)
        made = normalize(plant("more"), decoder=workers)
        assert made.sha256 == normalize(jpeg(640, 480)).sha256
        time.sleep(0.1)
        assert [normalize(png(50, 70), decoder=workers) for _ in range(4)] == [normalize(png(50, 70))] * 4
        assert pids(workers) != before


def test_who_is_busy_with_a_picture_is_not_the_worker_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding may take longer than a worker has for decoding: it waits with the next picture."""
    encode = _render._encode

    def slow(*arguments: Any) -> bytes:  # noqa: ANN401
        time.sleep(1.5)
        return encode(*arguments)

    policy = replace(AVATAR, renditions={name: Rendition(size=(1000, 1000)) for name in ("one", "two")})
    expected = normalize(jpeg(640, 480), policy)
    monkeypatch.setattr(_render, "_encode", slow)
    with WorkerProcesses(1, timeout=0.5) as workers:
        assert normalize(jpeg(640, 480), policy, decoder=workers) == expected


def test_a_worker_that_an_interrupt_has_lost_is_replaced(workers: WorkerProcesses) -> None:
    """Nobody gives it back, so it gives up its place and ends."""
    with WorkerProcesses(1) as one:
        for _ in range(3):
            process = one._pool.take(time.monotonic() + 1)
            pid = process.pid
            del process
            normalize(jpeg(64, 48), decoder=one)
            assert pids(one) != [pid]
            assert not is_alive(pid)


def test_workers_have_the_memory_that_the_policy_allows(workers: WorkerProcesses) -> None:
    """Or a picture that it takes would be refused there: told when an `Uploads` is made, and by `normalize`."""
    storage = MemoryStorage()
    least = AVATAR.max_decode_bytes
    for memory, fits in ((least, True), (least - 1, False)):
        some = WorkerProcesses(1, memory=memory)
        with nullcontext() if fits else pytest.raises(InvalidArgument, match="max_decode_bytes"):
            Uploads(storage, references=lambda keys: keys, decoder=some)
        with nullcontext() if fits else pytest.raises(InvalidArgument, match="max_decode_bytes"):
            normalize(jpeg(64, 48), decoder=some)
        some.close()


@pytest.mark.parametrize("event", [select.POLLIN, select.POLLOUT], ids=["read", "write"])
def test_p2_who_waits_for_a_worker_gives_up_in_time(event: int) -> None:
    """By its own clock: that a worker is ended by the kernel later on is for one whose application is gone."""
    readable, writable = os.pipe()
    try:
        os.set_blocking(writable, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writable, bytes(1 << 16))
        waited = os.pipe() if event == select.POLLIN else (readable, writable)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            _process._wait(waited[event == select.POLLOUT], event, started + 0.2)
        assert 0.19 < time.monotonic() - started < 2
    finally:
        for number in {readable, writable, *waited}:
            os.close(number)


def test_a_worker_that_dies_with_nothing_to_do_is_replaced(workers: WorkerProcesses) -> None:
    """Nobody is told, since nobody is to blame."""
    normalize(jpeg(64, 48), decoder=workers)
    for process in workers._pool._all:
        process._process.kill()
        process._process.wait()
    for _ in range(4):
        normalize(jpeg(64, 48), decoder=workers)


def test_a_worker_is_replaced_after_a_while() -> None:
    """So that what a decoder loses or keeps is gone."""
    with WorkerProcesses(1, pictures=3) as workers:
        seen = []
        for _ in range(7):
            seen += pids(workers)
            normalize(jpeg(64, 48), decoder=workers)
    assert [seen.count(each) for each in dict.fromkeys(seen)] == [3, 3, 1]


def test_the_queue_is_bounded(workers: WorkerProcesses) -> None:
    """Whoever finds too many before him is told so at once, by a 503; the others get their pictures."""
    workers._waiting = 1
    with ThreadPoolExecutor(3) as pool:
        made = [pool.submit(normalize, plant("slow"), decoder=workers) for _ in range(3)]
        while workers._taken < 3:
            time.sleep(0.001)
        with pytest.raises(DecoderUnavailable, match="1 uploads wait") as caught:
            normalize(jpeg(64, 48), decoder=workers)
        assert caught.value.status == 503
        assert len({each.result().sha256 for each in made}) == 1
    normalize(jpeg(64, 48), decoder=workers)


def test_a_worker_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is the picture to blame for that."""
    for main in ("raise SystemExit(1)", "import nonsense"):
        monkeypatch.setattr(_process, "_MAIN", main)
        with WorkerProcesses(1) as workers, pytest.raises(DecoderUnavailable, match="did not start"):
            normalize(jpeg(64, 48), decoder=workers)
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    with pytest.raises(DecoderUnavailable, match="could not start"):
        WorkerProcesses(1).start()
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(InvalidArgument, match="executable"):
        WorkerProcesses(1)


def test_a_worker_that_hangs_or_talks_when_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up in time, ended, and the picture is not to blame."""
    monkeypatch.setattr(_process, "START", 0.5)
    for main in ("import time; time.sleep(3600)", "print('hello', flush=True); import time; time.sleep(3600)"):
        monkeypatch.setattr(_process, "_MAIN", main)
        before = children()
        with WorkerProcesses(1) as workers, pytest.raises(DecoderUnavailable, match="did not start"):
            normalize(jpeg(64, 48), decoder=workers)
        assert children() == before


def test_nobody_waits_for_ever(workers: WorkerProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload whose turn does not come is a 503 when others would have given it up."""
    monkeypatch.setattr(_workers, "_PATIENCE", 0.2)
    with WorkerProcesses(1, timeout=3) as one, ThreadPoolExecutor(1) as pool:
        at_work = pool.submit(normalize, plant("sleep"), decoder=one)
        while not one._pool._all or one._pool._idle:
            time.sleep(0.001)
        with pytest.raises(DecoderUnavailable, match="was free"):
            normalize(jpeg(64, 48), decoder=one)
        assert isinstance(at_work.exception(), DecoderTimeout)
        monkeypatch.undo()
        normalize(jpeg(64, 48), decoder=one)


def test_a_failed_start_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two who wait for the place of a worker, the one whose start fails leaves it to the other."""
    start, fails = _process.Process, [True]

    def starting(*arguments: Any) -> _process.Process:  # noqa: ANN401
        if fails and waiting:
            fails.clear()
            raise DecoderUnavailable("planted")
        return start(*arguments)

    pool, waiting = _workers._Pool(1, 1 << 28, 2, 1000), list[int]()
    monkeypatch.setattr(_workers, "Process", starting)
    held = pool.take(time.monotonic() + 1)
    with ThreadPoolExecutor(2) as threads:
        waiting += [1]
        others = [threads.submit(pool.take, time.monotonic() + 20) for _ in range(2)]
        while len(pool._changed._waiters) < 2:  # type: ignore[attr-defined]  # private, and the only way to know
            time.sleep(0.001)
        started = time.monotonic()
        held.end()
        pool.give_back(held)
        errors = [other.exception() for other in others]
        assert time.monotonic() - started < 10
    assert [str(error) for error in errors if error is not None] == ["planted"]
    pool.close()


def test_who_waits_when_it_is_closed_is_told(workers: WorkerProcesses) -> None:
    """At once, and what is used afterwards works."""
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(normalize, plant("sleep"), decoder=workers) for _ in range(4)]
        while workers._taken < 4:
            time.sleep(0.001)
        time.sleep(0.2)
        started = time.monotonic()
        workers.close()
        assert [type(each.exception()) for each in waiting] == [DecoderUnavailable] * 4
        assert time.monotonic() - started < 1.5
    normalize(jpeg(64, 48), decoder=workers)


def test_closing_beside_uploads_loses_no_thread() -> None:
    """However they meet: each upload ends, with a picture or by being told, and nothing is left."""
    workers = WorkerProcesses(2)
    expected = normalize(jpeg(64, 48))
    ended = time.monotonic() + 3
    before = children()

    def user(_: int) -> None:
        while time.monotonic() < ended:
            with suppress(DecoderUnavailable):
                assert normalize(jpeg(64, 48), decoder=workers) == expected

    with ThreadPoolExecutor(4) as pool:
        users = pool.map(user, range(4))
        while time.monotonic() < ended:
            time.sleep(0.3)
            workers.close()
        assert list(users) == [None] * 4
    assert normalize(jpeg(64, 48), decoder=workers) == expected
    workers.close()
    assert children() == before


def test_the_queue_of_the_event_loop_is_bounded_too(workers: WorkerProcesses) -> None:
    """Those who wait for the limiter count: what is too much is told so at once."""
    workers._waiting = 2

    async def main() -> list[str]:
        told: list[str] = []

        async def upload() -> None:
            try:
                await normalize_async(plant("slow"), decoder=workers, limiter=limiter)
            except DecoderUnavailable:
                told.append("503")
            else:
                told.append("picture")

        limiter = anyio.CapacityLimiter(1)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(upload)
        return told

    assert sorted(asyncio.run(main())) == ["503"] * 16 + ["picture"] * 4


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs the limits of Linux")
def test_the_application_needs_no_descriptor_of_its_own(workers: WorkerProcesses) -> None:
    """With none left, workers that there are go on, and one that cannot be started is a 503."""
    script = """if True:
        import os, resource, sys
        sys.path.insert(0, sys.argv[1])
        from builders.pictures import jpeg
        from safeupload import DecoderUnavailable, WorkerProcesses, normalize
        upload, workers = jpeg(64, 48), WorkerProcesses(1)
        normalize(upload, decoder=workers)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        try:
            while True:
                os.dup(0)
        except OSError:
            pass
        normalize(upload, decoder=workers)
        workers.close()
        for number in range(3, 64):
            try:
                os.close(number)
            except OSError:
                pass
        normalize(upload, decoder=workers)
        for _ in range(64):
            try:
                os.dup(0)
            except OSError:
                break
        other = WorkerProcesses(1)
        try:
            normalize(upload, decoder=other)
        except DecoderUnavailable as error:
            print(error)
    """
    tests = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", script, tests], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "could not start a worker" in done.stdout


@pytest.mark.parametrize("how", ["blocked", "ignored"])
def test_the_application_s_signals_do_not_reach_a_worker(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it blocks or ignores still ends a worker that is at work too long, and what would end it does not."""
    numbers = {signal.SIGALRM, signal.SIGXCPU}
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        if how == "blocked":
            signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        else:
            for number in numbers:
                signal.signal(number, signal.SIG_IGN)
        monkeypatch.setattr(_process, "_MAIN", PLANTED)
        workers = WorkerProcesses(1, timeout=1)
        workers.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        for number, handler in before.items():
            signal.signal(number, handler)
    with workers:
        normalize(jpeg(64, 48), decoder=workers)
        (pid,) = pids(workers)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)
        normalize(jpeg(64, 48), decoder=workers)
        assert pids(workers) == [pid]
        lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        mask = sum(1 << (number - 1) for number in numbers)
        assert int(lines["SigBlk"], 16) & mask == 0
        assert int(lines["SigIgn"], 16) & mask == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"processes": 0},
        {"processes": True},
        {"memory": 1},
        {"memory": 1 << 47},
        {"timeout": 0},
        {"timeout": 100_000},
        {"pictures": 0},
        {"waiting": -1},
    ],
    ids=repr,
)
def test_settings_that_cannot_work(arguments: dict[str, Any]) -> None:
    """Said where they are given."""
    with pytest.raises(InvalidArgument, match=next(iter(arguments))):
        WorkerProcesses(**arguments)


def test_a_policy_comes_to_a_worker_as_it_is() -> None:
    """By JSON and back, whatever is in it."""
    for policy in POLICIES.values():
        assert from_json(as_json(policy)) == policy


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
    yield b"3"
    yield json.dumps(what).encode().ljust(3 * 300 * 300)
    yield b"D"

_worker.answer = telling
_worker.main(sys.argv[1:])
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads what Linux knows of a process")
def test_a_worker_has_nothing_of_the_application(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No environment, no open file, no folder, and it may write no file."""
    monkeypatch.setattr(_process, "_MAIN", TELLING)
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:password@host/name")
    with (tmp_path / "secret").open("w") as file, WorkerProcesses(1) as workers:
        os.set_inheritable(file.fileno(), True)  # noqa: FBT003 - as some libraries do
        with workers._process() as process:
            (picture,) = process.ask(jpeg(64, 48), AVATAR, [Shape((300, 300), has_alpha=False)])
    told = json.loads(picture.tobytes())

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
        while not workers._taken:
            time.sleep(0.001)
        time.sleep(0.2)
        workers.close()
        assert isinstance(at_work.exception(), DecoderUnavailable)
    assert children() == set()


PARENT = """\
import sys, time, threading
sys.path.insert(0, {tests!r})
from builders.pictures import jpeg
import test_workers
from safeupload import WorkerProcesses, _process, normalize
_process._MAIN = test_workers.PLANTED
workers = WorkerProcesses(2, timeout=3)
workers.start()
normalize(jpeg(64, 48), decoder=workers)
threading.Thread(target=normalize, args=(test_workers.plant("sleep"),), kwargs={{"decoder": workers}}).start()
time.sleep(0.5)
print(*test_workers.pids(workers), flush=True)
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
        while not workers._taken:
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

    async def main() -> dict[str, int]:
        ticks = 0
        meanwhile: dict[str, int] = {}

        async def tick() -> None:
            nonlocal ticks
            while True:
                await anyio.sleep(0.005)
                ticks += 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            assert (await normalize_async(plant("slow"), decoder=workers)).width == 300
            meanwhile["worked"] = ticks
            with pytest.raises(DecoderTimeout):
                await normalize_async(plant("sleep"), decoder=workers)
            meanwhile["ended"] = ticks - sum(meanwhile.values())
            with anyio.move_on_after(0.1):
                await normalize_async(plant("slow"), decoder=workers)
            assert workers._taken == 0
            meanwhile["was cancelled"] = ticks - sum(meanwhile.values())
            tasks.cancel_scope.cancel()
        return meanwhile

    # In a loop that is blocked there is one at most. Gaps would say how busy the machine is with other things.
    assert min(asyncio.run(main()).values()) > 3


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
    wait = _process._wait
    calls = [0]

    def interrupted(*arguments: Any) -> None:  # noqa: ANN401
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt
        wait(*arguments)

    with WorkerProcesses(1) as one:
        normalize(jpeg(64, 48), decoder=one)
        calls[0] = 0
        monkeypatch.setattr(_process, "_wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            normalize(plant("slow"), decoder=one)
        monkeypatch.undo()
        assert normalize(png(50, 70), decoder=one) == normalize(png(50, 70))
