"""A storage and a bucket of one's own, by their types alone."""

from collections.abc import Iterator

import pytest
from obstore.store import S3Store
from sync_uploads import used

import safeupload
from safeupload.storage import Bucket, BucketStorage, Entry, LocalStorage, MemoryStorage, ObjectStorage, Storage
from safeupload.testing import StorageContract


class Shelf:
    """A bucket that is a dictionary."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, float]] = {}

    def put(self, name: str, data: bytes) -> None:
        """Write."""
        self._objects[name] = (data, 0.0)

    def get(self, name: str) -> bytes | None:
        """Read."""
        return self._objects[name][0] if name in self._objects else None

    def delete(self, name: str) -> None:
        """Remove."""
        self._objects.pop(name, None)

    def date(self, name: str) -> float | None:
        """Date."""
        return self._objects[name][1] if name in self._objects else None

    def entries(self, folder: str) -> Iterator[Entry]:
        """List."""
        return (Entry(name, date) for name, (_, date) in self._objects.items() if name.startswith(folder))


class Half:
    """A bucket that cannot list."""

    def put(self, name: str, data: bytes) -> None:
        """Write."""


shelf: Bucket = Shelf()
storages: list[Storage] = [
    LocalStorage("pictures", durability="strict"),
    MemoryStorage(),
    BucketStorage(Shelf()),
    ObjectStorage(S3Store("pictures"), prefix="avatars"),
]
for storage in storages:
    safeupload.Uploads(storage, references=used)


class TestShelf(StorageContract):
    """The contract, for the shelf."""

    patience = 3

    @pytest.fixture
    def storage(self) -> Storage:
        """Return an empty one."""
        return BucketStorage(Shelf(), lease=1, skew=1)


# --- misuse

half: Bucket = Half()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
LocalStorage("pictures", durability="very")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
safeupload.Uploads(Shelf(), references=used)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
MemoryStorage().path("key")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
