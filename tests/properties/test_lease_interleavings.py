"""
Every order of the requests of several hosts on one bucket, with time, clocks and a network that are what they are.

Any request may take long, fail before or after it took effect, or take effect when its sender has given it up. Dates
are whole seconds of servers that do not agree; hosts pause for minutes wherever they are. What is assumed is what
`safeupload.storage.leases` says: a commit that was begun takes effect within the minimum age, and two dates of the
bucket are wrong by no more than the skew.
"""

import inspect
import math
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import explorer
import pytest
from explorer import OBSERVE, Steps

import safeupload
from safeupload import _recovery, _sweep
from safeupload._drive import drive
from safeupload._keys import MarkName
from safeupload._recovery import recover
from safeupload._sweep import sweep
from safeupload._transaction import Core
from safeupload.errors import LeaseExpired
from safeupload.storage import BucketStorage, Entry, _clocks
from safeupload.storage._lease import Lease, reporting

LEASE, SKEW, MIN_AGE = 300.0, 60.0, 60.0


class Bucket:
    """Named objects on servers whose clocks differ, behind a network."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.late: list[Callable[[], object]] = []

    def put(self, name: str, data: bytes) -> None:
        """Write an object."""
        self._send(lambda: self.objects.__setitem__(name, (data, self._date())))

    def get(self, name: str) -> bytes | None:
        """Return an object."""
        self.world.network()
        return self.objects[name][0] if name in self.objects else None

    def delete(self, name: str) -> None:
        """Remove an object."""
        self._send(lambda: self.objects.pop(name, None))

    def date(self, name: str) -> float | None:
        """Return when an object was last written."""
        self.world.network()
        return self.objects[name][1] if name in self.objects else None

    def entries(self, folder: str) -> Iterator[Entry]:
        """Return the objects whose names begin so."""
        self.world.network()
        return iter([Entry(name, date) for name, (_, date) in sorted(self.objects.items()) if name.startswith(folder)])

    def land(self) -> None:
        """Let a request take effect that its sender has given up."""
        self.late.pop(self.world.die.randrange(len(self.late)))()

    def _date(self) -> float:
        """Tell the time: one of the servers, whose clock is wrong by less than half of the skew, in whole seconds."""
        half = SKEW / 2 - 0.5
        return float(math.floor(self.world.now + self.world.die.choice([-half, 0, half])))

    def _send(self, request: Callable[[], object]) -> None:
        """Make a request that changes something."""
        self.world.network()
        chance = self.world.die.random()
        if chance < self.world.faults / 9:
            raise TimeoutError
        if chance < self.world.faults / 3:
            self.late.append(request)  # another copy of it, or the only one
            if chance < self.world.faults / 6:
                raise TimeoutError
        request()
        if chance > 1 - self.world.faults / 9:
            raise ConnectionResetError
        self.world.network()


class Host(BucketStorage):
    """The storage as one host has it."""

    def __init__(self, world: "World") -> None:
        super().__init__(world.bucket, lease=LEASE, skew=SKEW)
        self.world = world

    def new_mark(self) -> Lease:
        """Tell the world of it."""
        mark = super().new_mark()
        self.world.marks.append(mark)
        return mark


class World(explorer.World):
    """Hosts, a bucket, and the time."""

    min_age = MIN_AGE

    def __init__(self, seed: int, faults: float) -> None:
        super().__init__(seed, faults)
        self.now = 1e9
        self.bucket = Bucket(self)
        self.marks: list[Lease] = []
        self.storage = self.host()
        self.due: dict[Steps, float] = {}  # commits that are on their way, and when they have to be there
        self.due_late: dict[int, float] = {}
        self.failures: list[AssertionError] = []
        self.depth = 0
        self.stopped = [0.0, 0.0]
        self.skew = self.die.choice([0, 0, 20, -20, 150])
        self.expired = 0

    def host(self) -> Host:
        """Return the storage as one host has it."""
        return Host(self)

    def transactions(self) -> list[Steps]:
        """Each on a host of its own."""
        made = []
        for _ in range(self.die.randint(1, 3)):
            self.storage = self.host()
            made += super().transactions()[:1]
        self.storage = self.host()
        return made

    def wall(self) -> float:
        """Return what the hosts take for the time: within the skew, or not."""
        return self.now + self.skew - self.stopped[0]

    def is_there(self, key: str) -> bool:
        """Look without a request."""
        return key in self.bucket.objects

    def check(self) -> None:
        """Check P5, and that nothing else was wrong where nobody could say so."""
        if self.failures:
            raise self.failures[0]
        super().check()

    def before(self, flow: Steps, function: Callable[[], Any]) -> None:
        """Note when a commit is begun, which is often as late as it may be."""
        name = getattr(function, "__name__", "")
        if name == "commit":
            self.due[flow] = self.now + MIN_AGE
        ends = [mark._left() for mark in self.marks if mark._left() > 0]
        if name == "<lambda>" and ends and self.die.random() < 0.2:  # the last step before it
            self.pass_time(max(0, min(ends) - 0.01))

    def drive(self, flow: Generator[Any, Any, Any]) -> Steps:
        """Run a flow; a commit that it never makes is not waited for."""
        try:
            return (yield from super().drive(flow))
        except LeaseExpired:
            self.expired += 1
            raise
        finally:
            self.due.pop(flow, None)

    def make(self, flow: Steps, function: Callable[[], Any], *, fails: bool) -> Any:  # noqa: ANN401
        """Make a step; faults are those of the bucket's requests. A commit that is late has still to be in time."""
        due = self.due.pop(flow, math.inf)
        try:
            return function()
        finally:
            for commit in self.late:
                self.due_late.setdefault(id(commit), due)

    def land(self) -> None:
        """Let a late commit take effect."""
        del self.due_late[id(self.late[-1])]
        super().land()

    def may_commit(self, core: Core) -> bool:
        """Tell whether nothing has expired: a commit past the library is not looked after, so it has to be quick."""
        return all(mark._left() > 0 for mark in core._new.values() if isinstance(mark, Lease))

    def crashed(self, core: Core) -> None:
        """A lease does not care."""

    def pass_time(self, seconds: float) -> None:
        """Let time go by; commits that are on their way arrive before it is too late."""
        end = self.now + seconds
        while any(self.due_late[id(commit)] <= end for commit in self.late):
            self.land()
        self.now = max(self.now, min([end, *self.due.values()]))

    def network(self) -> None:
        """Take a while, in which others go on."""
        self.pass_time(self.die.choice([0, 0, 0.1, 1, 5]))
        self.depth += 1
        try:
            while self.depth < 3 and self.die.random() < 0.3:
                others = [one for one in (*self.running, *self.background) if not _is_running(one)]
                try:
                    next(self.die.choice(others))
                except (StopIteration, IndexError):
                    return
                except AssertionError as error:
                    self.failures.append(error)
        finally:
            self.depth -= 1


def _is_running(one: Steps) -> bool:
    return inspect.getgeneratorstate(one) == inspect.GEN_RUNNING


def _time(world: World) -> Steps:
    """
    Let time go by between steps, sometimes much: a host that sleeps, a garbage collection, a migration.

    Often while a commit is on its way, and then as long as that may take; a cleaner makes use of it.
    """
    while True:
        due = [*world.due.values(), *world.due_late.values()]
        if due and world.die.random() < 0.3:
            world.pass_time(max(0, min(due) - world.now - 0.01))
            for one in [one for one in world.background[:1] if not _is_running(one)] * 15:
                next(one)
        else:
            before = world.now
            world.pass_time(world.die.choice([*[0.5] * 8, 5, 30, 100, 301, 400]))
            if world.die.random() < 0.1:  # a virtual machine was stopped meanwhile, and one of its clocks with it
                world.stopped[world.die.randrange(2)] += world.now - before
        yield


def _network(world: World) -> Steps:
    """Deliver what was given up."""
    while True:
        if world.bucket.late and world.die.random() < 0.1:
            world.bucket.land()
        yield


class _Clocks:
    """What the storage asks for the time."""

    world: World

    def time(self) -> float:
        """Return a host's time."""
        return self.world.wall()

    def elapsed(self) -> float:
        """Return what goes by for all hosts."""
        return self.world.now - self.world.stopped[1]


def explore(seed: int, faults: float, patch: pytest.MonkeyPatch) -> World:
    """Run up to three transactions on as many hosts, beside two cleaners on others; then settle all."""
    clocks = _Clocks()
    clocks.world = world = World(seed, faults)
    patch.setattr(_clocks, "time", clocks)
    patch.setattr(_clocks, "elapsed", clocks.elapsed)
    world.run(explorer.cleaner(world), _time(world), _network(world))
    world.running, world.background, world.faults = [], [], 0
    while world.bucket.late:
        world.bucket.land()
        world.check()
    world.now += 10_000
    world.skew, world.stopped = 0, [0.0, 0.0]
    cleaner = world.host()
    drive(recover(cleaner, world.used, OBSERVE, MIN_AGE))
    world.check()
    assert list(cleaner.marks()) == [], f"seed {seed}"
    if not faults:
        assert set(cleaner.keys()) == world.named(), f"seed {seed}"
    drive(sweep(cleaner, world.used, OBSERVE, 0, 100, dry_run=False, force=True))
    world.check()
    assert {file.key for file in cleaner.files()} == world.named(), f"seed {seed}"
    return world


@pytest.mark.parametrize("faults", [0, 0.1, 0.3])
def test_p5_p7_hold_with_leases_in_any_order(faults: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """No row dangles after any request of any host, and in the end exactly the files that rows name are left."""
    worlds = [explore(seed, faults, monkeypatch) for seed in range(2000)]

    assert sum(world.steps for world in worlds) > 30_000
    assert sum(world.expired for world in worlds) > 100


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("faults", [0, 0.1, 0.3])
def test_p5_p7_hold_with_leases_in_any_order_for_long(faults: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with many more orders."""
    assert sum(explore(seed, faults, monkeypatch).steps for seed in range(10_000, 20_000)) > 150_000


def _hasty(wait: Callable[[BucketStorage], float]) -> Callable[..., Any]:
    def seize(self: BucketStorage, name: MarkName, dated: float) -> Lease | None:
        latest = min(dated, self._now() - name.retain) - wait(self)
        date = self._bucket.date(f".pending/{name.name}")
        return None if date is None or date > latest else self._mark(name)

    return seize


def _renewing(self: Lease) -> None:
    with reporting("date a mark"):
        self._write()
    self._until = _clocks.elapsed() + LEASE, math.inf


def _counted_from_the_reply(self: Lease) -> None:
    with reporting("make a mark"):
        self._bucket.put(f".pending/{self.name.name}", b"")
    self._until = _clocks.elapsed() + LEASE, math.inf


def _believed(self: BucketStorage) -> float:
    now: float = _clocks.time.time()  # type: ignore[attr-defined]
    return now


def _unasked(references: object, keys: Iterable[str], *, shielded: bool = True) -> Steps:
    return frozenset()
    yield


def _unmarked(self: Lease, data: bytes, renditions: Any) -> None:  # noqa: ANN401
    self._until = _clocks.elapsed() + LEASE, math.inf
    with reporting("store the file"):
        self._store(self.name.key, data, renditions)


MUTANTS: dict[str, tuple[object, str, object]] = {
    "nobody looks at the lease before a commit": (Lease, "check", lambda self: None),
    "cleaners do not wait for the lease": (BucketStorage, "seize", _hasty(lambda storage: SKEW)),
    "cleaners do not wait for the skew": (BucketStorage, "seize", _hasty(lambda storage: LEASE)),
    "cleaners do not wait for the commit": (World, "min_age", 0),
    "one clock is enough": (Lease, "_left", lambda self: self._until[0] - _clocks.elapsed() if self._until else 0),
    "a lease that has ended is renewed": (Lease, "touch", _renewing),
    "a lease counts from the reply": (Lease, "_write", _counted_from_the_reply),
    "the host's own clock is believed": (BucketStorage, "clock", _believed),
    "nobody asks the database in recovery": (_recovery, "ask", _unasked),
    "a sweep takes no notice of marks": (_sweep, "_marked", lambda storage: set()),
    "a new file has no mark": (Lease, "save", _unmarked),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_lease_is_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each of these mistakes breaks a promise within some thousand orders."""
    owner, attribute, value = MUTANTS[name]
    monkeypatch.setattr(owner, attribute, value)

    with pytest.raises((AssertionError, safeupload.Misuse)):
        for seed in range(30_000):
            explore(seed, 0.1 * (seed % 3), monkeypatch)
