"""
Replace a user's picture as the example does, and die at a chosen step: python plug.py STEP USER_ID.

The death is the one that nothing can be done about: SIGKILL, as by the kernel when memory is short, or as the end of
power looks to a process.
"""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import signal
import sys
from collections.abc import Collection
from typing import NoReturn

from fastapi_example.app import MEDIA, Session, locked, used
from PIL import Image, ImageDraw

import safeupload
from safeupload.storage import LocalStorage


def die() -> NoReturn:
    """End at once."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def picture() -> bytes:
    """Return a picture that looks like no other."""
    hue, step = secrets.randbelow(360), secrets.choice((40, 90, 150))
    image = Image.new("RGB", (600, 600), f"hsl({hue}, 60%, 40%)")
    draw = ImageDraw.Draw(image)
    for ring in range(6):
        edge = 50 * ring
        draw.ellipse((edge, edge, 600 - edge, 600 - edge), f"hsl({(hue + step * ring) % 360}, 70%, 60%)")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


async def main(step: str, user_id: int) -> None:
    """Do what `change_picture` does, until the step."""

    async def references(keys: Collection[str]) -> Collection[str | None]:
        if step == "removing":
            die()
        return await used(keys)

    uploads = safeupload.AsyncUploads(LocalStorage(MEDIA), references=references)
    async with Session() as session, uploads.replace(picture()) as new:
        if step == "stored":
            die()
        user = await locked(session, user_id)
        user.image_file = new.replacing(user.image_file)

        async def commit() -> None:
            if step == "committing":
                die()
            await session.commit()
            if step == "committed":
                die()

        await new.commit(commit)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
