"""django-stdimage, with delete_orphans."""

from __future__ import annotations

from typing import Any

from libraries.stores.django_field import DjangoStore


def _field() -> Any:  # noqa: ANN401
    from stdimage import StdImageField

    variations = {"thumbnail": {"width": 30, "height": 30, "crop": True}}
    return StdImageField(upload_to="pictures", variations=variations, delete_orphans=True, blank=True)


STORE = DjangoStore(_field, ["stdimage"])
