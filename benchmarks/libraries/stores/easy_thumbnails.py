"""easy-thumbnails: its field, without settings of its own."""

from __future__ import annotations

from typing import Any

from libraries.stores.django_field import DjangoStore


def _field() -> Any:  # noqa: ANN401
    from easy_thumbnails.fields import ThumbnailerImageField

    return ThumbnailerImageField(upload_to="pictures", blank=True)


STORE = DjangoStore(_field, ["easy_thumbnails"])
