"""Which libraries there are, in the order of the tables, and what each is for."""

from __future__ import annotations

from typing import Final, NamedTuple


class Library(NamedTuple):
    """
    A library: its module in `ways` (what becomes of bytes), in `stores` (of files beside rows), or both.

    `released` is the month of the pinned release; `distribution` is empty for what is no library.
    """

    title: str
    distribution: str
    released: str
    about: str
    way: str = ""
    store: str = ""


LIBRARIES: Final = (
    Library("safeupload", "safeupload", "", "what this page is a part of", "safeupload", "safeupload"),
    Library("safeupload with Django", "safeupload", "", "the same with Django's transactions", "", "safeupload_django"),
    Library("Pillow as in tutorials", "pillow", "2026-10", "decodes, changes and encodes pictures", "tutorial"),
    Library("by hand", "", "", "write, change the row, commit, remove the old file", "", "by_hand"),
    Library("by hand with clean-up", "", "", "also removes the new file after an exception", "", "by_hand_careful"),
    Library(
        "Django ImageField",
        "django",
        "2026-11",
        "checks an upload, stores it, names it in a row",
        "django",
        "django_field",
    ),
    Library(
        "django-cleanup",
        "django-cleanup",
        "2024-09",
        "removes the files of replaced and deleted rows, after the commit",
        "",
        "django_cleanup",
    ),
    Library(
        "django-unused-media",
        "django-unused-media",
        "2020-10",
        "a command that removes the files that no row names",
        "",
        "django_unused_media",
    ),
    Library(
        "django-imagekit",
        "django-imagekit",
        "2026-09",
        "processes pictures when they are stored or shown, with caching",
        "django_imagekit",
    ),
    Library(
        "django-pictures",
        "django-pictures",
        "2026-09",
        "sizes and formats for responsive pages, in background tasks too",
        "django_pictures",
        "django_pictures",
    ),
    Library("django-resized", "django-resized", "2024-10", "resizes a picture when it is stored", "django_resized"),
    Library(
        "django-stdimage",
        "django-stdimage",
        "2023-11",
        "variations of a stored picture; its authors recommend django-pictures",
        "django_stdimage",
        "django_stdimage",
    ),
    Library(
        "django-versatileimagefield",
        "django-versatileimagefield",
        "2024-01",
        "sizes and filters on demand, around a point of interest",
        "django_versatileimagefield",
        "django_versatileimagefield",
    ),
    Library(
        "easy-thumbnails",
        "easy-thumbnails",
        "2025-08",
        "thumbnails by options and aliases, SVG too",
        "easy_thumbnails",
        "easy_thumbnails",
    ),
    Library(
        "sorl-thumbnail",
        "sorl-thumbnail",
        "2026-10",
        "thumbnails in templates, by several engines, on any storage",
        "sorl_thumbnail",
    ),
    Library("Willow", "willow", "2025-10", "one interface to several picture libraries; Wagtail's", "willow"),
    Library(
        "python-resize-image",
        "python-resize-image",
        "2021-11",
        "a few functions that resize what Pillow has opened",
        "python_resize_image",
    ),
    Library(
        "sqlalchemy-file",
        "sqlalchemy-file",
        "2026-10",
        "files in columns: validators, processors, many storages, sessions",
        "sqlalchemy_file",
        "sqlalchemy_file",
    ),
    Library(
        "filedepot",
        "filedepot",
        "2026-07",
        "files in columns, several storages, thumbnails, sessions",
        "filedepot",
        "filedepot",
    ),
    Library(
        "advanced-alchemy",
        "advanced-alchemy",
        "2026-10",
        "services and types for SQLAlchemy, one of them for stored files",
        "",
        "advanced_alchemy",
    ),
    Library(
        "fastapi-storages",
        "fastapi-storages",
        "2026-05",
        "column types that store an upload",
        "fastapi_storages",
        "fastapi_storages",
    ),
    Library(
        "Flask-Reuploaded",
        "flask-reuploaded",
        "2026-06",
        "sets of uploads by extension, stored under safe names",
        "flask_reuploaded",
    ),
    Library("filetype", "filetype", "2022-11", "tells the type of bytes by their first ones", "filetype"),
    Library("puremagic", "puremagic", "2025-07", "tells the type of bytes, in pure Python", "puremagic"),
    Library("python-magic", "python-magic", "2022-06", "asks libmagic for the type of bytes", "python_magic"),
)
