"""Every storage of ours, and one on a client of the user's own, does what `StorageContract` asks."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import boto3_storage
import obstore.store
import pytest
import s3

from safeupload.storage import BucketStorage, LocalStorage, MemoryStorage, ObjectStorage, Storage, local
from safeupload.testing import StorageContract


@pytest.fixture(scope="module")
def address() -> Generator[str]:
    """Run a server that speaks S3."""
    with s3.server() as address:
        yield address


class TestMemoryStorage(StorageContract):
    """The dictionary."""

    @pytest.fixture
    def storage(self) -> Storage:
        """Give an empty one."""
        return MemoryStorage()


class TestLocalStorage(StorageContract):
    """A folder with locks."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        """Give an empty one."""
        return LocalStorage(tmp_path)

    def another(self, storage: Storage) -> Storage:
        """Open the folder once more."""
        assert isinstance(storage, LocalStorage)
        return LocalStorage(storage._root)


class TestLocalStorageWithoutLinks(StorageContract):
    """A folder without hard links, as on FAT."""

    patience = 3

    @pytest.fixture
    def storage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
        """Hide the call, and make a lease that a test can wait for."""
        monkeypatch.setattr(os, "link", _not_permitted)
        monkeypatch.setattr(local, "LEASE", 1)
        monkeypatch.setattr(local, "SKEW", 1)
        return LocalStorage(tmp_path)

    def another(self, storage: Storage) -> Storage:
        """Open the folder once more."""
        assert isinstance(storage, LocalStorage)
        return LocalStorage(storage._root)


def _not_permitted(*_: Any, **__: Any) -> None:  # noqa: ANN401
    raise PermissionError(1, "Operation not permitted")


class TestObjectStorageInMemory(StorageContract):
    """The object store that obstore has for tests."""

    patience = 2.1

    @pytest.fixture
    def storage(self) -> Storage:
        """Give an empty one."""
        return ObjectStorage(obstore.store.MemoryStore(), lease=1, skew=1)


class TestObjectStorage(StorageContract):
    """S3, whose dates are whole seconds."""

    patience = 3.1

    @pytest.fixture
    def storage(self, address: str) -> Storage:
        """Give a folder of the bucket that nobody has used."""
        return ObjectStorage(s3.store(address), prefix=s3.fresh(), lease=1, skew=1)

    def another(self, storage: Storage) -> Storage:
        """Make another client."""
        assert isinstance(storage, ObjectStorage)
        objects = storage._objects
        return ObjectStorage(objects._store, prefix=objects._prefix.rstrip("/"), lease=1, skew=1)


class TestClientOfYourOwn(StorageContract):
    """The example: a bucket on a client of boto3."""

    patience = 3.1

    @pytest.fixture
    def storage(self, address: str) -> Storage:
        """Give a folder of the bucket that nobody has used."""
        bucket = boto3_storage.Boto3Bucket(s3.client(address), s3.BUCKET, s3.fresh() + "/")
        return BucketStorage(bucket, lease=1, skew=1)
