"""A folder as a bucket: for systems, file systems and network mounts without the locks or links that `_locks` needs."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from safeupload.storage._base import Entry
from safeupload.storage._folder import Descriptor, sync_folder

#: Flags that every file is opened with; as in `_folder`, where the system has them.
_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


#: How often something is written that others write at the same time, before that is an error.
_TRIES: Final = 20
#: How long it waits for its turn then, at the most: seconds, ten times what it takes.
_TURN: Final = 0.02


class FolderBucket:
    """
    The files of a folder as named objects.

    Only paths, and only what every system has: a file is written under another name and renamed when it is whole, so it
    is a new one each time, and dated by whoever keeps the folder, not by us. That other name is made from its own, so
    what a crash leaves goes when the file is written again, or removed.

    `witness` is a file that stands in the folder as long as it is ours: when it is gone, so is the disk that was
    mounted there, and nothing is written to what has come in its place.
    """

    def __init__(self, root: Path, witness: Path, *, durable: bool, strict: bool) -> None:
        self._root = root
        self._witness = witness
        self._durable = durable
        self._strict = strict
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return repr(str(self._root))

    def put(self, name: str, data: bytes) -> None:
        """Write an object."""
        self._witness.stat()
        path = self._root / name
        if data:
            self._replace(path, data)
        elif not self._made(path):
            with self._lock:  # the clock and its like are written by all threads
                self._replace(path, data)
        if self._durable:
            sync_folder(path.parent)

    def get(self, name: str) -> bytes | None:
        """Return an object."""
        if self.date(name) is None:
            return None
        with suppress(FileNotFoundError), os.fdopen(os.open(self._root / name, os.O_RDONLY | _FLAGS), "rb") as file:
            return file.read()
        return None

    def delete(self, name: str) -> None:
        """Remove an object, and what a crash has left of it. What is something else, a link of somebody's, stays."""
        self._witness.stat()
        path = self._root / name
        removed = False
        for each in (_part(path), path):
            if _date(each) is not None:
                each.unlink(missing_ok=True)
                removed = True
        if removed and self._strict:  # or the mark, which goes next, could be gone for good, and the file come back
            sync_folder(path.parent)

    def date(self, name: str) -> float | None:
        """Return when an object was last written."""
        return _date(self._root / name)

    def entries(self, folder: str) -> Iterator[Entry]:
        """Return the plain files of a folder; none if it was never needed."""
        with suppress(FileNotFoundError), os.scandir(self._root / folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):
                        yield Entry(folder + entry.name, entry.stat(follow_symlinks=False).st_mtime)

    def _made(self, path: Path) -> bool:
        """Make an object without bytes, which is whole at once; return whether there was none before."""
        try:
            self._write(path, b"")
        except FileExistsError:
            return False
        return True

    def _replace(self, path: Path, data: bytes) -> None:
        """Put a new file in the place of what there may be."""
        part = _part(path)
        for left in reversed(range(_TRIES)):
            try:
                part.unlink(missing_ok=True)  # of a crash, or of somebody who writes the same just now
                self._write(part, data)
                part.replace(path)
            except (FileExistsError, FileNotFoundError):  # another process's try came in between
                if not left:
                    raise
                time.sleep(_TURN * random.random())  # noqa: S311 - or both would be in each other's way again
            except BaseException:
                with suppress(OSError):  # it goes when the file is removed
                    part.unlink()
                raise
            else:
                return

    def _write(self, path: Path, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS
        try:
            number = os.open(path, flags, 0o644)
        except FileNotFoundError:  # the first rendition of all
            path.parent.mkdir(mode=0o700, exist_ok=True)
            number = os.open(path, flags, 0o644)
        descriptor = Descriptor(number)
        try:
            descriptor.write(data)
            with suppress(PermissionError):  # a file system without modes
                path.chmod(0o644)  # a web server, another user, may serve it
            if self._durable:
                descriptor.sync()
        finally:
            descriptor.close()


def _part(path: Path) -> Path:
    """Return the name under which a file is written: no key, and no mark."""
    return path.with_name(f".{path.name}.part")


def _date(path: Path) -> float | None:
    try:
        found = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_mtime if path.is_file() and not path.is_symlink() else None
