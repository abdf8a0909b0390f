"""Flask-Reuploaded: sets of uploads, by the extension of their names."""

from __future__ import annotations

import io
from pathlib import Path

from flask import Flask
from flask_uploads import IMAGES, UploadNotAllowed, UploadSet, configure_uploads
from werkzeug.datastructures import FileStorage

DOCUMENTED = (UploadNotAllowed,)


def prepare(folder: Path) -> None:
    """Nothing."""


def take(data: bytes, name: str, folder: Path) -> None:
    """Store the file."""
    app = Flask("people")
    app.config["UPLOADED_PHOTOS_DEST"] = str(folder / "photos")
    photos = UploadSet("photos", IMAGES)
    configure_uploads(app, photos)
    with app.app_context():
        photos.save(FileStorage(io.BytesIO(data), name))
