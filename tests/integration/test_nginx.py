"""The configuration of nginx, before an application that does what these tests want to see."""

import json
import socket
import threading
import time
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from serving import nginx

from safeupload import AVATAR, TooLarge
from safeupload._body import FRAME

KEY = "0123456789abcdef" * 2 + ".jpg"
THUMB = "0123456789abcdef" * 2 + "-thumb.webp"


class Application(BaseHTTPRequestHandler):
    """Sends pictures by nginx, and counts what it is sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Let nginx answer with what the path names."""
        self.send_response(200)
        self.send_header("Content-Type", "image/webp" if self.path.endswith("webp") else "image/jpeg")
        self.send_header("X-Accel-Redirect", self.path.replace("/show/", "/media/"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        """Answer with the number of bytes."""
        size = str(len(self.rfile.read(int(self.headers["Content-Length"])))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(size)))
        self.end_headers()
        self.wfile.write(size)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Generator[httpx2.Client]:
    """Give a client of nginx, with a folder that has a picture, and what nobody is to see."""
    folder = tmp_path_factory.mktemp("nginx")
    pictures = folder / "pictures"
    pictures.mkdir()
    (pictures / KEY).write_bytes(b"a picture")
    (pictures / THUMB).write_bytes(b"a picture")
    (pictures / ".pending").mkdir()
    (pictures / ".pending" / "mark").write_bytes(b"secret")
    (pictures / "notes.txt").write_bytes(b"secret")
    (folder / "app.db").write_bytes(b"secret")
    (pictures / KEY.replace("0", "a")).symlink_to(folder / "app.db")
    with ThreadingHTTPServer(("127.0.0.1", 0), Application) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        quick = {
            "client_body_timeout 10s": "client_body_timeout 1s",
            "client_header_timeout 10s": "client_header_timeout 1s",
        }
        try:
            with (
                nginx(folder, server.server_address[1], pictures, **quick) as front,
                httpx2.Client(base_url=front.url, timeout=20) as client,
            ):
                yield client
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("name", "media_type"), [(KEY, "image/jpeg"), (THUMB, "image/webp")])
def test_a_picture_is_sent_with_the_headers_that_it_needs(client: httpx2.Client, name: str, media_type: str) -> None:
    """It is kept for a year, is never a page or a script, and is not sent twice; so are renditions."""
    response = client.get(f"/show/{name}")
    assert (response.status_code, response.content) == (200, b"a picture")
    assert response.headers["Content-Type"] == media_type
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.headers["Server"] == "nginx"
    again = client.get(f"/show/{name}", headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        f"/media/{KEY}",  # not without the application's word
        "/media/",
        "/show/",
        "/show/.pending/mark",
        "/show/.pending",
        "/show/notes.txt",
        "/show/..%2fapp.db",
        "/show/%2e%2e/app.db",
        f"/show/{KEY}/",
        f"/show/{KEY.upper()}",
        f"/show/{KEY[:32]}-thumb.svg",
        f"/show/{KEY[:32]}-../../app.db",
        "/.git/config",
    ],
)
def test_nothing_else_is_sent(client: httpx2.Client, path: str) -> None:
    """Whatever the application asks for, and whoever asks for it."""
    response = client.get(path)
    assert response.status_code in {400, 404}
    assert b"secret" not in response.content
    assert b"picture" not in response.content


@pytest.mark.parametrize("key", ["f" * 32 + ".jpg", KEY.replace("0", "a")], ids=["gone", "link"])
def test_a_picture_that_is_gone_is_not_remembered(client: httpx2.Client, key: str) -> None:
    """The answer may change; and a link is as good as nothing."""
    response = client.get(f"/show/{key}")
    assert response.status_code == 404
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("chunked", [False, True])
def test_the_limit_is_the_library_s(client: httpx2.Client, chunked: bool) -> None:  # noqa: FBT001
    """A body of the largest size passes; one byte more meets the answer that the application would have given."""
    most = AVATAR.max_bytes + FRAME

    def post(size: int) -> httpx2.Response:
        content = iter([bytes(size)]) if chunked else bytes(size)
        return client.post("/", content=content, headers={"Connection": "close"})

    assert post(most).text == str(most)
    response = post(most + 1)
    assert response.status_code == 413
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json() == json.loads(json.dumps(TooLarge(AVATAR.max_bytes).problem()))


@pytest.mark.parametrize("sent", [b"POST / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"])
def test_who_sends_nothing_is_not_waited_for(client: httpx2.Client, sent: bytes) -> None:
    """Neither in the head nor in the body of a request."""
    url = client.base_url
    began = time.monotonic()
    with socket.create_connection((url.host, url.port or 80), 10) as slow:
        slow.sendall(sent)
        while slow.recv(1000):
            pass
    assert 0.5 < time.monotonic() - began < 8
