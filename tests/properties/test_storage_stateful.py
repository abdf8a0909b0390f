"""Up to three blocks at once on a real folder, with crashes, faults, cleaning and time going by in between."""

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fakes import THUMB, files, picture
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from safeupload import CommitMissing, NotCommitted, StorageError, Transaction, Uploads
from safeupload._keys import beside
from safeupload.storage import LocalStorage
from safeupload.storage import _clocks as clocks

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a local storage needs flock")

RETAIN = 3600
ROWS = st.integers(1, 3)
OUTCOMES: dict[str, tuple[type[BaseException] | None, bool]] = {
    "returned": (None, True),
    "refused": (type("IntegrityError", (Exception,), {}), False),
    "hook": (ValueError, True),
    "lost reply": (ConnectionResetError, True),
    "lost request": (ConnectionResetError, False),
    "nothing": (None, False),
}

EXPECTED: tuple[type[BaseException], ...] = (
    StorageError,
    NotCommitted,
    *(raised for raised, _ in OUTCOMES.values() if raised is not None),
)


class Fault:
    """Lets the so-manyth call of the system fail, once."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.kept = {
            name: getattr(os, name) for name in ("open", "write", "fsync", "link", "replace", "unlink", "utime")
        }

    def __enter__(self) -> None:
        for name, call in self.kept.items():
            setattr(os, name, self._failing(call))

    def __exit__(self, *_: object) -> None:
        for name, call in self.kept.items():
            setattr(os, name, call)

    def _failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(*arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.EIO, "Input/output error")
            return call(*arguments, **keywords)

        return failing


class Block:
    """A transaction that is under way, and the row that it holds."""

    def __init__(self, transaction: Transaction, row: int) -> None:
        self.transaction = transaction
        self.row = row
        self.key: str | None = None


class Storages(RuleBasedStateMachine):
    """An application whose database never lies, and whose processes come and go."""

    blocks = Bundle("blocks")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.storage = self.make()
        self.rows: dict[int, str | None] = {}
        self.locked: set[int] = set()
        self.open: list[Block] = []

    def make(self) -> LocalStorage:
        """Make the storage."""
        return LocalStorage(self.folder, durability="none")

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        return [key for key in keys if key in self.rows.values()]

    def uploads(self, retain: int = 0) -> Uploads:
        """Return an object, as another process would have it."""
        return Uploads(self.storage, references=self.used, retain=retain)

    @rule(target=blocks, row=ROWS, saves=st.booleans(), retains=st.booleans(), fault=st.integers(0, 25))
    def begin(self, row: int, *, saves: bool, retains: bool, fault: int) -> Any:  # noqa: ANN401
        """Enter a block, lock a row, store a picture."""
        if row in self.locked or len(self.open) == 3:
            return multiple()
        block = Block(self.uploads(RETAIN if retains else 0).transaction(), row)
        with Fault(fault):
            block.transaction.__enter__()
            try:
                if saves:
                    block.key = block.transaction.save(picture("new"))
                block.transaction.release(self.rows.get(row))
            except StorageError as error:
                leave(block, error)
                return multiple()
        self.locked.add(row)
        self.open.append(block)
        return block

    def end(self, block: Block) -> None:
        """Give the row free."""
        self.open.remove(block)
        self.locked.discard(block.row)

    @rule(block=consumes(blocks), outcome=st.sampled_from(sorted(OUTCOMES)), fault=st.integers(0, 25))
    def commit(self, block: Block, outcome: str, fault: int) -> None:
        """Commit, with every outcome there is."""
        raised, effective = OUTCOMES[outcome]

        def commit() -> None:
            if effective:
                self.rows[block.row] = block.key
            if raised is not None:
                raise raised

        error: BaseException | None = None
        with Fault(fault):
            try:
                block.transaction.commit(commit)
            except EXPECTED as seen:
                error = seen
            leave(block, error)
        self.end(block)

    @rule(block=consumes(blocks), how=st.sampled_from(["forgotten", "error", "abort"]))
    def give_up(self, block: Block, how: str) -> None:
        """Leave the block without a commit."""
        if how == "abort":
            block.transaction.abort()
            assert block.key is None or not self.storage.exists(block.key)
        leave(block, LookupError() if how == "error" else None)
        self.end(block)

    @rule(block=consumes(blocks))
    def crash(self, block: Block) -> None:
        """The process is gone, and its locks with it."""
        core = block.transaction._core
        for mark in (*core._new.values(), *core._old.values()):
            mark.close()
        self.end(block)

    @rule(fault=st.integers(0, 40))
    def recover(self, fault: int) -> None:
        """Settle what is on record."""
        with Fault(fault), suppress(StorageError):
            self.uploads().recover(min_age=0)

    @rule(fault=st.integers(0, 40))
    def sweep(self, fault: int) -> None:
        """Look at everything."""
        with Fault(fault), suppress(StorageError):
            self.uploads().sweep(min_age=0, force=True)

    @rule(seconds=st.sampled_from([30, 90, 400, RETAIN + 1]))
    def time_goes_by(self, seconds: int) -> None:
        """Everything gets older."""
        for path in (*self.folder.glob("[0-9a-f]*.*"), *(self.folder / ".pending").iterdir()):
            old = path.stat().st_mtime
            if path.parent.name == ".pending" or path.stat().st_nlink == 1:  # not twice, by its mark as well
                os.utime(path, (old - seconds, old - seconds))

        self.passed(seconds)

    def passed(self, seconds: float) -> None:
        """Be told how long that was."""

    @invariant()
    def p5_what_rows_name_is_there(self) -> None:
        """P5: whole."""
        for key in self.rows.values():
            if key is not None:
                assert self.storage.read(key) == self.storage.read(beside(key, THUMB)) == picture("new").data

    def teardown(self) -> None:
        """In the end everything is settled, and exactly what rows name is left."""
        for block in list(self.open):
            self.crash(block)
        self.time_goes_by(RETAIN + 1000)
        self.uploads().recover(min_age=0)
        assert files(self.folder).keys() == {key for key in self.rows.values() if key}
        assert list(self.storage.marks()) == []
        shutil.rmtree(self.folder)


class LeasedStorages(Storages):
    """The same without locks: a lease of five minutes, by the clock of the holders, and a minute of skew."""

    def make(self) -> LocalStorage:
        """Make the storage, and a clock that can be put forward."""
        self.patch = pytest.MonkeyPatch()
        self.ahead = 0.0
        elapsed = clocks.elapsed
        self.patch.setattr(clocks, "elapsed", lambda: elapsed() + self.ahead)
        return LocalStorage(self.folder, durability="none", lease=300)

    def passed(self, seconds: float) -> None:
        """Put the holders' clock forward as well."""
        self.ahead += seconds

    def teardown(self) -> None:
        """Put it right again."""
        try:
            super().teardown()
        finally:
            self.patch.undo()


def leave(block: Block, error: BaseException | None) -> None:
    """Leave a block, with the exception that ends it."""
    try:
        block.transaction.__exit__(type(error) if error else None, error, None)
    except CommitMissing:
        assert error is None


@pytest.mark.parametrize("kind", [Storages, LeasedStorages], ids=["locks", "leases"])
def test_p5_p6_p7_in_any_order(kind: type[Storages]) -> None:
    """No row ever names a file that is not there; when all is over, exactly the referenced files are left."""
    run_state_machine_as_test(kind, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", [Storages, LeasedStorages], ids=["locks", "leases"])
def test_p5_p6_p7_in_any_order_for_long(kind: type[Storages]) -> None:
    """The same, many more times."""
    run_state_machine_as_test(kind, settings=settings(max_examples=300, stateful_step_count=40, deadline=None))
