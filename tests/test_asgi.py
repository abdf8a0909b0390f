import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, UploadFile
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import safeupload
from safeupload import asgi
from safeupload._body import FRAME, GRACE, Limits, declared
from safeupload.asgi import BodyLimit

LIMIT = 1000
MOST = LIMIT + FRAME
BACKENDS = ["asyncio", "trio"]


class Client:
    """Sends one request in pieces, and keeps what it is answered."""

    def __init__(self, pieces: Iterable[bytes], *, headers: dict[str, str] | None = None, path: str = "/") -> None:
        self.pieces = list(pieces)
        self.sent = 0
        self.answers: list[Message] = []
        self.scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        }

    async def receive(self) -> Message:
        """Give the application the next piece."""
        await anyio.lowlevel.checkpoint()
        if not self.pieces:
            return {"type": "http.disconnect"}
        piece = self.pieces.pop(0)
        self.sent += len(piece)
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}

    async def send(self, message: Message) -> None:
        """Take what the application answers."""
        await anyio.lowlevel.checkpoint()
        self.answers.append(dict(message))

    def ask(self, app: asgi._Application, backend: str = "asyncio") -> int:
        """Run the exchange; return the status of the answer."""
        anyio.run(app, self.scope, self.receive, self.send, backend=backend)
        assert [message["type"] for message in self.answers].count("http.response.start") == 1
        assert not self.answers[-1].get("more_body")
        return int(self.answers[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The headers of the answer."""
        return dict(self.answers[0]["headers"])

    @property
    def body(self) -> bytes:
        """The body of the answer."""
        return b"".join(message.get("body", b"") for message in self.answers[1:])


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the size of the body."""
    size = sum([len(chunk) async for chunk in Request(scope, receive).stream()])
    await PlainTextResponse(str(size))(scope, receive, send)


async def untouched(scope: Scope, receive: Receive, send: Send) -> None:
    """Be the application that must not be called."""
    raise AssertionError("the application was called")


def pieces(total: int, size: int = 4096) -> list[bytes]:
    """Return a body of `total` bytes in pieces."""
    return [bytes(min(size, total - start)) for start in range(0, total, size)]


def refused(client: Client) -> None:
    """Assert that the answer is the problem document of `TooLarge`, complete and the last of its connection."""
    assert client.answers[0]["status"] == 413
    assert client.headers[b"content-type"] == b"application/problem+json"
    assert client.headers[b"content-length"] == b"%d" % len(client.body)
    assert json.loads(client.body) == safeupload.TooLarge(LIMIT).problem()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_content_length_within_the_limit_passes_and_one_beyond_it_does_not(backend: str) -> None:
    """The largest body that is let through has the file's limit and the frame; one byte more, and no one is asked."""
    client = Client(pieces(MOST), headers={"Content-Length": str(MOST)})
    assert client.ask(BodyLimit(count, LIMIT), backend) == 200
    assert client.body == b"%d" % MOST
    client = Client(pieces(MOST + 1), headers={"Content-Length": str(MOST + 1)})
    client.ask(BodyLimit(untouched, LIMIT), backend)
    refused(client)
    assert client.headers[b"connection"] == b"close"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("headers", [{}, {"Content-Length": "7"}, {"Content-Length": "-1"}, {"Content-Length": "ten"}])
def test_a_body_is_counted_whatever_its_headers_say(backend: str, headers: dict[str, str]) -> None:
    """Without a length, or with one that is a lie, the bytes themselves are limited."""
    client = Client(pieces(MOST), headers=headers)
    assert client.ask(BodyLimit(count, LIMIT), backend) == 200
    client = Client(pieces(MOST + 1), headers=headers)
    client.ask(BodyLimit(count, LIMIT), backend)
    refused(client)


@pytest.mark.parametrize("headers", [{}, {"Content-Length": str(1 << 40)}])
def test_what_is_received_of_an_endless_body_is_bounded(headers: dict[str, str]) -> None:
    """Beyond the limit no more than the grace is received, and one piece, which nobody can know before."""
    client = Client(pieces(MOST + 2 * GRACE, 65536), headers=headers)
    client.ask(BodyLimit(count, LIMIT))
    refused(client)
    assert MOST + GRACE <= client.sent < MOST + GRACE + 65536


def test_a_body_that_is_a_little_too_large_is_received_to_its_end() -> None:
    """So that the client, which looks for an answer only then, finds it there."""
    client = Client(pieces(MOST + GRACE, 65536), headers={"Content-Length": str(MOST + GRACE)})
    client.ask(BodyLimit(untouched, LIMIT))
    refused(client)
    assert not client.pieces


def test_the_answer_is_there_before_the_rest_is_received() -> None:
    """Whoever reads while sending has the whole answer at once."""
    client = Client(pieces(MOST * 3), headers={"Content-Length": str(MOST * 3)})
    receive = client.receive
    seen = []

    async def watched() -> Message:
        seen.append((len(client.answers), len(client.body)))
        return await receive()

    client.receive = watched  # type: ignore[method-assign]
    client.ask(BodyLimit(untouched, LIMIT))
    assert seen[0] == (2, len(client.body))


def test_a_client_that_stalls_is_waited_for_in_vain_for_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after the answer has a time limit."""
    monkeypatch.setattr(asgi, "GRACE_SECONDS", 0.05)
    client = Client([], headers={"Content-Length": str(1 << 40)})
    client.receive = anyio.sleep_forever  # type: ignore[method-assign, assignment]
    client.ask(BodyLimit(untouched, LIMIT))
    refused(client)


def test_a_client_that_waits_for_leave_to_send_is_answered_at_once() -> None:
    """To receive would be the leave: servers send "100 Continue" then, into the middle of our answer."""
    client = Client(pieces(1), headers={"Content-Length": str(1 << 40), "Expect": "100-continue"})
    client.ask(BodyLimit(untouched, LIMIT))
    refused(client)
    assert client.sent == 0


def test_a_client_that_hangs_up_ends_the_exchange() -> None:
    """Nobody is waited for who is gone."""
    client = Client([], headers={"Content-Length": str(1 << 40)})
    client.ask(BodyLimit(untouched, LIMIT))
    refused(client)


def test_http_2_has_no_connection_header() -> None:
    """It is forbidden there."""
    client = Client([], headers={"Content-Length": str(1 << 40)})
    client.scope["http_version"] = "2"
    client.ask(BodyLimit(untouched, LIMIT))
    refused(client)
    assert b"connection" not in client.headers


def test_paths_have_their_own_limits() -> None:
    """The first route that fits counts; a star is one segment; everything else has the general limit."""
    app = BodyLimit(count, LIMIT, routes={"/users/*/banner": 100_000, "/users/*/*": 50_000})
    for path, limit in {
        "/users/7/banner": 100_000,
        "/users/7/picture": 50_000,
        "/users/7/8/banner": LIMIT,
        "/users//banner": LIMIT,
        "/users/7/banner/": LIMIT,
        "/prefix/users/7/banner": LIMIT,
        "/users/7/bannerX": 50_000,
        "/users/7": LIMIT,
    }.items():
        assert Client(pieces(limit + FRAME), path=path).ask(app) == 200
        assert Client(pieces(limit + FRAME + 1), path=path).ask(app) == 413


def test_a_path_is_looked_up_below_the_root_path() -> None:
    """Behind a proxy that serves the application under a prefix, the routes stay the application's own."""
    app = BodyLimit(count, LIMIT, routes={"/banner": 100_000})
    client = Client(pieces(100_000), path="/api/banner")
    client.scope["root_path"] = "/api/"
    assert client.ask(app) == 200
    assert Client(pieces(100_000), path="/api/banner").ask(app) == 413


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_other_connections_pass_through(kind: str) -> None:
    """Only requests have bodies."""
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, receive, send))

    client = Client([])
    scope = {"type": kind}
    anyio.run(BodyLimit(app), scope, client.receive, client.send)
    assert seen == [(scope, client.receive, client.send)]


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "5", None])
def test_a_limit_that_is_none_is_misuse(value: Any) -> None:  # noqa: ANN401
    """A number of bytes, or an error when the application starts."""
    with pytest.raises(safeupload.InvalidArgument):
        BodyLimit(count, value)
    with pytest.raises(safeupload.InvalidArgument):
        BodyLimit(count, routes={"/": value})


@pytest.mark.parametrize("route", ["users", "", 7])
def test_a_route_that_is_none_is_misuse(route: Any) -> None:  # noqa: ANN401
    """A route begins with a slash."""
    with pytest.raises(safeupload.InvalidArgument):
        BodyLimit(count, routes={route: 1})


def swallowing(error: type[Exception]) -> ASGIApp:
    """Return an application that answers 200 whatever happens while it reads."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async for _ in Request(scope, receive).stream():
                pass
        except error:
            pass
        await PlainTextResponse("fine")(scope, receive, send)

    return app


async def changing(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise another error for it."""
    try:
        await count(scope, receive, send)
    except safeupload.TooLarge as error:
        raise RuntimeError("another") from error


async def grouping(scope: Scope, receive: Receive, send: Send) -> None:
    """Read in a task group."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count, scope, receive, send)


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing at all."""
    try:
        await count(scope, receive, send)
    except safeupload.TooLarge:
        return


@pytest.mark.parametrize("app", [swallowing(safeupload.Rejected), changing, grouping, silent, count])
def test_whatever_the_application_makes_of_it_the_client_is_told(app: ASGIApp) -> None:
    """Caught, replaced, wrapped, or ignored: the answer is ours."""
    client = Client(pieces(MOST + 1))
    client.ask(BodyLimit(app, LIMIT))
    refused(client)


def test_an_error_of_the_application_is_not_swallowed() -> None:
    """One that has nothing to do with the body's size is passed on, even if that was too large as well."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(safeupload.TooLarge):
            await count(scope, receive, send)
        raise LookupError("a bug")

    for size in (1, MOST + 1):
        with pytest.raises(LookupError):
            anyio.run(BodyLimit(broken, LIMIT), *vars_of(Client(pieces(size))))


def vars_of(client: Client) -> tuple[Any, ...]:
    """Return what an application is called with."""
    return client.scope, client.receive, client.send


def test_a_response_that_has_begun_is_not_mended() -> None:
    """Then the error is all that can be told: the server ends the connection."""

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        async def body() -> AsyncIterator[bytes]:
            async for chunk in Request(scope, receive).stream():
                yield chunk

        await StreamingResponse(body())(scope, receive, send)

    client = Client(pieces(MOST + 1))
    client.scope["asgi"] = {"spec_version": "2.4"}
    with pytest.raises(safeupload.TooLarge):
        anyio.run(BodyLimit(echo, LIMIT), *vars_of(client))
    assert client.answers[0]["status"] == 200


def test_an_answer_without_reading_is_left_alone() -> None:
    """An application that refuses for a reason of its own has the last word."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("who are you?", 401)(scope, receive, send)

    client = Client(pieces(MOST + 1))
    assert client.ask(BodyLimit(app, LIMIT)) == 401
    assert client.sent == 0


def test_reading_on_after_the_refusal_raises_again() -> None:
    """An application that does not listen gets no byte more."""
    seen = []

    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(100):
            try:
                await receive()
            except safeupload.TooLarge as error:
                seen.append(error)

    client = Client(pieces(MOST + 1, MOST + 1))
    client.ask(BodyLimit(stubborn, LIMIT))
    refused(client)
    assert len(seen) == 100


def test_fastapi_answers_the_problem_document() -> None:
    """FastAPI makes a 400 of every error that comes up while it reads a form; the client is told what is wrong."""
    app = FastAPI()
    app.add_middleware(BodyLimit, max_bytes=LIMIT)

    @app.post("/")
    async def post(file: UploadFile) -> int:
        return len(await file.read())

    def client(size: int) -> Client:
        frame = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n%b\r\n--x--\r\n'
        body = frame % bytes(size)
        return Client(
            [body[start : start + 1000] for start in range(0, len(body), 1000)],
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )

    fine, large = client(LIMIT), client(MOST)
    assert fine.ask(app) == 200
    assert fine.body == b"1000"
    large.ask(app)
    refused(large)


@given(st.one_of(st.none(), st.text(), st.integers().map(str)))
def test_a_declared_length_is_a_number_or_nothing(text: str | None) -> None:
    """Digits of ASCII are a number; of a number that no body has, it is enough that it stays large."""
    plain = text is not None and text.isascii() and text.isdigit()
    assert (declared(text) is not None) == plain
    assert declared(text) == declared(None if text is None else text.encode("latin-1", "replace"))
    if plain and text is not None:
        assert declared(text) == int(text) or (int(text) >= 10**17 <= (declared(text) or 0))


def test_a_declared_length_of_many_digits_takes_no_time() -> None:
    """Python refuses to convert such numbers, or takes seconds."""
    assert (declared("9" * 60_000) or 0) > 1 << 50
    assert declared("0" * 60_000 + "7") == 7


def test_a_route_is_matched_as_it_is_written() -> None:
    """What means something in a regular expression means itself in a route."""
    limits = Limits(1, {"/a.b/(x)": 2})
    assert limits.of("/a.b/(x)") == 2
    assert limits.of("/aXb/(x)") == 1
    assert limits.of("/a.b/x") == 1
