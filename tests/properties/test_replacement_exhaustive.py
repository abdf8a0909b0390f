"""
Every fault at every step of every kind of block, whatever the caller does and whatever becomes of the commit.

A driver of its own makes one step fail, before or after it took effect, or be the last of its process; the promises are
checked after every step and when all is over. Then `recover` is cut off at each of its own steps, and run again.
"""

import itertools
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, cast

import buckets
import pytest
from fakes import picture

from safeupload._drive import drive
from safeupload._events import Observer
from safeupload._recovery import recover
from safeupload._sweep import sweep
from safeupload._transaction import Core
from safeupload.errors import CommitMissing, NotCommitted, StorageError
from safeupload.storage import BucketStorage, MemoryStorage

Flow = Generator[Any, Any, Any]
OBSERVE = cast("Observer", lambda *_, **__: None)
RETAIN = 1_000_000

KINDS = ["replace", "create", "delete", "two"]
#: What the commit raises, and whether it takes effect (None: only after the block has ended).
OUTCOMES: dict[str, tuple[type[BaseException] | None, bool | None]] = {
    "returned": (None, True),
    "refused": (type("IntegrityError", (Exception,), {}), False),
    "plain": (ValueError, False),
    "hook": (ValueError, True),
    "lost before": (ConnectionResetError, False),
    "lost after": (ConnectionResetError, True),
    "late": (TimeoutError, None),
    "nothing": (None, False),
    "interrupted before": (KeyboardInterrupt, False),
    "interrupted after": (KeyboardInterrupt, True),
}
#: What the caller does in place of a commit.
OTHERS = ["early return", "early error", "forget", "error", "abort", "by hand", "by hand, then an error"]
FAULTS = ["before", "after", "crash"]
#: Steps that by contract raise nothing, so that only a crash can keep them from happening.
SURE = {"settle", "_let_go", "_close"}
#: After these, exactly what rows name is there when the block has ended, if no step has failed (P6).
CLEAN = {"returned", "refused", "plain", "early return", "early error", "abort"}


class Crash(BaseException):
    """The process is gone."""


class Case(NamedTuple):
    """One story."""

    kind: str
    behaviour: str
    retain: int
    at: int = -1
    fault: str = ""


class World:
    """A storage with two files that rows name, and what happens to them."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.make()
        self.rows: dict[int, str | None] = {}
        for row in (1, 2):
            mark = self.storage.new_mark()
            mark.save(b"old")
            self.storage.settle([], [mark])
            self.rows[row] = mark.name.key
        self.late: dict[int, str | None] = {}
        self.steps = 0
        self.hit = ""

    def make(self) -> None:
        """Make the storage."""
        self.storage: Any = MemoryStorage()

    def is_let_go(self, mark: Any) -> bool:  # noqa: ANN401
        """Tell whether nobody is kept from a mark that is still there."""
        return not mark.held or mark.name.name not in self.storage._marks

    def all_is_over(self) -> None:
        """Let so much time go by that all can be settled: who held something is gone, what was retained is old."""
        for mark in self.storage._marks.values():
            mark.date -= RETAIN + 1
            mark.held = False

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        return [key for key in keys if key in self.rows.values()]

    def check_p5(self) -> None:
        """Check that what rows name is there."""
        for key in self.rows.values():
            assert key is None or self.storage.exists(key), (self.case, self.hit)

    def named(self) -> set[str]:
        """Return what rows name."""
        return {key for key in self.rows.values() if key}

    def drive(self, flow: Flow) -> Any:  # noqa: ANN401
        """Run a flow, with the fault at its step."""
        advance: Callable[[], Any] = lambda: next(flow)  # noqa: E731
        while True:
            try:
                call = advance()
            except StopIteration as end:
                return end.value
            function = getattr(call.function, "func", call.function)
            name = getattr(function, "__name__", "")
            fault = self.case.fault if self.steps == self.case.at else ""
            self.steps += 1
            if fault == "crash":
                self.hit = f"crash at {name}"
                _forget(flow)
                raise Crash
            if fault and call.limiter and name not in SURE:
                self.hit = f"{fault} {name}"
            else:
                fault = ""
            try:
                value = _made(call.function, fault)
            except BaseException as error:  # noqa: BLE001 - the flow decides
                advance = _throwing(flow, error)
            else:
                advance = _sending(flow, value)
            self.check_p5()


def _made(function: Callable[[], Any], fault: str) -> Any:  # noqa: ANN401
    if fault == "before":
        raise StorageError("before")
    value = function()
    if fault == "after":
        raise StorageError("after")
    return value


def _throwing(flow: Flow, error: BaseException) -> Callable[[], Any]:
    return lambda: flow.throw(error)


def _sending(flow: Flow, value: object) -> Callable[[], Any]:
    return lambda: flow.send(value)


def _forget(flow: Flow) -> None:
    while True:
        try:
            flow.close()
        except RuntimeError:  # it asks for one more step, which it does not get
            continue
        return


def body(world: World, core: Core) -> None:
    """Do what the application does in the block."""
    kind, behaviour, *_ = world.case
    changes: dict[int, str | None] = {3 if kind == "create" else 1: None}
    if kind == "two":
        changes[2] = None
    if kind != "delete":
        for row in changes:
            changes[row] = world.drive(core.save(picture("new"), hand_out=kind != "replace"))
    if behaviour == "early error":
        raise LookupError
    if behaviour == "early return":
        return
    for row in changes:
        if kind == "replace":
            core.replacing(world.rows.get(row))
        else:
            core.release(world.rows.get(row))
    if behaviour.startswith("by hand"):
        world.rows.update(changes)
    if behaviour == "abort":
        world.drive(core.abort())
    elif behaviour in OUTCOMES:
        raised, effective = OUTCOMES[behaviour]

        def commit() -> None:
            if effective is None:
                world.late = changes
            elif effective:
                world.rows.update(changes)
            if raised is not None:
                raise raised

        world.drive(core.commit(commit))
    if behaviour in {"error", "by hand, then an error"}:
        raise LookupError


class LeasedWorld(World):
    """The same with leases, on a bucket."""

    def make(self) -> None:
        """Make the storage; the clocks have been told to go by this bucket."""
        self.bucket = buckets.Bucket()
        self.bucket.rule(PATCH)
        self.storage = BucketStorage(self.bucket)

    def is_let_go(self, mark: Any) -> bool:  # noqa: ANN401
        """Nobody is kept out but by the date."""
        return True

    def all_is_over(self) -> None:
        """Let time go by."""
        self.bucket.now += RETAIN + 1000


PATCH = pytest.MonkeyPatch()


@pytest.fixture(autouse=True)
def clocks() -> Generator[None]:
    """Put the clocks right again."""
    yield
    PATCH.undo()


def tell(case: Case, kind: type[World]) -> World:
    """Tell one story up to the end of the block, or of its process."""
    world = kind(case)
    core = Core(world.storage, world.used, case.retain, OBSERVE)
    error: BaseException | None = None
    try:
        world.drive(core.begin())
        try:
            body(world, core)
        except (Exception, KeyboardInterrupt) as raised:  # noqa: BLE001 - the block is told
            error = raised
        try:
            world.drive(core.leave(error))
        except CommitMissing:
            assert error is None
            assert case.behaviour in {"forget", "by hand"} or (
                case.behaviour.startswith("early") and case.kind != "replace"
            )
    except Crash:
        pass
    if case.behaviour == "nothing" and not world.hit:
        assert isinstance(error, NotCommitted), case
    for mark in (*core._new.values(), *core._old.values()):
        assert world.hit or world.is_let_go(mark), case
        mark.close()
    world.rows.update(world.late)
    world.check_p5()
    return world


def check_end(world: World) -> bool:
    """Check what a block leaves, and that `recover` settles it wherever it is cut off; return whether it is settled."""
    case, storage = world.case, world.storage
    early_and_seen = case.behaviour.startswith("early") and case.kind not in {"replace", "delete"}
    if not world.hit and case.behaviour in CLEAN and not early_and_seen:
        kept = {name.key for name in storage.marks() if name.retain}
        assert set(storage.keys()) == world.named() | kept, case
        assert len(kept) == len(list(storage.marks())), case
    world.all_is_over()
    drive(recover(storage, world.used, OBSERVE, 0))
    world.check_p5()
    assert list(storage.marks()) == [], (case, world.hit)
    settled = set(storage.keys()) == world.named()
    drive(sweep(storage, world.used, OBSERVE, 0, 100, dry_run=False, force=True))
    world.check_p5()
    assert set(storage.keys()) == world.named(), (case, world.hit)
    return settled


def cut_recoveries(case: Case, kind: type[World]) -> int:
    """Cut `recover` off at each of its steps, and run it again; return how often that was."""
    for at in itertools.count():
        world = tell(case, kind)
        world.all_is_over()
        cut = World(Case("", "", 0, at, "crash"))
        cut.storage, cut.rows = world.storage, world.rows
        try:
            cut.drive(recover(world.storage, world.used, OBSERVE, 0))
        except Crash:
            world.check_p5()
            check_end(world)
        else:
            return at
    raise AssertionError


def stories() -> list[Case]:
    """Return every story without a fault."""
    return [
        Case(kind, behaviour, retain) for kind in KINDS for behaviour in (*OUTCOMES, *OTHERS) for retain in (0, RETAIN)
    ]


@pytest.mark.parametrize("kind", [World, LeasedWorld], ids=["locks", "leases"])
def test_p5_p6_p7_hold_at_every_step(kind: type[World]) -> None:
    """Thousands of stories: none loses a file, and what is not on record in the end is what the record itself lost."""
    told = cut = 0
    unsettled: set[tuple[str, str]] = set()
    for story in stories():
        assert check_end(tell(story, kind)), story
        cut += cut_recoveries(story, kind)
        for at in itertools.count():
            worlds = []
            for fault in FAULTS:
                world = tell(story._replace(at=at, fault=fault), kind)
                worlds.append(world)
                told += 1
                if not check_end(world):
                    unsettled.add((story.behaviour, world.hit))
            if not any(world.hit for world in worlds):
                break

    assert told > 2500
    assert cut > 300
    # Only who commits past the library leaves a file for `sweep`, and only if the record of it fails or never comes.
    assert {behaviour for behaviour, _ in unsettled} <= {"by hand", "by hand, then an error", "forget"}
    assert {hit for _, hit in unsettled} <= {
        "before _let_go_on_record",
        "crash at _let_go_on_record",
    }


@pytest.mark.parametrize("behaviour", [*OUTCOMES, *OTHERS])
def test_there_is_a_story_of_each(behaviour: str) -> None:
    """No behaviour of the caller's, and no outcome, is left out."""
    assert {case.kind for case in stories() if case.behaviour == behaviour} == set(KINDS)
