"""django-versatileimagefield, with the receiver of its documentation that removes the files of a deleted row."""

from __future__ import annotations

from typing import Any

from libraries.stores.django_field import DjangoStore


def _field() -> Any:  # noqa: ANN401
    from versatileimagefield.fields import VersatileImageField

    return VersatileImageField(upload_to="pictures", blank=True)


def _removed(instance: Any, **_more: object) -> None:  # noqa: ANN401
    instance.picture.delete_all_created_images()
    instance.picture.delete(save=False)


def _receive() -> None:
    from django.db.models.signals import post_delete

    from libraries.people.models import Person

    post_delete.connect(_removed, sender=Person)


STORE = DjangoStore(_field, ["versatileimagefield"], _receive)
