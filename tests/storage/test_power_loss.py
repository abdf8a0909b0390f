"""
A power loss at any moment takes what was not synced, and loses no file that a row names.

What a transaction does to the folder is recorded. For every prefix of it, and every choice of what the disk may have
kept of its end, the folder is built anew, and looked at.

Two kinds of file systems: "ordered" ones keep changes of names in their order, all up to the last sync of anything, as
ext4 and xfs do, where the commit of a database on the same disk is one; "adversarial" ones keep any of those that no
sync of their own folder has followed, which is all that POSIX promises. Either may lose the bytes of a file that was
not synced itself.
"""

import itertools
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fakes import THUMB, files, picture

from safeupload import Uploads
from safeupload._keys import beside
from safeupload.storage import LocalStorage, local
from safeupload.storage._folder import Descriptor, Folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a local storage needs flock")

WHOLE = picture("new").data
SYNCS = {"sync file", "sync folder", "commit"}
#: Choices tried for one moment at the most; more are drawn by lot.
CHOICES = 64


class Step(NamedTuple):
    """Something done to the folder, or the commit."""

    what: str  # "add", "remove", "sync folder", "sync file", "commit"
    folder: str = ""
    name: str = ""
    inode: int = 0
    rows: frozenset[str] = frozenset()


class Recorder:
    """Records what the storage does."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[Step] = []
        self.root = root
        self.patch = monkeypatch
        self.folders = {root.stat().st_ino: "live", (root / ".pending").stat().st_ino: "pending"}

    def record(self, work: Callable[[], object]) -> None:
        """Do the work, and record it."""
        create, link, unlink, sync = Folder.create, Folder.link, Folder.unlink, Descriptor.sync

        def created(folder: Folder, name: str) -> Descriptor:
            made = create(folder, name)
            self.steps.append(Step("add", self.which(folder), name, os.fstat(made.number).st_ino))
            return made

        def linked(folder: Folder, name: str, other: Folder, new: str) -> None:
            link(folder, name, other, new)
            inode = os.stat(new, dir_fd=other.number).st_ino
            self.steps.append(Step("add", self.which(other), new, inode))

        def unlinked(folder: Folder, name: str) -> None:
            unlink(folder, name)
            self.steps.append(Step("remove", self.which(folder), name))

        def synced(descriptor: Descriptor) -> None:
            sync(descriptor)
            inode = os.fstat(descriptor.number).st_ino
            which = self.folders.get(inode)
            self.steps.append(Step("sync folder", which) if which else Step("sync file", inode=inode))

        with self.patch.context() as patch:
            patch.setattr(Folder, "create", created)
            patch.setattr(Folder, "link", linked)
            patch.setattr(Folder, "unlink", unlinked)
            patch.setattr(Descriptor, "sync", synced)
            work()

    def which(self, folder: Folder) -> str:
        """Return which of the two folders this is."""
        return self.folders[os.fstat(folder.number).st_ino]


def ordered(steps: list[Step]) -> Iterator[list[Step]]:
    """Yield what may be left of the names: all up to the last sync, and any number of those that follow."""
    last = max((at for at, step in enumerate(steps) if step.what in SYNCS), default=-1)
    for end in range(last + 1, len(steps) + 1):
        yield [step for step in steps[:end] if step.what in {"add", "remove"}]


def adversarial(steps: list[Step]) -> Iterator[list[Step]]:
    """Yield what may be left of the names: those that were synced, and any of the others."""
    sure: list[int] = []
    unsure: list[int] = []
    for at, step in enumerate(steps):
        if step.what in {"add", "remove"}:
            kept = any(later.what == "sync folder" and later.folder == step.folder for later in steps[at:])
            (sure if kept else unsure).append(at)
    choices: Any = itertools.product([False, True], repeat=len(unsure))
    if 2 ** len(unsure) > CHOICES:
        lot = random.Random(len(steps))
        choices = [[lot.random() < 0.5 for _ in unsure] for _ in range(CHOICES)]
    for choice in choices:
        kept_ones = {*sure, *(at for at, keep in zip(unsure, choice, strict=True) if keep)}
        yield [steps[at] for at in sorted(kept_ones)]


SYSTEMS = {"ordered": ordered, "adversarial": adversarial}


class World:
    """A folder with files that rows name, all of it on the disk."""

    def __init__(self, folder: Path, durability: local.Durability) -> None:
        self.folder = folder
        self.storage = LocalStorage(folder, durability=durability)
        self.rows: dict[int, str | None] = {}
        for row in (1, 2):
            with self.uploads().transaction() as tx:
                key = tx.save(picture("new"))
                tx.commit(self.commit({row: key}))
        self.before = self.named()
        self.steps: list[Step] = []

    def uploads(self) -> Uploads:
        """Return an object for the storage."""
        return Uploads(self.storage, references=lambda keys: [key for key in keys if key in self.named()])

    def named(self) -> frozenset[str]:
        """Return what rows name."""
        return frozenset(key for key in self.rows.values() if key)

    def commit(self, changes: dict[int, str | None]) -> Callable[[], None]:
        """Return a commit, which the database keeps."""

        def commit() -> None:
            self.rows.update(changes)
            if hasattr(self, "steps"):
                self.steps.append(Step("commit", rows=self.named()))

        return commit


def replace(world: World) -> None:
    """Replace one picture."""
    with world.uploads().replace(picture("new")) as new:
        key = new.replacing(world.rows[1])
        new.commit(world.commit({1: key}))


def create(world: World) -> None:
    """Add a row."""
    with world.uploads().transaction() as tx:
        key = tx.save(picture("new"))
        tx.commit(world.commit({3: key}))


def delete(world: World) -> None:
    """Delete a row."""
    with world.uploads().transaction() as tx:
        tx.release(world.rows[1])
        tx.commit(world.commit({1: None}))


def two(world: World) -> None:
    """Replace two pictures at once."""
    with world.uploads().transaction() as tx:
        changes: dict[int, str | None] = {}
        for row in (1, 2):
            changes[row] = tx.save(picture("new"))
            tx.release(world.rows[row])
        tx.commit(world.commit(changes))


def give_up(world: World) -> None:
    """Change one's mind."""
    with world.uploads().replace(picture("new")) as new:
        new.replacing(world.rows[1])
        new.abort()


class Losses(NamedTuple):
    """What was found: moments, those with a lost or torn file, those that `recover` did not settle."""

    tried: int
    lost: int
    not_recovered: int
    not_swept: int


def lose_power(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[World], None],
    durability: local.Durability,
    system: str,
    *,
    left_out: str = "",
) -> Losses:
    """Record the work, lose the power at every moment of it, and look what is left."""
    world = World(tmp_path / "recorded", durability)
    recorder = Recorder(world.folder, monkeypatch)
    world.steps = recorder.steps
    recorder.record(lambda: work(world))
    steps = [step for step in recorder.steps if step.what != left_out]
    tried = lost = not_recovered = not_swept = 0
    for end in range(len(steps) + 1):
        done = steps[:end]
        whole = {step.inode for step in done if step.what == "sync file"}
        rows = next((step.rows for step in reversed(done) if step.what == "commit"), world.before)
        for names in SYSTEMS[system](done):
            tried += 1
            root = tmp_path / f"{tried}"
            build(root, world.before, names, whole)
            found = files(root)
            lost += any(found.get(key) != WHOLE for key in rows)
            uploads = Uploads(LocalStorage(root, durability="none"), references=partial_of(rows))
            uploads.recover(min_age=0)
            found = files(root)
            lost += any(found.get(key, WHOLE) != WHOLE for key in rows)
            not_recovered += files(root).keys() != rows or any((root / ".pending").iterdir())
            uploads.sweep(min_age=0, force=True)
            not_swept += files(root).keys() != rows
    return Losses(tried, lost, not_recovered, not_swept)


def partial_of(rows: frozenset[str]) -> Callable[[list[str]], list[str]]:
    """Return `references` for these rows."""
    return lambda keys: [key for key in keys if key in rows]


def build(root: Path, before: frozenset[str], names: list[Step], whole: set[int]) -> None:
    """Build the folder as the disk has it."""
    present = [*before, *(beside(key, THUMB) for key in before)]
    content: dict[str, dict[str, int]] = {"live": dict.fromkeys(present, -1), "pending": {}}
    for step in names:
        if step.what == "add":
            content[step.folder][step.name] = step.inode
        else:
            content[step.folder].pop(step.name, None)
    (root / ".pending").mkdir(parents=True)
    (root / ".renditions").mkdir()
    (root / ".renditions" / THUMB).touch()
    made: dict[int, Path] = {}
    for folder, there in ((root, content["live"]), (root / ".pending", content["pending"])):
        for name, inode in there.items():
            if inode in made and inode != -1:
                os.link(made[inode], folder / name)
                continue
            data = WHOLE if inode in whole or inode == -1 else WHOLE[:10]
            (folder / name).write_bytes(data if not name.startswith("~") else b"")
            made[inode] = folder / name


WORKS = [replace, create, delete, two, give_up]
every_work = pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)


@every_work
@pytest.mark.parametrize(
    ("durability", "system"), [("safe", "ordered"), ("strict", "adversarial"), ("strict", "ordered")]
)
def test_p5_p7_survive_a_power_loss(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[World], None],
    durability: local.Durability,
    system: str,
) -> None:
    """No file that a row names is lost or torn, and `recover` finds all the rest on record."""
    losses = lose_power(tmp_path, monkeypatch, work, durability, system)

    assert losses.tried >= 9
    assert losses[1:] == (0, 0, 0)


@every_work
def test_p5_survives_a_power_loss_on_any_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[World], None]
) -> None:
    """With "safe", no file that a row names is lost anywhere; where names come back in any order, `sweep` settles."""
    losses = lose_power(tmp_path, monkeypatch, work, "safe", "adversarial")

    assert losses.tried >= 9
    assert (losses.lost, losses.not_swept) == (0, 0)


def test_without_syncs_files_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With "none" they are, as it says: the check finds something."""
    assert lose_power(tmp_path, monkeypatch, replace, "none", "ordered").lost > 0


@pytest.mark.parametrize("left_out", ["sync file", "sync folder"])
def test_each_sync_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_out: str) -> None:
    """Without that of the file it comes back torn, without that of the folder not at all."""
    assert lose_power(tmp_path, monkeypatch, replace, "safe", "adversarial", left_out=left_out).lost > 0
