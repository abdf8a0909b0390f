"""
A folder of this machine, or of several machines.

How its marks are held depends on what the file system has: locks and hard links (`_locks`), or neither (`_folders`).
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from safeupload._arguments import Duration
from safeupload._keys import MarkName, checked
from safeupload.errors import FolderNotOwned, InvalidArgument, UnsupportedStorage
from safeupload.storage._base import Failure, File, Mark, Storage
from safeupload.storage._folder import reporting, sync_folder
from safeupload.storage._folders import FolderBucket
from safeupload.storage._locks import LockedFolder
from safeupload.storage.leases import LEASE, SKEW, BucketStorage, lease_seconds

__all__ = ["Durability", "LocalStorage"]

#: How much is on the disk before a step counts as done: nothing, what a row may name, or every step.
Durability: TypeAlias = Literal["none", "safe", "strict"]

_PENDING: Final = ".pending"
#: How marks are held here, for all who come later: by locks if it is a folder, by leases if it is a file. One name,
#: since only the first of two calls can make it.
_MODE: Final = ".mode"
#: What a folder is tried out in begins so.
_PROBE: Final = ".probe-"


class LocalStorage:
    """
    Pictures in a folder, which it owns: it is made if need be, with its parents.

    A folder that holds files and was never a storage is refused with `FolderNotOwned` unless ``adopt=True``; even then
    only files whose names have the form of a key are ever touched.

    `durability` is what a power loss may take: "safe" (the default) nothing that a row names; "strict" not even the
    notes that `recover` goes by, on whatever file system; "none" is for data that can be thrown away. All three survive
    the death of the process.

    Locks tell whether a transaction is still at work. Where there are none, or no hard links (Windows, FAT, some
    network mounts), a lease does: see `BucketStorage`. Give a `lease` yourself where several machines share a folder
    whose locks may not reach from one to the other, the same on all of them.

    Raises `UnsupportedStorage` for a folder whose marks others may hold by locks, if there are none here or a lease is
    asked for, and `StorageError` where the folder cannot be made or written.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        durability: Durability = "safe",
        adopt: bool = False,
        lease: Duration | None = None,
    ) -> None:
        if durability not in get_args(Durability):
            raise InvalidArgument(f"durability: expected one of {get_args(Durability)}, got {durability!r}")
        if lease is not None:
            lease_seconds("lease", lease)
        self._root = Path(root).absolute()
        self._durable = durability != "none"
        with reporting("open the storage"):
            self._make_root()
            self._own(adopt=adopt)
            self._marked: Storage = self._open(lease, strict=durability == "strict")
        self.tidy_interval: float = self._marked.tidy_interval

    def __repr__(self) -> str:
        return f"LocalStorage({str(self._root)!r})"

    def path(self, key: str) -> Path:
        """Return where a file or a rendition stands or would stand, to serve it; `InvalidKey` if it is neither."""
        return self._root / checked(key)

    def read(self, key: str) -> bytes:
        """Return the bytes of a file, or of a rendition; raise `InvalidKey`, `FileMissing` or `StorageError`."""
        return self._marked.read(key)

    def keys(self) -> Iterator[str]:
        """Return the keys of all files, in no order; those that come or go meanwhile may be missed."""
        return self._marked.keys()

    def new_mark(self) -> Mark:
        """Return a mark for a new file; nothing happens before its `save`."""
        return self._marked.new_mark()

    def old_mark(self, key: str, retain: int) -> Mark:
        """Return a mark for a file that is to be released; nothing happens before its `record`."""
        return self._marked.old_mark(key, retain)

    def marks(self) -> Iterator[MarkName]:
        """Return the names of all marks, in no order."""
        return self._marked.marks()

    def clock(self) -> float:
        """Return the time, in seconds, by the clock that dates files and marks."""
        return self._marked.clock()

    def seize(self, name: MarkName, dated: float) -> Mark | None:
        """Take hold of a mark from that date or before, None if that is not possible now."""
        return self._marked.seize(name, dated)

    def settle(self, remove: Iterable[Mark], drop: Iterable[Mark]) -> list[Failure]:
        """Remove the files of some marks and then the marks, of others the marks alone, and let go of all of them."""
        return self._marked.settle(remove, drop)

    def exists(self, key: str) -> bool:
        """Tell whether there is a file under the key."""
        return self._marked.exists(key)

    def files(self) -> Iterator[File]:
        """Return what `keys` returns, with dates; and keys of which a power loss has left nothing but renditions."""
        return self._marked.files()

    def remove(self, key: str) -> None:
        """Remove a file, with its renditions, that has no mark; that it is gone already is no error."""
        self._marked.remove(key)

    def _make_root(self) -> None:
        """Make the folder and those above it, where they are missing, as durable as what will be stored in it."""
        missing = [folder for folder in (self._root, *self._root.parents) if not folder.exists()]
        self._root.mkdir(parents=True, exist_ok=True)
        if self._durable:
            for folder in missing:
                sync_folder(folder.parent)

    def _own(self, *, adopt: bool) -> None:
        """Refuse a folder that holds files and was never a storage, which the folder of the marks tells."""
        if adopt or self._is_ours():
            return
        if any(map(_is_somebody_s, self._root.iterdir())) and not self._is_ours():
            raise FolderNotOwned(
                f"{self._root} holds files and was never a storage of safeupload; use an empty folder, or adopt=True"
            )

    def _is_ours(self) -> bool:
        return (self._root / _PENDING).exists()

    def _open(self, lease: Duration | None, *, strict: bool) -> Storage:
        """Return what holds the marks, as whoever opened the folder first has decided for all that come later."""
        mode = self._root / _MODE
        if not mode.exists():
            leased = not self._is_ours() and (lease is not None or not self._can_lock())
            with suppress(FileExistsError):  # one call, which succeeds for the first alone
                if leased:
                    os.close(os.open(mode, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                else:
                    mode.mkdir(mode=0o700)
        with suppress(FileExistsError):
            (self._root / _PENDING).mkdir(mode=0o700)
            if self._durable:
                sync_folder(self._root)
        if mode.is_file():
            bucket = FolderBucket(self._root, mode, durable=self._durable, strict=strict)
            return BucketStorage(bucket, lease=LEASE if lease is None else lease, skew=SKEW)
        folder = self._locked(_PENDING, strict=strict)
        if folder is None or lease is not None:
            raise UnsupportedStorage(
                f"the marks of {self._root} are held by flock and hard links"
                + (" so far" if lease is not None else ", which are missing here")
                + f"; for leases, stop every process, recover(), and put an empty file in place of the folder {_MODE}"
            )
        return folder

    def _can_lock(self) -> bool:
        """Try what locked marks rest on, where no mark of others is."""
        probe = self._root / f"{_PROBE}{secrets.token_hex(8)}"
        probe.mkdir()
        try:
            return self._locked(probe.name, strict=False) is not None
        finally:
            shutil.rmtree(probe, ignore_errors=True)  # one that stays is in nobody's way

    def _locked(self, pending: str, *, strict: bool) -> LockedFolder | None:
        """Return a storage whose marks are held by locks, None if that cannot be here."""
        if sys.platform == "win32" or os.link not in os.supports_dir_fd:
            return None
        folder = LockedFolder(self._root, pending, durable=self._durable, strict=strict)
        return folder if folder.keeps_promises() else None


def _is_somebody_s(path: Path) -> bool:
    """Tell whether what is in the folder is not something that another process, opening it just now, has made."""
    return path.name != _MODE and not path.name.startswith(_PROBE)
