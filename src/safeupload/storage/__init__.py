"""
Where pictures are kept.

`LocalStorage` is a folder, `ObjectStorage` a bucket of S3, Google Cloud or Azure, `MemoryStorage` a dictionary for
tests. `BucketStorage` makes a storage of any client that can put, get, delete, date and list objects: a `Bucket`.

``read``, ``keys`` and (of a folder) ``path`` or (of an object store) ``url`` are for everybody. The rest is how a
transaction works with a storage: `Storage` and `Mark` say what that is, and `safeupload.testing.StorageContract` checks
it.
"""

from safeupload._keys import MarkName, new_mark, old_mark, parse_mark
from safeupload.storage._base import Bucket, Entry, Failure, File, Mark, Storage
from safeupload.storage.leases import BucketStorage
from safeupload.storage.local import Durability, LocalStorage
from safeupload.storage.memory import MemoryStorage
from safeupload.storage.objectstore import ObjectStorage

__all__ = [
    "Bucket",
    "BucketStorage",
    "Durability",
    "Entry",
    "Failure",
    "File",
    "LocalStorage",
    "Mark",
    "MarkName",
    "MemoryStorage",
    "ObjectStorage",
    "Storage",
    "new_mark",
    "old_mark",
    "parse_mark",
]
