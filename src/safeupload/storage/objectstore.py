"""Pictures in an object store: S3 and what speaks like it, Google Cloud Storage, Azure, by way of obstore."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from safeupload._durations import Duration, seconds
from safeupload._keys import checked
from safeupload.errors import InvalidArgument, StorageError, UnsupportedStorage
from safeupload.storage._base import Entry
from safeupload.storage.leases import LEASE, SKEW, BucketStorage

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["ObjectStorage"]

#: Entries that cross from Rust to Python at a time: as many as a page of S3 has.
_PAGE: Final = 1000
#: What signatures of S3, GCS and Azure can be good for, in seconds.
_LONGEST: Final = 7 * 24 * 3600.0
_MEDIA_TYPES: Final = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "avif": "image/avif"}


class ObjectStorage(BucketStorage):
    """
    Pictures in an object store, for applications on several hosts.

    ``ObjectStorage(S3Store("my-bucket", region="eu-central-1"), prefix="avatars")``: any store of ``obstore.store``,
    which knows the credentials, the encryption, the time-outs and how often a request is tried again. Deletes of many
    objects at once are switched off, since several servers do not have them.

    Args:
        store: of ``obstore.store``; the extra "s3" installs it.
        prefix: a folder in the bucket, so that several storages can share one.
        lease, skew: see `BucketStorage`.
        attributes: sent with every picture, like ``{"Cache-Control": "public, max-age=31536000, immutable"}``. The
            Content-Type is always the picture's own.

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
        self._objects = _Objects(store, prefix, dict(attributes or {}))
        super().__init__(self._objects, lease=lease, skew=skew)

    def url(self, key: str, *, expires: Duration) -> str:
        """
        Return an address from which anybody can fetch a file or a rendition until it expires, in at most seven days.

        It is computed here, without a request, and does not tell whether there is such a file. Raises `InvalidKey`,
        `InvalidArgument`, and `UnsupportedStorage` for a store without signed addresses.
        """
        return self._objects.url(checked(key), seconds("expires", expires))


class _Objects:
    """The five methods of `Bucket`, by obstore."""

    def __init__(self, store: ObjectStore, prefix: str, attributes: dict[str, str]) -> None:
        try:
            import obstore  # noqa: PLC0415 - an extra
            from obstore.store import S3Store  # noqa: PLC0415
        except ImportError as error:
            raise UnsupportedStorage('ObjectStorage needs obstore: pip install "safeupload[s3]"') from error
        if any(part in {"", ".", ".."} for part in prefix.split("/")) and prefix:
            raise InvalidArgument(f'prefix: expected a folder like "avatars" or "media/avatars", got {prefix!r}')
        for name, value in attributes.items():
            if not isinstance(name, str) or not isinstance(value, str) or name.lower() == "content-type":
                raise InvalidArgument(f"attributes: expected strings, and no Content-Type, got {name!r}: {value!r}")
        if isinstance(store, S3Store):
            store = S3Store(
                prefix=store.prefix,
                config={**store.config, "disable_bulk_delete": True},
                client_options=store.client_options,
                retry_config=store.retry_config,
                credential_provider=store.credential_provider,
            )
        elif not hasattr(store, "put_async"):
            raise InvalidArgument(f"store: expected one of obstore.store, like S3Store, got a {type(store).__name__}")
        self._obstore = obstore
        self._store = store
        self._prefix = f"{prefix}/" if prefix else ""
        self._attributes = attributes

    def __repr__(self) -> str:
        return f"{self._store!r}, prefix={self._prefix.rstrip('/')!r}"

    def put(self, name: str, data: bytes) -> None:
        """Write an object. In one request, and without a condition: half of the servers do not heed it."""
        media_type = _MEDIA_TYPES.get(name.rpartition(".")[2]) if data else None
        attributes = {**self._attributes, "Content-Type": media_type} if media_type else None
        self._obstore.put(
            self._store, self._prefix + name, data, attributes=attributes, mode="overwrite", use_multipart=False
        )

    def get(self, name: str) -> bytes | None:
        """Return an object."""
        try:
            return bytes(self._obstore.get(self._store, self._prefix + name).bytes())
        except FileNotFoundError:
            return None

    def delete(self, name: str) -> None:
        """Remove an object; some servers say that there was none."""
        try:
            self._obstore.delete(self._store, self._prefix + name)
        except FileNotFoundError:
            return

    def date(self, name: str) -> float | None:
        """Return when an object was last written."""
        try:
            return self._obstore.head(self._store, self._prefix + name)["last_modified"].timestamp()
        except FileNotFoundError:
            return None

    def list(self, folder: str) -> Iterator[Entry]:
        """Return the objects of a folder, page by page."""
        start = self._prefix + folder
        for page in self._obstore.list(self._store, start.rstrip("/") or None, chunk_size=_PAGE):
            for entry in page:
                yield Entry(entry["path"].removeprefix(self._prefix), entry["last_modified"].timestamp())

    def url(self, name: str, expires: float) -> str:
        """Return a signed address."""
        from obstore.store import AzureStore, GCSStore, S3Store  # noqa: PLC0415 - an extra

        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            raise UnsupportedStorage(f"{type(self._store).__name__} has no signed addresses")
        if not 1 <= expires <= _LONGEST:
            raise InvalidArgument(f"expires: expected 1 second to 7 days, got {expires:g} s")
        try:
            return self._obstore.sign(self._store, "GET", self._prefix + name, timedelta(seconds=int(expires)))
        except Exception as error:
            raise StorageError(f"could not sign an address: {error}") from error
