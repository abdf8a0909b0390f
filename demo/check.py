"""A visitor without a browser: walks through what the page offers, and says how that went."""

from __future__ import annotations

import http.client
import io
import json
import time
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

BOUNDARY = "a-boundary-that-is-in-no-picture"


class Visitor:
    """Somebody at the page."""

    def __init__(self, address: str) -> None:
        self._host = urlsplit(address).netloc
        self._headers: dict[str, str] = {}
        self.failed = 0

    def ask(self, method: str, path: str, **form: bytes) -> tuple[int, Any]:
        """Send a request, with a form if there is one; return the status and the answer."""
        headers, body = dict(self._headers), b""
        if form:
            headers["Content-Type"] = f"multipart/form-data; boundary={BOUNDARY}"
            parts = (
                f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
                + (b"" if name == "name" else b'; filename="a"')
                + b"\r\n\r\n"
                + value
                + b"\r\n"
                for name, value in form.items()
            )
            body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
        connection = http.client.HTTPConnection(self._host, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        is_json = bool(data) and "json" in answer.headers.get("Content-Type", "")
        return answer.status, json.loads(data) if is_json else data

    def check(self, what: str, *, holds: bool) -> None:
        """Say what holds, or does not."""
        print(f"{'ok    ' if holds else 'FAILED'} {what}", flush=True)
        self.failed += not holds

    def sign_in(self, token: str) -> None:
        """Be this user from now on."""
        self._headers = {"Authorization": f"Bearer {token}"}

    def files(self) -> list[dict[str, Any]]:
        """Return what lies in the folder."""
        files: list[dict[str, Any]] = self.ask("GET", "/demo/folder")[1]
        return files


def visit(address: str) -> int:
    """Walk through everything; return 1 if something is not as the page says."""
    visitor = Visitor(address)
    _await(visitor)
    for path in ("/", "/demo/page.css", "/demo/page.js"):
        status, content = visitor.ask("GET", path)
        visitor.check(f"{path} is there", holds=status == 200 and len(content) > 1000)  # noqa: PLR2004

    status, user = visitor.ask("POST", "/users", name=b"Check", picture=_picture("teal"))
    visitor.check("an account is created with its picture", holds=status == 201)  # noqa: PLR2004
    visitor.sign_in(user["token"])
    url = f"/users/{user['id']}"
    for colour in ("tomato", "gold"):
        old = user["picture"]
        status, user = visitor.ask("PATCH", f"{url}/picture", file=_picture(colour))
        visitor.check("the picture is replaced", holds=status == 200 and user["picture"] != old)  # noqa: PLR2004
        visitor.check("the old file is gone", holds=visitor.ask("GET", old)[0] == 404)  # noqa: PLR2004
        visitor.check("one file is left", holds=len(visitor.files()) == 1)

    for name in ("header-only.webp", "script.svg", "truncated.jpg", "scan-bomb.jpg"):
        status, problem = visitor.ask("PATCH", f"{url}/picture", file=visitor.ask("GET", f"/demo/samples/{name}")[1])
        visitor.check(f"{name} is refused: {problem['detail']}", holds=400 <= status < 500)  # noqa: PLR2004
    status, trial = visitor.ask("POST", "/demo/samples/header-only.webp/plain")
    visitor.check(f"the plain way: {'; '.join(trial['plain']['wrongs'])}", holds=bool(trial["plain"]["wrongs"]))

    for step in ("stored", "committing", "committed", "removing"):
        status, plug = visitor.ask("POST", f"/demo{url}/plug?step={step}")
        late = step in ("committed", "removing")
        visitor.check(f"killed when {step}", holds=status == 200 and plug["committed"] == late)  # noqa: PLR2004
        files = visitor.files()
        visitor.check("both files are kept, and what is in doubt is on record", holds=len(files) == 2)  # noqa: PLR2004
        visitor.ask("POST", "/demo/recover")
        files = visitor.files()
        visitor.check(
            "recovered: the row's file is left, and nothing is on record",
            holds=[(file["key"], file["named"], file["marked"]) for file in files] == [(plug["row"], True, False)],
        )

    status, _ = visitor.ask("DELETE", url)
    visitor.check("the account is deleted, and the file with it", holds=status == 204 and not visitor.files())  # noqa: PLR2004
    return 1 if visitor.failed else 0


def _await(visitor: Visitor) -> None:
    """Wait until the server answers; its socket listens already."""
    for _ in range(20):
        try:
            visitor.ask("GET", "/demo/folder")
        except OSError:
            time.sleep(0.5)
        else:
            return


def _picture(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (400, 300), colour).save(out, "PNG")
    return out.getvalue()
