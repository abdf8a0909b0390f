"""Pictures in an object store: S3 and what speaks like it, Google Cloud Storage, Azure, by way of obstore."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from safeupload._arguments import Duration, seconds
from safeupload._keys import checked
from safeupload.errors import InvalidArgument, StorageError, UnsupportedStorage
from safeupload.storage._base import Entry
from safeupload.storage.leases import LEASE, SKEW, BucketStorage

if TYPE_CHECKING:
    from obstore.store import ObjectStore, S3Store

__all__ = ["ObjectStorage"]

#: Entries that cross from Rust to Python at a time: as many as a page of S3 has.
_PAGE: Final = 1000
#: What signatures of S3, GCS and Azure can be good for, in seconds.
_LONGEST: Final = 7 * 24 * 3600.0
_HEADERS: Final = ("Cache-Control", "Content-Disposition", "Content-Language", "Storage-Class")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_VALUE: Final = re.compile(r"[!-~]([ -~]*[!-~])?")
_MEDIA_TYPES: Final = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "avif": "image/avif"}


class ObjectStorage(BucketStorage):
    """
    Pictures in an object store, for applications on several hosts.

    ``ObjectStorage(S3Store("my-bucket", region="eu-central-1"), prefix="avatars")``: the store is one of
    ``obstore.store``, which knows the credentials, the encryption, the time-outs and how often a request is tried
    again. S3's deletes of many objects at once are switched off, since several servers do not have them.

    Args:
        store: of ``obstore.store``; the extra "s3" installs it.
        prefix: a folder in the bucket, so that several storages can share one. Whatever has the form of a key in it is
            taken for ours: give it one that nobody else writes to.
        lease, skew: see `BucketStorage`.
        attributes: sent with every picture, like ``{"Cache-Control": "public, max-age=31536000, immutable"}``: headers
            and metadata. The Content-Type is always the picture's own.

    Raises `UnsupportedStorage` if obstore is not installed, `InvalidArgument` for anything that cannot work.

    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        prefix: str = "",
        lease: Duration = LEASE,
        skew: Duration = SKEW,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        self._objects = _Objects(store, prefix, attributes)
        super().__init__(self._objects, lease=lease, skew=skew)

    def url(self, key: str, *, expires: Duration) -> str:
        """
        Return an address from which anybody can fetch a file or a rendition until it expires, in at most seven days.

        It does not tell whether there is such a file. Computed here, except where the credentials of a role have to be
        fetched first. Raises `InvalidKey`, `InvalidArgument`, `StorageError`, and `UnsupportedStorage` for a store
        without signed addresses.
        """
        return self._objects.url(checked(key), seconds("expires", expires))


class _Objects:
    """The five methods of `Bucket`, by obstore."""

    def __init__(self, store: ObjectStore, prefix: str, attributes: Mapping[str, str] | None) -> None:
        stores = _obstore().store
        if not isinstance(prefix, str) or (prefix and any(part in {"", ".", ".."} for part in prefix.split("/"))):
            raise InvalidArgument(f'prefix: expected a folder like "avatars" or "media/avatars", got {prefix!r}')
        if isinstance(store, stores.S3Store):
            given = cast("S3Store", store)
            store = stores.S3Store(
                prefix=given.prefix,
                config={**given.config, "disable_bulk_delete": True},
                client_options=given.client_options,
                retry_config=given.retry_config,
                credential_provider=given.credential_provider,
            )
        elif not isinstance(store, stores.GCSStore | stores.AzureStore | stores.MemoryStore):
            raise InvalidArgument(
                f"store: expected S3Store, GCSStore or AzureStore of obstore.store, got {store!r:.40}"
            )
        self._store = store
        self._prefix = f"{prefix}/" if prefix else ""
        self._attributes = _checked(attributes)

    def __repr__(self) -> str:
        return f"{self._store!r}, prefix={self._prefix.rstrip('/')!r}"

    def put(self, name: str, data: bytes) -> None:
        """Write an object. In one request, and without a condition: half of the servers do not heed it."""
        media_type = _MEDIA_TYPES.get(name.rpartition(".")[2]) if data else None
        attributes = {**self._attributes, "Content-Type": media_type} if media_type else None
        with _asking() as obstore:
            obstore.put(
                self._store, self._prefix + name, data, attributes=attributes, mode="overwrite", use_multipart=False
            )

    def get(self, name: str) -> bytes | None:
        """Return an object."""
        with _asking(may_be_missing=True) as obstore:
            return bytes(obstore.get(self._store, self._prefix + name).bytes())
        return None

    def delete(self, name: str) -> None:
        """Remove an object; some servers say that there was none."""
        with _asking(may_be_missing=True) as obstore:
            obstore.delete(self._store, self._prefix + name)

    def date(self, name: str) -> float | None:
        """Return when an object was last written."""
        with _asking(may_be_missing=True) as obstore:
            return _dated(obstore.head(self._store, self._prefix + name))
        return None

    def entries(self, folder: str) -> Iterator[Entry]:
        """Return the objects of a folder, page by page."""
        start = (self._prefix + folder).rstrip("/") or None
        with _asking() as obstore:
            for page in obstore.list(self._store, start, chunk_size=_PAGE):
                for entry in page:
                    yield Entry(entry["path"].removeprefix(self._prefix), _dated(entry))

    def url(self, name: str, expires: float) -> str:
        """Return a signed address."""
        if not 1 <= expires <= _LONGEST:
            raise InvalidArgument(f"expires: expected 1 second to 7 days, got {expires:g} s")
        if isinstance(self._store, _obstore().store.MemoryStore):
            raise UnsupportedStorage("a store in memory has no signed addresses")
        try:
            with _asking() as obstore:
                return str(obstore.sign(self._store, "GET", self._prefix + name, timedelta(seconds=int(expires))))
        except Exception as error:
            raise StorageError(f"could not sign an address: {error}") from error
        raise StorageError("could not sign an address")


def _dated(entry: Any) -> float:  # noqa: ANN401 - obstore's
    """Return the date of an object; obstore says 1970 where a server says nothing, and that would be very old."""
    date = float(entry["last_modified"].timestamp())
    if date <= 0:
        raise ValueError("the server does not date its objects")
    return date


def _obstore() -> Any:  # noqa: ANN401 - a module that may not be there
    """Return the module; raise `UnsupportedStorage` if the extra is not installed."""
    try:
        import obstore  # noqa: PLC0415 - an extra
        import obstore.store  # noqa: PLC0415
    except ImportError as error:
        raise UnsupportedStorage('ObjectStorage needs obstore: pip install "safeupload[s3]"') from error
    return obstore


#: The process in which obstore was used first. Its threads do not survive a fork, and whoever waits for them in a child
#: waits for ever.
_used_in: list[int] = []


@contextmanager
def _asking(*, may_be_missing: bool = False) -> Generator[Any]:
    """
    Give the module for one call; with `may_be_missing`, end quietly if it says that there is no such object.

    That is for reading and removing only: a gateway's 404 can also be the answer to what was to be written or listed.
    Rust's panics, for example over a header that cannot be sent, are no `Exception`, so they become one.
    """
    if not _used_in:
        _used_in.append(os.getpid())
    if _used_in[0] != os.getpid():
        raise UnsupportedStorage(
            "an object store was used before this process was forked from another; use it first in the child (with"
            " gunicorn: without --preload, or with nothing that asks the store while the application is imported)"
        )
    try:
        yield _obstore()
    except FileNotFoundError as error:
        if not may_be_missing or any(code in str(error) for code in ("NoSuchBucket", "ContainerNotFound")):
            raise
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise StorageError(f"obstore failed: {error}") from error
        raise


def _checked(attributes: Mapping[str, str] | None) -> dict[str, str]:
    """Return headers that can be sent; raise `InvalidArgument` for others, which would fail at the first upload."""
    attributes = {} if attributes is None else attributes
    if not isinstance(attributes, Mapping):
        raise InvalidArgument(f"attributes: expected a mapping of names to values, got {attributes!r:.50}")
    for name, value in attributes.items():
        if not (isinstance(name, str) and isinstance(value, str) and _NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise InvalidArgument(f"attributes: expected a header's name and value in ASCII, got {name!r}: {value!r}")
        if name.lower() == "content-type" or name.lower().startswith("x-"):
            raise InvalidArgument(f"attributes: {name} is not yours to set; expected {', '.join(_HEADERS)} or metadata")
    return dict(attributes)
