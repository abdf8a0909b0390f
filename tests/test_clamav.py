"""The scanner of the examples, before a real clamd with a signature of our own, and before one that fails."""

import contextlib
import os
import pickle
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from tempfile import TemporaryDirectory

import clamav
import pytest
from builders.pictures import encoded, photograph
from builders.png import Chunk, join, split
from clamav import ClamAV

import safeupload
from safeupload import Uploads
from safeupload.storage import MemoryStorage

MARK = b"what our signature looks for"
CLEAN = encoded(photograph(640, 480), "PNG")
MARKED = join([*split(CLEAN), Chunk(b"tEXt", b"Comment\0" + MARK)])
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"


@pytest.fixture(scope="module")
def address() -> Generator[str]:
    """Run clamd with one signature, and give the address of its socket."""
    program = shutil.which("clamd", path=PATH)
    if program is None:
        assert "clamd" not in os.environ.get("SAFEUPLOAD_REQUIRE", "").split()
        pytest.skip("needs clamd")
    with TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        (folder / "signatures").mkdir()
        (folder / "signatures" / "ours.ndb").write_text(f"Ours.Mark-1:0:*:{MARK.hex()}\n")
        settings = {
            "Foreground": "yes",
            "LocalSocket": folder / "socket",
            "DatabaseDirectory": folder / "signatures",
            "TemporaryDirectory": folder,
            "StreamMaxLength": "1M",
            "AlertExceedsMax": "yes",
        }
        (folder / "clamd.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([program, "-c", folder / "clamd.conf"], stdout=log, stderr=log)
        try:
            _await(folder / "socket", process)
            yield str(folder / "socket")
        finally:
            process.terminate()
            process.wait(30)


def _await(path: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            return
        assert process.poll() is None, (path.parent / "log").read_text()
        time.sleep(0.1)
    pytest.fail("clamd does not listen")


@contextlib.contextmanager
def scanner(answer: Callable[[socket.socket], object]) -> Generator[tuple[str, int]]:
    """Run a scanner that takes one connection and does with it as it likes; give its address."""

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as connection:
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def upload(file: bytes, check: ClamAV) -> MemoryStorage:
    """Store a file that a scanner lets pass, and return the storage."""
    storage = MemoryStorage()
    uploads = Uploads(storage, references=lambda keys: keys, checks=[check])
    try:
        with uploads.transaction() as tx:
            tx.save(file)
            tx.commit(lambda: None)
    except safeupload.SafeUploadError:
        assert not list(storage.keys())
        raise
    return storage


def test_what_is_clean_is_stored(address: str) -> None:
    """A real scanner lets a picture pass, however often it is asked."""
    check = ClamAV(address)
    for _ in range(3):
        assert len(list(upload(CLEAN, check).keys())) == 1


def test_what_the_scanner_finds_is_refused(address: str) -> None:
    """A picture with the signature's bytes in its comment is refused, and the log can tell for what."""
    with pytest.raises(clamav.Infected) as caught:
        upload(MARKED, ClamAV(address))

    assert caught.value.found.startswith("Ours.Mark-1")
    assert caught.value.problem()["code"] == "infected"
    assert "Ours" not in str(caught.value.problem())
    assert pickle.loads(pickle.dumps(caught.value)).found == caught.value.found


def test_the_same_picture_without_the_scanner_is_clean_afterwards(address: str) -> None:
    """What is stored is made of pixels, so the scanner finds nothing in it any more."""
    picture = safeupload.normalize(MARKED)

    ClamAV(address)(picture.data, picture)


def test_what_is_too_large_for_the_scanner_is_not_stored(address: str) -> None:
    """A file beyond clamd's StreamMaxLength has not been scanned, so it does not pass."""
    large = join([*split(CLEAN), Chunk(b"tEXt", b"Comment\0" + bytes(2 << 20))])
    safeupload.normalize(large)

    with pytest.raises(safeupload.CheckUnavailable):
        upload(large, ClamAV(address))


def test_a_scanner_that_is_down_lets_nothing_pass(tmp_path: Path) -> None:
    """Nobody listens: at a path that is none, or at a port."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for address in (str(tmp_path / "none"), ("127.0.0.1", port)):
        with pytest.raises(safeupload.CheckUnavailable) as caught:
            upload(CLEAN, ClamAV(address))
        assert isinstance(caught.value.__cause__, OSError)


def _all(connection: socket.socket) -> None:
    """Read a whole stream, to the piece of length 0."""
    with connection.makefile("rb") as file:
        assert file.read(10) == b"zINSTREAM\0"
        while size := int.from_bytes(file.read(4), "big"):
            file.read(size)


def _answers(answer: bytes) -> Callable[[socket.socket], object]:
    def serve(connection: socket.socket) -> None:
        _all(connection)
        connection.sendall(answer)

    return serve


FAULTS: dict[str, Callable[[socket.socket], object]] = {
    "closes at once": lambda connection: None,
    "closes after the command": lambda connection: connection.recv(10),
    "closes within the stream": lambda connection: connection.recv(5000),
    "says nothing": _all,
    "stops within its answer": _answers(b"stream: O"),
    "stops before the end of its answer": _answers(b"stream: OK"),
    "an error": _answers(b"INSTREAM size limit exceeded. ERROR\0"),
    "an empty answer": _answers(b"\0"),
    "two answers": _answers(b"stream: OK\0stream: OK\0"),
    "OK and more": _answers(b"stream: OK, or so\0"),
    "of another command": _answers(b"PONG\0"),
    "endless": _answers(b"stream: OK" * 100_000),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_scanner_that_fails_lets_nothing_pass(fault: str) -> None:
    """Whatever else than a whole "stream: OK" comes is not clean."""
    with scanner(FAULTS[fault]) as address, pytest.raises(safeupload.CheckUnavailable):
        upload(CLEAN, ClamAV(address, timeout=20))


def test_a_scanner_that_hangs_is_given_up() -> None:
    """The time is for the whole scan, also with a scanner that sends a byte now and then."""
    ended = threading.Event()

    def drips(connection: socket.socket) -> None:
        _all(connection)
        while not ended.wait(0.1):
            connection.sendall(b"s")

    started = time.monotonic()
    with scanner(drips) as address:
        with pytest.raises(safeupload.CheckUnavailable):
            upload(CLEAN, ClamAV(address, timeout=0.5))
        assert time.monotonic() - started < 10
        ended.set()


def test_a_stand_in_that_answers_well_lets_pass() -> None:
    """The faults above are the reason for the refusals, not the stand-in."""
    with scanner(_answers(b"stream: OK\0")) as address:
        assert len(list(upload(CLEAN, ClamAV(address)).keys())) == 1
