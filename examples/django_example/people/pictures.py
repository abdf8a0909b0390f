"""
Where the pictures are.

Lazy, as Django's own `default_storage` is: the folder is made when it is first needed, not when a command imports this.
"""

from django.conf import settings
from django.utils.functional import SimpleLazyObject

import safeupload.django
from safeupload import Uploads
from safeupload.storage import LocalStorage


def make_uploads() -> Uploads:
    """Open the storage. Every column that holds keys of pictures is named here, in whatever table it is."""
    return Uploads(
        LocalStorage(settings.PICTURES),
        references=safeupload.django.references("people.Person.image_file"),
    )


uploads: Uploads = SimpleLazyObject(make_uploads)
