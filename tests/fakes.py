"""What tests of the replacement use in place of pictures and databases."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

from safeupload import ImageInfo, NormalizedImage, RenderedImage
from safeupload._keys import beside, is_key

INFO = ImageInfo(format="PNG", width=1, height=1, orientation=1, animated=False, has_alpha=False, has_icc=False)


def picture(text: str = "picture") -> NormalizedImage:
    """Return a "picture" that is told from others by its bytes; its rendition has the same."""
    data = text.encode() * 100
    sha256 = hashlib.sha256(data).hexdigest()
    thumb = RenderedImage(data=data, width=1, height=1, media_type="image/webp", extension="webp", sha256=sha256)
    return NormalizedImage(data=data, width=1, height=1, sha256=sha256, info=INFO, renditions={"thumb": thumb})


#: What the name of that rendition ends with.
THUMB = "-thumb.webp"


#: Files that a storage with leases keeps beside the pictures.
OWN = {".clock", ".mode"}


def files(folder: Path) -> dict[str, bytes]:
    """
    Return the files of a storage.

    A rendition counts as a part of its file, which is not whole without one that has the same bytes; one that stands
    alone counts as a file.
    """
    names = {path.name: path for path in folder.iterdir() if path.is_file() and path.name not in OWN}
    found = {name: path.read_bytes() for name, path in names.items()}
    for key in filter(is_key, list(found)):
        if found.pop(beside(key, THUMB), None) != found[key]:
            found[key] = b"without its rendition"
    return found


#: What a connection to SQLite has to be told before it looks at foreign keys.
FOREIGN_KEYS = "PRAGMA foreign_keys = ON"


def refuse_commits(database: Path, *tables: str) -> None:
    """Let SQLite refuse the COMMIT of whoever changes a row, by a deferred foreign key: a trigger makes an orphan."""
    with closing(sqlite3.connect(database)) as connection:
        parent = "parent REFERENCES orphans DEFERRABLE INITIALLY DEFERRED"
        connection.execute(f"CREATE TABLE orphans (id INTEGER PRIMARY KEY, {parent})")
        orphan = "INSERT INTO orphans (parent) VALUES (-1)"
        for table in tables:
            connection.execute(f"CREATE TRIGGER orphan_{table} AFTER UPDATE ON {table} BEGIN {orphan}; END")
