"""
Send 500 MB where 5 MB are allowed, to real servers, and watch what they take in, without limits and with them.

For each framework, with a Content-Length and chunked: how many bytes the client could send before it was answered, or
before the connection was closed, how many lay in temporary files, and how much memory the server took. Needs Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from measure import MB
from processes import family, resident, wait_for_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

#: What we promise of a body that is too large, whatever its size.
GOAL_SENT: Final = 16 * MB
GOAL_DISK: Final = 10 * MB
GOAL_MEMORY: Final = 10 * MB

_BLOCK: Final = b"x" * 65536
_SERVERS: Final = {
    "uvicorn": ["uvicorn", "{app}", "--fd", "{fd}", "--log-level", "error"],
    "granian": ["granian", "--interface", "asgi", "{app}", "--port", "{port}", "--log-level", "error"],
    "gunicorn": ["gunicorn", "{app}", "--bind", "fd://{fd}", "--log-level", "error", "--no-control-socket"],
}
#: Framework, and server.
_SETUPS: Final = {
    "fastapi": ("uvicorn", "fastapi"),
    "fastapi-granian": ("granian", "fastapi"),
    "django-asgi": ("uvicorn", "asgidjango"),
    "django": ("gunicorn", "django"),
    "flask": ("gunicorn", "flask"),
}


class Row(NamedTuple):
    """One body."""

    setup: str
    limited: bool
    chunked: bool
    sent: int
    disk: int
    memory: int
    status: int
    seconds: float


def main(argv: Sequence[str]) -> int:
    """Measure; return 1 if a goal is missed and that was asked for."""
    options = _options(argv)
    print(f"{options.size} MB where 5 MB are allowed")
    print("                                      sent MB   disk MB memory MB  status   seconds")
    rows = []
    for setup in options.setups:
        for limited in (True,) if options.limited else (False, True):
            with _served(setup, limited=limited) as (port, pids, folder):
                for chunked in (False, True):
                    _send(port, 1 << 20, chunked=chunked)  # warm
                    row = _measure(
                        port, pids(), folder, options.size * 1_000_000, setup, limited=limited, chunked=chunked
                    )
                    rows.append(row)
                    name = f"{setup}, {'limited' if limited else 'plain'}, {'chunked' if chunked else 'length'}"
                    print(
                        f"{name:35}{row.sent / MB:10.1f}{row.disk / MB:10.1f}{row.memory / MB:10.1f}"
                        f"{row.status:8}{row.seconds:10.2f}",
                        flush=True,
                    )
    if options.json:
        options.json.write_text(json.dumps([row._asdict() for row in rows], indent=2) + "\n")
    missed = [line for row in rows if row.limited for line in _missed(row)]
    print(*missed, sep="\n")
    return 1 if options.check and missed else 0


def _missed(row: Row) -> list[str]:
    """Return the goals that a body missed."""
    found = []
    for what, value, goal in (
        ("sent", row.sent, GOAL_SENT),
        ("disk", row.disk, GOAL_DISK),
        ("memory", row.memory, GOAL_MEMORY),
    ):
        if value > goal:
            found.append(f"{row.setup}: {what} {value / MB:.1f} MB, goal {goal / MB:.0f} MB")
    if row.status < 400:  # noqa: PLR2004
        found.append(f"{row.setup}: answered {row.status}")
    return found


@contextlib.contextmanager
def _served(setup: str, *, limited: bool) -> Generator[tuple[int, Callable[[], list[int]], Path]]:
    """Run a server with the application; give its port, its processes, and the folder of its temporary files."""
    server, app = _SETUPS[setup]
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryDirectory() as folder:
        port = listener.getsockname()[1]
        values = {"app": f"edge_apps:{app}_{'limited' if limited else 'plain'}", "fd": listener.fileno(), "port": port}
        if server == "granian":
            listener.close()  # it wants to bind by itself
        command = [sys.executable, "-m", *(word.format(**values) for word in _SERVERS[server])]
        environment = {**os.environ, "TMPDIR": folder, "PYTHONPATH": str(Path(__file__).parent)}
        fds = [] if server == "granian" else [listener.fileno()]
        process = subprocess.Popen(command, env=environment, pass_fds=fds, cwd=folder, start_new_session=True)
        try:
            wait_for_answer(process, port)
            yield port, lambda: family(process.pid), Path(folder)
        finally:
            process.terminate()
            process.wait()


def _measure(port: int, pids: list[int], folder: Path, size: int, setup: str, *, limited: bool, chunked: bool) -> Row:
    """Send one body, and watch the server."""
    before = [resident(pid) for pid in pids]
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    disk, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            disk.append(max(_temporary(pid, folder) for pid in pids))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    sent, status = _send(port, size, chunked=chunked)
    seconds = time.perf_counter() - began
    time.sleep(0.2)
    done.set()
    watcher.join()
    memory = max(resident(pid, "VmHWM") - start for pid, start in zip(pids, before, strict=True))
    return Row(setup, limited, chunked, sent, max(disk), memory, status, seconds)


def _temporary(pid: int, folder: Path) -> int:
    """Return how much lies in the files, named or not, that a process has open in the folder."""
    total = 0
    with contextlib.suppress(OSError):  # the process has ended
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # the file has been closed
                if str(link.readlink()).startswith(f"{folder}/"):
                    total += link.stat().st_size
    return total


def _send(port: int, size: int, *, chunked: bool) -> tuple[int, int]:
    """Send a form with a file of that size; return how much could be sent, and the status of the answer or 0."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    tail = b"\r\n--x--\r\n"
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (len(head) + size + len(tail))
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)  # what lies on our side is not sent
        client.settimeout(60)
        client.connect(("127.0.0.1", port))
        sent = 0
        try:
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n" % length)
            client.sendall(b"Content-Type: multipart/form-data; boundary=x\r\n\r\n")
            for piece in (head, *[_BLOCK] * (size // len(_BLOCK)), _BLOCK[: size % len(_BLOCK)], tail):
                if piece:
                    client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                    sent += len(piece)
            if chunked:
                client.sendall(b"0\r\n\r\n")
        except OSError:  # it has hung up; what it said before may be there to read
            pass
        with contextlib.suppress(OSError):
            answer = client.recv(4096)
            return sent, int(answer.split(None, 2)[1]) if answer else 0
    return sent, 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setups", nargs="*", default=list(_SETUPS), help=f"any of {', '.join(_SETUPS)}")
    parser.add_argument("--size", type=int, default=500, help="megabytes of the body (default: %(default)s)")
    parser.add_argument("--limited", action="store_true", help="leave out the plain applications")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
