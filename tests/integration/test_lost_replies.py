"""A reply to COMMIT that is lost, or a COMMIT that comes late, loses no file: who cannot know removes nothing."""

import select
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from postgres_users import CHANGES, Change, rows, soon, used_by

from safeupload import Uploads
from safeupload.storage import LocalStorage

LATE = 0.6  # seconds
BUFFER = 1 << 16


class Proxy:
    """Passes bytes between a client and the server until the client commits; then one of the two never hears of it."""

    def __init__(self, dsn: str, mode: str) -> None:
        self._server = urlsplit(dsn)
        self._mode = mode
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.cuts = 0
        self._threads: list[threading.Thread] = []

    @property
    def dsn(self) -> str:
        """The address for the client."""
        port = self._socket.getsockname()[1]
        return urlunsplit(self._server._replace(netloc=f"{self._server.username}@127.0.0.1:{port}"))

    @contextmanager
    def serve(self) -> Generator[None]:
        """Take connections."""
        accepting = threading.Thread(target=self._accept)
        accepting.start()
        try:
            yield
        finally:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            for thread in (accepting, *self._threads):
                thread.join()

    def _accept(self) -> None:
        with suppress(OSError):  # closed: that is the end
            while True:
                client, _ = self._socket.accept()
                thread = threading.Thread(target=self._pass, args=[client])
                thread.start()
                self._threads.append(thread)

    def _pass(self, client: socket.socket) -> None:
        with client, socket.create_connection((self._server.hostname or "", self._server.port or 0)) as server:
            while True:
                for readable in select.select([client, server], [], [])[0]:
                    data = readable.recv(BUFFER)
                    if not data:
                        return
                    if readable is client and b"COMMIT" in data.upper():
                        self._cut(client, server, data)
                        return
                    (server if readable is client else client).sendall(data)

    def _cut(self, client: socket.socket, server: socket.socket, commit: bytes) -> None:
        """Lose the request, lose the reply, or let the request come late."""
        self.cuts += 1
        if self._mode == "late":
            client.close()
            time.sleep(LATE)
        if self._mode != "request":
            server.sendall(commit)
            assert b"COMMIT" in server.recv(BUFFER)


@pytest.mark.parametrize("mode", ["reply", "request", "late"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.removeprefix("change_"))
def test_p5_a_lost_reply_loses_no_file(
    change: Change, mode: str, dsn: str, storage: LocalStorage, caplog: pytest.LogCaptureFixture
) -> None:
    """Both files are kept, the exception is the driver's, and `recover` removes the right one when it is time."""
    change(dsn, storage)
    old = rows(dsn)
    proxy = Proxy(dsn, mode)
    uploads = Uploads(storage, references=used_by(dsn))

    with proxy.serve():
        with pytest.raises((OSError, psycopg.OperationalError, Exception)) as caught:
            change(proxy.dsn, storage)
        assert not isinstance(caught.value, AssertionError)
        assert [record.__dict__["event"] for record in caplog.records] == ["in_doubt"]
        assert rows(dsn) < set(storage.keys())
        assert uploads.recover(min_age=60).waiting == 2  # nobody holds them, but they are young
        if mode == "late":
            assert rows(dsn) == old
            soon(lambda: rows(dsn) != old)

    assert proxy.cuts == 1
    assert (rows(dsn) == old) is (mode == "request")
    assert len(list(storage.keys())) == 2
    assert rows(dsn) < set(storage.keys())
    assert len(uploads.recover(min_age=0).removed) == 1
    assert set(storage.keys()) == rows(dsn)
    assert list(storage.marks()) == []
