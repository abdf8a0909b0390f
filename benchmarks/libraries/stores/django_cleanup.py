"""django-cleanup: removes the files of any field after the commit."""

from __future__ import annotations

from libraries.stores.django_field import DjangoStore, image_field

STORE = DjangoStore(image_field, ["django_cleanup.apps.CleanupConfig"])
