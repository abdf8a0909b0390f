"""django-pictures; its documentation names django-cleanup for the removal of files, so both."""

from __future__ import annotations

from libraries.stores.django_field import DjangoStore
from libraries.ways.django_pictures import SETTINGS, field

STORE = DjangoStore(
    field,
    ["pictures", "django_cleanup.apps.CleanupConfig"],
    PICTURES={**SETTINGS, "CONTAINER_WIDTH": 30, "BREAKPOINTS": {"all": 30}},
)
