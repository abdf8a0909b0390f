"""
The example for FastAPI, and what the page needs beside it.

The uploads, the user and the pictures are the example's own. Here is only what looks at them from outside: the folder,
the hostile files, the plain way in a process with limits, and the process whose plug is pulled.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, HTTPException, Response, UploadFile
from fastapi.responses import FileResponse
from fastapi_example.app import Owner, Session, User, app, uploads, used
from pydantic import StringConstraints
from sqlalchemy import select

import safeupload
from safeupload._cli.trial import Limits, Outcome, attempt, wrongs
from safeupload._samples import HOSTILE, Sample

__all__ = ["app"]

HERE = Path(__file__).resolve().parent
SAMPLES = {sample.name: sample for sample in HOSTILE}
#: What the plain way may use here. 8 seconds are long enough to see that it hangs, and 2 GiB to see what it wants.
LIMITS = Limits(seconds=8, memory=2 << 30)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

Step = Literal["stored", "committing", "committed", "removing"]

router = APIRouter(include_in_schema=False)


@router.get("/")
@router.get("/demo/{name}.{kind}")
def page(name: str = "page", kind: Annotated[str, StringConstraints(pattern="^(html|css|js)$")] = "html") -> Response:
    """Serve the page, its style, and its script."""
    if name != "page":
        raise HTTPException(404, "There is no such page.")
    media_type = {"html": "text/html", "css": "text/css", "js": "text/javascript"}[kind]
    return FileResponse(HERE / f"page.{kind}", media_type=media_type, headers=HEADERS)


@router.post("/demo/look")
async def look(file: UploadFile) -> dict[str, Any]:
    """Tell what an upload is that was accepted, and what it was held to."""
    info = await safeupload.validate_async(file)
    policy = uploads.policy
    return {
        "format": info.format,
        "width": info.width,
        "height": info.height,
        "turned": info.orientation != 1,
        "animated": info.animated,
        "alpha": info.has_alpha,
        "profile": info.has_icc,
        "bytes": file.size,
        "max_bytes": policy.max_bytes,
        "max_pixels": policy.max_pixels,
    }


@router.get("/demo/folder")
async def folder() -> list[dict[str, Any]]:
    """List the files there are, whether a row names them, and whether they are on record."""
    keys, marked = await to_thread.run_sync(_listed)
    named = set(await used(keys)) if keys else set()
    return [{"key": key, "named": key in named, "marked": key in marked} for key in keys]


def _listed() -> tuple[list[str], set[str]]:
    return sorted(uploads.storage.keys()), {mark.key for mark in uploads.storage.marks()}


# --- hostile files ---------------------------------------------------------------------------------------------------


@router.get("/demo/samples")
def samples() -> list[dict[str, Any]]:
    """List the hostile files."""
    return [{"name": sample.name, "about": sample.about} for sample in HOSTILE]


@router.get("/demo/samples/{name}")
def sample_file(name: str) -> Response:
    """Return a hostile file, for the page to upload; no browser is to show it."""
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(_made(_sample(name).name), media_type="application/octet-stream", headers=headers)


@router.post("/demo/samples/{name}/plain")
def plain(name: str) -> dict[str, Any]:
    """Run a hostile file through the plain way, in a process with limits, and through safeupload in another one."""
    return _trial(_sample(name))


def _sample(name: str) -> Sample:
    try:
        return SAMPLES[name]
    except KeyError:
        raise HTTPException(404, "There is no such file.") from None


@functools.cache
def _made(name: str) -> bytes:
    return SAMPLES[name].make()


_one_at_a_time = threading.Lock()  # each may take 2 GiB
_trials: dict[str, dict[str, Any]] = {}


def _trial(sample: Sample) -> dict[str, Any]:
    """Try once, and remember."""
    with _one_at_a_time, tempfile.TemporaryDirectory(prefix="safeupload-demo-") as temporary:
        if sample.name not in _trials:
            data = _made(sample.name)
            source = Path(temporary, sample.name)
            source.write_bytes(data)
            safe, plain = attempt("safeupload", source, LIMITS), attempt("plain", source, LIMITS)
            found = wrongs(plain, safe, sample.canaries, sample.harm, len(data))
            _trials[sample.name] = {"bytes": len(data), "safe": _told(safe), "plain": {**_told(plain), "wrongs": found}}
        return _trials[sample.name]


def _told(outcome: Outcome) -> dict[str, Any]:
    picture = base64.b64encode(outcome.picture).decode()
    return {
        "verdict": outcome.verdict,
        "detail": outcome.detail,
        "seconds": outcome.seconds,
        "peak": outcome.peak,
        "picture": f"data:image/jpeg;base64,{picture}" if picture else None,
    }


# --- pulling the plug ------------------------------------------------------------------------------------------------


@router.post("/demo/users/{user_id}/plug")
async def pull_the_plug(user_id: Owner, step: Step) -> dict[str, Any]:
    """Have another process replace the user's picture, and die at that step."""
    before = await _picture(user_id)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / "plug.py"),
        step,
        str(user_id),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    if process.returncode != -signal.SIGKILL:
        raise HTTPException(
            500, f"The process was to be killed, and ended with {process.returncode}: {errors.decode()}"
        )
    after = await _picture(user_id)
    return {"pid": process.pid, "before": before, "row": after, "committed": before != after}


@router.post("/demo/recover")
async def recover() -> None:
    """Settle what is on record, at once, since nobody else is at work here. An application does it when it starts."""
    await uploads.recover(min_age=0)


async def _picture(user_id: int) -> str | None:
    async with Session() as session:
        return await session.scalar(select(User.image_file).where(User.id == user_id))


app.include_router(router)
