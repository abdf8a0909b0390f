"""
Other ways to the same picture, each as its documentation shows it: what an upload costs and looks like with them.

All but the bare decode return a JPEG of 300 x 300 pixels, upright. None of them checks what it is given.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import plain
from PIL import Image, ImageCms, ImageOps, JpegImagePlugin

import safeupload

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE: Final = 300
QUALITY: Final = 85
#: A photograph of 50 megapixels has 10 to 20 MB.
POLICY: Final = replace(safeupload.AVATAR, max_bytes=32 << 20, formats={*safeupload.AVATAR.formats, "AVIF"})

SHARP: Final = Path(__file__).with_name("sharp.mjs")


def safe(data: bytes) -> bytes:
    """Return what safeupload makes of it."""
    return safeupload.normalize(data, POLICY).data


def managed(data: bytes) -> bytes:
    """Return the plain way's picture, with the colours that its profile means."""
    with Image.open(io.BytesIO(data)) as opened:
        profile = opened.info.get("icc_profile")
        image = ImageOps.exif_transpose(opened).convert("RGB")
        if profile:
            srgb = ImageCms.createProfile("sRGB")
            image = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb) or image
        image = ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        image.save(out, "JPEG", quality=QUALITY)
        return out.getvalue()


def decode(data: bytes) -> bytes:
    """Return nothing: decode a JPEG at the scale that safeupload uses for it, and no more; what nobody can go below."""
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    scale = next((scale for scale in (8, 4, 2) if min(image.size) >= 2 * scale * SIDE), 1)
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))
    image.decodermaxblock = 1 << 30
    image.load()
    return b""


def vips(data: bytes) -> bytes:
    """Return what libvips makes of it, in one thread."""
    import pyvips  # noqa: PLC0415

    pyvips.voperation.cache_set_max(0)
    image = pyvips.Image.thumbnail_buffer(data, SIDE, height=SIDE, crop="centre", export_profile="srgb")
    if image.hasalpha():
        image = image.flatten(background=255)
    result: bytes = image.jpegsave_buffer(Q=QUALITY, keep="none")
    return result


def opencv(data: bytes) -> bytes:
    """Return what OpenCV makes of it."""
    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    cv2.setNumThreads(1)
    rows: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    height, width = rows.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    small = cv2.resize(rows[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


#: What runs in a process of Python.
WAYS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "plain": plain.thumbnail,
    "safeupload": safe,
    "managed": managed,
    "decode": decode,
    "vips": vips,
    "opencv": opencv,
}
#: What `--against` takes.
PEERS: Final = ("managed", "decode", "vips", "opencv", "sharp")
_MODULES: Final = {"vips": "pyvips", "opencv": "cv2"}
_PACKAGES: Final = {"vips": "'pyvips[binary]'", "opencv": "opencv-python-headless"}


def missing(peer: str) -> str | None:
    """Return what is missing for a peer, None if it can run."""
    if peer == "sharp":
        node = shutil.which("node")
        if node is None:
            return "there is no node"
        probe = [node, "--input-type=module", "-e", "import 'sharp'"]
        done = subprocess.run(probe, cwd=SHARP.parent, capture_output=True, check=False)
        return f"npm install --prefix {SHARP.parent} sharp" if done.returncode else None
    module = _MODULES.get(peer)
    if module is None or find_spec(module):
        return None
    return f"there is no {module}; {sys.executable} -m pip install {_PACKAGES[peer]}"


def can_read(peer: str, name: str) -> bool:
    """Tell whether a peer is meant for that kind of picture."""
    if peer == "decode":
        return name.startswith("JPEG")
    if peer == "managed":
        return "Display P3" in name
    return not (peer == "opencv" and name.startswith("GIF"))
