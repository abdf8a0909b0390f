"""The model: the field of the picture is that of `settings.PICTURE_FIELD`, a function that makes it."""

from django.conf import settings
from django.db import models


class Person(models.Model):  # type: ignore[misc]  # Django has no types
    """Somebody with a picture."""

    name = models.CharField(max_length=50, default="")
    picture = settings.PICTURE_FIELD()

    def __str__(self) -> str:
        """Return the name."""
        return str(self.name)
