"""
What a network can do to an `ObjectStorage` on S3: each request of a replacement is spoiled in turn, in every way.

The requests pass a proxy that knows nothing of S3. Every world is a row and its picture in a folder of its own.
Whatever happens to its replacement, P5 holds all the time, and once all leases have ended, cleaning leaves exactly what
the row names.
"""

import asyncio
import dataclasses
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qs, unquote

import anyio
import anyio.to_thread
import fault_proxy
import obstore
import pytest
import s3
from fakes import THUMB, picture
from fault_proxy import Fault, FaultProxy, Forward, Held, Reply, Request, Slow
from obstore.exceptions import AlreadyExistsError, BaseError

from safeupload import (
    AsyncUploads,
    Event,
    LeaseExpired,
    NormalizedImage,
    RecoveryReport,
    StorageError,
    SweepReport,
    Uploads,
)
from safeupload._keys import beside, key_beside
from safeupload.storage import ObjectStorage
from safeupload.storage._lease import Lease

PAUSE = 0.05  # seconds between two tries, at most
TIMEOUT = 2.0  # seconds


def client(retries: int, timeout: float) -> dict[str, Any]:
    """Return what tells a store of obstore how patient to be: further tries of a request, and seconds for each."""
    backoff = {"init_backoff": timedelta(milliseconds=10), "max_backoff": timedelta(seconds=PAUSE), "base": 2}
    return {
        "retry_config": {"max_retries": retries, "retry_timeout": timedelta(seconds=5), "backoff": backoff},
        "client_options": {"timeout": f"{timeout:.0f}s"},
    }


#: For requests that are all answered: a slow machine must not make another try of one.
CLIENT = client(retries=3, timeout=30)
#: For requests that hang: a test has to wait for each.
HASTY = client(retries=1, timeout=TIMEOUT)
#: What a request takes that is given up in the end, if each try is answered, and if none is: seconds.
ANSWERED = 3 * PAUSE
HANGING = 2 * TIMEOUT + PAUSE
#: What the rest of a replacement takes at the very most, on a machine that has other things to do.
REST = 10.0
#: From then on what was left is settled: the lease, the skew, and the second to which dates are rounded.
PATIENCE = 3.0

#: A replacement, by its requests. The first are for others: if there is a mark of somebody's, its age is looked at.
REPLACING = [
    "LIST .pending/",
    "PUT .clock",
    "HEAD .clock",
    "PUT .pending/new.jpg",
    "PUT .renditions/-thumb.webp",
    "PUT new.jpg",
    "PUT new-thumb.webp",
    "PUT .pending/~old.jpg~token",
    # here is the commit
    "LIST .renditions/",
    "DELETE old-thumb.webp",
    "DELETE old.jpg",
    "DELETE .pending/~old.jpg~token",
    "DELETE .pending/new.jpg",
]
COMMIT = REPLACING.index("LIST .renditions/")
#: Those that are made only then.
CLOCK = ["PUT .clock", "HEAD .clock"]
#: What `recover` asks for one stale mark, or a sweep for one lost file, at most.
MOST = 12
FAULTS: dict[str, Fault] = {
    "reset": fault_proxy.reset,
    "lost reply": fault_proxy.lost_reply,
    "500": fault_proxy.server_error,
    "503": fault_proxy.slow_down,
}
#: What is never tried again.
REFUSALS: dict[str, Fault] = {"403": fault_proxy.forbidden, "404": lambda request, forward: Reply(404)}
DIGITS = re.compile(r"[0-9a-f]{32}")
LEASE = re.compile(r"![0-9]+$")  # at the end of a mark's name
TOKEN = re.compile(r"(?<=~)[0-9a-f]{16}")


def is_retried(step: str, kind: str) -> bool:
    """Tell whether obstore tries again; it does not take a DELETE for something that can be done twice."""
    return kind in {"500", "503"} or not step.startswith("DELETE")


def is_needed(step: str) -> bool:
    """Tell whether a replacement cannot go on without this: what it stores before the commit."""
    return step.startswith("PUT") and step not in CLOCK


class Network(NamedTuple):
    """A server that speaks S3, and a proxy before it."""

    address: str
    proxy: FaultProxy


@pytest.fixture(scope="module")
def network() -> Generator[Network]:
    """Run both."""
    with s3.server() as address, fault_proxy.running(address) as proxy:
        yield Network(address, proxy)


class Unhurried(ObjectStorage):
    """
    One whose leases are short for cleaners, so that tests need not wait, and for their holder do not end.

    What the clock does is not at stake here, and a slow machine must not change the requests; cleaners come later.
    """

    def new_mark(self) -> Lease:
        """Return a mark that is always taken for fresh."""
        mark = super().new_mark()
        mark.check = mark.touch = lambda: None  # type: ignore[method-assign]
        return mark


class World:
    """A row and its picture, a mark of somebody else's (`left`), and a storage behind the proxy."""

    def __init__(
        self,
        network: Network,
        title: str = "",
        *,
        in_a_hurry: bool = False,
        retain: float | None = None,
        old: bool = True,
        left: bool = False,
        client: dict[str, Any] = CLIENT,
    ) -> None:
        self.title = title
        self.proxy = network.proxy
        self.folder = s3.fresh()
        self.store_behind = s3.store(network.address)
        self.direct = Unhurried(self.store_behind, prefix=self.folder, lease=1, skew=1)
        store = s3.store(self.proxy.address, **client)
        storage = ObjectStorage if in_a_hurry else Unhurried
        self.storage = storage(store, prefix=self.folder, lease=1, skew=1)
        self.rows: dict[int, str | None] = {1: None}
        self.pictures: dict[str, NormalizedImage] = {}
        self.names: dict[str, str] = {}  # of keys, for people
        self.wrong: list[str] = []
        self.failed: list[str] = []
        self.held = Held()
        self.error: StorageError | None = None
        self.seconds = 0.0
        self.uploads = Uploads(self.storage, references=self.used, retain=retain, on_event=self._note)
        self.async_uploads = AsyncUploads(self.storage, references=self.used_async, on_event=self._note)
        self.plan = [step for step in REPLACING if left or step not in CLOCK]
        if old:
            self.rows[1] = self.store("old")
        if left:
            self.store("left", marked=True)
        self.proxy.spoil(self._guard, self.owns)

    def store(self, name: str, *, marked: bool = False) -> str:
        """Store a file past the proxy, and drop its mark or leave it."""
        mark = self.direct.new_mark()
        key = mark.name.key
        self.names[DIGITS.findall(key)[0]] = name
        self.pictures[key] = picture(name)
        mark.save(self.pictures[key].data, {THUMB: self.pictures[key].renditions["thumb"].data})
        if not marked:
            self.direct.settle([], [mark])
        return key

    # --- the requests -------------------------------------------------------------------------------------------------

    def owns(self, request: Request) -> bool:
        """Tell whether this is one of the world's requests."""
        return request.path.startswith(f"/{s3.BUCKET}/{self.folder}/") or f"prefix={self.folder}%2F" in request.query

    def spoiled(self, kind: str, how: str, at: int) -> AbstractContextManager[None]:
        """Spoil a request in a block, by its number: it alone ("once"), and its like ("again"), or all from it "on"."""
        fault = self.held if kind == "held" else {**FAULTS, **REFUSALS}[kind]
        if how == "again":
            return self.proxy.spoiled(fault, self._again(at))
        return self.proxy.spoiled(fault, self.owns, at if how == "once" else range(at, 10**9))

    def _again(self, at: int) -> Callable[[Request], bool]:
        """Return what matches one of the requests from now on, by its number, and all later ones that are equal."""
        found: list[str] = []
        seen: list[Request] = []

        def matches(request: Request) -> bool:
            if not self.owns(request):
                return False
            if len(seen) == at:
                found.append(str(request))
            seen.append(request)
            return str(request) in found

        return matches

    def requests(self) -> list[Request]:
        """Return what has passed the proxy."""
        return self.proxy.requests(self.owns)

    def steps(self) -> list[str]:
        """Return what has passed, in the words of the lists above."""
        return [f"{method} {name}".strip() for method, name in map(self._parts, self.requests())]

    def _parts(self, request: Request) -> tuple[str, str]:
        if request.path == f"/{s3.BUCKET}":
            (name,) = parse_qs(request.query)["prefix"]
            return "LIST", self._named(name)
        return request.method, self._named(unquote(request.path).removeprefix(f"/{s3.BUCKET}/"))

    def _named(self, name: str) -> str:
        for digits in DIGITS.findall(name):
            if digits not in self.names:
                known = sum(each.startswith("new") for each in self.names.values())
                self.names[digits] = f"new{known + 1}" if known else "new"
        short = LEASE.sub("", name.removeprefix(f"{self.folder}/"))
        return TOKEN.sub("token", DIGITS.sub(lambda match: self.names[match[0]], short))

    def key(self, name: str) -> str:
        """Return the key that is called so."""
        self.steps()  # calls those that have come up since something
        (digits,) = (digits for digits, found in self.names.items() if found == name)
        return f"{digits}.jpg"

    # --- the promise --------------------------------------------------------------------------------------------------

    def _guard(self, request: Request, forward: Forward) -> Reply | None:
        """Look out for the removal of what a row names."""
        if request.method == "DELETE":
            name = unquote(request.path).rpartition("/")[2]
            if ".pending" not in request.path and (key_beside(name) or name) in self.rows.values():
                self.wrong.append(str(request))
        return forward(request)

    def check(self, *rows: int) -> None:
        """Check P5: what these rows name, or all, is there, whole, with its rendition."""
        for key in filter(None, [self.rows[row] for row in rows or self.rows]):
            expected = self.pictures[key]
            assert self.direct.read(key) == expected.data
            assert self.direct.read(beside(key, THUMB)) == expected.renditions["thumb"].data
        assert self.wrong == []

    @contextmanager
    def telling(self) -> Generator[None]:
        """Tell which world it was, if something is wrong."""
        try:
            yield
        except BaseException as error:
            error.add_note(f"the case: {self.title}; its requests, at the end: {self.steps()[-30:]}")
            raise

    # --- the application ----------------------------------------------------------------------------------------------

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        return [key for key in keys if key in self.rows.values()]

    async def used_async(self, keys: list[str]) -> list[str]:
        """Do the same."""
        return self.used(keys)

    def _note(self, event: Event) -> None:
        if event.name == "failed":
            self.failed.append(" ".join(event.keys))

    def commit(self, key: str, image: NormalizedImage, row: int = 1) -> None:
        """Commit: the row is changed in a moment, in which the file must be there."""
        self.pictures[key] = image
        self.rows[row] = key
        self.check(row)

    def replace(self, image: NormalizedImage | None = None) -> None:
        """Replace the picture, and keep the error that is one of the storage's."""
        image = image or picture("new")
        started = time.monotonic()
        try:
            with self.uploads.replace(image) as new:
                key = new.replacing(self.rows[1])
                new.commit(lambda: self.commit(key, image))
        except StorageError as error:
            self.error = error
        self.seconds = time.monotonic() - started
        self.check()

    async def replace_async(self) -> None:
        """Replace the picture in a task; the checks are made in threads."""
        image = picture("new")
        async with self.async_uploads.replace(image) as new:
            key = new.replacing(self.rows[1])

            async def commit() -> None:
                await anyio.to_thread.run_sync(self.commit, key, image)

            await new.commit(commit)
        await anyio.to_thread.run_sync(self.check)

    # --- the end ------------------------------------------------------------------------------------------------------

    def objects(self) -> set[str]:
        """Return the names of all objects, for people."""
        pages = obstore.list(self.store_behind, self.folder)
        return {self._named(entry["path"]) for page in pages for entry in page}

    def settle(self) -> tuple[RecoveryReport, SweepReport]:
        """Clean up past the proxy, and check that exactly what the row names is left."""
        uploads = Uploads(self.direct, references=self.used)
        recovered = uploads.recover(min_age=0)
        assert (recovered.waiting, recovered.failed) == (0, ())
        swept = uploads.sweep(min_age=0, force=True)
        assert swept.failed == ()
        self.check()
        expected = {".renditions/-thumb.webp"}
        for key in filter(None, self.rows.values()):
            expected |= {self._named(key), self._named(beside(key, THUMB))}
        assert self.objects() - {".clock"} == expected
        return recovered, swept


def settle(worlds: Iterable[World]) -> None:
    """Wait until all leases have ended, and settle all."""
    time.sleep(PATIENCE)
    for world in worlds:
        with world.telling():
            world.settle()


# --- the proxy itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "there"),
    [
        (fault_proxy.reset, "error sending request", False),
        (fault_proxy.lost_reply, "error sending request", True),
        (fault_proxy.forbidden, "403 Forbidden", False),
        (fault_proxy.server_error, "500 Internal Server Error", False),
        (fault_proxy.slow_down, "<Code>SlowDown</Code>", False),
        (Slow(0.1), None, True),
        (Slow(0.7), "error sending request", True),
        (None, "error sending request", False),
    ],
    ids=["reset", "lost reply", "403", "500", "503", "slow", "too slow", "held"],
)
def test_the_proxy_spoils_a_request(network: Network, fault: Fault | None, error: str | None, *, there: bool) -> None:
    """Each fault does what it says, to the request that it is meant for; what is held lands when it is told to."""
    fault = fault or Held()
    store = s3.store(network.proxy.address, retry_config={"max_retries": 0}, client_options={"timeout": "500ms"})
    name = f"{s3.fresh()}/x.jpg"

    def owns(request: Request) -> bool:
        return request.path.endswith(name)

    def put(data: bytes) -> None:
        obstore.put(store, name, data, use_multipart=False)

    def found() -> bytes | None:
        try:
            return bytes(obstore.get(s3.store(network.address), name).bytes())
        except FileNotFoundError:
            return None

    with network.proxy.spoiled(fault, owns, 1):
        put(b"before")
        if error is None:
            put(b"spoiled")
        else:
            with pytest.raises(BaseError, match=error):
                put(b"spoiled")
        while there and not network.proxy.requests(owns)[1].statuses:
            time.sleep(0.01)
        assert found() == (b"spoiled" if there else b"before")
        put(b"after")
    assert found() == b"after"
    if isinstance(fault, Held):
        assert fault.land() == [200]
        assert found() == b"spoiled"
    assert [(request.method, request.body) for request in network.proxy.requests(owns)] == [
        ("PUT", b"before"),
        ("PUT", b"spoiled"),
        ("PUT", b"after"),
    ]


def test_the_proxy_takes_preconditions_away(network: Network) -> None:
    """What must not be there already is written all the same."""
    store = s3.store(network.proxy.address)
    name = f"{s3.fresh()}/x.jpg"
    obstore.put(store, name, b"first")
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, name, b"second", mode="create")
    with network.proxy.spoiled(fault_proxy.without_preconditions, lambda request: request.path.endswith(name)):
        obstore.put(store, name, b"third", mode="create")

    assert bytes(obstore.get(store, name).bytes()) == b"third"


def test_the_proxy_leaves_nothing_behind(network: Network) -> None:
    """Closed, it has no thread, though a client is still connected, and another waits for what is held."""
    before = set(threading.enumerate())
    held = Held()
    with fault_proxy.running(network.address) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as idle:
        proxy.spoil(held, lambda request: request.method == "PUT")
        proxy.spoil(fault_proxy.server_error, lambda request: request.method == "GET")
        idle.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(12) == b"HTTP/1.1 500"
        with socket.create_connection(("127.0.0.1", proxy.port)) as waiting:
            waiting.sendall(b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            while not held:
                time.sleep(0.001)
            assert len(set(threading.enumerate()) - before) == 3  # itself, and one for each connection
            proxy.close()
            with pytest.raises(ConnectionResetError):
                waiting.recv(1)

    assert set(threading.enumerate()) - before == set()
    assert held.land() == []


# --- which requests are made ------------------------------------------------------------------------------------------


def with_renditions(*names: str) -> NormalizedImage:
    """Return a picture that has these."""
    image = picture("new")
    return dataclasses.replace(image, renditions=dict.fromkeys(names, image.renditions["thumb"]))


FIRST = {
    (): ["LIST .pending/", "PUT .pending/new.jpg", "PUT new.jpg", "DELETE .pending/new.jpg"],
    ("thumb", "small"): [
        "LIST .pending/",
        "PUT .pending/new.jpg",
        "PUT .renditions/-thumb.webp",
        "PUT .renditions/-small.webp",
        "PUT new.jpg",
        "PUT new-thumb.webp",
        "PUT new-small.webp",
        "DELETE .pending/new.jpg",
    ],
}
SECOND = {
    (): [
        "PUT .pending/new2.jpg",
        "PUT new2.jpg",
        "PUT .pending/~new.jpg~token",
        "LIST .renditions/",
        "DELETE new.jpg",
        "DELETE .pending/~new.jpg~token",
        "DELETE .pending/new2.jpg",
    ],
    ("thumb", "small"): [
        "PUT .pending/new2.jpg",
        "PUT new2.jpg",
        "PUT new2-thumb.webp",
        "PUT new2-small.webp",
        "PUT .pending/~new.jpg~token",
        "LIST .renditions/",
        "DELETE new-thumb.webp",
        "DELETE new-small.webp",
        "DELETE new.jpg",
        "DELETE .pending/~new.jpg~token",
        "DELETE .pending/new2.jpg",
    ],
}


@pytest.mark.parametrize("renditions", [(), ("thumb", "small")], ids=["none", "two"])
def test_requests_of_a_replacement(network: Network, renditions: tuple[str, ...]) -> None:
    """A mark, the file, what is beside it; then a mark for the old one, and after the commit what goes."""
    world = World(network, old=False)
    image = with_renditions(*renditions)
    for _ in range(2):
        with world.uploads.replace(image) as new:
            key = new.replacing(world.rows[1])
            new.commit(lambda key=key: world.rows.update({1: key}))  # type: ignore[misc]

    steps = world.steps()
    assert steps[: len(FIRST[renditions])] == FIRST[renditions]
    assert in_order_of(SECOND[renditions], steps[len(FIRST[renditions]) :]) == SECOND[renditions]


def in_order_of(expected: list[str], steps: list[str]) -> list[str]:
    """Return the steps, with those that remove renditions, which is done in any order, as expected."""
    assert sorted(steps) == sorted(expected)
    return sorted(steps, key=lambda step: expected.index(step) if "DELETE new-" in step else steps.index(step))


def test_requests_of_a_replacement_that_retains_the_old_file(network: Network) -> None:
    """The old file's mark is dated once more after the commit, and nothing of it is removed."""
    world = World(network, retain=60)
    world.replace()

    assert world.steps() == [
        "LIST .pending/",
        "PUT .pending/new.jpg",
        "PUT .renditions/-thumb.webp",
        "PUT new.jpg",
        "PUT new-thumb.webp",
        "PUT .pending/~old.jpg~token~60",
        "PUT .pending/~old.jpg~token~60",
        "DELETE .pending/new.jpg",
    ]


def test_requests_with_nothing_on_record(network: Network) -> None:
    """All that `recover` does then is to look."""
    world = World(network)
    assert world.uploads.recover() == RecoveryReport()
    assert world.steps() == ["LIST .pending/"]


def test_a_replacement_without_faults(network: Network) -> None:
    """The requests are those that the tests below spoil in turn, and none of them has a precondition."""
    world = World(network, left=True)
    world.replace()

    assert world.error is None
    assert world.steps() == REPLACING
    for request in world.requests():
        assert not fault_proxy.PRECONDITIONS & request.headers.keys()
        assert request.body in {b"", picture("new").data}


def test_servers_without_preconditions(network: Network) -> None:
    """Nothing is different where they are ignored."""
    world = World(network)
    with network.proxy.spoiled(fault_proxy.without_preconditions, world.owns):
        world.replace()

    assert world.error is None
    assert world.steps() == world.plan
    assert world.key("new") == world.rows[1]


@pytest.mark.parametrize(
    "options",
    [{}, {"disable_bulk_delete": False}, {"disable_bulk_delete": True}],
    ids=["as obstore likes", "many at once", "one by one"],
)
def test_files_are_removed_one_by_one(network: Network, options: dict[str, Any]) -> None:
    """Several servers have no request that removes many, so none is made, whatever the application's store says."""
    world = World(network, left=True, client={**CLIENT, **options})
    world.store("lost")
    world.replace()
    assert world.uploads.sweep(min_age=0, force=True).removed == (world.key("lost"),)

    assert {request.method for request in world.requests()} == {"GET", "HEAD", "PUT", "DELETE"}
    name = f"{world.folder}/x.jpg"
    obstore.delete(s3.store(network.proxy.address), name)
    assert str(network.proxy.requests()[-1]) == f"POST /{s3.BUCKET}?delete", "which is what obstore does by itself"


def test_slow_requests_change_nothing(network: Network) -> None:
    """A replacement takes as much longer as its requests do together, and does the same."""
    world = World(network, left=True)
    with network.proxy.spoiled(Slow(0.05), world.owns):
        world.replace()

    assert world.error is None
    assert world.steps() == REPLACING
    assert 0.05 * len(REPLACING) < world.seconds < 0.05 * len(REPLACING) + REST
    assert world.objects() == {
        ".clock",
        ".pending/left.jpg",
        ".renditions/-thumb.webp",
        *("left.jpg", "left-thumb.webp"),
        *("new.jpg", "new-thumb.webp"),
    }


# --- faults that pass -------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """What is spoiled, how ("once", "again", "on"), and at which step."""

    kind: str
    how: str
    step: str


def each_step(kind: str, how: str) -> list[Case]:
    """Return a case for each step of a replacement."""
    return [Case(kind, how, step) for step in REPLACING]


def replace_all(
    network: Network, cases: Iterable[Case], *, in_a_hurry: bool = False, at_once: int = 4
) -> dict[Case, World]:
    """Make a replacement in a world of its own for each case, several at once."""

    def replace(case: Case) -> tuple[Case, World]:
        world = World(
            network,
            " ".join(case),
            in_a_hurry=in_a_hurry,
            left=case.step in CLOCK,
            client=HASTY if case.kind == "held" else CLIENT,
        )
        with world.telling(), world.spoiled(case.kind, case.how, world.plan.index(case.step)):
            world.replace()
        return case, world

    with ThreadPoolExecutor(at_once) as pool:
        return dict(pool.map(replace, cases))


def check_outcome(world: World, *, refused: bool, cause: type[Exception] = BaseError) -> None:
    """Check that there is an error of the storage, from one of obstore's, or none; and what the row names then."""
    assert type(world.error) is (StorageError if refused else type(None))
    if world.error is not None:
        assert isinstance(world.error.__cause__, cause)
    assert world.rows[1] == world.key("old" if refused else "new")


def test_a_fault_that_passes(network: Network) -> None:
    """One request is spoiled, each in turn, and the replacement succeeds all the same."""
    check_faults_that_pass(network, "lost reply", "503")


@pytest.mark.long
def test_a_fault_that_passes_of_any_kind(network: Network) -> None:
    """In the other ways as well."""
    check_faults_that_pass(network, *(kind for kind in FAULTS if kind not in {"lost reply", "503"}))


def check_faults_that_pass(network: Network, *kinds: str) -> None:
    """Make replacements in which a request fails once, and is tried again."""
    # A DELETE whose connection is lost is not, so its mark stays for others.
    worlds = replace_all(network, [case for kind in kinds for case in each_step(kind, "once")])
    for (kind, _, step), world in worlds.items():
        with world.telling():
            check_outcome(world, refused=False)
            at = world.plan.index(step)
            if is_retried(step, kind):
                assert world.steps() == [*world.plan[: at + 1], *world.plan[at:]]
                assert world.failed == []
                assert [name for name in world.objects() if "pending" in name and "left" not in name] == []
            else:
                last = world.plan[-1]
                assert world.steps() == [*world.plan[:at], *dict.fromkeys([step, last])]
                assert world.failed == [world.key("new" if step == last else "old")]
    settle(worlds.values())


# --- requests that land late ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["once", pytest.param("again", marks=pytest.mark.long)])
def test_requests_that_hang_and_land_later(network: Network, how: str) -> None:
    """What lands when everybody has given it up is found by a sweep or by `recover`, or nobody needs it."""
    cases = each_step("held", how)
    worlds = replace_all(network, cases, at_once=len(cases))
    for (_, _, step), world in worlds.items():
        with world.telling():
            refused = how == "again" and is_needed(step)
            check_outcome(world, refused=refused)
            retried = is_retried(step, "held")
            twice = (how, step) == ("again", REPLACING[COMMIT - 1])  # it is tried once more on leaving
            assert bool(world.failed) == (twice or (not refused and (how == "again" or not retried)))
            given_up = 2 if twice else 1
            assert world.seconds < given_up * HANGING + REST
            tries = given_up * (2 if how == "again" and retried else 1)
            assert world.held.land() == [204 if step.startswith("DELETE") else 200] * tries
            world.check()
            if step.startswith("PUT"):
                assert step.removeprefix("PUT ") in world.objects()
    time.sleep(PATIENCE)
    for (_, _, step), world in worlds.items():
        with world.telling():
            recovered, swept = world.settle()
            new = world.key("new")
            by_recover = how == "again" and step in {"PUT .pending/new.jpg", REPLACING[COMMIT - 1]}
            by_sweep = how == "again" and step in {"PUT new.jpg", "PUT new-thumb.webp"}
            assert (new in recovered.removed, new in swept.removed) == (by_recover, by_sweep)
            assert recovered.kept == (
                (how, step) in {("once", "PUT .pending/new.jpg"), ("again", REPLACING[COMMIT - 1])}
            )


def test_a_request_that_succeeds_too_late(network: Network) -> None:
    """When it is tried again, that is too late for a lease of a second: nothing is replaced."""
    cases = [case for case in each_step("held", "once") if is_needed(case.step) and "renditions" not in case.step]
    worlds = replace_all(network, cases, in_a_hurry=True, at_once=len(cases))
    for world in worlds.values():
        with world.telling():
            assert isinstance(world.error, LeaseExpired)
            assert world.rows[1] == world.key("old")
            assert world.held.land() == [200]
    settle(worlds.values())


def test_a_file_that_lands_after_it_was_removed(network: Network) -> None:
    """A first try that lands when the second one's file has been replaced is found by a sweep."""
    world = World(network, client={**CLIENT, "client_options": {"timeout": "500ms"}})
    held = Held()
    with network.proxy.spoiled(held, lambda request: world.owns(request) and len(request.body) > 0, range(0, 3, 2)):
        world.replace()
    first = world.rows[1]
    world.replace(picture("another"))
    assert world.error is None
    assert world.steps().count("PUT new.jpg") == world.steps().count("PUT new-thumb.webp") == 2
    assert held.land() == [200, 200]

    uploads = Uploads(world.direct, references=world.used)
    assert world.direct.exists(str(first))
    assert uploads.sweep(min_age=0).removed == (first,)
    world.check()
    assert world.objects() == {".renditions/-thumb.webp", "new2.jpg", "new2-thumb.webp"}


# --- faults that stay -------------------------------------------------------------------------------------------------


def check_faults_that_stay(network: Network, cases: Iterable[Case], *, at_once: int = 4) -> None:
    """Make replacements with faults that retries cannot get over."""
    worlds = replace_all(network, cases, at_once=at_once)
    for (kind, how, step), world in worlds.items():
        with world.telling():
            world.held.land()
            refused = REPLACING.index(step) < COMMIT if how == "on" else is_needed(step)
            check_outcome(world, refused=refused)
            assert refused or world.failed, "nobody was told"
            given_up = 3 if how == "on" else 2  # requests, at most
            assert world.seconds < given_up * (HANGING if kind == "held" else ANSWERED) + REST
    settle(worlds.values())


def test_nothing_is_stored_where_there_is_nothing(network: Network) -> None:
    """A PUT that is answered by 404, as by a gateway without that route, has stored nothing: an error."""
    worlds = replace_all(network, [case for case in each_step("404", "again") if is_needed(case.step)])
    assert len(worlds) > 3
    for world in worlds.values():
        with world.telling():
            check_outcome(world, refused=True, cause=FileNotFoundError)
    settle(worlds.values())


def test_a_listing_that_is_not_there_is_no_empty_one(network: Network) -> None:
    """Or a sweep would take the files of others for files without a mark."""
    world = World(network)
    with network.proxy.spoiled(lambda request, forward: Reply(404), lambda request: "list-type" in request.query):
        for listing in (world.storage.keys, world.storage.files, world.storage.marks):
            with pytest.raises(StorageError):
                list(listing())


def test_a_fault_that_stays(network: Network) -> None:
    """A request and its repetitions fail, or all from one on: a clean error, or none where all that counts is done."""
    check_faults_that_stay(network, [*each_step("403", "again"), *each_step("reset", "on")[::2]])


@pytest.mark.long
def test_a_fault_that_stays_of_any_kind(network: Network) -> None:
    """The other ways in which requests can fail for good do no more harm."""
    again = [case for kind in FAULTS for case in each_step(kind, "again")]
    on = [case for kind in FAULTS for case in each_step(kind, "on")]
    check_faults_that_stay(network, [*again, *on])


@pytest.mark.long
def test_a_network_that_swallows_everything(network: Network) -> None:
    """Nor does it harm if nothing is answered any more, and what was on its way lands later."""
    cases = each_step("held", "on")
    check_faults_that_stay(network, cases, at_once=len(cases))


# --- the async class --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_slow_requests_do_not_block_the_event_loop(network: Network, backend: str) -> None:
    """While requests take 0.3 seconds, several replacements go on at once, and so does everything else."""
    worlds = [World(network, old=False) for _ in range(3)]
    ticks = 0
    meanwhile: list[int] = []  # for each request

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.sleep(0.005)
            ticks += 1

    def slow(request: Request, forward: Forward) -> Reply | None:
        before = ticks
        reply = Slow(0.3)(request, forward)
        meanwhile.append(ticks - before)
        return reply

    async def main() -> None:
        async with anyio.create_task_group() as ticking:
            ticking.start_soon(tick)
            async with anyio.create_task_group() as tasks:
                for world in worlds:
                    tasks.start_soon(world.replace_async)
            ticking.cancel_scope.cancel()

    ends = [network.proxy.spoil(slow, world.owns) for world in worlds]
    started = time.monotonic()
    anyio.run(main, backend=backend)
    took = time.monotonic() - started
    for end in ends:
        end()

    assert [len(world.steps()) for world in worlds] == [6] * 3
    assert 0.3 * 6 < took < 0.3 * 6 + REST
    assert len(meanwhile) == 6 * 3
    assert min(meanwhile) > 1  # during a request that blocks there is none


@pytest.mark.parametrize("backend", ["asyncio", pytest.param("trio", marks=pytest.mark.long)])
def test_a_cancelled_task_leaves_no_request_behind(network: Network, backend: str) -> None:
    """Called off during any request, by asyncio or by a scope of trio's, a task ends when nothing is on its way."""
    steps = [step for step in REPLACING if step not in CLOCK]
    worlds = [World(network, step) for step in steps]
    seen: dict[int, int] = {}

    async def come(at: int) -> None:
        with anyio.fail_after(30):
            while len(worlds[at].requests()) <= at:  # noqa: ASYNC110 - they come in other threads
                await anyio.sleep(0.005)
        await anyio.sleep(0.02)

    def look(at: int) -> None:
        requests = worlds[at].requests()
        with worlds[at].telling():
            assert all(request.ended for request in requests), "something is on its way"
        seen[at] = len(requests)

    async def in_asyncio(at: int) -> None:
        task = asyncio.create_task(worlds[at].replace_async())
        await come(at)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        look(at)

    async def in_trio(at: int) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worlds[at].replace_async)
            await come(at)
            tasks.cancel_scope.cancel()
        look(at)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for at in range(len(steps)):
                tasks.start_soon(in_trio if backend == "trio" else in_asyncio, at)

    ends = [network.proxy.spoil(Slow(0.3), world.owns, at) for at, world in enumerate(worlds)]
    anyio.run(main, backend=backend)
    for end in ends:
        end()

    time.sleep(PATIENCE)
    for at, world in enumerate(worlds):
        with world.telling():
            assert len(world.requests()) == seen[at], "something came later"
            committed = steps[at] in REPLACING[COMMIT:]
            assert world.rows[1] == world.key("new" if committed else "old")
            world.settle()


# --- cleaning with faults ---------------------------------------------------------------------------------------------


def recover(world: World) -> tuple[str, ...]:
    """Recover through the proxy; return the keys of what could not be removed."""
    return world.uploads.recover(min_age=0).failed


def sweep(world: World) -> tuple[str, ...]:
    """Sweep through the proxy; return the keys of what could not be removed."""
    return world.uploads.sweep(min_age=0, force=True).failed


def clean_with_faults(
    clean: Callable[[World], tuple[str, ...]], faultless: World, spare: Iterator[World], ways: Iterable[tuple[str, str]]
) -> None:
    """Clean a world without faults; then spoil each request of that in turn, in each way, in a world of its own."""
    with faultless.telling():
        assert clean(faultless) == ()
        faultless.settle()
    plan = faultless.steps()
    for kind, how in ways:
        for at, step in enumerate(plan):
            world = next(spare)
            world.title = f"{kind} {how} {step}"
            failed: tuple[str, ...] = ()
            with world.telling():
                with world.spoiled(kind, how, at):
                    try:
                        failed = clean(world)
                    except StorageError as error:
                        world.error = error
                world.check()
                if how == "once" and is_retried(step, kind):
                    assert (world.error, failed) == (None, ())
                    assert world.steps() == [*plan[: at + 1], *plan[at:]]
                else:
                    assert bool(world.error) != bool(failed), "somebody must be told"
                    assert failed or isinstance(world.error and world.error.__cause__, BaseError)
                world.settle()


def recover_with_faults(network: Network, *ways: tuple[str, str]) -> None:
    """Let `recover` fail over a stale mark."""
    worlds = [World(network, left=True) for _ in range(1 + MOST * len(ways))]
    time.sleep(PATIENCE)
    clean_with_faults(recover, worlds[0], iter(worlds[1:]), ways)
    assert worlds[0].steps()[-3:] == ["DELETE left-thumb.webp", "DELETE left.jpg", "DELETE .pending/left.jpg"]


def sweep_with_faults(network: Network, *ways: tuple[str, str]) -> None:
    """Let a sweep fail over a file without a mark."""

    def worlds() -> Iterator[World]:
        while True:
            world = World(network)
            world.store("lost")
            yield world

    made = worlds()
    faultless = next(made)
    clean_with_faults(sweep, faultless, made, ways)
    assert faultless.steps()[-2:] == ["DELETE lost-thumb.webp", "DELETE lost.jpg"]


def test_a_sweep_with_faults(network: Network) -> None:
    """A sweep may fail at each of its requests: what the row names stays, and the next one does the rest."""
    sweep_with_faults(network, ("lost reply", "again"))


@pytest.mark.long
def test_cleaning_with_faults_of_any_kind(network: Network) -> None:
    """`recover` and `sweep` get over what passes, and if all is gone, the next ones do the rest."""
    ways = ("lost reply", "again"), ("503", "once"), ("reset", "on")
    recover_with_faults(network, *ways)
    sweep_with_faults(network, *ways)


def test_pages_with_faults(network: Network) -> None:
    """A page of a listing that fails is asked for again, and if it fails for good, nothing is removed."""
    world = World(network)
    for number in range(5):
        world.store(f"lost{number}")
    everything = world.objects()

    def three(request: Request, forward: Forward) -> Reply | None:
        request.query += "&max-keys=3"
        return forward(request)

    uploads = Uploads(world.storage, references=world.used)
    pages = 5  # of 12 files and a suffix
    with network.proxy.spoiled(three, lambda request: request.path == f"/{s3.BUCKET}"):
        assert uploads.sweep(min_age=0, dry_run=True, force=True).examined == 6
        assert world.steps()[:pages] == ["LIST"] * pages
        for at in range(pages):
            for fault in (*FAULTS.values(), fault_proxy.short_reply):
                seen = len(world.requests())
                with network.proxy.spoiled(fault, world._again(at)), pytest.raises(StorageError) as caught:
                    uploads.sweep(min_age=0, force=True)
                assert isinstance(caught.value.__cause__, BaseError)
                assert {request.method for request in world.requests()[seen:]} == {"GET"}
            with network.proxy.spoiled(fault_proxy.reset, world.owns, at):
                assert uploads.sweep(min_age=0, dry_run=True, force=True).examined == 6
        assert world.objects() == everything
        assert len(uploads.sweep(min_age=0, force=True).removed) == 5
    world.settle()


# --- everything at once -----------------------------------------------------------------------------------------------


class Hosts:
    """Four hosts on one folder, each with a row, and two cleaners, until it is time."""

    kinds: ClassVar[list[Fault]] = [*FAULTS.values(), fault_proxy.short_reply, Slow(0.2)]

    def __init__(self, network: Network, seed: int) -> None:
        self.network = network
        self.die = random.Random(seed)
        self.world = World(network, f"seed {seed}", old=False)
        self.world.rows = dict.fromkeys(range(4))
        self.held = self.world.held
        self.happened: Counter[str] = Counter()
        self.over = threading.Event()

    def chaos(self, request: Request, forward: Forward) -> Reply | None:
        """Let nothing through for half a second of three; spoil every fifth of the other requests."""
        if time.monotonic() % 3 < 0.5:
            return None
        if self.die.random() > 0.2:
            return forward(request)
        kinds: list[Fault] = [*self.kinds, self.held]
        return self.die.choice(kinds)(request, forward)

    def uploads(self) -> Uploads:
        """Return what another process would make."""
        store = s3.store(self.network.proxy.address, **{**CLIENT, "client_options": {"timeout": "300ms"}})
        storage = ObjectStorage(store, prefix=self.world.folder, lease=1, skew=1)
        return Uploads(storage, references=self.world.used)

    def host(self, row: int) -> None:
        """Replace the row's picture again and again; commits fail as databases do, before or after they took effect."""
        uploads = self.uploads()
        for number in count():
            if self.over.is_set():
                return
            image = picture(f"{row} {number}")
            how = self.die.choice(["commit"] * 4 + ["refused", "lost before", "lost after", "abort", "late"])
            try:
                with uploads.replace(image) as new:
                    key = new.replacing(self.world.rows[row])
                    if how == "abort":
                        new.abort()
                    else:
                        time.sleep(1.1 if how == "late" else self.die.random() / 4)
                        new.commit(partial(self.commit, how, key, image, row))
            except (StorageError, ConnectionResetError, IntegrityError) as error:
                self.happened[type(error).__name__] += 1
            else:
                self.happened[how] += 1
            self.world.check(row)

    def commit(self, how: str, key: str, image: NormalizedImage, row: int) -> None:
        """Commit, or not."""
        if how == "refused":
            raise IntegrityError
        if how != "lost before":
            self.world.commit(key, image, row)
        if how.startswith("lost"):
            raise ConnectionResetError

    def cleaner(self) -> None:
        """Recover and sweep again and again."""
        uploads = self.uploads()
        while not self.over.wait(0.1):
            try:
                self.happened["recovered"] += len(uploads.recover(min_age=0).removed)
                self.happened["swept"] += len(uploads.sweep(min_age=0, force=True).removed)
            except StorageError:
                self.happened["not cleaned"] += 1

    def lander(self) -> None:
        """Let what is held land, some time."""
        while not self.over.wait(self.die.random()):
            self.happened["landed"] += len(self.held.land())

    def run(self, seconds: float) -> None:
        """Let all of them run."""
        with (
            self.network.proxy.spoiled(self.chaos, self.world.owns),
            self.network.proxy.spoiled(self.held, lambda _: False),  # so that it ends with the proxy
            ThreadPoolExecutor(7) as pool,
        ):
            runs: list[Callable[[], None]] = [
                *(partial(self.host, row) for row in self.world.rows),
                *(self.cleaner, self.cleaner),
                self.lander,
            ]
            futures = [pool.submit(run) for run in runs]
            wait(futures, seconds, FIRST_EXCEPTION)
            self.over.set()
            time.sleep(0.5)
            while not all(future.done() for future in futures):
                self.held.land()
                time.sleep(0.05)
            for future in futures:
                future.result()


class IntegrityError(Exception):
    """What drivers call a refusal."""


@pytest.mark.long
def test_several_hosts_in_a_bad_network(network: Network) -> None:
    """Whatever happens at once: no row ever names what is not there, and nothing is left in the end."""
    hosts = Hosts(network, random.randrange(10**9))
    with hosts.world.telling():
        hosts.run(9)
        hosts.held.land()
        assert hosts.happened.keys() >= {"commit", "StorageError", "LeaseExpired", "landed", "recovered", "swept"}
    settle([hosts.world])
