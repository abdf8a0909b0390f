"""Every order of the steps of several transactions, a cleaner, and the faults between them, with locks."""

from collections.abc import Iterable, Sized
from typing import Any

import explorer
import pytest
from explorer import OBSERVE, Steps

import safeupload
from safeupload import _machine, _recovery, _sweep, _transaction
from safeupload._drive import drive
from safeupload._keys import MarkName
from safeupload._machine import Does, Happened, Step
from safeupload._recovery import recover
from safeupload._transaction import Core
from safeupload.storage import Mark, MemoryStorage
from safeupload.storage.memory import _MemoryMark


class Storage(MemoryStorage):
    """
    A storage that remembers what its cleaner has taken hold of.

    No mark is old enough while a late commit is under way: what `min_age` is for, and the one assumption that is made.
    """

    def __init__(self, late: Sized) -> None:
        super().__init__()
        self.late = late
        self.seized: list[Mark] = []

    def seize(self, name: MarkName, dated: float) -> Mark | None:
        """Take hold of a mark."""
        mark = None if self.late else super().seize(name, dated)
        if mark is not None:
            self.seized.append(mark)
        return mark


class World(explorer.World):
    """A storage whose marks are held until their holder is gone; the cleaner knows no age that would protect any."""

    def __init__(self, seed: int, faults: float) -> None:
        super().__init__(seed, faults)
        self.storage = Storage(self.late)

    def cleaner_crashed(self) -> None:
        """Let go of what it held."""
        for mark in self.storage.seized:
            mark.close()


def explore(seed: int, faults: float) -> int:
    """Run up to four transactions on two rows beside a cleaner; return how many steps were taken."""
    world = World(seed, faults)
    world.run()
    for mark in world.storage._marks.values():
        mark.held = False  # whoever held it is gone
    drive(recover(world.storage, world.used, OBSERVE, 0))
    world.check()
    assert set(world.storage.keys()) == world.named(), f"seed {seed}"
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
    steps = sum(explore(seed, faults) for seed in range(10_000, 20_000))

    assert steps > 120_000


def _without_lock(self: Storage, name: MarkName, dated: float) -> Mark | None:
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
    "a sweep takes no notice of marks": (_sweep, "_marked", lambda storage: set()),
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
