"""The example applications on real servers, and nginx before them."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"

UVICORN = ["uvicorn", "--fd", "{fd}"]
GUNICORN = ["gunicorn", "--bind", "fd://{fd}", "--threads", "4", "--no-control-socket"]
SERVERS = {
    "fastapi-uvicorn": [*UVICORN, "fastapi_example.app:app"],
    "fastapi-granian": ["granian", "--interface", "asgi", "--port", "{port}", "fastapi_example.app:app"],
    "flask-gunicorn": [*GUNICORN, "flask_example.app:app"],
    "django-gunicorn": [*GUNICORN, "django_example.wsgi"],
    "django-uvicorn": [*UVICORN, "django_example.asgi:application"],
}


class Served(NamedTuple):
    """A server that answers."""

    port: int
    pid: int
    folder: Path
    log: Path

    @property
    def url(self) -> str:
        """Return the address."""
        return f"http://127.0.0.1:{self.port}"

    def files(self) -> list[str]:
        """Return the addresses of all pictures that lie in the folder."""
        return [f"/pictures/{path.name}" for path in self.folder.glob("pictures/[!.]*")]


@contextlib.contextmanager
def application(name: str, folder: Path, database: str = "") -> Generator[Served]:
    """Run an example application; its database, its pictures and its log are in the folder."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, fd = listener.getsockname()[1], listener.fileno()
        own = "{port}" in SERVERS[name]
        if own:
            listener.close()
        command = [sys.executable, "-m", *(word.format(port=port, fd=fd) for word in SERVERS[name])]
        scheme = "sqlite+aiosqlite" if name.startswith("fastapi") else "sqlite"
        environment = {
            **os.environ,
            "DATABASE_URL": database or f"{scheme}:///{folder / 'app.db'}",
            "MEDIA": str(folder / "pictures"),
            "PYTHONPATH": str(EXAMPLES),
            "SECRET_KEY": "a secret of these tests",
            "TMPDIR": str(folder),
        }
        with _running(command, folder / "server.log", port, environment, () if own else (fd,)) as pid:
            yield Served(port, pid, folder, folder / "server.log")


def needs_nginx() -> str:
    """Return the path of nginx; skip where there is none, unless that is forbidden."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        assert "nginx" not in os.environ.get("SAFEUPLOAD_REQUIRE", "").split()
        pytest.skip("needs nginx")
    return program


@contextlib.contextmanager
def nginx(folder: Path, upstream: int, pictures: Path, **changed: str) -> Generator[Served]:
    """Run nginx with the configuration of the examples, with other addresses and settings."""
    program = needs_nginx()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = (EXAMPLES / "nginx.conf").read_text()
    others = {
        "127.0.0.1:8080": f"127.0.0.1:{port}",
        "127.0.0.1:8000": f"127.0.0.1:{upstream}",
        "/srv/app/pictures/": f"{pictures}/",
        **changed,
    }
    for old, new in others.items():
        assert old in text
        text = text.replace(old, new)
    if os.geteuid() == 0:
        text = "user root;\n" + text  # whose folders are nobody else's
    configuration = folder / "nginx.conf"
    configuration.write_text(text)
    arguments = [program, "-p", str(folder), "-c", str(configuration)]
    checked = subprocess.run([*arguments, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with _running(arguments, folder / "nginx.log", port, dict(os.environ), ()) as pid:
        yield Served(port, pid, folder, folder / "error.log")


@contextlib.contextmanager
def _running(
    command: list[str], log: Path, port: int, environment: dict[str, str], fds: tuple[int, ...]
) -> Generator[int]:
    """Run a server until the end of the block; give the number of its process once it answers."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, pass_fds=fds, cwd=log.parent, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _await(process, port, log)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(300):
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(b"GET /users/0 HTTP/1.0\r\nHost: localhost\r\n\r\n")
            if client.recv(10):
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
