"""An object store: what is sent with a picture, where it stands, its addresses, and what is refused."""

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import obstore.store
import pytest
import s3
from fakes import THUMB, picture

from safeupload import FileMissing, InvalidArgument, InvalidKey, StorageError, UnsupportedStorage, Uploads
from safeupload._keys import beside, new_key
from safeupload.storage import ObjectStorage

DATA = picture("new").data


@pytest.fixture(scope="module")
def address() -> Generator[str]:
    """Run a server that speaks S3."""
    with s3.server() as address:
        yield address


def stored(storage: ObjectStorage) -> str:
    """Store a picture with a rendition, and return its key."""
    mark = storage.new_mark()
    mark.save(DATA, {THUMB: b"small"})
    storage.settle([], [mark])
    return mark.name.key


def test_headers_and_encryption_are_those_asked_for(address: str) -> None:
    """The Content-Type is the picture's; what else is sent is the application's choice, for pictures alone."""
    prefix = s3.fresh()
    store = s3.store(address, config={"aws_server_side_encryption": "AES256"})
    attributes = {"Cache-Control": "public, max-age=31536000, immutable", "Content-Disposition": "inline"}
    key = stored(ObjectStorage(store, prefix=prefix, attributes=attributes))
    client = s3.client(address)
    heads = {
        name: client.head_object(Bucket=s3.BUCKET, Key=f"{prefix}/{name}")
        for name in (key, beside(key, THUMB), f".renditions/{THUMB}")
    }

    assert [head["ContentType"] for head in heads.values()][:2] == ["image/jpeg", "image/webp"]
    assert [head.get("CacheControl") for head in heads.values()] == [*[attributes["Cache-Control"]] * 2, None]
    assert heads[key]["ContentDisposition"] == "inline"
    assert {head["ServerSideEncryption"] for head in heads.values()} == {"AES256"}


def test_storages_share_a_bucket(address: str) -> None:
    """Each has its folder, and sees and removes nothing of another's, be it in the bucket's own or one within it."""
    outer, inner = s3.fresh(), s3.fresh()
    store = s3.store(address)
    storages = [ObjectStorage(store, prefix=prefix) for prefix in (outer, f"{outer}/{inner}", f"{outer}{inner}")]
    keys = [stored(storage) for storage in storages]

    assert [list(storage.keys()) for storage in storages] == [[key] for key in keys]
    Uploads(storages[0], references=lambda keys: []).sweep(min_age=0, force=True)
    assert [list(storage.keys()) for storage in storages] == [[], [keys[1]], [keys[2]]]
    with pytest.raises(FileMissing):
        storages[0].read(keys[1])


def test_the_bucket_itself_can_be_the_folder() -> None:
    """Then whatever else is in it stays."""
    memory = obstore.store.MemoryStore()
    key = stored(ObjectStorage(memory))
    obstore.put(memory, "somebody/else.txt", b"mine")

    assert list(ObjectStorage(memory).keys()) == [key]
    Uploads(ObjectStorage(memory), references=lambda keys: []).sweep(min_age=0, force=True)
    assert bytes(obstore.get(memory, "somebody/else.txt").bytes()) == b"mine"


@pytest.mark.parametrize("prefix", ["/", "/pictures", "pictures/", "a//b", "..", "a/../b", ".", None, 5])
def test_prefixes_that_are_no_folders(prefix: Any) -> None:  # noqa: ANN401
    """Said at once, and not by files that nobody finds."""
    with pytest.raises(InvalidArgument, match="prefix"):
        ObjectStorage(obstore.store.MemoryStore(), prefix=prefix)


@pytest.mark.parametrize(
    "attributes",
    [
        {"Content-Type": "text/html"},
        {"content-type": "x"},
        {"Content-Type ": "x"},
        {"x-amz-acl": "public-read"},
        {"Cache-Control": 7},
        {"Cache-Control": "no-store\n"},
        {"Cache-Control": ""},
        {"Cache Control": "no-store"},
        {"Gruß": "x"},
        {7: "x"},
        5,
    ],
    ids=repr,
)
def test_attributes_that_cannot_be_sent(attributes: Any) -> None:  # noqa: ANN401
    """What a picture is, is not the application's choice."""
    with pytest.raises(InvalidArgument, match="attributes"):
        ObjectStorage(obstore.store.MemoryStore(), attributes=attributes)


@pytest.mark.parametrize(
    "store",
    [None, "s3://bucket", object(), obstore.store.S3Store, obstore.store.HTTPStore.from_url("http://127.0.0.1:9/")],
    ids=["none", "address", "object", "class", "http"],
)
def test_what_is_no_store(store: Any) -> None:  # noqa: ANN401
    """An address is not one yet: obstore makes a store of it."""
    with pytest.raises(InvalidArgument, match=r"obstore\.store"):
        ObjectStorage(store)


def test_a_bucket_that_is_not_there_is_no_missing_file(address: str) -> None:
    """A name with a mistake in it must not look like a picture that somebody has deleted."""
    store = obstore.store.S3Store("pictores", endpoint=address, client_options={"allow_http": True}, **s3.KEYS)
    storage = ObjectStorage(store)
    for work in (lambda: storage.read(new_key()), lambda: storage.remove(new_key()), lambda: list(storage.keys())):
        with pytest.raises(StorageError, match="NoSuchBucket") as caught:
            work()
        assert not isinstance(caught.value, FileMissing)
    (failure,) = storage.settle([], [storage.new_mark()])
    assert isinstance(failure.error, StorageError)


# --- addresses ---


def test_a_signed_address_is_good_for_anybody(address: str) -> None:
    """Who has it fetches the file or a rendition, as the picture that it is."""
    storage = ObjectStorage(s3.store(address), prefix=s3.fresh())
    key = stored(storage)
    for name, data, kind in ((key, DATA, "image/jpeg"), (beside(key, THUMB), b"small", "image/webp")):
        url = storage.url(name, expires=timedelta(minutes=5))
        assert re.search("[?&]X-Amz-Expires=300(&|$)", url)
        with urllib.request.urlopen(url) as reply:  # noqa: S310 - a server of ours
            assert (reply.read(), reply.headers["Content-Type"]) == (data, kind)


@pytest.mark.parametrize("expires", [1, 7 * 24 * 3600])
def test_addresses_last_as_long_as_stores_allow(address: str, expires: float) -> None:
    """From a second to seven days."""
    assert f"X-Amz-Expires={expires}&" in ObjectStorage(s3.store(address)).url(new_key(), expires=expires)


@pytest.mark.parametrize("expires", [0, 0.5, 7 * 24 * 3600 + 1, -1, "60"])
def test_addresses_that_cannot_be_signed(address: str, expires: Any) -> None:  # noqa: ANN401
    """S3 would refuse them later, in front of a user."""
    with pytest.raises(InvalidArgument, match="expires"):
        ObjectStorage(s3.store(address)).url(new_key(), expires=expires)


def test_only_keys_are_signed(address: str) -> None:
    """No word of a client's gets an address, and a mark none either."""
    storage = ObjectStorage(s3.store(address))
    for name in ("", "../x", f".pending/{new_key()}"):
        with pytest.raises(InvalidKey):
            storage.url(name, expires=60)
    with pytest.raises(UnsupportedStorage, match="no signed addresses"):
        ObjectStorage(obstore.store.MemoryStore()).url(new_key(), expires=60)


# --- the store ---


def test_the_store_is_kept_as_it_is_but_for_deletes(address: str) -> None:
    """Its own settings are those of the storage; what it does elsewhere stays as it was."""
    retries = {"max_retries": 2, "retry_timeout": timedelta(seconds=7)}
    store = s3.store(address, retry_config=retries, client_options={"timeout": "3s"})
    used: Any = ObjectStorage(store)._objects._store

    assert used.config == {**store.config, "disable_bulk_delete": "true"}
    assert used.retry_config == store.retry_config
    assert used.client_options == store.client_options
    assert "disable_bulk_delete" not in store.config


def test_a_store_that_finds_its_own_keys(address: str) -> None:
    """A provider of credentials is asked, as before."""
    asked: list[int] = []

    def provider() -> Any:  # noqa: ANN401
        asked.append(1)
        return {"access_key_id": "key", "secret_access_key": "secret", "token": None, "expires_at": None}

    options: Any = {"region": "us-east-1", "client_options": {"allow_http": True}, "credential_provider": provider}
    store = obstore.store.S3Store(s3.BUCKET, endpoint=address, **options)
    stored(ObjectStorage(store, prefix=s3.fresh()))
    assert asked


def test_secrets_are_not_shown(address: str) -> None:
    """Neither by the object, nor by an error."""
    storage = ObjectStorage(s3.store(address, client_options={"timeout": "1s"}, retry_config={"max_retries": 0}))
    assert "secret" not in repr(storage)
    broken = ObjectStorage(
        s3.store("http://127.0.0.1:9", retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=1)})
    )
    with pytest.raises(StorageError) as caught:
        list(broken.keys())
    assert "secret" not in str(caught.value)
    assert caught.value.problem()["detail"] == "The server could not handle the upload."


def test_a_panic_is_an_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rust's panics are no `Exception`; whoever catches one here must not be left with a lock or a thread."""
    storage = ObjectStorage(s3.store(address))
    panic = type("PanicException", (BaseException,), {})

    def panicking(*_: object, **__: object) -> None:
        raise panic("index out of bounds")

    monkeypatch.setattr(obstore, "put", panicking)
    with pytest.raises(StorageError, match="index out of bounds") as caught:
        storage.new_mark().save(b"picture")
    assert isinstance(caught.value.__cause__, panic)
    monkeypatch.setattr(obstore, "put", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        storage.new_mark().save(b"picture")


def test_an_object_without_a_date_is_not_an_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Obstore says 1970 for a server that does not say; a mark of then would be anybody's."""
    storage = ObjectStorage(obstore.store.MemoryStore())
    mark = storage.new_mark()
    mark.save(b"picture")
    undated = {"path": f".pending/{mark.name.name}", "last_modified": datetime.fromtimestamp(0, tz=UTC)}
    monkeypatch.setattr(obstore, "head", lambda *_: undated)
    monkeypatch.setattr(obstore, "list", lambda *_, **__: [[undated]])
    for work in (storage.clock, lambda: storage.exists(mark.name.key), lambda: list(storage.marks())):
        with pytest.raises(StorageError, match="does not date its objects"):
            work()


FORKING = """
import os, sys
sys.path.insert(0, {tests!r})
import s3
from safeupload import StorageError
from safeupload.storage import ObjectStorage

with s3.server() as address:
    storage = ObjectStorage(s3.store(address))
    if {first}:
        storage.exists("0" * 32 + ".jpg")
    child = os.fork()
    if not child:
        try:
            storage.exists("0" * 32 + ".jpg")
        except StorageError as error:
            print("refused:", error, flush=True)
        else:
            print("worked", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("first", "told"), [(True, "refused: "), (False, "worked")])
def test_a_fork_after_the_first_use_does_not_hang(first: bool, told: str) -> None:  # noqa: FBT001
    """Obstore's threads are the parent's; a child would wait for them for ever, so it is told."""
    script = FORKING.format(tests=str(Path(s3.__file__).parent), first=first)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert told in done.stdout, done.stderr
    assert not first or "gunicorn: without --preload" in done.stdout


def test_obstore_is_an_extra() -> None:
    """Without it, the error says what to install; nothing else needs it."""
    script = """
import sys
sys.modules["obstore"] = None
import safeupload, safeupload.storage
safeupload.storage.MemoryStorage()
try:
    safeupload.storage.ObjectStorage(object())
except safeupload.UnsupportedStorage as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 'pip install "safeupload[s3]"' in done.stdout
