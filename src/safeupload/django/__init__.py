"""
What Django needs of its own.

A commit that Django makes, a question that sees only what is committed, a form field, and a limit on what is received.

::

    uploads = safeupload.Uploads(storage, references=safeupload.django.references("accounts.User.image_file"))

    with uploads.replace(request.FILES["file"]) as new, safeupload.django.atomic(new):
        user = User.objects.select_for_update().get(pk=request.user.pk)
        user.image_file = new.replacing(user.image_file)
        user.save()
"""

from safeupload.django._atomic import atomic
from safeupload.django._field import PictureField, PictureFile
from safeupload.django._limit import BodyLimitUploadHandler
from safeupload.django._references import references

__all__ = ["BodyLimitUploadHandler", "PictureField", "PictureFile", "atomic", "references"]
