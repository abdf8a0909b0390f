"""The table."""

from __future__ import annotations

import hashlib
import secrets

from django.db import models
from django.urls import reverse


def digest(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class Person(models.Model):  # type: ignore[misc]  # Django has no types
    """Somebody with a picture, or without one."""

    name = models.CharField(max_length=100)
    # No form can set these two, not even one with fields = "__all__".
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    # Unique, so that no two rows name one file; null, since an empty string would be there only once.
    image_file = models.CharField(max_length=64, unique=True, null=True, editable=False)  # noqa: DJ001

    class Meta:
        """How the admin calls them."""

        verbose_name_plural = "people"

    def __str__(self) -> str:
        return str(self.name)

    @property
    def picture_url(self) -> str | None:
        """The address of the picture, if there is one."""
        return reverse("picture", args=[self.image_file]) if self.image_file else None

    def new_token(self) -> str:
        """Give the person a new token, which is known to nobody but who gets it from here."""
        token = secrets.token_urlsafe()
        self.token_hash = digest(token)
        return token
