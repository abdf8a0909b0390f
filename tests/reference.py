"""
What a result should look like: slow, careful, in floating point, and with none of the library's shortcuts.

The order is that of promise P4: decode in full, manage the colours at full resolution, lay the picture over the
background, turn it upright, cover the target with it by LANCZOS. Only decoding is left to Pillow.
"""

import io
from collections.abc import Callable
from typing import TypeVar
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from safeupload import Policy, _render, normalize

T = TypeVar("T")
Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]
ToSrgb = Callable[[Floats], Floats]  # colours from 0 to 1, as in builders.icc.Profile.to_srgb


def picture(data: bytes, policy: Policy, *, orientation: int = 1, to_srgb: ToSrgb | None = None) -> Floats:
    """Return the rows of the picture that `normalize` should make, in RGB from 0 to 255."""
    colours, alpha = decode(data)
    if to_srgb is not None:
        colours = to_srgb(colours)
    if colours.shape[2] == 1:
        colours = np.repeat(colours, 3, axis=2)
    return finish(colours, alpha, policy, orientation=orientation)


def finish(colours: Floats, alpha: Floats, policy: Policy, *, orientation: int = 1) -> Floats:
    """Return what becomes of sRGB colours with an alpha channel, all from 0 to 1."""
    flat = colours * alpha + np.array(policy.background) / 255 * (1 - alpha)
    return cover(upright(flat, orientation), policy.size) * 255


def decode(data: bytes) -> tuple[Floats, Floats]:
    """Return the colours (grey or RGB) and the alpha channel, from 0 to 1, of a file whose first frame fills it."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        key = image.info.get("transparency")
        if image.mode == "P":
            return _split(np.asarray(image.convert("RGB" if key is None else "RGBA")) / 255)
        raw = np.asarray(image).astype(np.float64)
        mode = image.mode
    raw = raw.reshape(*raw.shape[:2], -1)
    opaque = np.ones((*raw.shape[:2], 1))
    if key is not None:
        opaque[(raw == np.array(key)).all(axis=2)] = 0
    raw /= {"1": 1, "I;16": 65535}.get(mode, 255)
    if mode == "CMYK":
        return (1 - raw[..., :3]) * (1 - raw[..., 3:]), opaque
    return (raw, opaque) if key is not None else _split(raw)


def _split(raw: Floats) -> tuple[Floats, Floats]:
    """Return colours and alpha; whole colours of one or three channels have none."""
    if raw.shape[2] in {2, 4}:
        return raw[..., :-1], raw[..., -1:]
    return raw, np.ones((*raw.shape[:2], 1))


def upright(rows: Floats, orientation: int) -> Floats:
    """Turn a picture as EXIF 2.32, table 6, says where its row 0 and its column 0 belong."""
    if orientation in {5, 6, 7, 8}:
        rows = rows.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        rows = rows[::-1]
    if orientation in {2, 3, 6, 7}:
        rows = rows[:, ::-1]
    return rows


def cover(rows: Floats, size: tuple[int, int]) -> Floats:
    """Return the largest central part with the target's aspect, resampled by LANCZOS and clipped to 0 to 1."""
    height, width = rows.shape[:2]
    ratio = min(width / size[0], height / size[1])
    across, down = _weights(width, size[0], ratio), _weights(height, size[1], ratio)
    narrow = np.tensordot(rows, across, axes=(1, 1))  # to rows x channels x columns
    small: Floats = np.tensordot(down, narrow, axes=(1, 0)).swapaxes(1, 2)
    return np.clip(small, 0, 1)


def _weights(side: int, want: int, ratio: float) -> Floats:
    """Return what each of `side` pixels contributes to each of `want`, which are `ratio` pixels apart."""
    centres = side / 2 + (np.arange(want)[:, None] + 0.5 - want / 2) * ratio
    distance = (np.arange(side)[None] + 0.5 - centres) / max(ratio, 1)
    weights = np.where(abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
    normal: Floats = weights / weights.sum(axis=1, keepdims=True)
    return normal


def encoded(rows: Floats, policy: Policy) -> Floats:
    """Return what is left of a picture after it has been a JPEG of the policy's quality."""
    out = io.BytesIO()
    Image.fromarray(np.round(rows).astype(np.uint8)).save(out, "JPEG", quality=policy.quality)
    return opened(out.getvalue())


def opened(data: bytes) -> Floats:
    """Return the rows of a finished picture, from 0 to 255."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).astype(np.float64)


def drawn(data: bytes, policy: Policy) -> Bytes:
    """Return the rows that `normalize` makes, as they are before they become a JPEG."""
    with patch.object(_render, "_encode", lambda image, _policy: image.tobytes()):
        rows = normalize(data, policy).data
    return np.frombuffer(rows, np.uint8).reshape(policy.size[1], policy.size[0], 3)


def psnr(one: Floats | Bytes, other: Floats | Bytes) -> float:
    """Return the peak signal-to-noise ratio in decibels; 99 for equal pictures."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return min(99.0, 10 * float(np.log10(255**2 / error))) if error else 99.0


def photograph(width: int, height: int, channels: int = 3, *, seed: int = 0) -> Bytes:
    """
    Return rows that are like a photograph: each octave of detail half as strong as the one before, and a little grain.

    Levels go from about 16 to 240, as in a well exposed picture, and channels resemble each other.
    """
    random = np.random.default_rng(seed)
    rows = np.zeros((height, width, channels))
    cells, strength = 3, 1.0
    while cells <= min(512, 2 * max(width, height)):
        shared = random.normal(size=(cells, cells))
        for channel in range(channels):
            grid = shared + 0.5 * random.normal(size=(cells, cells))
            image = Image.fromarray(grid.astype(np.float32))
            rows[..., channel] += strength * np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
        cells, strength = cells * 2, strength / 2
    rows += random.normal(scale=0.02, size=rows.shape)
    return np.clip(128 + 45 * rows, 0, 255).astype(np.uint8)
