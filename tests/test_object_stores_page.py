"""The blocks of docs/how-to/object-stores.md work as they are, on a server that speaks S3."""

import asyncio
import re
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import httpx2
import obstore.store
import pytest
import s3
from builders.pictures import jpeg
from pages import ROOT
from test_docs import User, database

import safeupload
from safeupload.storage import LocalStorage, MemoryStorage, ObjectStorage, leases

PAGE = ROOT / "docs/how-to/object-stores.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[dict[str, Any]]:
    """Run the page's blocks in the environment of a machine that knows a server and its keys."""
    with s3.server() as address:
        for name, value in {
            "AWS_ENDPOINT_URL": address,
            "AWS_REGION": s3.KEYS["region"],
            "AWS_ACCESS_KEY_ID": s3.KEYS["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": s3.KEYS["secret_access_key"],
        }.items():
            monkeypatch.setenv(name, value)
        purged: list[str] = []
        scope = {
            **database(tmp_path),
            "__name__": "app",
            "LocalStorage": LocalStorage,
            "cdn": SimpleNamespace(purge=purged.extend),
        }
        options = 'client_options={"timeout": "10s"'
        assert options in PAGE.read_text()
        page = PAGE.read_text().replace(options, f'{options}, "allow_http": True')
        modules: list[dict[str, Any]] = []
        for source in BLOCK.findall(page):  # each is a module, which has what the first one has
            modules.append({**(modules[0] if modules else scope)})
            exec(compile(source, "object-stores.md", "exec"), modules[-1])  # noqa: S102 - to run them is the point
        yield {"app": modules[0], "cdn": modules[1], "folder": modules[2], "purged": purged}


def test_the_application_stores_and_serves_pictures(scope: dict[str, Any]) -> None:
    """A picture is replaced twice; who asks for it is sent to the store, which shows it."""
    module = scope["app"]
    addresses: list[str] = []

    async def visit() -> None:
        transport = httpx2.ASGITransport(app=module["app"])
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            for size in (400, 640):
                answer = await client.put("/me/picture", files={"file": jpeg(size, 480)})
                assert answer.status_code == 204
                with module["Session"]() as session:
                    key = session.get(User, 1).image_file
                redirect = await client.get(f"/pictures/{key}")
                assert redirect.status_code == 307
                addresses.append(redirect.headers["Location"])

    asyncio.run(visit())

    with urlopen(addresses[1]) as reply:  # noqa: S310 - a server of ours
        assert reply.read() == safeupload.normalize(jpeg(640, 480)).data
    with pytest.raises(HTTPError, match="404"), urlopen(addresses[0]):  # noqa: S310
        pass
    assert len(list(module["storage"].keys())) == 1
    with pytest.raises(safeupload.InvalidKey):
        module["storage"].url(".pending/x", expires=60)


def test_the_cdn_is_told_what_goes(scope: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A retained picture goes an hour after its commit, by whoever recovers then; its address is purged."""
    module = scope["cdn"]
    uploads = module["uploads"]
    keys = []

    async def replace() -> None:
        async with module["async_session"]() as session, uploads.replace(jpeg(400, 300)) as new:
            user = await session.get(User, 1, with_for_update=True, populate_existing=True)
            user.image_file = new.replacing(user.image_file)
            keys.append(user.image_file)
            await new.commit(session.commit)

    asyncio.run(replace())
    asyncio.run(replace())
    assert scope["purged"] == []
    head = obstore.get(module["store"], f"public/{keys[1]}")
    assert head.attributes["Cache-Control"] == "public, max-age=31536000, immutable"

    real = uploads.storage.clock
    monkeypatch.setattr(uploads.storage, "clock", lambda: real() + 2 * 3600)
    monkeypatch.setattr(uploads.storage, "_now", lambda: real() + 2 * 3600)
    asyncio.run(uploads.recover(min_age=0))
    assert [urlsplit(url).path for url in scope["purged"]] == [f"/public/{keys[0]}"]
    assert list(uploads.storage.keys()) == [keys[1]]


def test_the_folder_of_the_page_has_leases(scope: dict[str, Any]) -> None:
    """Whoever opens it later keeps to them."""
    uploads = scope["folder"]["uploads"]
    assert (uploads.storage.path("0" * 32 + ".jpg").parent / ".mode").exists()


def test_the_times_of_the_page_are_true() -> None:
    """Five minutes, and one."""
    page = PAGE.read_text()

    assert timedelta(minutes=5) == leases.LEASE
    assert "for five minutes from\nits date" in page
    assert timedelta(minutes=1) == leases.SKEW
    assert "a\nminute of skew" in page
    assert leases._TIDY_INTERVAL == 60
    assert isinstance(ObjectStorage(obstore.store.MemoryStore()), leases.BucketStorage)
    assert MemoryStorage().tidy_interval == 0
