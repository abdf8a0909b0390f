"""Cutting a piece out of a raster."""

from __future__ import annotations

from PIL import Image


def cut(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """
    Return a box (left, top, right, bottom) of the picture.

    Not `Image.crop`: that warns and raises by a limit (MAX_IMAGE_PIXELS) which is the whole process's and not ours.
    """
    left, top, right, bottom = box
    piece = Image.new(image.mode, (right - left, bottom - top))
    if (palette := image.getpalette()) is not None:
        piece.putpalette(palette)
    piece.paste(image, (-left, -top))
    return piece
