"""
A limit on request bodies for ASGI applications: Starlette, FastAPI, Litestar, Django under ASGI, and others.

Frameworks write a whole body to disk before an endpoint, or an authentication, gets to see it; by the time a limit is
checked there, 500 MB have arrived. This one stands before the framework::

    app.add_middleware(BodyLimit)                          # Starlette, FastAPI
    application = BodyLimit(get_asgi_application())        # Django
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias, cast

import anyio

from safeupload._body import FRAME, GRACE, GRACE_SECONDS, Limits, declared
from safeupload.errors import TooLarge
from safeupload.policy import AVATAR

__all__ = ["BodyLimit"]

_Message: TypeAlias = MutableMapping[str, Any]
_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]
_Application: TypeAlias = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


class BodyLimit:
    """
    An ASGI application around another one, which answers 413 for a body that is too large.

    A Content-Length that says so is enough, and the application is not even called; other bodies are counted as they
    come, and reading on raises `TooLarge` in the application. Whatever that makes of it, the client gets the problem
    document of `TooLarge`, unless a response had begun. Up to 3 MiB more are received and thrown away for at most ten
    seconds, so that the client gets to read it; then the connection is closed. Websockets and lifespan pass through.

    Args:
        app: the application.
        max_bytes: the largest file. A body may have 64 KiB more, for the frame of a multipart form.
        routes: other limits for some paths, such as ``{"/users/*/banner": 10 * 1024 * 1024}``; a ``*`` stands for one
            segment.

    """

    def __init__(
        self, app: _Application, max_bytes: int = AVATAR.max_bytes, *, routes: Mapping[str, int] | None = None
    ) -> None:
        self._app = app
        self._limits = Limits(max_bytes, routes)

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
            await _Exchange(scope, receive, send, self._limits.of(path)).run(self._app)
        else:
            await self._app(scope, receive, send)


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: _Scope, receive: _Receive, send: _Send, limit: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._most = limit + FRAME
        self._error: Final = TooLarge(limit)
        self._refused = self._responding = False
        self._received = 0
        self._more = True

    async def run(self, app: _Application) -> None:
        """Let the application answer, or answer in its place."""
        announced = declared(self._header(b"content-length"))
        if announced is not None and announced > self._most:
            self._refused = True
        else:
            try:
                await app(self._scope, self._counted, self._passed_on)
            except Exception as error:
                if self._responding or not self._refused or not _stems_from(error, self._error):
                    raise
        if self._refused and not self._responding:
            await self._refuse()

    async def _counted(self) -> _Message:
        """Receive for the application."""
        if self._refused:
            raise self._error
        message = await self._next()
        if self._received > self._most:
            self._refused = True
            raise self._error
        return message

    async def _passed_on(self, message: _Message) -> None:
        """Send for the application, unless it answers a body that it has not seen the end of."""
        if self._refused and not self._responding:
            return
        self._responding = True
        await self._send(message)

    async def _next(self) -> _Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        self._more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def _refuse(self) -> None:
        """Answer at once; then listen for a while to a client that is still talking, and hang up."""
        problem = json.dumps(self._error.problem()).encode()
        headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(problem))]
        if self._scope.get("http_version", "1.1").startswith("1"):  # later versions have no such header
            headers.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": self._error.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": problem, "more_body": True})
        if not self._header(b"expect"):  # such a client sends nothing before it is asked to, as receiving would do
            with anyio.move_on_after(GRACE_SECONDS):
                while self._more and self._received < self._most + GRACE:
                    await self._next()
        await self._send({"type": "http.response.body", "body": b""})

    def _header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self._scope["headers"] if key.lower() == name), None)


def _stems_from(error: BaseException | None, origin: BaseException) -> bool:
    """Tell whether `origin` is the error, or what caused it, or in a group of errors."""
    while error is not None:
        if error is origin:
            return True
        if isinstance(error, BaseExceptionGroup):
            members = cast("BaseExceptionGroup[BaseException]", error).exceptions
            return all(_stems_from(member, origin) for member in members)
        error = error.__cause__ or error.__context__
    return False
