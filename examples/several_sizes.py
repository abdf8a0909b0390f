"""
Several sizes of one upload: makes them of a file, stores them behind one key, and writes a page that shows them.

    python examples/several_sizes.py PICTURE FOLDER

A browser takes the smallest picture that is large enough, in the best format that it knows.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from html import escape
from pathlib import Path

from safeupload import AVATAR, Rejected, Rendition, Uploads
from safeupload.storage import LocalStorage

PRODUCT = replace(
    AVATAR,
    max_bytes=20 * 1024 * 1024,
    size=(1200, 900),  # the picture itself, a JPEG that everything can show
    fit="contain",
    renditions={
        "large": Rendition(size=(1200, 900), fit="contain", format="WEBP", quality=80),
        "small": Rendition(size=(480, 360), fit="contain", format="WEBP", quality=75),
        "tile": Rendition(size=(240, 240), fit="pad", format="PNG"),
    },
)


def main(source: Path, folder: Path) -> int:
    """Store the picture, and write the page beside the storage."""
    rows: set[str] = set()  # what a database would hold: one key, whatever the policy makes of an upload
    storage = LocalStorage(folder / "pictures")
    uploads = Uploads(storage, PRODUCT, references=rows.intersection)
    try:
        with uploads.transaction() as tx:
            key = tx.save(source)
            tx.commit(lambda: rows.add(key))
    except Rejected as error:
        print(error)
        return 1

    small, large, tile = (escape(f"pictures/{uploads.rendition(key, name)}") for name in ("small", "large", "tile"))
    page = folder / "index.html"
    page.write_text(
        f"""<!doctype html>
<meta charset="utf-8">
<title>One upload, four pictures</title>
<picture>
  <source type="image/webp" srcset="{small} 480w, {large} 1200w" sizes="(max-width: 600px) 480px, 1200px">
  <img src="pictures/{key}" alt="">
</picture>
<img src="{tile}" alt="" style="background: lightblue">
"""
    )
    for path in sorted(storage.path(key).parent.glob(f"{key[:32]}*")):
        print(f"{path.stat().st_size:9,} bytes  {path.name}")
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
