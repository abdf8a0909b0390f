"""Object stores: what is handed on, and what is not there, by the store of obstore that is in memory."""

import obstore
import pytest
from obstore.store import MemoryStore, S3Store

from safeupload import FileMissing
from safeupload._keys import beside, new_key
from safeupload.storage import ObjectStorage
from safeupload.storage._base import Entry

THUMB = "-thumb.webp"


def saved(storage: ObjectStorage) -> str:
    """Store a file with a rendition and return its key."""
    mark = storage.new_mark()
    mark.save(b"picture", {THUMB: b"thumb"})
    storage.settle([], [mark])
    return mark.name.key


@pytest.mark.parametrize("prefix", ["", "avatars", "media/avatars"])
def test_where_objects_stand(prefix: str) -> None:
    """Under the prefix, if there is one, with their media types; and they are found there."""
    store = MemoryStore()
    storage = ObjectStorage(store, prefix=prefix) if prefix else ObjectStorage(store)
    key = saved(storage)
    start = f"{prefix}/" if prefix else ""

    names = {entry["path"] for page in obstore.list(store) for entry in page}
    assert names == {f"{start}{name}" for name in (key, beside(key, THUMB), f".renditions/{THUMB}")}
    for name, kind in ((key, "image/jpeg"), (beside(key, THUMB), "image/webp")):
        assert obstore.get(store, start + name).attributes["Content-Type"] == kind
    assert list(storage.keys()) == [key]
    assert [file.key for file in storage.files()] == [key]


def test_what_is_handed_on() -> None:
    """The lease and the skew are those that were given; of the store, its own prefix stays."""
    storage = ObjectStorage(MemoryStore(), lease=1000, skew=7)
    assert (storage.new_mark().name.lease, storage._lease, storage._skew) == (1000, 1000, 7)

    store = S3Store("bucket", prefix="within", region="eu-central-1", skip_signature=True)
    kept = ObjectStorage(store)._objects._store
    assert isinstance(kept, S3Store)
    assert kept.prefix == "within"


def test_what_is_not_there() -> None:
    """A missing object has no date and no bytes, and to remove it is no error."""
    storage = ObjectStorage(MemoryStore())
    objects = storage._objects
    key = new_key()

    assert objects.date(key) is None
    assert objects.get(key) is None
    objects.delete(key)
    storage.remove(key)
    assert not storage.exists(key)
    with pytest.raises(FileMissing):
        storage.read(key)


def test_an_object_has_the_date_that_is_listed() -> None:
    """Whether it is asked for by itself or comes in a list."""
    storage = ObjectStorage(MemoryStore(), prefix="avatars")
    key = saved(storage)
    date = storage._objects.date(key)

    assert date is not None
    assert Entry(key, date) in list(storage._objects.entries(""))
    assert storage.exists(key)


@pytest.mark.parametrize(("says", "raised"), [("404 Not Found", False), ("<Code>NoSuchBucket</Code>", True)])
def test_servers_that_complain_of_what_is_gone(monkeypatch: pytest.MonkeyPatch, says: str, *, raised: bool) -> None:
    """To remove what is not there is no error, whatever a server says; that the whole bucket is not there is one."""

    def delete(*arguments: object) -> None:
        raise FileNotFoundError(says)

    monkeypatch.setattr(obstore, "delete", delete)
    objects = ObjectStorage(MemoryStore())._objects
    if raised:
        with pytest.raises(FileNotFoundError):
            objects.delete(new_key())
    else:
        objects.delete(new_key())
