"""
Every order of the steps of several transactions, a cleaner, and the faults between them, as far as random choice goes.

A third driver of the flows: one step at a time, in turn with those of others; each is made, or fails before or after it
took effect, or is the last one of its process. The promises are checked after every step.
"""

import inspect
import random
from collections.abc import Callable, Generator, Iterable, Sized
from contextlib import suppress
from typing import Any, cast

import pytest
from fakes import picture

import safeupload
from safeupload import _machine, _recovery, _transaction
from safeupload._drive import drive
from safeupload._events import Observer
from safeupload._keys import MarkName
from safeupload._machine import Does, Happened, Step
from safeupload._recovery import recover, sweep
from safeupload._transaction import Core
from safeupload.errors import CommitMissing, StorageError
from safeupload.storage import MemoryStorage
from safeupload.storage.memory import _MemoryMark

Steps = Generator[None, None, Any]

#: What a commit does: its result for the caller, and whether it took effect ("late": only after the caller has left).
OUTCOMES: dict[str, tuple[BaseException | None, bool]] = {
    "returned": (None, True),
    "refused": (type("IntegrityError", (Exception,), {})(), False),
    "plain": (ValueError(), False),
    "hook": (ValueError(), True),
    "lost before": (ConnectionResetError(), False),
    "lost after": (ConnectionResetError(), True),
    "late": (ConnectionResetError(), False),
    "nothing": (None, False),
    "interrupted": (KeyboardInterrupt(), True),
}
BEHAVIOURS = ["commit"] * 6 + ["early return", "early error", "forget", "abort", "error"]
#: Commits past the library. What they leave is on record once the block has ended, unless that fails as well.
BY_HAND = ["by hand", "by hand, then an error"]
#: Steps that by contract raise nothing, so that only a crash can keep them from happening.
SURE = {"settle", "_let_go", "_close"}


class Crash(BaseException):
    """The process is gone."""


class Storage(MemoryStorage):
    """
    A storage that remembers what its cleaner has taken hold of.

    No mark is old enough while a late commit is under way: what `min_age` is for, and the one assumption that is made.
    """

    def __init__(self, late: Sized) -> None:
        super().__init__()
        self.late = late
        self.seized: list[_MemoryMark] = []

    def seize(self, name: MarkName, dated: float) -> _MemoryMark | None:
        """Take hold of a mark."""
        mark = None if self.late else super().seize(name, dated)
        if mark is not None:
            self.seized.append(mark)
        return mark


class World:
    """A storage, a table of rows, and a die."""

    def __init__(self, seed: int, faults: float) -> None:
        self.seed = seed
        self.die = random.Random(seed)
        self.faults = faults
        self.rows: dict[int, str | None] = {}
        self.locked: set[int] = set()
        self.late: list[tuple[int, dict[int, str | None]]] = []
        self.storage = Storage(self.late)
        self.steps = 0

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        return [key for key in keys if key in self.rows.values()]

    def check(self) -> None:
        """Check P5: what a row names is there."""
        for key in self.rows.values():
            assert key is None or self.storage.exists(key), f"seed {self.seed}: {key} dangles"

    def drive(self, flow: Generator[Any, Any, Any]) -> Steps:
        """Run a flow, one step at a time."""
        advance: Callable[[], Any] = lambda: next(flow)  # noqa: E731
        try:
            while True:
                try:
                    call = advance()
                except StopIteration as end:
                    return end.value
                yield
                self.steps += 1
                chance = self.die.random()
                if chance > 1 - self.faults / 3:
                    raise Crash
                function = getattr(call.function, "func", call.function)
                fails = call.of_storage and chance < self.faults and getattr(function, "__name__", "") not in SURE
                try:
                    value = self.make(call.function, fails=fails)
                except BaseException as error:  # noqa: BLE001 - the flow decides
                    advance = _throwing(flow, error)
                else:
                    advance = _sending(flow, value)
                self.check()
        finally:
            _forget(flow)

    def make(self, function: Callable[[], Any], *, fails: bool) -> Any:  # noqa: ANN401
        """Make a step, which may fail before or after it took effect."""
        if fails and self.die.random() < 0.5:
            raise StorageError("before")
        value = function()
        if fails:
            raise StorageError("after")
        return value


def _forget(flow: Generator[Any, Any, Any]) -> None:
    """Let a flow go that will never be run on, without a word from Python about it."""
    while inspect.getgeneratorstate(flow) != inspect.GEN_CLOSED:
        with suppress(RuntimeError):  # it asks for one more step, which it does not get
            flow.close()


def _throwing(flow: Generator[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: flow.throw(error)


def _sending(flow: Generator[Any, Any, Any], value: object) -> Callable[[], Any]:
    return lambda: flow.send(value)


def body(world: World, core: Core, kind: str, row: int) -> Steps:
    """Do what an application does in the block, well or badly."""
    behaviour = world.die.choice(BEHAVIOURS if world.faults else [*BEHAVIOURS, *BY_HAND])
    outcome = world.die.choice([*["returned"] * 4, *OUTCOMES])
    changes: dict[int, str | None] = {row: None}
    if kind != "delete":
        changes[row] = yield from world.drive(core.save(picture("new"), hand_out=kind == "two"))
    if kind == "two":
        changes[row + 100] = yield from world.drive(core.save(picture("more"), hand_out=True))
    if behaviour == "early error":
        raise LookupError
    if behaviour == "early return":
        return
    while row in world.locked:
        yield
    world.locked.add(row)
    try:
        if kind == "replace":
            core.replacing(world.rows.get(row))
        else:
            for each in changes:
                core.release(world.rows.get(each))
        yield
        if behaviour in BY_HAND:
            world.rows.update(changes)
        if behaviour in {"error", "by hand, then an error"}:
            raise LookupError
        if behaviour == "abort":
            yield from world.drive(core.abort())
        if behaviour == "commit":

            def commit() -> None:
                error, effective = OUTCOMES[outcome]
                if effective:
                    world.rows.update(changes)
                if outcome == "late":
                    world.late.append((row, changes))
                if error is not None:
                    raise error.with_traceback(None)

            yield from world.drive(core.commit(commit))
            assert core.state == "committed"
    finally:
        if not any(late == row for late, _ in world.late):  # the server holds its lock until it is done
            world.locked.discard(row)


def server(world: World) -> Steps:
    """Finish late commits, some time."""
    while True:
        yield
        if world.late and world.die.random() < 0.05:
            row, changes = world.late.pop()
            world.rows.update(changes)
            world.locked.discard(row)


def transaction(world: World, core: Core, kind: str, row: int) -> Steps:
    """Run a block to its end, or to the end of its process."""
    error: BaseException | None = None
    try:
        yield from world.drive(core.begin())
        try:
            yield from body(world, core, kind, row)
        except Crash:
            raise
        except (Exception, KeyboardInterrupt) as raised:  # noqa: BLE001 - the block is told
            error = raised
        try:
            yield from world.drive(core.leave(error))
        except CommitMissing:
            assert error is None
    except Crash:
        for mark in (*core._new.values(), *core._old.values()):
            mark.close()


def cleaner(world: World, observe: Observer) -> Steps:
    """Recover and sweep all the time, without an age that would protect anything."""
    while True:
        for flow in (
            recover(world.storage, world.used, observe, 0),
            sweep(world.storage, world.used, observe, 0, 100, dry_run=False, force=True),
        ):
            try:
                yield from world.drive(flow)
            except Crash:
                for mark in world.storage.seized:
                    mark.close()
            except StorageError:
                pass
            yield


def explore(seed: int, faults: float) -> int:
    """Run up to four transactions on two rows beside a cleaner; return how many steps were taken."""
    world = World(seed, faults)
    observe = cast("Observer", lambda *_, **__: None)
    running: list[Steps] = []
    for _ in range(world.die.randint(1, 4)):
        core = Core(world.storage, world.used, 0, observe)
        kind = world.die.choice(["replace", "replace", "delete", "two"])
        running.append(transaction(world, core, kind, world.die.choice([1, 2])))
    others = [cleaner(world, observe), server(world)]
    try:
        while running or world.late:
            one = world.die.choice([*running, *others])
            try:
                next(one)
            except StopIteration:
                running.remove(one)
            world.check()
    finally:
        for one in (*running, *others):
            one.close()
    for mark in world.storage._marks.values():
        mark.held = False  # whoever held it is gone
    drive(recover(world.storage, world.used, observe, 0))
    world.check()
    assert set(world.storage.keys()) == {key for key in world.rows.values() if key}, f"seed {seed}"
    assert list(world.storage.marks()) == [], f"seed {seed}"
    return world.steps


@pytest.mark.parametrize("faults", [0, 0.1, 0.3])
def test_p5_p7_hold_in_any_order(faults: float) -> None:
    """No row dangles after any step of any transaction, and `recover` leaves exactly the files that rows name."""
    steps = sum(explore(seed, faults) for seed in range(2000))

    assert steps > 25_000


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("faults", [0, 0.05, 0.1, 0.3])
def test_p5_p7_hold_in_any_order_for_long(faults: float) -> None:
    """The same with many more orders."""
    steps = sum(explore(seed, faults) for seed in range(10_000, 25_000))

    assert steps > 180_000


def _without_lock(self: Storage, name: MarkName, dated: float) -> _MemoryMark | None:
    mark = self._marks.get(name.name)
    if mark is not None:
        mark.held = False
    return MemoryStorage.seize(self, name, dated)


def _forgetful(self: MemoryStorage, remove: Iterable[Any], drop: Iterable[Any]) -> list[Any]:
    for mark in (*remove, *drop):
        self._marks.pop(mark.name.name, None)
    return []


def _unmarked(self: _MemoryMark, data: bytes, renditions: object) -> None:
    self._files[self.name.key] = (data, 0)


def _unasked(references: object, keys: Iterable[str], *, shielded: bool = True) -> Steps:
    return frozenset()
    yield


MUTANTS: dict[str, tuple[object, str, object]] = {
    "every error is a refusal": (_transaction, "outcome", lambda error: "refused"),
    "an error means that nothing happened": (Core, "_shows_nothing", lambda self, answer: True),
    "doubt discards": (
        _machine,
        "TABLE",
        {**_machine.TABLE, ("in_doubt", Happened.UNKNOWN): Step("aborted", Does.DISCARD)},
    ),
    "an error in the block discards": (
        _machine,
        "TABLE",
        {**_machine.TABLE, ("staged", Happened.LEFT): Step("aborted", Does.DISCARD)},
    ),
    "a commit that happened discards": (
        _machine,
        "TABLE",
        {**_machine.TABLE, ("in_doubt", Happened.CONFIRMED): Step("committed", Does.DISCARD)},
    ),
    "a refused commit releases": (
        _machine,
        "TABLE",
        {**_machine.TABLE, ("in_doubt", Happened.REFUTED): Step("aborted", Does.RELEASE)},
    ),
    "nobody asks the database after the commit": (_transaction, "ask", _unasked),
    "nobody asks the database in recovery": (_recovery, "ask", _unasked),
    "old files are not put on record": (Core, "_record", lambda self: None),
    "a sweep takes no notice of marks": (_recovery, "_marked", lambda storage: set()),
    "a cleaner takes what others hold": (Storage, "seize", _without_lock),
    "marks go and files stay": (MemoryStorage, "settle", _forgetful),
    "a new file has no mark": (_MemoryMark, "save", _unmarked),
}


def _explore_all() -> None:
    for seed in range(5000):
        explore(seed, 0.1 * (seed % 3))


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_protocol_is_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each of these mistakes in the table, the flow or the storage breaks a promise within a few thousand orders."""
    owner, attribute, value = MUTANTS[name]
    monkeypatch.setattr(owner, attribute, value)

    with pytest.raises((AssertionError, safeupload.Misuse)):
        _explore_all()
