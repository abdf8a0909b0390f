"""A proxy on loopback between a client and a server that speak HTTP: it notes what passes, and spoils some of it."""

import dataclasses
import http.client
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

PRECONDITIONS: Final = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"})
#: What one end of a connection says to the other, and not the client to the server.
_OF_THE_CONNECTION: Final = frozenset({"connection", "keep-alive", "transfer-encoding"})
_PATIENCE: Final = 30.0  # seconds for a reply of the server; it is a part of the test, so this never ends
_RESET: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # of SO_LINGER: on, for no time
_SLOW_DOWN: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code><Message>Please reduce your request rate.'
    b"</Message><RequestId>0</RequestId><HostId>0</HostId></Error>"
)
_ALL: Final = range(sys.maxsize)


@dataclasses.dataclass(eq=False)
class Request:
    """A request as it came, and what became of it."""

    method: str
    path: str
    query: str
    headers: dict[str, str]  # by their names in lower case
    body: bytes
    begun: float
    ended: float | None = None  # when its client was about to get a reply, or lose its connection
    statuses: list[int] = dataclasses.field(default_factory=list)  # what the server said, each time it was asked

    def __str__(self) -> str:
        return f"{self.method} {self.target}"

    @property
    def target(self) -> str:
        """The path and the query."""
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclasses.dataclass(frozen=True)
class Reply:
    """What the client gets; with `cut`, only so many bytes of the body, and then the end of the connection."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    cut: int | None = None


#: Asks the server, or the next fault; None is no reply, but a reset of the client's connection.
Forward: TypeAlias = Callable[[Request], Reply | None]
#: What becomes of a request on its way.
Fault: TypeAlias = Callable[[Request, Forward], Reply | None]
Matches: TypeAlias = Callable[[Request], bool]


class Slow:
    """The fault of requests that come late, by so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, request: Request, forward: Forward) -> Reply | None:
        """Wait, then forward the request."""
        time.sleep(self.seconds)
        return forward(request)


def reset(request: Request, forward: Forward) -> None:
    """Reset the connection when the request has come; the server never sees it."""


def lost_reply(request: Request, forward: Forward) -> None:
    """Reset the connection when the server has done what it was asked."""
    forward(request)


def short_reply(request: Request, forward: Forward) -> Reply | None:
    """Let the connection end in the middle of the reply's body, if it has one."""
    reply = forward(request)
    return dataclasses.replace(reply, cut=len(reply.body) // 2) if reply and reply.body else reply


def server_error(request: Request, forward: Forward) -> Reply:
    """Reply with status 500, and do nothing."""
    return Reply(500)


def forbidden(request: Request, forward: Forward) -> Reply:
    """Reply with status 403, and do nothing: the keys have expired, perhaps."""
    return Reply(403)


def slow_down(request: Request, forward: Forward) -> Reply:
    """Reply as S3 does when there is too much to do, and do nothing."""
    return Reply(503, (("Content-Type", "application/xml"),), _SLOW_DOWN)


def without_preconditions(request: Request, forward: Forward) -> Reply | None:
    """Do as those servers do that have never heard of them."""
    request.headers = {name: value for name, value in request.headers.items() if name not in PRECONDITIONS}
    return forward(request)


class Held:
    """The fault of requests that lie somewhere in the network, until they are told to land; their clients wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[Callable[[], Reply | None], threading.Event]] = []
        self._ended = False

    def __len__(self) -> int:
        return len(self._waiting)

    def __call__(self, request: Request, forward: Forward) -> None:
        """Hold a request; in the end its client's connection is reset, should it still be there."""
        landed = threading.Event()
        with self._lock:
            if self._ended:
                return
            self._waiting.append((partial(forward, request), landed))
        landed.wait()

    def land(self) -> list[int]:
        """Forward all of them, here and now, in the order in which they came; return what the server says."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        try:
            return [reply.status for reply in [forward() for forward, _ in waiting] if reply]
        finally:
            for _, landed in waiting:
                landed.set()

    def end(self) -> None:
        """Forget them, and hold no more."""
        with self._lock:
            self._ended = True
            for _, landed in self._waiting:
                landed.set()
            self._waiting = []


@dataclasses.dataclass
class _Rule:
    fault: Fault
    matches: Matches
    at: range
    seen: int = 0

    def applies(self, request: Request) -> bool:
        """Tell whether it does; counts the requests that match."""
        if not self.matches(request):
            return False
        self.seen += 1
        return self.seen - 1 in self.at


class FaultProxy:
    """What a test tells what to spoil, and asks what has passed."""

    def __init__(self, address: str) -> None:
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self._held: list[Held] = []
        self._requests: list[Request] = []
        self._behind = urlsplit(address).netloc
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="fault proxy")
        self._thread.start()
        self.port = self._server.server_port
        self.address = f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop; leave no thread and no connection behind, and nothing that could still land."""
        for held in self._held:
            held.end()
        self._server.shutdown()
        self._thread.join()
        self._server.disconnect()
        self._server.server_close()  # waits for the threads

    def spoil(self, fault: Fault, matches: Matches, at: range | int = _ALL) -> Callable[[], None]:
        """
        Let this happen to the requests that match from now on; to all, or to those of these numbers, from 0.

        Return what ends it. A later fault has its way first, and may leave the rest to the earlier ones.
        """
        rule = _Rule(fault, matches, range(at, at + 1) if isinstance(at, int) else at)
        with self._lock:
            self._rules.append(rule)
            if isinstance(fault, Held):
                self._held.append(fault)

        def end() -> None:
            with self._lock:
                self._rules.remove(rule)

        return end

    @contextmanager
    def spoiled(self, fault: Fault, matches: Matches, at: range | int = _ALL) -> Generator[None]:
        """Do so in a block."""
        end = self.spoil(fault, matches, at)
        try:
            yield
        finally:
            end()

    def requests(self, matches: Matches = lambda _: True) -> list[Request]:
        """Return the requests that have come so far, in order."""
        with self._lock:
            return [request for request in self._requests if matches(request)]

    def answer(self, request: Request) -> Reply | None:
        """Answer a request of a client, in a thread of its connection's."""
        with self._lock:
            self._requests.append(request)
            faults = [rule.fault for rule in self._rules if rule.applies(request)]
        forward: Forward = self._ask
        for fault in faults:
            forward = _through(fault, forward)
        return forward(request)

    def _ask(self, request: Request) -> Reply:
        """Ask the server, with the client's own headers: its signature covers the host that it believes to talk to."""
        connection = http.client.HTTPConnection(self._behind, timeout=_PATIENCE)
        try:
            connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name not in _OF_THE_CONNECTION:
                    connection.putheader(name, value)
            connection.endheaders(request.body or None)
            with connection.getresponse() as response:
                headers = (pair for pair in response.getheaders() if pair[0].lower() not in _OF_THE_CONNECTION)
                reply = Reply(response.status, tuple(headers), response.read())
        finally:
            connection.close()
        request.statuses.append(reply.status)
        return reply


def _through(fault: Fault, forward: Forward) -> Forward:
    return lambda request: fault(request, forward)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that they are waited for
    request_queue_size = 128

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def disconnect(self) -> None:
        """End all connections, on which clients would say more some time."""
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # a reply leaves in one piece
    server: _Server

    def handle_one_request(self) -> None:
        """Take it that a client may go whenever it likes."""
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def _handle(self) -> None:
        target = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        request = Request(self.command, target.path, target.query, headers, body, time.monotonic())
        reply = self.server.proxy.answer(request)
        request.ended = time.monotonic()
        if reply is None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.connection.close()  # before anybody says goodbye
            self.close_connection = True
        else:
            self._reply(reply)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _handle  # noqa: N815 - the base's

    def _reply(self, reply: Reply) -> None:
        self.send_response_only(reply.status)
        length = str(len(reply.body))
        for name, value in reply.headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
            elif self.command == "HEAD":
                length = value  # of what there would be
        if reply.status != http.HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: reply.cut])
        self.close_connection |= reply.cut is not None

    def log_message(self, *_: object) -> None:
        """Say nothing: `requests` tells it all."""


@contextmanager
def running(address: str) -> Generator[FaultProxy]:
    """Run a proxy in front of the server of this address."""
    proxy = FaultProxy(address)
    try:
        yield proxy
    finally:
        proxy.close()
