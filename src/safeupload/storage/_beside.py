"""
The renditions that stand beside the files of a folder.

They come to stand there as their file does: whole, and then by a link. Their names among the marks are no marks, and go
at once. A list of the suffixes that such names have had here is kept, so that whoever removes a file finds them all,
whatever its policy says.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from safeupload._keys import beside, is_suffix, key_beside, suffix_of
from safeupload.storage._folder import Descriptor, Folder

_LIST: Final = ".renditions"


def write(descriptor: Descriptor, data: bytes, *, durable: bool) -> None:
    """Write a whole file."""
    descriptor.write(data)
    os.fchmod(descriptor.number, 0o644)  # a web server, another user, may serve it
    if durable:
        descriptor.sync()


class Renditions:
    """What stands beside the files of a folder, or is about to."""

    def __init__(self, live: Folder, pending: Folder, *, durable: bool) -> None:
        self._live = live
        self._pending = pending
        self._durable = durable

    def save(self, key: str, renditions: Mapping[str, bytes]) -> None:
        """Let whole files stand beside that of the key, which has reserved their names; to be synced by the caller."""
        self._learn(renditions)
        for suffix, data in renditions.items():
            name = beside(key, suffix)
            descriptor = self._pending.create(name)
            write(descriptor, data, durable=self._durable)
            descriptor.close()
            self._pending.link(name, self._live, name)
            self._pending.unlink(name)

    def remove(self, key: str) -> None:
        """Remove what stands beside a file."""
        for suffix in self._suffixes():
            self._live.unlink_plain(beside(key, suffix))

    def forget(self, key: str) -> None:
        """Remove what a crash has left of `save`."""
        for suffix in self._suffixes():
            self._pending.unlink(beside(key, suffix))

    def alone(self) -> Iterator[tuple[str, float]]:
        """
        Return keys of which only renditions are left, by a power loss, and when one of those was stored.

        What a folder has that was restored without its dotfiles gets on the list again.
        """
        found: set[str] = set()
        known = set(self._suffixes())
        for folder in (self._live, self._pending):
            for entry in folder.scan():
                key = key_beside(entry.name)
                if key is None:
                    continue
                suffix = suffix_of(entry.name)
                if suffix not in known:
                    self._learn([suffix])
                    known.add(suffix)
                if key not in found and self._live.date(key) is None:
                    found.add(key)
                    with suppress(FileNotFoundError):
                        yield key, entry.stat(follow_symlinks=False).st_mtime

    def _suffixes(self) -> list[str]:
        try:
            return [suffix for suffix in Folder(_LIST, self._live).names() if is_suffix(suffix)]
        except FileNotFoundError:  # a folder that never had any
            return []

    def _learn(self, suffixes: Iterable[str]) -> None:
        """Put suffixes on the list, as durable as what will have them; nearly always they are there."""
        with suppress(FileExistsError):
            os.mkdir(_LIST, 0o700, dir_fd=self._live.number)
        folder = Folder(_LIST, self._live)
        missing = set(suffixes).difference(folder.names())
        for suffix in missing:
            with suppress(FileExistsError):
                folder.create(suffix).close()
        if missing and self._durable:
            folder.sync()
            self._live.sync()
