"""A commit that a framework makes, and what is told of steps that fail: what `safeupload.django` rests on."""

from collections.abc import Callable
from typing import Any

import pytest
from fakes import picture

from safeupload import IllegalTransition, NotAborted, NotCommitted, StorageError, Uploads
from safeupload._drive import drive
from safeupload._events import Event
from safeupload._keys import MarkName
from safeupload._transaction import Core
from safeupload.storage import MemoryStorage


class World:
    """A storage with a file that a row names, and what is asked and told."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.events: list[Event] = []
        self.asked: list[str] = []
        self.away = False
        mark = self.storage.new_mark()
        mark.save(b"old")
        self.storage.settle([], [mark])
        self.old = mark.name.key
        self.row: str | None = self.old

    def used(self, keys: list[str]) -> list[str]:
        """Answer `references`."""
        if self.away:
            raise LookupError("the database is away")
        self.asked += keys
        return [key for key in keys if key == self.row]

    def uploads(self, **options: Any) -> Uploads:  # noqa: ANN401
        """Return the class that is tried."""
        return Uploads(self.storage, references=self.used, on_event=self.events.append, **options)

    def core(self, *, handed_out: bool = True) -> tuple[Core, str]:
        """Return a transaction with a new file, and its key."""
        core = self.uploads()._core()
        drive(core.begin())
        key = drive(core.save(picture("new"), hand_out=False))
        if handed_out:
            assert core.replacing(self.row) == key
        self.events.clear()
        return core, key

    def naming(self, key: str | None, error: BaseException | None = None) -> Callable[[], str]:
        """Return a commit that gives the row a key, and then raises if there is an error."""

        def commit() -> str:
            self.row = key
            if error is not None:
                raise error
            return "done"

        return commit

    def check_failed(self, keys: set[str], state: str, caplog: pytest.LogCaptureFixture, text: str) -> None:
        """Check that a failed step was told, of these keys in that state, and that the log has the reason."""
        told = next(event for event in self.events if event.name == "failed")
        assert (set(told.keys), told.state) == (keys, state)
        (record,) = (record for record in caplog.records if record.__dict__["event"] == "failed")
        assert record.exc_info is not None
        assert text in str(record.exc_info[1])


def never() -> bool:
    """Say that the database has not committed."""
    return False


def always() -> bool:
    """Say that it has."""
    return True


def test_a_framework_commits_what_is_ours() -> None:
    """Its commit is called, and decides about the files like any other."""
    world = World()
    core, key = world.core()

    drive(core.finish(world.naming(key), always))

    assert core.state == "committed"
    assert set(world.storage.keys()) == {key}
    assert list(world.storage.marks()) == []


def test_a_framework_commits_what_is_not_ours() -> None:
    """A block in which no key was handed out is left as it would be without us; nobody is asked."""
    world = World()
    core, _ = world.core(handed_out=False)

    drive(core.finish(world.naming(None), always))

    assert (world.row, core.state, world.asked) == (None, "staged", [])


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_a_framework_leaves_a_block_that_is_settled(end: str) -> None:
    """Whoever has committed or aborted by hand in the block may leave it all the same."""
    world = World()
    core, key = world.core()
    drive(core.commit(world.naming(key)) if end == "commit" else core.abort())
    before = core.state

    drive(core.finish(world.naming("something else"), always))
    drive(core.roll_back())

    assert (core.state, world.row) == (before, "something else")


def test_an_error_after_a_commit_that_is_known_to_have_happened() -> None:
    """A hook raised, whatever it was: the old file goes, and its error comes out."""
    for error in (ValueError(), ConnectionResetError()):
        world = World()
        core, key = world.core()

        with pytest.raises(type(error)):
            drive(core.finish(world.naming(key, error), always))

        assert core.state == "committed"
        assert set(world.storage.keys()) == {key}
        assert [event.name for event in world.events] == ["committed", "released"]
        assert all(0 <= event.seconds < 10 for event in world.events)


def test_p5_a_commit_that_is_known_to_have_happened_and_still_names_the_old_file() -> None:
    """It was of something else: all is kept."""
    world = World()
    core, key = world.core()

    with pytest.raises(ValueError, match="hook"):
        drive(core.finish(world.naming(world.old, ValueError("hook")), always))

    assert core.state == "in_doubt"
    assert set(world.storage.keys()) == {world.old, key}


def test_an_error_before_a_commit_that_is_known_not_to_have_happened() -> None:
    """An error that is a refusal counts as one where the framework knows as well."""
    world = World()
    core, _ = world.core()

    with pytest.raises(ValueError, match="refused"):
        drive(core.finish(world.naming(world.old, ValueError("refused")), never))

    assert core.state == "aborted"
    assert set(world.storage.keys()) == {world.old}


def test_a_roll_back_removes_the_new_file() -> None:
    """The framework's word is enough, once the database agrees."""
    world = World()
    core, key = world.core()

    drive(core.roll_back())

    assert core.state == "aborted"
    assert set(world.storage.keys()) == {world.old}
    assert key in world.asked


def test_a_roll_back_of_nothing_of_ours_asks_nobody() -> None:
    """The end of the block removes what nobody has seen."""
    world = World()
    core, _ = world.core(handed_out=False)

    drive(core.roll_back())
    assert core.state == "staged"
    drive(core.leave(None))

    assert world.asked == []
    assert set(world.storage.keys()) == {world.old}


def test_a_roll_back_that_cannot_ask_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Its error does not take the place of the one that is on its way; all is kept."""
    world = World()
    core, key = world.core()
    world.away = True

    drive(core.roll_back())

    assert core.state == "in_doubt"
    assert set(world.storage.keys()) == {world.old, key}
    world.check_failed({key, world.old}, "in_doubt", caplog, "the database is away")


def test_an_abort_that_cannot_ask_raises_why() -> None:
    """All is kept, and it is told how long that took."""
    world = World()
    core, key = world.core()
    world.away = True

    with pytest.raises(LookupError):
        drive(core.abort())

    assert set(world.storage.keys()) == {world.old, key}
    (told,) = world.events
    assert (told.name, 0 <= told.seconds < 10) == ("in_doubt", True)


def test_an_abort_before_the_key_was_handed_out_asks_nobody() -> None:
    """No row can name it."""
    world = World()
    core, _ = world.core(handed_out=False)

    drive(core.abort())

    assert (core.state, world.asked) == ("aborted", [])
    assert set(world.storage.keys()) == {world.old}


@pytest.mark.parametrize("fails", ["before", "between"])
def test_p6_a_commit_that_could_not_be_put_on_record_can_be_aborted(
    fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the new file nor any mark is left, though a part of the record was made."""
    world = World()
    core, key = world.core()
    other = world.storage.new_mark()
    other.save(b"another")
    world.storage.settle([], [other])
    core.release(other.name.key)
    world.used = lambda keys: [each for each in keys if each != key]  # type: ignore[method-assign]
    core._references = world.used
    marks = list(core._old.values())

    def broken() -> None:
        raise StorageError("no space")

    monkeypatch.setattr(marks[0 if fails == "before" else 1], "record", broken)
    with pytest.raises(StorageError):
        drive(core.commit(world.naming(key)))
    assert (core.state, world.row) == ("staged", world.old)
    drive(core.abort())

    assert core.state == "aborted"
    assert set(world.storage.keys()) == {world.old, other.name.key}
    assert list(world.storage.marks()) == []


def test_an_abort_after_the_fact_is_refused() -> None:
    """A row names the new file already: it stays, and the caller is told."""
    world = World()
    core, key = world.core()
    world.row = key

    with pytest.raises(NotAborted):
        drive(core.abort())

    assert set(world.storage.keys()) == {world.old, key}


def test_calls_are_named_in_what_they_raise() -> None:
    """Whoever calls at the wrong time reads which call it was."""
    world = World()
    core = world.uploads()._core()
    for name, call in (
        ("abort()", lambda: drive(core.abort())),
        ("commit()", lambda: drive(core.commit(lambda: None))),
        ("save()", lambda: drive(core.save(picture(), hand_out=False))),
        ("release()", lambda: core.release(None)),
        ("replacing()", lambda: core.replacing(None)),
    ):
        with pytest.raises(IllegalTransition) as caught:
            call()
        assert str(caught.value).startswith(f"{name} ")


def test_references_that_fail_after_a_refusal_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """The commit's own error is the one that comes out; all is kept, since nobody knows."""
    world = World()
    core, key = world.core()

    def commit() -> None:
        world.away = True
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        drive(core.commit(commit))

    assert core.state == "in_doubt"
    assert set(world.storage.keys()) == {world.old, key}
    world.check_failed({key, world.old}, "in_doubt", caplog, "the database is away")


def test_a_mark_that_cannot_be_made_at_the_end_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that is left in doubt lets go of what it holds, though not all of it is on record."""
    world = World()
    core, key = world.core()

    def broken() -> None:
        raise StorageError("no space")

    monkeypatch.setattr(core._old[world.old], "record", broken)
    drive(core.leave(ZeroDivisionError()))

    world.check_failed({key, world.old}, "in_doubt", caplog, "no space")
    assert [mark.held for mark in world.storage._marks.values()] == [False]


def test_a_new_file_that_another_transaction_retains_was_committed() -> None:
    """Its mark tells that the row has named it, though it is there and the row does not name it any more."""
    world = World()
    core, key = world.core()

    def commit() -> None:
        mark = world.storage.old_mark(key, 1000)
        mark.record()
        world.row = None

    drive(core.commit(commit))

    assert core.state == "committed"
    assert set(world.storage.keys()) == {key}


def test_a_mark_of_ours_does_not_tell_that_another_has_released() -> None:
    """A new file that no row names, and that is marked as new by its transaction alone, was not committed."""
    world = World()
    core, key = world.core()
    names: list[MarkName] = list(world.storage.marks())
    assert [(name.key, name.is_new) for name in names] == [(key, True)]

    with pytest.raises(NotCommitted):
        drive(core.commit(world.naming(None)))

    assert core.state == "in_doubt"
    assert set(world.storage.keys()) == {world.old, key}
