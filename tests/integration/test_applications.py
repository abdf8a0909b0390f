"""The three example applications have one interface; one walk goes through it on each of their servers."""

import contextlib
import hashlib
import io
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest
from PIL import Image
from psycopg import sql
from serving import SERVERS, Served, application, needs_nginx, nginx

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="needs Linux")


def picture(colour: str = "teal") -> bytes:
    """Return a picture."""
    out = io.BytesIO()
    Image.new("RGB", (640, 480), colour).save(out, "JPEG")
    return out.getvalue()


class User:
    """Somebody who uses the application."""

    def __init__(self, client: httpx2.Client, name: str, content: bytes | None = None) -> None:
        files = None if content is None else {"picture": ("../x.jpg", content)}
        response = client.post("/users", data={"name": name}, files=files)
        assert response.status_code == 201, response.text
        created = response.json()
        self.client = client
        self.url = f"/users/{created['id']}"
        self.picture: str | None = created["picture"]
        self.headers = {"Authorization": f"Bearer {created['token']}"}

    def put(self, content: bytes) -> httpx2.Response:
        """Change the picture."""
        return self.client.patch(f"{self.url}/picture", files={"file": ("a", content)}, headers=self.headers)

    def shown(self) -> Any:  # noqa: ANN401
        """Return the profile."""
        return self.client.get(self.url).json()


def walk(served: Served, files: Served | None = None, most: int = 16_000_000) -> None:
    """Use everything that the application offers, as it is meant and as it is not."""
    files = files or served
    with httpx2.Client(base_url=served.url, timeout=30) as client:
        ada, bob = User(client, "Ada", picture()), User(client, "Bob")
        assert bob.picture is None
        assert client.post("/users", files={"picture": ("a", picture())}).status_code == 422
        assert files.files() == [ada.picture]

        for colour in ("tomato", "gold"):
            old = ada.shown()["picture"]
            response = ada.put(picture(colour))
            assert response.status_code == 200
            assert files.files() == [response.json()["picture"]] == [ada.shown()["picture"]] != [old]
            gone = client.get(old)
            assert (gone.status_code, gone.headers["Cache-Control"]) == (404, "no-store")
        now = ada.shown()["picture"]

        for content, status, code in [
            (b"text", 415, "not_an_image"),
            (b"", 422, "empty"),
            (picture()[:-99], 422, "corrupt"),
        ]:
            response = ada.put(content)
            assert (response.status_code, response.json()["code"]) == (status, code)
            assert response.headers["Content-Type"] == "application/problem+json"
        for headers, status in [({}, 401), ({"Authorization": "Bearer x"}, 401), (bob.headers, 403)]:
            for method, path in [
                ("DELETE", ada.url),
                ("DELETE", f"{ada.url}/picture"),
                ("PATCH", f"{ada.url}/picture"),
            ]:
                assert client.request(method, path, headers=headers).status_code == status
        change = {"name": "Eve", "image_file": "0" * 32 + ".jpg"}
        assert client.patch(ada.url, json=change, headers=ada.headers).status_code == 422
        assert ada.shown() == {"id": int(ada.url.rpartition("/")[2]), "name": "Ada", "picture": now}
        assert client.patch(ada.url, json={"name": "Ada Lovelace"}, headers=ada.headers).status_code == 200

        for chunked in (False, True):
            sent, status, answer = send_large(served.port, ada, chunked=chunked)
            if status != 422:  # Django takes no body without a length under WSGI
                assert (status, answer["code"]) == (413, "too_large")
            assert sent <= most
        assert files.files() == [now]

        response = client.get(now)
        assert response.headers["Content-Type"] == "image/jpeg"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in response.headers["Content-Security-Policy"]
        assert "immutable" in response.headers["Cache-Control"]
        assert response.headers["ETag"] == f'"{hashlib.sha256(response.content).hexdigest()}"'
        assert client.get(now, headers={"If-None-Match": response.headers["ETag"]}).status_code == 304
        for name in (".pending", "app.db", "..%2fapp.db", "0" * 32 + ".jpg"):
            assert client.get(f"/pictures/{name}").status_code == 404

        all_at_once(served, ada)
        assert files.files() == [ada.shown()["picture"]]
        assert client.delete(f"{ada.url}/picture", headers=ada.headers).status_code == 204
        assert files.files() == []
        assert ada.put(picture()).status_code == 200
        assert client.delete(ada.url, headers=ada.headers).status_code == 204
        assert client.get(ada.url).status_code == 404
        assert files.files() == []
    assert "Traceback" not in files.log.read_text()


def all_at_once(served: Served, user: User) -> None:
    """Replace a picture from 6 clients, 3 times each."""
    answers = []

    def several() -> None:
        with httpx2.Client(base_url=served.url, timeout=30) as client:
            for _ in range(3):
                files = {"file": ("a", picture("red"))}
                answers.append(client.patch(f"{user.url}/picture", files=files, headers=user.headers).status_code)

    threads = [threading.Thread(target=several) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 18


def head(user: User, length: str) -> bytes:
    """Return the beginning of a request that changes a picture."""
    lines = [
        f"PATCH {user.url}/picture HTTP/1.1",
        "Host: localhost",
        f"Authorization: {user.headers['Authorization']}",
        "Content-Type: multipart/form-data; boundary=x",
        length,
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


#: The second server of a framework, which is left to the long run.
SECOND = {"fastapi-granian", "django-uvicorn"}


def send_large(port: int, user: User, *, chunked: bool) -> tuple[int, int, Any]:
    """Send up to 100 MB; return how much could be sent, the status, and the document of the answer."""
    start = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    block, sent, answer = bytes(1 << 16), 0, b""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)  # what lies on our side is not sent
        client.settimeout(30)
        client.connect(("127.0.0.1", port))
        with contextlib.suppress(OSError):  # it has hung up, and its answer is there to read
            client.sendall(head(user, "Transfer-Encoding: chunked" if chunked else "Content-Length: 100000000"))
            for piece in (start, *[block] * 1500):
                client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                sent += len(piece)
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                answer += data
                if answer.rstrip().endswith((b"}", b"0")) and b"}" in answer:
                    break
    top, _, body = answer.partition(b"\r\n\r\n")
    return sent, int(top.split()[1]), json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long if name in SECOND else ()) for name in SERVERS],
)
def test_on_sqlite(name: str, tmp_path: Path) -> None:
    """Everything holds on each kind of server."""
    with application(name, tmp_path) as served:
        walk(served)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "driver"),
    [
        ("fastapi-uvicorn", "postgresql+asyncpg"),
        ("flask-gunicorn", "postgresql+psycopg"),
        ("django-gunicorn", "postgresql"),
    ],
)
def test_on_postgresql(name: str, driver: str, server: str, tmp_path: Path) -> None:
    """Everything holds on PostgreSQL, by an address alone."""
    database = name.replace("-", "_")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    address = urlsplit(server)._replace(scheme=driver, path=f"/{database}").geturl()
    with application(name, tmp_path, address) as served:
        walk(served)


def test_behind_nginx(tmp_path: Path) -> None:
    """Everything holds behind nginx."""
    needs_nginx()
    own = tmp_path / "nginx"
    own.mkdir()
    with application("flask-gunicorn", tmp_path) as served, nginx(own, served.port, tmp_path / "pictures") as front:
        walk(front, served, most=100_000_000)  # nginx keeps nothing of it, and throws away what arrives for 10 seconds


def test_slow_clients_hold_nothing_of_ours(tmp_path: Path) -> None:
    """With 60 clients that send a byte now and then, others are answered at once, and no thread waits for them."""
    with application("fastapi-uvicorn", tmp_path) as served, httpx2.Client(base_url=served.url, timeout=30) as client:
        ada, slow = User(client, "Ada", picture()), User(client, "Slow")
        ada.put(picture())  # the threads that a replacement needs are there now

        def count() -> int:
            return len(list(Path(f"/proc/{served.pid}/task").iterdir()))

        before = count()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", served.port))) for _ in range(60)]
            for each in clients:
                each.sendall(head(slow, "Content-Length: 1000000"))
                each.sendall(b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')
            took = []
            for _ in range(8):
                for each in clients:
                    each.sendall(b"x")
                began = time.monotonic()
                assert ada.put(picture("red")).status_code == 200
                assert client.get(ada.shown()["picture"]).status_code == 200
                took.append(time.monotonic() - began)
                time.sleep(0.2)
            assert max(took) < 3
            assert count() < before + 10  # a few for the requests that are answered; 60 would wait otherwise
