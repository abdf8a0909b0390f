"""
Every order of the steps of several transactions, a cleaner, and the faults between them, as far as random choice goes.

A third driver of the flows: one step at a time, in turn with those of others; each is made, or fails before or after it
took effect, or is the last one of its process. P5 is checked after every step.
"""

import inspect
import random
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, cast

from fakes import picture

from safeupload._events import Observer
from safeupload._recovery import recover
from safeupload._sweep import sweep
from safeupload._transaction import Core
from safeupload.errors import CommitMissing, StorageError

Steps = Generator[None, None, Any]
OBSERVE = cast("Observer", lambda *_, **__: None)

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


class World:
    """A storage, a table of rows, and a die."""

    storage: Any
    min_age = 0.0  # what the cleaner asks for

    def __init__(self, seed: int, faults: float) -> None:
        self.seed = seed
        self.die = random.Random(seed)
        self.faults = faults
        self.rows: dict[int, str | None] = {}
        self.locked: set[int] = set()
        self.late: list[tuple[int, dict[int, str | None]]] = []
        self.steps = 0
        self.running: list[Steps] = []
        self.background: list[Steps] = []

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        return [key for key in keys if key in self.rows.values()]

    def named(self) -> set[str]:
        """Return what rows name."""
        return {key for key in self.rows.values() if key}

    def check(self) -> None:
        """Check P5: what a row names is there."""
        for key in self.named():
            assert self.is_there(key), f"seed {self.seed}: {key} dangles"

    def is_there(self, key: str) -> bool:
        """Tell whether a file is there."""
        there: bool = self.storage.exists(key)
        return there

    def before(self, flow: Steps, function: Callable[[], Any]) -> None:
        """Be told of a step that is about to be made, some time."""

    def may_commit(self, core: Core) -> bool:
        """Tell whether the application would commit by hand now."""
        return True

    def crashed(self, core: Core) -> None:
        """Do what the system does for a process that is gone."""
        for mark in (*core._new.values(), *core._old.values()):
            mark.close()

    def cleaner_crashed(self) -> None:
        """Do that for the cleaner's process."""

    def drive(self, flow: Generator[Any, Any, Any]) -> Steps:
        """Run a flow, one step at a time."""
        advance: Callable[[], Any] = lambda: next(flow)  # noqa: E731
        try:
            while True:
                try:
                    call = advance()
                except StopIteration as end:
                    return end.value
                function = getattr(call.function, "func", call.function)
                self.before(flow, function)
                yield
                self.steps += 1
                chance = self.die.random()
                if chance > 1 - self.faults / 3:
                    raise Crash
                fails = call.limiter and chance < self.faults and getattr(function, "__name__", "") not in SURE
                try:
                    value = self.make(flow, call.function, fails=fails)
                except BaseException as error:  # noqa: BLE001 - the flow decides
                    advance = _throwing(flow, error)
                else:
                    advance = _sending(flow, value)
                self.check()
        finally:
            _forget(flow)

    def make(self, flow: Steps, function: Callable[[], Any], *, fails: bool) -> Any:  # noqa: ANN401
        """Make a step, which may fail before or after it took effect."""
        if fails and self.die.random() < 0.5:
            raise StorageError("before")
        value = function()
        if fails:
            raise StorageError("after")
        return value

    def transactions(self) -> list[Steps]:
        """Return up to four transactions on two rows."""
        made = []
        for _ in range(self.die.randint(1, 4)):
            core = Core(self.storage, self.used, 0, OBSERVE)
            kind = self.die.choice(["replace", "replace", "delete", "two"])
            made.append(_transaction(self, core, kind, self.die.choice([1, 2])))
        return made

    def run(self, *others: Steps) -> None:
        """Run transactions, a cleaner, the database's server and others, in any order, until all is committed."""
        self.running = self.transactions()
        self.background = [cleaner(self), _server(self), *others]
        try:
            while self.running or self.late:
                one = self.die.choice([*self.running, *self.background])
                try:
                    next(one)
                except StopIteration:
                    self.running.remove(one)
                self.check()
        finally:
            for one in (*self.running, *self.background):
                one.close()

    def land(self) -> None:
        """Let a late commit take effect."""
        row, changes = self.late.pop()
        self.rows.update(changes)
        self.locked.discard(row)


def _forget(flow: Generator[Any, Any, Any]) -> None:
    """Let a flow go that will never be run on, without a word from Python about it."""
    while inspect.getgeneratorstate(flow) != inspect.GEN_CLOSED:
        with suppress(RuntimeError):  # it asks for one more step, which it does not get
            flow.close()


def _throwing(flow: Generator[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: flow.throw(error)


def _sending(flow: Generator[Any, Any, Any], value: object) -> Callable[[], Any]:
    return lambda: flow.send(value)


def _body(world: World, core: Core, kind: str, row: int) -> Steps:
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
        if behaviour in BY_HAND and world.may_commit(core):
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


def _server(world: World) -> Steps:
    """Finish late commits, some time."""
    while True:
        yield
        if world.late and world.die.random() < 0.05:
            world.land()


def _transaction(world: World, core: Core, kind: str, row: int) -> Steps:
    """Run a block to its end, or to the end of its process."""
    error: BaseException | None = None
    try:
        yield from world.drive(core.begin())
        try:
            yield from _body(world, core, kind, row)
        except Crash:
            raise
        except (Exception, KeyboardInterrupt) as raised:  # noqa: BLE001 - the block is told
            error = raised
        try:
            yield from world.drive(core.leave(error))
        except CommitMissing:
            assert error is None
    except Crash:
        world.crashed(core)


def cleaner(world: World) -> Steps:
    """Recover and sweep all the time."""
    while True:
        for flow in (
            recover(world.storage, world.used, OBSERVE, world.min_age),
            sweep(world.storage, world.used, OBSERVE, 0, 100, dry_run=False, force=True),
        ):
            try:
                yield from world.drive(flow)
            except Crash:
                world.cleaner_crashed()
            except StorageError:
                pass
            yield
