"""A folder as a bucket: for systems, file systems and network mounts without the locks or links that `_locks` needs."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from safeupload.storage._base import Entry
from safeupload.storage._folder import Descriptor, Folder

#: Flags that every file is opened with; as in `_folder`, where the system has them.
_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class FolderBucket:
    """
    The files of a folder as named objects.

    Only paths, and only what every system has: a file is written under another name and renamed when it is whole. That
    name is made from its own, so what a crash leaves goes when the file is removed. An object without bytes, a mark, is
    whole at once.
    """

    def __init__(self, root: Path, *, durable: bool) -> None:
        self._root = root
        self._durable = durable

    def __repr__(self) -> str:
        return repr(str(self._root))

    def put(self, name: str, data: bytes) -> None:
        """Write an object."""
        path = self._root / name
        if data:
            part = _part(path)
            self._write(part, data)
            part.replace(path)
        else:
            self._write(path, data)
            os.utime(path)  # it may have been there
        if self._durable:
            _sync(path.parent)

    def get(self, name: str) -> bytes | None:
        """Return an object."""
        if self.date(name) is None:
            return None
        with suppress(FileNotFoundError), os.fdopen(os.open(self._root / name, os.O_RDONLY | _FLAGS), "rb") as file:
            return file.read()
        return None

    def delete(self, name: str) -> None:
        """Remove an object, and what a crash has left of it. What is something else, a link of somebody's, stays."""
        path = self._root / name
        for each in (_part(path), path):
            if _date(each) is not None:
                each.unlink(missing_ok=True)

    def date(self, name: str) -> float | None:
        """Return when an object was last written."""
        return _date(self._root / name)

    def list(self, folder: str) -> Iterator[Entry]:
        """Return the plain files of a folder; none if it was never needed."""
        with suppress(FileNotFoundError), os.scandir(self._root / folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):
                        yield Entry(folder + entry.name, entry.stat(follow_symlinks=False).st_mtime)

    def _write(self, path: Path, data: bytes) -> None:
        try:
            number = os.open(path, os.O_WRONLY | os.O_CREAT | _FLAGS, 0o644)
        except FileNotFoundError:  # the first of its kind
            path.parent.mkdir(mode=0o700, exist_ok=True)
            number = os.open(path, os.O_WRONLY | os.O_CREAT | _FLAGS, 0o644)
        descriptor = Descriptor(number)
        try:
            descriptor.write(data)
            if data:
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


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where a system can be asked for that."""
    if sys.platform == "win32":
        return
    try:
        Folder(folder).sync()
    except OSError as error:
        if error.errno != errno.EINVAL:  # what a file system says that has nothing to sync there
            raise
