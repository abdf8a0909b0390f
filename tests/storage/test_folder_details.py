"""Folders: what comes and goes meanwhile, modes, dates, and renditions that have lost their file."""

import errno
import os
import shutil
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from safeupload._keys import beside, new_key
from safeupload.storage import LocalStorage, _folders
from safeupload.storage._folder import Folder, sync_folder
from safeupload.storage._folders import FolderBucket

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and descriptors of folders")

RENDITIONS = {"-thumb.webp": b"thumb", "-large.jpg": b"large"}


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    """Give a folder as a bucket."""
    witness = tmp_path / ".mode"
    witness.touch()
    return FolderBucket(tmp_path, witness, durable=False, strict=False)


# --- a folder with locks


def saved(storage: LocalStorage) -> str:
    """Store a file with renditions and return its key."""
    mark = storage.new_mark()
    mark.save(b"picture", RENDITIONS)
    storage.settle([], [mark])
    return mark.name.key


@pytest.mark.parametrize("without_list", [False, True])
def test_renditions_that_have_lost_their_file(tmp_path: Path, without_list: bool) -> None:  # noqa: FBT001
    """They are told once, with their date, also where the folder was restored without its dotfiles; and removed."""
    storage = LocalStorage(tmp_path)
    (tmp_path / "0readme.txt").touch()
    whole, lonely = saved(storage), [saved(storage), saved(storage)]
    for key in lonely:
        (tmp_path / key).unlink()
        for suffix in RENDITIONS:
            os.utime(tmp_path / beside(key, suffix), (5, 5))
    if without_list:
        shutil.rmtree(tmp_path / ".renditions")

    files = list(storage.files())
    assert sorted(file.key for file in files) == sorted([whole, *lonely])
    assert {file.stored for file in files if file.key in lonely} == {5}
    for key in lonely:
        storage.remove(key)
    assert {path.name[:32] for path in tmp_path.iterdir() if path.suffix not in {"", ".txt"}} == {whole[:32]}
    assert len(list(storage.files())) == 1


def test_a_rendition_that_goes_meanwhile_is_not_told(tmp_path: Path) -> None:
    """Somebody else has removed it."""
    storage = LocalStorage(tmp_path)
    lonely = [saved(storage) for _ in range(3)]
    for key in lonely:
        (tmp_path / key).unlink()
    told = storage.files()
    first = next(told).key
    for key in lonely:
        for suffix in RENDITIONS:
            (tmp_path / beside(key, suffix)).unlink()

    assert list(told) == []
    assert first in lonely


def test_the_list_of_suffixes_is_ours_alone(tmp_path: Path) -> None:
    """Whatever the umask, and it may be there already."""
    before = os.umask(0)
    try:
        for _ in range(2):
            saved(LocalStorage(tmp_path))
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / ".renditions").stat().st_mode) == 0o700


def test_an_error_of_close_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has to be on the disk is synced by then."""
    storage = LocalStorage(tmp_path)
    close = os.close

    def closing(number: int) -> None:
        close(number)
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(os, "close", closing)
    mark = storage.new_mark()
    mark.save(b"picture")
    mark.close()

    assert storage.read(mark.name.key) == b"picture"


@pytest.mark.parametrize(("code", "raised"), [(errno.EINVAL, False), (errno.EIO, True), (errno.ENOSPC, True)])
def test_a_folder_that_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, *, raised: bool
) -> None:
    """Some file systems have nothing to sync there, and say so; every other error is one."""

    def failing(self: Folder) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr(Folder, "sync", failing)
    if raised:
        with pytest.raises(OSError, match="no"):
            sync_folder(tmp_path)
    else:
        sync_folder(tmp_path)


# --- a folder as a bucket


def test_objects_have_their_dates(bucket: FolderBucket, tmp_path: Path) -> None:
    """Those of the file system, in a listing as one by one."""
    bucket.put("a.jpg", b"picture")
    os.utime(tmp_path / "a.jpg", (5, 7))

    assert bucket.date("a.jpg") == 7
    assert [entry.dated for entry in bucket.entries("") if entry.name == "a.jpg"] == [7]


def test_objects_that_go_meanwhile(bucket: FolderBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a listing, before they are read, and before they are removed: that is no error."""
    names = [new_key() for _ in range(5)]
    for name in names:
        bucket.put(name, b"picture")
    listing = (entry.name for entry in bucket.entries("") if entry.name in names)
    first = next(listing)
    for name in names:
        (tmp_path / name).unlink()
    assert list(listing) == []

    monkeypatch.setattr(_folders, "_date", lambda path: 1.0)
    assert bucket.get(first) is None
    bucket.delete(first)


def test_modes_of_objects(bucket: FolderBucket, tmp_path: Path) -> None:
    """A web server may read the files, and nobody else lists what is ours."""
    before = os.umask(0o077)
    try:
        bucket.put("a.jpg", b"picture")
    finally:
        os.umask(before)
    before = os.umask(0)
    try:
        bucket.put(".pending/x", b"")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "a.jpg").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / ".pending").stat().st_mode) == 0o700


def test_a_folder_that_another_makes_meanwhile(bucket: FolderBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there when it is to be made."""
    bucket.put(".pending/x", b"")
    opened = os.open
    failed: list[str] = []

    def late(path: Any, *arguments: Any, **options: Any) -> int:  # noqa: ANN401
        if str(path).endswith("y") and not failed:
            failed.append(str(path))
            raise FileNotFoundError(errno.ENOENT, "no")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", late)
    bucket.put(".pending/y", b"")

    assert bucket.get(".pending/y") == b""
    assert failed


@pytest.mark.parametrize("times", [1, 19, 20])
def test_others_that_write_the_same(bucket: FolderBucket, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Whoever comes in between is waited for, a moment each time, and not for ever."""
    write = bucket._write
    slept: list[float] = []
    tried: list[Path] = []

    def taken(path: Path, data: bytes) -> None:
        tried.append(path)
        if len(tried) <= times:
            raise FileExistsError(errno.EEXIST, "taken")
        write(path, data)

    monkeypatch.setattr(bucket, "_write", taken)
    monkeypatch.setattr(time, "sleep", slept.append)
    if times < 20:
        bucket.put("a.jpg", b"picture")
        assert bucket.get("a.jpg") == b"picture"
    else:
        with pytest.raises(FileExistsError):
            bucket.put("a.jpg", b"picture")
    assert len(slept) == min(times, 19)
    assert all(0 <= seconds <= 0.02 for seconds in slept)
