"""
A folder by its descriptor: no name in it is looked up by a path, so none can lead out of it.

No symbolic link is followed, and what is neither a plain file nor of the right name is left alone.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from safeupload.errors import StorageError

if sys.platform != "win32":
    import fcntl

#: Flags that every file is opened with: a link is an error, a pipe does not block, no child process inherits it.
_PLAIN: Final = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
)
_FOLDER: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
#: What opening says of a name under which there is no file of ours.
NO_FILE: Final = frozenset({errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO})


@contextmanager
def reporting(what: str) -> Generator[None]:
    """Turn the system's errors into ours; the original stays as the cause."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"could not {what}: {error.strerror or error}") from error


class Descriptor:
    """An open file, closed at the latest when nobody holds it any more: its lock must not outlive its holder."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        """Close it. Does nothing the second time."""
        number, self.number = self.number, -1
        if number >= 0:
            with suppress(OSError):  # what has to be on the disk is synced, and a second try may hit another file
                os.close(number)

    def __del__(self) -> None:
        self.close()

    def lock(self) -> bool:
        """Take the exclusive lock unless somebody has it; return whether it is ours."""
        if sys.platform == "win32":
            return False
        try:
            fcntl.flock(self.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def write(self, data: bytes) -> None:
        """Write all of it."""
        with memoryview(data) as view:
            written = 0
            while written < len(view):
                written += os.write(self.number, view[written:])

    def sync(self) -> None:
        """
        Wait until it is on the disk. An error is final: after one, a second call may succeed with the data lost.

        macOS returns from fsync when the drive has the data, which may be in its cache; F_FULLFSYNC empties that too.
        """
        if sys.platform == "darwin":
            fcntl.fcntl(self.number, fcntl.F_FULLFSYNC)
        else:
            os.fsync(self.number)


class Folder(Descriptor):
    """An open folder and what is done with the names in it."""

    def __init__(self, path: str | os.PathLike[str], within: Folder | None = None) -> None:
        self.number = -1
        if within is None:
            super().__init__(os.open(path, _FOLDER))
        else:
            super().__init__(os.open(path, _FOLDER | os.O_NOFOLLOW, dir_fd=within.number))

    def create(self, name: str) -> Descriptor:
        """Make a file that nobody else may read yet; raise `FileExistsError` if the name is taken."""
        return Descriptor(os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _PLAIN, 0o600, dir_fd=self.number))

    def open(self, name: str, flags: int = os.O_RDWR) -> Descriptor | None:
        """Open a plain file, None if there is none of that name."""
        try:
            descriptor = Descriptor(os.open(name, flags | _PLAIN, dir_fd=self.number))
        except OSError as error:
            if error.errno in NO_FILE:
                return None
            raise
        return descriptor if stat.S_ISREG(os.fstat(descriptor.number).st_mode) else None

    def date(self, name: str) -> float | None:
        """Return when a plain file was last written or touched, in seconds; None if there is none of that name."""
        try:
            found = os.stat(name, dir_fd=self.number, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found.st_mtime if stat.S_ISREG(found.st_mode) else None

    def clock(self) -> float:
        """Return what the file system takes for the time, which may be another machine's: date the folder and read."""
        os.utime(self.number)
        return os.fstat(self.number).st_mtime

    def link(self, name: str, other: Folder, new: str) -> None:
        """Give a file a second name; raise `FileExistsError` if that is taken."""
        os.link(name, new, src_dir_fd=self.number, dst_dir_fd=other.number, follow_symlinks=False)

    def unlink(self, name: str) -> None:
        """Remove a file. That there is none is no error."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.number)

    def unlink_plain(self, name: str) -> None:
        """Remove a plain file. What is something else, a link of somebody's, stays."""
        if self.date(name) is not None:
            self.unlink(name)

    def names(self) -> list[str]:
        """Return all names in the folder, of whatever kind."""
        return os.listdir(self.number)  # noqa: PTH208 - a descriptor

    def scan(self) -> Iterator[os.DirEntry[str]]:
        """
        List the plain files.

        By a descriptor of its own: all that are made from one share their position in the folder.
        """
        own = Folder(".", self)
        with os.scandir(own.number) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    yield entry


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Wait until the names in a folder are on the disk, where a system can be asked for that."""
    if sys.platform == "win32":
        return
    try:
        Folder(path).sync()
    except OSError as error:
        if error.errno != errno.EINVAL:  # what a file system says that has nothing to sync there
            raise
